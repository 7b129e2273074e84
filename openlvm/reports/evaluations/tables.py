"""Tables of evaluations: what stands in them, and the same as Markdown, HTML and CSV.

Published rows stand in a group of their own, with the mean and the intervals of nobody.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from openlvm.reports.evaluations.charts import spell
from openlvm.reports.evaluations.read import ROLES, Evaluation, Scores, Value

ARROWS = {"higher": "↑", "lower": "↓"}


class Cell(NamedTuple):
    """A value as it is printed."""

    text: str
    small: str = ""
    """Its interval."""
    is_best: bool = False


@dataclass(frozen=True)
class Group:
    """Rows under a heading."""

    title: str
    rows: Sequence[tuple[str, Sequence[Cell]]]
    """Name and cells."""


@dataclass(frozen=True)
class Table:
    """A head of names, and groups of rows."""

    head: Sequence[str]
    groups: Sequence[Group]


def published_title(evaluation: Evaluation) -> str:
    """The heading above published rows: whether they may be compared at all."""
    if evaluation.is_packaged:
        return "Published, on other pictures or pairs: compares with no row above"
    return "Published, not measured here: see sources and protocols"


def warnings(evaluation: Evaluation) -> list[str]:
    """What a reader must know before any number, a line each."""
    lines = []
    if evaluation.is_packaged:
        lines.append("Asked on pictures that come with OpenLVM: these numbers compare with no published one.")
    tokenizers = {told["tokenizer"] for told in evaluation.predictors.values() if told.get("predictor") == "lvm"}
    if len(tokenizers) > 1 and any(column.asks == "likelihood" for column in evaluation.columns.values()):
        lines.append("The models have different tokenizers: their perplexities and losses do not compare.")
    return lines


def sources(evaluation: Evaluation) -> list[str]:
    """Where the published rows of the table come from."""
    return [f"{told['name']}: {told['source']}" for told in evaluation.references
            if set(told["values"]) & set(evaluation.columns)]  # fmt: skip


def cell_of(value: Value | None, spread: float = math.nan, *, is_best: bool = False) -> Cell:
    """A value with its interval, and its spread over seeds where there are several."""
    if value is None:
        return Cell("")
    small = f"[{spell(value.low, 3)}, {spell(value.high, 3)}]" if not math.isnan(value.low) else ""
    more = f"± {spell(spread, 3)}" if not math.isnan(spread) else ""
    return Cell(spell(value.value), " ".join(filter(None, (small, more))), is_best)


def overview(evaluation: Evaluation) -> Table:
    """Every predictor by every column: the first metric of each, the best model's in bold."""
    columns = list(evaluation.columns.values())
    best = {column.name: best_of(column, evaluation.rows("model")) for column in columns}
    groups = []
    for role, title in ROLES.items():
        rows = [
            (name, [_first_cell(column, name, is_best=name == best[column.name]) for column in columns])
            for name in evaluation.rows(role)
            if any(name in column.rows for column in columns)
        ]
        groups += [Group(title, rows)] if rows else []
    published = [
        (told["name"], [_published_cell(told["values"].get(column.name)) for column in columns])
        for told in evaluation.references
        if any(column.name in told["values"] for column in columns)
    ]
    if published:
        groups.append(Group(published_title(evaluation), published))
    head = [f"{column.name}\n{column.first} {ARROWS[column.metrics[column.first]]}" for column in columns]
    return Table(["", *head], groups)


def of_column(evaluation: Evaluation, column: Scores) -> Table:
    """Every predictor of a column by every metric."""
    groups = [
        Group(title, [(name, [_cell(column, name, metric) for metric in column.metrics])
                      for name in evaluation.rows(role) if name in column.rows])
        for role, title in ROLES.items()
    ]  # fmt: skip
    others = [Cell("")] * (len(column.metrics) - 1)
    published = [(told["name"], [_published_cell(told["values"][column.name]), *others])
                 for told in evaluation.references if column.name in told["values"]]  # fmt: skip
    groups.append(Group(published_title(evaluation), published))
    head = [f"{metric} {ARROWS[better]}" for metric, better in column.metrics.items()]
    return Table(["", *head], [group for group in groups if group.rows])


