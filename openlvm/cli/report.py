"""`openlvm report RUN...`: loss curves and the scaling plot of decoders' runs, with their tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from openlvm.cli.command import Outcome, parse, report


@dataclass(frozen=True, kw_only=True)
class Report:
    """Draw the losses of runs: by codes trained on, by parameters and by operations; a power law from three sizes on.

    Runs of one size and length count as seeds of one point. Compared is the held-out loss if every run has one. Reads
    run folders only; writes report.md, report.html, report.json, runs.csv, curves.png and scaling.png.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders (openlvm train ... --run DIR)."""
    out: Path = Path("runs/report")
    """Folder of the report."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    options = parse(Report, argv, "report")
    report(lambda: _report(options), as_json=options.json)


def _report(options: Report) -> Outcome:
    from openlvm.reports.page import markdown_table, write_report
    from openlvm.reports.runs import read_runs

    told = write_report(read_runs(options.runs), options.out)
    lines = [*markdown_table(told["points"]), *told["power_laws"], f"{options.out}/report.md, curves.png, scaling.png"]
    return Outcome({**told, "out": options.out}, "\n".join(lines))
