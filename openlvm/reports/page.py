"""A report's folder: the same tables as Markdown, CSV, JSON and one HTML file with the plots inside."""

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from openlvm.core.files import atomic_write, write_json
from openlvm.reports.plots import draw_curves, draw_scaling, spell_count, spell_law
from openlvm.reports.runs import Run
from openlvm.reports.scaling import Point, laws_of, points_of, uses_heldout

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-size: .85rem; margin: 1rem 0 }
td, th { padding: .15rem .7rem; text-align: right } th:first-child, td:first-child { text-align: left }
tr:nth-child(even) { background: #f6f6f6 } img { max-width: 100% }
"""


def run_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row of values for each run."""
    return [
        {
            "run": run.name,
            "parameters": run.parameters,
            "seed": run.seed,
            "steps": run.steps,
            "planned": run.all_steps,
            "codes": round(run.tokens),
            "operations": float(f"{run.flops:.4g}"),
            "minutes": round(run.seconds / 60, 2),
            "codes_per_second": round(run.tokens / run.seconds) if run.seconds else None,
            "training_loss": round(run.training_loss, 4),
            "heldout_loss": None if run.heldout_loss is None else round(run.heldout_loss, 4),
        }
        for run in runs
    ]


def point_rows(points: Sequence[Point]) -> list[dict[str, Any]]:
    """A row of values for each size and length."""
    return [
        {
            "size": spell_count(point.parameters),
            "parameters": point.parameters,
            "codes": round(point.tokens),
            "operations": float(f"{point.flops:.4g}"),
            "runs": len(point.runs),
            "loss": round(point.loss, 4),
            "spread": None if point.spread is None else round(point.spread, 4),
            "lowest": round(min(point.losses), 4),
            "highest": round(max(point.losses), 4),
        }
        for point in points
    ]


def write_report(runs: Sequence[Run], out: Path) -> dict[str, Any]:
    """Write the report's six files (report.md, .html, .json, runs.csv, two plots); returns what report.json holds."""
    points = points_of(runs)
    plots = {"curves.png": draw_curves(runs), "scaling.png": draw_scaling(points)}
    of_runs, of_points = run_rows(runs), point_rows(points)
    laws = [spell_law(law, letter) for letter, law in laws_of(points).items()]
    which = "held-out" if uses_heldout(runs) else "training"
    told = {"runs": of_runs, "points": of_points, "power_laws": laws, "loss": which}
    for name, picture in plots.items():
        with atomic_write(out / name) as file:
            file.write(picture)
    for name, text in (
        ("report.md", _markdown(of_runs, of_points, laws, which)),
        ("report.html", _html(of_runs, of_points, laws, which, plots)),
        ("runs.csv", _csv(of_runs)),
    ):
        with atomic_write(out / name) as file:
            file.write(text.encode())
    write_json(out / "report.json", json.loads(json.dumps(told)))
    return told


def _explained(which: str, laws: Sequence[str]) -> list[str]:
    fitted = f"Power laws through the means: {'; '.join(laws)}." if laws else "No power law: three sizes are needed."
    return [
        f"Loss is the {which} loss after the last step, in nats a code; spread is the standard deviation over the runs "
        "of one size and length. Operations: 6 (weights of blocks and head + L D T) a code.",
        f"{fitted} N are parameters (only after equally many codes), C operations.",
    ]


def _cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Head and rows as text."""
    head = [name.replace("_", " ") for name in rows[0]]
    return [head, *([_spell(value) for value in row.values()] for row in rows)]


def _spell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3e}" if value >= 1e6 else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a Markdown table, numbers to the right."""
    head, *others = _cells(rows)
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *others)]
    return [lines[0], "| --- |" + " ---: |" * (len(head) - 1), *lines[1:]]


def _markdown(of_runs: list[dict], of_points: list[dict], laws: Sequence[str], which: str) -> str:
    first, second = _explained(which, laws)
    lines = ["# Runs", "", first, "", *markdown_table(of_points), "", second, "", "![](scaling.png)", ""]
    return "\n".join([*lines, *markdown_table(of_runs), "", "![](curves.png)", ""])


def _html_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head, *others = _cells(rows)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in others)
    return f"<table><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>{body}</table>"


def _html(
    of_runs: list[dict], of_points: list[dict], laws: Sequence[str], which: str, plots: Mapping[str, bytes]
) -> str:
    tags = {name: f'<img src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
            for name, picture in plots.items()}  # fmt: skip
    first, second = (f"<p>{escape(text)}</p>" for text in _explained(which, laws))
    parts = [first, _html_table(of_points), second, tags["scaling.png"], _html_table(of_runs), tags["curves.png"]]
    head = f'<!doctype html><meta charset="utf-8"><title>Runs</title><style>{STYLE}</style><h1>Runs</h1>'
    return head + "".join(parts) + "\n"


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