def by_label(evaluation: Evaluation, column: Scores) -> Table | None:
    """The first metric of every predictor by label (class, fold, configuration); None where there are none."""
    found = {name: row.by_label[column.first] for name, row in column.rows.items()}
    labels = sorted({label for told in found.values() for label in told})
    if not labels:
        return None
    groups = [
        Group(title, [(name, [cell_of(found[name].get(label)) for label in labels])
                      for name in evaluation.rows(role) if name in found])
        for role, title in ROLES.items()
    ]  # fmt: skip
    return Table(["", *labels], [group for group in groups if group.rows])


def best_of(column: Scores, names: Sequence[str]) -> str:
    """The best of these rows in a column's first metric; "" of fewer than two, where best says nothing."""
    known = {name: column.rows[name].values[column.first].value for name in names if name in column.rows}
    known = {name: value for name, value in known.items() if not math.isnan(value)}
    if len(known) < 2:
        return ""
    return (max if column.is_better_higher else min)(known, key=lambda name: known[name])


def _first_cell(column: Scores, name: str, *, is_best: bool) -> Cell:
    return _cell(column, name, column.first, is_best=is_best) if name in column.rows else Cell("")


def _cell(column: Scores, name: str, metric: str, *, is_best: bool = False) -> Cell:
    row = column.rows[name]
    return cell_of(row.values[metric], row.spreads[metric], is_best=is_best)


def _published_cell(value: float | None) -> Cell:
    return Cell("") if value is None else Cell(spell(value))


def markdown(table: Table) -> list[str]:
    """Lines of a Markdown table."""
    lines = [_line([name.replace("\n", "<br>") for name in table.head]), "| --- |" + " ---: |" * (len(table.head) - 1)]
    for group in table.groups:
        lines.append(_line([f"*{group.title}*", *[""] * (len(table.head) - 1)]))
        for name, cells in group.rows:
            texts = [f"**{cell.text}**" if cell.is_best else cell.text for cell in cells]
            smalls = [f" {cell.small}" if cell.small else "" for cell in cells]
            lines.append(_line([name, *(text + small for text, small in zip(texts, smalls, strict=True))]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def html(table: Table, links: Sequence[str] = ()) -> str:
    """The same as HTML, which scrolls sideways by itself where it is too wide.

    Args:
        links: of the names in the head after the first, where they lead somewhere.
    """
    names = [
        escape(name).replace("\n", "<br>").replace(" ↑", "&nbsp;↑").replace(" ↓", "&nbsp;↓") for name in table.head
    ]
    if links:
        names[1:] = [f'<a href="{link}">{name}</a>' for link, name in zip(links, names[1:], strict=True)]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    parts = [f'<div class="wide"><table><thead><tr>{head}</tr></thead>']
    for group in table.groups:
        parts.append(f'<tbody><tr class="group"><th colspan="{len(table.head)}"><span>{escape(group.title)}</span>'
                     "</th></tr>")  # fmt: skip
        for name, cells in group.rows:
            parts.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(map(_html_cell, cells))}</tr>')
        parts.append("</tbody>")
    return "".join([*parts, "</table></div>"])


def _html_cell(cell: Cell) -> str:
    text = f"<b>{escape(cell.text)}</b>" if cell.is_best else escape(cell.text)
    return f"<td>{text}{f'<small>{escape(cell.small)}</small>' if cell.small else ''}</td>"


def scores_csv(evaluations: Sequence[Evaluation]) -> str:
    """Every number of the evaluations, a line each; published ones have "published" for their role."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["suite", "column", "role", "predictor", "metric", "better", "label", "value", "low", "high",
                     "spread", "episodes", "digest", "data"])  # fmt: skip
    for evaluation in evaluations:
        for column in evaluation.columns.values():
            about = [column.episodes, column.digest, column.data]
            for role in ROLES:
                for name, row in ((one, column.rows[one]) for one in evaluation.rows(role) if one in column.rows):
                    for metric, better in column.metrics.items():
                        start = [evaluation.suite, column.name, role, name, metric, better]
                        writer.writerow([*start, "", *_plain(*row.values[metric], row.spreads[metric]), *about])
                        for label, value in row.by_label[metric].items():
                            writer.writerow([*start, label, *_plain(*value, math.nan), *about])
            for told in evaluation.references:
                if column.name in told["values"]:
                    start = [evaluation.suite, column.name, "published", told["name"], column.first,
                             column.metrics[column.first]]  # fmt: skip
                    writer.writerow([*start, "", told["values"][column.name], "", "", "", "", "", told["source"]])
    return buffer.getvalue()


def _plain(*values: float) -> list[float | str]:
    return ["" if math.isnan(value) else value for value in values]
