"""`openlvm demo`: the whole chain on the sample pack, from pictures to prompts, in about ten minutes of two cores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openlvm.cli.command import Outcome, parse, report


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Train a small LVM on the sample pack and prompt it on objects it has never seen.

    Writes index.html (the answers, self-contained), gallery.png and report.json into the folder. Minutes of CPU make a
    weak model: the report says what it learned, and against what.
    """

    out: Path = Path("runs/demo")
    """Folder of the run."""
    from_scratch: bool = False
    """Train the tokenizer too (some 45 minutes more), instead of taking the one that ships."""
    tiny: bool = False
    """A minute instead of ten: shows that everything works, learns next to nothing."""
    seed: int = 0
    """Of the decoder's weights, the order of the data and the answers."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    options = parse(Demo, argv, "demo")
    report(lambda: _demo(options), as_json=options.json)


def _demo(options: Demo) -> Outcome:
    from openlvm.jobs.demo import run_demo

    found = run_demo(out=options.out, from_scratch=options.from_scratch, tiny=options.tiny, seed=options.seed)
    page = options.out / "index.html"
    return Outcome({"page": page, "report": found}, f"The answers: {page}")
