"""`openlvm catalog [NAME] | check NAME --at DIR`: the datasets OpenLVM reads, and whether a folder is one of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from openlvm.cli.command import Outcome, parse, report
from openlvm.core.picking import pick
from openlvm.sources.catalog.check import Checked, check_split, check_splits
from openlvm.sources.catalog.row import Row
from openlvm.sources.catalog.table import CATALOG


@dataclass(frozen=True, kw_only=True)
class Show:
    """Print the datasets of the catalogue, or all that is known of one. `openlvm catalog check NAME --at DIR` looks."""

    name: tyro.conf.Positional[str] = ""
    """A dataset; all when left out."""
    markdown: bool = False
    """Print the table of docs/catalog.md."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Count what lies in a dataset's folder against what its publisher promises, and read some of it."""

    name: tyro.conf.Positional[str]
    """A dataset of the catalogue."""
    at: Path
    """Its folder, as it was unpacked."""
    split: str = ""
    """train, val, ...; every split when left out."""
    limit: int = 200
    """Items read of each split, spread evenly; 0 reads all."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    if argv and argv[0] == "check":
        options = parse(Check, argv[1:], "catalog check")
        report(lambda: _check(options), as_json=options.json)
    else:
        shown = parse(Show, argv, "catalog")
        report(lambda: _show(shown), as_json=shown.json)


def _show(options: Show) -> Outcome:
    if options.markdown and (options.name or options.json):
        raise ValueError("--markdown prints the table of all datasets; give no name, and no --json")
    if options.name:
        row = pick(CATALOG, options.name, "dataset")
        values = _values(row)
        width = max(map(len, values))
        lines = [f"{name:<{width}}  {_text(value, width)}" for name, value in values.items() if value]
        return Outcome(values, "\n".join(lines))
    rows = list(CATALOG.values())
    return Outcome(
        {row.name: _values(row) for row in rows}, markdown_table(rows) if options.markdown else _listing(rows)
    )


HEADS = ("name", "sentence", "annotation", "by", "M tokens", "used by", "dataset", "licence", "home")


def cells(row: Row) -> tuple[str, ...]:
    """What a table says of a row, in the order of `HEADS`."""
    tokens = "" if row.tokens is None else f"{row.tokens:,.0f}" if row.tokens >= 1000 else f"{row.tokens:.4g}"
    name = row.name if row.is_verified else f"{row.name} (layout: unverified)"
    shared = "*" if row.tokens_shared else ""
    use = (name, row.sentence, row.annotation, row.annotated_by, tokens + shared, row.paper)
    return (*use, row.dataset, row.licence, row.home)


def markdown_table(rows: Sequence[Row]) -> str:
    """The table of docs/catalog.md."""
    lines = ["| " + " | ".join(HEADS) + " |", "|" + " --- |" * len(HEADS)]
    for row in rows:
        name, *others, licence, home = (cell.replace("|", "/") for cell in cells(row))
        bare, _, note = name.partition(" ")
        shown = [f"`{bare}` {note}".strip(), *others, licence, f"<{home}>"]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _listing(rows: Sequence[Row]) -> str:
    """Two lines a dataset: what it is for, and below it its name, its terms and its home."""
    first, second = slice(0, 6), slice(6, 9)
    table = [HEADS[first], *(cells(row)[first] for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    aligned = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
    ]
    below = ["; ".join(HEADS[second]), *("; ".join(cells(row)[second]) for row in rows)]
    lines = [text for line, note in zip(aligned, below, strict=True) for text in (line, f"    {note}")]
    return "\n".join([*lines, "", "* one number of the paper for several rows;  openlvm catalog NAME for one dataset"])


def _values(row: Row) -> dict[str, Any]:
    values = {name: value for name, value in vars(row).items() if name != "splits"}
    values["splits"] = list(row.splits)
    values["layout_source"] = row.layout_source or "none: layout unverified"
    return {name: dict(value) if hasattr(value, "items") else value for name, value in values.items()}


def _text(value: Any, width: int) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value).strip("\n").replace("\n", "\n" + " " * (width + 2))


def _check(options: Check) -> Outcome:
    row = pick(CATALOG, options.name, "dataset")
    if options.split:
        pick(row.splits, options.split, f"split of {row.name}")
    if options.limit < 0:
        raise ValueError(f"--limit {options.limit} must be at least 0")
    if options.split:
        found = [check_split(row, options.at, options.split, limit=options.limit)]
    else:
        found = check_splits(row, options.at, limit=options.limit)
    lines = [line for checked in found for line in _lines(checked)]
    lines += [] if row.is_verified else ["layout: unverified (no public loader or document shows it)"]
    return Outcome({"name": row.name, "splits": [asdict(checked) for checked in found]}, "\n".join(lines))


def _lines(checked: Checked) -> list[str]:
    if checked.missing:
        return [f"{checked.split}: not there ({checked.missing})"]
    promised = "" if checked.promised is None else f" of {checked.promised} promised"
    slots = ", ".join(f"{slot} {count}" for slot, count in checked.frames.items())
    labels = f"; {checked.labels} labels" if checked.labels else ""
    lines = [
        f"{checked.split}: {checked.items} items{promised}; {checked.read} read: {checked.records} records "
        f"({slots or 'nothing'}{labels}), {checked.bad} bad"
    ]
    return [*lines, *(f"  {line}" for line in checked.told)]
