"""`openlvm tokenizer train RECIPE | --from TOKENIZER`: from nothing by a recipe, or from a tokenizer that exists."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openlvm.cli import train
from openlvm.cli.command import Outcome, parse, report
from openlvm.core.ranks import ranks_from_environment

VERB = "tokenizer train"


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """Adapt a tokenizer to your own pictures. The run folder holds the result, and panels of held-out pictures."""

    from_: Annotated[str, tyro.conf.arg(name="from")]
    """Folder of the tokenizer, the name of an embedded one, or a released one."""
    pictures: tuple[Path, ...] = ()
    """Folders of pictures; without any, the sample pack alone."""
    part: Literal["decoder", "whole"] = "decoder"
    """`decoder` keeps codes, stores and decoders trained on them valid; `whole` makes another tokenizer."""
    steps: int = 2000
    """Optimizer steps."""
    batch: int = 16
    """Pictures per step."""
    lr: float = 2e-4
    """Peak learning rate."""
    seed: int = 0
    """Of the order of the pictures."""
    heldout_share: float = 0.05
    """Share of the pictures that is held out, by name, and scored."""
    rehearse: bool = True
    """Show the sample pack's pictures and annotations too, so that annotations are not forgotten."""
    sharpen: bool = False
    """Add a perceptual and an adversarial loss: sharper pictures, a little less PSNR."""
    keep: Literal["float32", "bfloat16"] = "float32"
    """How the finished weights are stored."""
    run: Path = Path("runs/fine-tuned")
    """Run folder; the tokenizer is in its folder `tokenizer`."""
    resume: bool = False
    """Go on from the last checkpoint of the run folder, to the bit; with none there, start."""
    device: Literal["cpu", "cuda"] = "cpu"
    """`cuda` takes the GPU."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    if any(word.split("=")[0] == "--from" for word in argv):
        options = parse(FineTune, argv, VERB)
        report(lambda: _fine_tune(options), as_json=options.json)
        return
    train.run(argv, verb=VERB)
    if list(argv[:1]) in (["-h"], ["--help"]):
        print("\nor fine-tune one that exists: openlvm tokenizer train --from TOKENIZER --pictures DIR ...")
        print("openlvm tokenizer train --from X --help for everything that lets you change")


def _fine_tune(options: FineTune) -> Outcome:
    from openlvm.jobs.train import run_recipe
    from openlvm.recipes.tokenizers import fine_tune
    from openlvm.tokenizer.folder import load_tokenizer
    from openlvm.tokenizer.vqgan import VQGAN

    tokenizer = load_tokenizer(options.from_)
    if not isinstance(tokenizer, VQGAN):
        raise ValueError(f"{options.from_} is a {type(tokenizer).__name__}; only VQGANs can be trained on")
    config = fine_tune(
        options.from_,
        tokenizer.config,
        options.pictures,
        part=options.part,
        steps=options.steps,
        batch=options.batch,
        lr=options.lr,
        seed=options.seed,
        heldout_share=options.heldout_share,
        rehearse=options.rehearse,
        sharpen=options.sharpen,
        keep=options.keep,
    )
    trained = run_recipe(config, at=options.run, resume=options.resume, device=options.device)
    if not ranks_from_environment().is_main:  # the first rank writes what was trained, and says so
        return Outcome({}, "")
    same = load_tokenizer(trained).codes_fingerprint == tokenizer.codes_fingerprint
    values = {"run": options.run, "trained": trained, "codes_are_the_same": same}
    said = "its codes are the same: stores stay valid" if same else "its codes are new: tokenize again"
    return Outcome(values, f"{trained} ({said})")
