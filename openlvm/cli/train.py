"""`openlvm train RECIPE`: a named, whole training configuration, with any of its fields changed on the command line."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from openlvm.cli.command import Outcome, parse, report
from openlvm.core.picking import pick


@dataclass(frozen=True, kw_only=True)
class Train:
    """Run a recipe. Every field of its configuration is a flag; the run folder keeps the configuration it ran with."""

    tiny: bool = False
    """The recipe's small form: a minute of CPU."""
    run: Path | None = None
    """Run folder; by default runs/ and the recipe's name."""
    resume: bool = False
    """Go on from the last checkpoint of the run folder, to the bit; with none there, start."""
    device: Literal["cpu", "cuda"] = "cpu"
    """`cuda` takes the GPU of this rank."""
    dry_run: bool = False
    """Only say what it will cost: parameters, codes, arithmetic, time, memory. Needs neither data nor a GPU."""
    gpu: Literal["h200", "h100", "a100", "rtx4090", "cpu"] = "h200"
    """What --dry-run plans with."""
    gpus: int = 1
    """How many of them."""
    mfu: float | None = None
    """Share of their peak that training is assumed to reach, 0..1: 0.4 on a GPU."""
    json: bool = False
    """Print one JSON object on stdout."""


def usage(verb: str) -> str:
    """What `openlvm train --help` prints, without a recipe."""
    from openlvm.recipes import RECIPES

    first_lines = {name: (recipe.__doc__ or "").strip().splitlines()[0] for name, recipe in RECIPES.items()}
    width = max(map(len, first_lines))
    lines = [f"  {name:<{width}}  {line}" for name, line in first_lines.items()]
    head = [f"usage: openlvm {verb} RECIPE [--tiny] [--resume] [--dry-run] [--run DIR] ...", ""]
    return "\n".join([*head, *lines, "", f"openlvm {verb} RECIPE --help for everything a recipe lets you change"])


def run(argv: Sequence[str], verb: str = "train") -> None:
    """Parse and run; `verb` is what the user typed, for messages."""
    from openlvm.recipes import RECIPES

    if list(argv[:1]) in (["-h"], ["--help"]):
        print(usage(verb))
        return
    if not argv or argv[0].startswith("-"):
        raise ValueError(f"the recipe is missing, one of {', '.join(RECIPES)}; see openlvm {verb} --help")
    name = argv[0]
    config = pick(RECIPES, name, "recipe")(tiny="--tiny" in argv)
    options: Any = parse(_options_for(config), argv[1:], f"{verb} {name}")
    report(lambda: (_tell_costs if options.dry_run else _train)(name, options), as_json=options.json)


def _options_for(config: Any) -> type:
    """The verb's options and, as flags beside them, the fields of the recipe's configuration with its values."""
    shown: Any = Annotated[type(config), tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands]
    fields = [("config", shown, dataclasses.field(default=config))]
    options = dataclasses.make_dataclass("TrainRecipe", fields, bases=(Train,), frozen=True, kw_only=True)
    options.__doc__ = Train.__doc__
    return options


def _tell_costs(name: str, options: Any) -> Outcome:
    from openlvm.recipes.costs import estimate, spell

    found = estimate(options.config, gpu=options.gpu, gpus=options.gpus, mfu=options.mfu)
    return Outcome({"recipe": name, **found.values}, spell(name, found))


def _train(name: str, options: Any) -> Outcome:
    from openlvm.jobs.train import run_recipe

    at = options.run or Path("runs") / name.replace("_", "-")
    trained = run_recipe(options.config, at=at, resume=options.resume, device=options.device)
    return Outcome({"run": at, "trained": trained}, f"{trained}")
