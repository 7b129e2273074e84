"""`openlvm fit PAIRS_DIR`: an LVM learns a task from a folder of pairs, and says what it gained and what it forgot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from openlvm.cli.command import Outcome, parse, report
from openlvm.jobs.fit.config import FitConfig


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Teach an LVM a task that a folder of pairs shows, and ask held-out pairs and old tasks before and after.

    Pairs are matched by name: two folders, input/cat.jpg and target/cat.png; or side by side, cat.jpg and
    cat_target.png; or a table pairs.csv with a line "input,target". Writes a bundle (any --lvm takes it), report.md,
    report.json and gallery.png. A command that was stopped goes on where it was.
    """

    pairs: tyro.conf.Positional[Path]
    """Folder of the pairs, or a table."""
    config: Annotated[FitConfig, tyro.conf.arg(name="")] = FitConfig()
    """How."""
    out: Path = Path("runs/fit")
    """Folder of the fit; the LVM is its folder bundle."""
    dry_run: bool = False
    """Say what would be done and how long it would take, and stop."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    options = parse(Fit, argv, "fit")
    report(lambda: _fit(options), as_json=options.json)


def _fit(options: Fit) -> Outcome:
    from openlvm.jobs.fit.run import run_fit

    found = run_fit(options.pairs, options.config, out=options.out, dry_run=options.dry_run)
    if options.dry_run:
        return Outcome(found, f"about {found['expected_seconds']:.0f} seconds")
    return Outcome(found, f"{options.out}/bundle, report.md, gallery.png")
