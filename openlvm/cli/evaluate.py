"""`openlvm evaluate SUITE`: the held-out report of an LVM."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from openlvm.cli.command import Outcome, parse, report


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Prompt an LVM with held-out pictures under conditions that keep its scores honest, and write the report.

    Every task is answered with correct examples, wrong ones, shuffled ones and none, and compared with copying the
    query, the mean training answer and the tokenizer's ceiling; then perplexity by number of examples, and choices
    among options. Writes report.md, report.json, gallery.png (first queries) and failures.png (worst ones).
    """

    suite: tyro.conf.Positional[str]
    """What is asked: "mini"."""
    lvm: str = "mini"
    """The LVM that answers: a bundle folder, or "mini", which comes with OpenLVM."""
    queries: int = 64
    """Prompts of each task; 64 take some 15 minutes of two cores, 200 are for a release."""
    puzzles: int = 300
    """Of each reasoning test."""
    temperature: float = 0.7
    """Of sampling the answers; 0 takes the likeliest code each time."""
    out: Path = Path("runs/evaluate-mini")
    """Folder of the report."""
    device: str = "cpu"
    """Where the model runs, such as cuda."""
    seed: int = 0
    """Of the scenes, examples and answers drawn, and of the resamples."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    options = parse(Evaluate, argv, "evaluate")
    report(lambda: _evaluate(options), as_json=options.json)


def _evaluate(options: Evaluate) -> Outcome:
    from openlvm.evaluation.suites.report import gate_lines, table
    from openlvm.jobs.evaluate import run_evaluation
    from openlvm.prompting.lvm import LVM

    found = run_evaluation(
        LVM.load(options.lvm, device=options.device),
        out=options.out,
        name=options.lvm,
        suite=options.suite,
        queries=options.queries,
        puzzles=options.puzzles,
        temperature=options.temperature,
        seed=options.seed,
    )
    lines = [table(found.tasks), gate_lines(found.gates), f"{options.out}/report.md, gallery.png, failures.png"]
    return Outcome({**found.report, "out": options.out}, "\n".join(lines))
