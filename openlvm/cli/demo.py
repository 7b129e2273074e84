"""`openlvm demo`: the embedded LVM prompted on held-out pictures; with `--train`, the whole chain that makes an LVM."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openlvm.cli.command import Outcome, parse, report


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Prompt the LVM that comes with OpenLVM, once for every task, on pictures it has never seen; or train one.

    Writes index.html (prompts, answers and truths, self-contained), gallery.png and report.json into the folder.
    """

    out: Path | None = None
    """Folder of the run; by default runs/demo, with --train runs/demo-train."""
    lvm: str = "mini"
    """The LVM that is prompted: "mini", or a bundle folder."""
    train: bool = False
    """Train a small LVM on the sample pack in some ten minutes of two cores, and report against what it learned."""
    from_scratch: bool = False
    """With --train: train the tokenizer too (some 45 minutes more), instead of taking the one that ships."""
    tiny: bool = False
    """With --train: a minute instead of ten: shows that everything works, learns next to nothing."""
    seed: int = 0
    """Of the questions and the answers; with --train of the decoder's weights and the order of the data too."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    options = parse(Demo, argv, "demo")
    _check(options)
    report(lambda: _demo(options), as_json=options.json)


def _check(options: Demo) -> None:
    """Refuse options that would have no effect."""
    for flag, given in (("--tiny", options.tiny), ("--from-scratch", options.from_scratch)):
        if given and not options.train:
            raise ValueError(f"{flag} is a form of the training demo; add --train, or leave it out")
    if options.train and options.lvm != Demo.lvm:
        raise ValueError(f"--train prompts the LVM that it trains; leave out --lvm {options.lvm}")


def _demo(options: Demo) -> Outcome:
    out = options.out or Path("runs/demo-train" if options.train else "runs/demo")
    if options.train:
        from openlvm.jobs.demo.trained import run_training_demo

        found = run_training_demo(out=out, from_scratch=options.from_scratch, tiny=options.tiny, seed=options.seed)
    else:
        from openlvm.jobs.demo.prompted import run_demo

        found = run_demo(out=out, lvm=options.lvm, seed=options.seed)
    page = out / "index.html"
    return Outcome({"page": page, "report": found}, f"The answers: {page}")
