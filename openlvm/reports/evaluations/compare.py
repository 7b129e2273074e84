"""Several evaluations side by side: models of all of them in one table, by size, by what is shown, and as bars.

Values stand in one column only if they answer the same list of episodes; another list makes another column.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from openlvm.core.files import atomic_write, write_json
from openlvm.reports.evaluations.charts import Bar, bar_chart
from openlvm.reports.evaluations.curves import curves, size_curves
from openlvm.reports.evaluations.page import document, figures, file_name, html_sources
from openlvm.reports.evaluations.read import Evaluation, Scores, read_evaluation
from openlvm.reports.evaluations.tables import html, markdown, overview, scores_csv, sources, warnings


def write_comparison(folders: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write report.html, report.md, scores.csv, report.json and plots/ of evaluations; what report.json holds.

    Raises:
        FileNotFoundError, ValueError: no evaluation in a folder.
    """
    found = merged([read_evaluation(Path(folder)) for folder in folders])
    drawn = [_drawn(evaluation) for evaluation in found]
    for plots in drawn:
        for name, svg in plots.items():
            _write(out / "plots" / f"{file_name(name)}.svg", svg)
    told = {"evaluations": [_values(evaluation) for evaluation in found], "folders": [str(one) for one in folders]}
    _write(out / "report.md", "\n".join(comparison_markdown(found)) + "\n")
    _write(out / "report.html", _html(found, drawn))
    _write(out / "scores.csv", scores_csv(found))
    write_json(out / "report.json", told)
    return told


def _write(at: Path, text: str) -> None:
    with atomic_write(at) as file:
        file.write(text.encode())


def merged(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """One evaluation for each suite and kind of data, with the rows of all."""
    groups: dict[tuple[str, bool], list[Evaluation]] = {}
    for one in evaluations:
        groups.setdefault((one.suite, one.is_packaged), []).append(one)
    return [_merged(group) for group in groups.values()]


def _merged(group: Sequence[Evaluation]) -> Evaluation:
    predictors: dict[str, Mapping[str, Any]] = {}
    columns: dict[tuple[str, str], Scores] = {}
    for one in group:
        names = {name: _row_name(name, told, predictors, one.at) for name, told in one.predictors.items()}
        predictors |= {names[name]: told for name, told in one.predictors.items()}
        for column in one.columns.values():
            key = column.name, column.digest
            columns[key] = _joined(columns.get(key), column, names)
    first_digest = {name: digest for name, digest in reversed(columns)}
    titles = {(name, digest): name if digest == first_digest[name] else f"{name} (list {digest[:8]})"
              for name, digest in columns}  # fmt: skip
    return replace(
        group[0],
        predictors=predictors,
        columns={titles[key]: replace(column, name=titles[key]) for key, column in columns.items()},
        left_out=tuple(dict.fromkeys(line for one in group for line in one.left_out)),
        seeds=tuple(dict.fromkeys(seed for one in group for seed in one.seeds)),
        sheets={},
    )


def _row_name(name: str, told: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], at: Path) -> str:
    """The same predictor keeps its row; another one of the same name is told apart by its folder."""
    if known.get(name, told) == told:
        return name
    return f"{name} ({at.resolve().name})"


def _joined(first: Scores | None, second: Scores, names: Mapping[str, str]) -> Scores:
    """Two columns of one list of episodes as one; a row that both have stays as the first has it."""
    rows = {names[name]: row for name, row in second.rows.items()}
    if first is None:
        return replace(second, rows=rows)
    metrics = {name: better for name, better in first.metrics.items() if name in second.metrics}
    return replace(first, metrics=metrics, rows={**rows, **first.rows})


def _drawn(evaluation: Evaluation) -> dict[str, str]:
    return {**size_curves(evaluation), **curves(evaluation)}


def _values(evaluation: Evaluation) -> dict[str, Any]:
    """First metrics as JSON values."""
    return {
        "suite": evaluation.suite,
        "is_packaged": evaluation.is_packaged,
        "columns": {
            name: {
                "metric": column.first,
                "better": column.metrics[column.first],
                "rows": {row: _spelled(found.values[column.first].value) for row, found in column.rows.items()},
            }
            for name, column in evaluation.columns.items()
        },
    }


def _spelled(value: float) -> float | str | None:
    """JSON knows neither NaN nor infinity."""
    if value != value:
        return None
    return value if abs(value) < float("inf") else ("inf" if value > 0 else "-inf")


def comparison_markdown(evaluations: Sequence[Evaluation]) -> list[str]:
    """Lines of the comparison."""
    lines = ["# Evaluations"]
    for evaluation in evaluations:
        lines += ["", f"## {evaluation.suite}", "", *warnings(evaluation), "", *markdown(overview(evaluation)), ""]
        lines += [f"- {line}" for line in sources(evaluation)]
        lines += [f"- left out: {line}" for line in evaluation.left_out]
        lines += [f"![{name}](plots/{file_name(name)}.svg)" for name in _drawn(evaluation)]
    return lines


def _html(evaluations: Sequence[Evaluation], drawn: Sequence[dict[str, str]]) -> str:
    parts = ["<h1>Evaluations</h1>"]
    for evaluation, plots in zip(evaluations, drawn, strict=True):
        parts.append(f"<h2>{escape(evaluation.suite)}</h2><p>{escape(evaluation.about)}</p>")
        parts += [f'<p class="note">{escape(line)}</p>' for line in warnings(evaluation)]
        parts += [html(overview(evaluation)), html_sources(evaluation)]
        parts += [figures(plots)] if plots else []
        parts += [f"<h4>Models, by column</h4>{figures(_bars(evaluation))}"]
    return document("Evaluations", "".join(parts))


def _bars(evaluation: Evaluation) -> dict[str, str]:
    """Column -> bars of the models, as of an ablation."""
    return {
        name: f"<figcaption>{escape(f'{name}: {column.first}')}</figcaption>"
        + bar_chart(
            [Bar(row, column.rows[row].values[column.first]) for row in evaluation.rows("model") if row in column.rows]
        )
        for name, column in evaluation.columns.items()
    }
