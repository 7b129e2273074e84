"""`openlvm report FOLDER...`: training runs as curves and a scaling plot, or evaluations side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from openlvm.cli.command import Outcome, parse, report


@dataclass(frozen=True, kw_only=True)
class Report:
    """Draw training runs, or compare evaluations.

    Runs: losses by codes trained on, by parameters and by operations; a power law from three sizes on. Runs of one size
    and length count as seeds of one point. Compared is the held-out loss if every run has one. Writes report.md,
    report.html, report.json, runs.csv, curves.png and scaling.png.

    Evaluations: the models of all folders in one table, values by model size, by frames or examples shown, and as bars.
    Writes report.md, report.html, report.json, scores.csv and plots/.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs (openlvm train ... --run DIR), or of evaluations (openlvm evaluate SUITE --out DIR)."""
    out: Path = Path("runs/report")
    """Folder of the report."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    options = parse(Report, argv, "report")
    report(lambda: _report(options), as_json=options.json)


def _report(options: Report) -> Outcome:
    from openlvm.reports.evaluations.read import is_evaluation

    of_evaluations = [folder for folder in options.runs if is_evaluation(folder)]
    if not of_evaluations:
        return _of_runs(options)
    if others := [str(folder) for folder in options.runs if folder not in of_evaluations]:
        raise ValueError(
            f"{', '.join(others)} holds no evaluation, but {of_evaluations[0]} does; give folders of one kind"
        )
    return _of_evaluations(options)


def _of_runs(options: Report) -> Outcome:
    from openlvm.reports.page import markdown_table, write_report
    from openlvm.reports.runs import read_runs

    told = write_report(read_runs(options.runs), options.out)
    lines = [*markdown_table(told["points"]), *told["power_laws"], f"{options.out}/report.md, curves.png, scaling.png"]
    return Outcome({**told, "out": options.out}, "\n".join(lines))


def _of_evaluations(options: Report) -> Outcome:
    from openlvm.reports.evaluations.compare import write_comparison

    told = write_comparison(options.runs, options.out)
    lines = [(options.out / "report.md").read_text(), f"{options.out}/report.html, report.md, scores.csv"]
    return Outcome({**told, "out": options.out}, "\n".join(lines))
