"""The pages of an evaluation, from what its run left: report.html, which needs nothing else, report.md, scores.csv.

OUT/report.html   tables, bars, curves and pictures in one file; no request leaves it
OUT/report.md     the tables and curves
OUT/scores.csv    every number, a line each
OUT/plots/        the curves as SVG, for report.md
"""

import re
from html import escape
from pathlib import Path

from openlvm.core.files import atomic_write
from openlvm.reports.evaluations.charts import Bar, bar_chart
from openlvm.reports.evaluations.curves import curves, size_curves
from openlvm.reports.evaluations.pictures import episodes_shown, inlined
from openlvm.reports.evaluations.read import ROLES, Evaluation, Scores, read_evaluation
from openlvm.reports.evaluations.tables import (
    by_label,
    html,
    markdown,
    of_column,
    overview,
    scores_csv,
    sources,
    warnings,
)

SHEET_SIDE = 1400  # longest side of a sheet of prompts in the page, pixels

STYLE = """
:root { --ink: #222; --faint: #667; --line: #dde; --paper: #fff; --band: #f4f5f8 }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 80rem;
       margin: 0 auto; padding: 1rem }
h1 { margin: .3rem 0 } h2 { margin: 2.4rem 0 .4rem; border-top: 1px solid var(--line); padding-top: 1.2rem }
h4 { margin: 1rem 0 .3rem; color: var(--faint); font-weight: 600 }
p { max-width: 48rem; overflow-wrap: anywhere } .faint, small, figcaption { color: var(--faint) }
.note { background: #fff6e0; border-left: 4px solid #e69f00; padding: .5rem .8rem; border-radius: 3px }
.wide { overflow-x: auto; margin: .8rem 0 }
table { border-collapse: separate; border-spacing: 0; font-size: .87rem; font-variant-numeric: tabular-nums }
th, td { padding: .28rem .6rem; text-align: right; vertical-align: top; white-space: nowrap }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; white-space: normal; max-width: 8.5rem }
tbody th { font-weight: 400; text-align: left; position: sticky; left: 0; background: var(--paper) }
tbody tr:not(.group):hover > * { background: var(--band) }
.group th { color: var(--faint); font-size: .8rem; padding-top: .7rem; border-bottom: 1px solid var(--line) }
.group span { position: sticky; left: .7rem; display: inline-block; max-width: 85vw; white-space: normal }
td small { display: block; font-size: .72rem }
.bars { max-width: 560px } .bars svg, .curves svg { width: 100%; height: auto; display: block }
.curves { display: flex; flex-wrap: wrap; gap: 1.2rem } .curves figure { flex: 1 1 300px; max-width: 460px; margin: 0 }
.strip { display: flex; flex-wrap: wrap; gap: 8px; margin: .4rem 0 }
.strip figure { margin: 0; width: 96px } .strip img { width: 96px; border-radius: 3px; display: block }
.strip figcaption { font-size: .72rem; line-height: 1.25; overflow-wrap: anywhere; padding-top: 2px }
.truth img { outline: 3px solid #009e73; outline-offset: -3px } .model img { outline: 3px solid #0072b2;
outline-offset: -3px } .sheet { overflow-x: auto }
.sheet img { max-width: 100% } summary { cursor: pointer; color: #0060a0 } a { color: #0060a0 }
@media (max-width: 600px) { th, td { padding: .25rem .4rem } tbody tr:not(.group) th { white-space: normal;
min-width: 5.5rem; max-width: 7rem } thead th { max-width: 7.5rem }
.strip figure, .strip img { width: 76px } .sheet img { max-width: none } }
"""


def write_pages(out: Path) -> None:
    """Write the pages of the evaluation in a folder."""
    evaluation = read_evaluation(out)
    of_size, of_shown = size_curves(evaluation), curves(evaluation)
    for name, svg in {**of_size, **of_shown}.items():
        _write(out / "plots" / f"{file_name(name)}.svg", svg)
    _write(out / "scores.csv", scores_csv([evaluation]))
    _write(out / "report.md", "\n".join(_markdown(evaluation, [*of_size, *of_shown])) + "\n")
    _write(out / "report.html", _html(evaluation, of_size, of_shown))


def _write(at: Path, text: str) -> None:
    with atomic_write(at) as file:
        file.write(text.encode())


def file_name(words: str) -> str:
    """Words as the name of a file: letters and digits, others become "-"."""
    return re.sub(r"[^\w.]+", "-", words).strip("-")


def document(title: str, body: str) -> str:
    """A whole page around its body; readable on a phone, without any request."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style><body>{body}</body></html>\n"
    )


def figures(drawn: dict[str, str]) -> str:
    """Curves beside each other, as many as fit."""
    return f'<div class="curves">{"".join(f"<figure>{svg}</figure>" for svg in drawn.values())}</div>'


def _reading(evaluation: Evaluation) -> str:
    """How the numbers are to be read."""
    seeds, several = ", ".join(map(str, evaluation.seeds)), len(evaluation.seeds) > 1
    spread = ", ± the standard deviation over seeds" if several else ""
    return f"Seed{'s' * several} {seeds}. Brackets hold 95 % bootstrap intervals over queries{spread}."


def _markdown(evaluation: Evaluation, drawn: list[str]) -> list[str]:
    lines = [f"# {evaluation.suite}", "", evaluation.about, "", *warnings(evaluation), _reading(evaluation), ""]
    lines += [f"- left out: {line}" for line in evaluation.left_out]
    lines += ["", *markdown(overview(evaluation)), ""]
    lines += [f"- {line}" for line in sources(evaluation)]
    lines += ["", *(f"![{name}](plots/{file_name(name)}.svg)" for name in drawn)]
    for column in evaluation.columns.values():
        lines += ["", f"## {column.name}", "", _about(column), "", *markdown(of_column(evaluation, column))]
        labels = by_label(evaluation, column)
        lines += ["", f"{column.first} by label:", "", *markdown(labels)] if labels else []
    lines += ["", *(f"![{name}](sheets/{name}/{model}.png)" for name in evaluation.sheets
                    for model in _drawn_sheets(evaluation, name))]  # fmt: skip
    return lines


def html_sources(evaluation: Evaluation) -> str:
    """Where published rows come from, folded away; "" without any."""
    items = "".join(f"<li>{escape(line)}</li>" for line in sources(evaluation))
    summary = "<summary>Sources of the published rows</summary>"
    return f'<details>{summary}<ul class="faint">{items}</ul></details>' if items else ""


def _about(column: Scores) -> str:
    told = f"{column.episodes} episodes (list {column.digest[:12]}) of {column.data}. {column.protocol}"
    return told.strip()


def _html(evaluation: Evaluation, of_size: dict[str, str], of_shown: dict[str, str]) -> str:
    parts = [f"<h1>{escape(evaluation.suite)}</h1><p>{escape(evaluation.about)}</p>"]
    parts += [f'<p class="note">{escape(line)}</p>' for line in warnings(evaluation)]
    parts.append(f'<p class="faint">{escape(_reading(evaluation))}</p>')
    parts.append(html(overview(evaluation), [f"#{file_name(name)}" for name in evaluation.columns]))
    parts.append(html_sources(evaluation))
    if evaluation.left_out:
        items = "".join(f"<li>{escape(line)}</li>" for line in evaluation.left_out)
        parts.append(f'<p>Left out:</p><ul class="faint">{items}</ul>')
    parts += [f"<h2>By model size</h2>{figures(of_size)}"] if of_size else []
    parts += [f"<h2>By what is shown</h2>{figures(of_shown)}"] if of_shown else []
    parts += [_column(evaluation, column) for column in evaluation.columns.values()]
    parts += [_sheets(evaluation, name, about) for name, about in evaluation.sheets.items()]
    return document(f"{evaluation.suite}: evaluation", "".join(parts))


def _column(evaluation: Evaluation, column: Scores) -> str:
    bars = [
        Bar(name, column.rows[name].values[column.first], role)
        for role in ROLES
        for name in evaluation.rows(role)
        if name in column.rows
    ]
    parts = [f'<section id="{file_name(column.name)}"><h2>{escape(column.name)}</h2>',
             f'<p class="faint">{escape(_about(column))}</p>']  # fmt: skip
    if bars:
        title = f"{column.first}, {column.metrics[column.first]} is better"
        parts.append(f'<div class="bars"><h4>{escape(title)}</h4>{bar_chart(bars)}</div>')
        parts.append(html(of_column(evaluation, column)))
    else:
        parts.append("<p>Nobody was asked: no model here gives what this column asks for.</p>")
    if labels := by_label(evaluation, column):
        parts.append(f"<details><summary>{escape(column.first)} by label</summary>{html(labels)}</details>")
    shown = episodes_shown(evaluation, column)
    if shown:
        parts.append(shown[0])
        if shown[1:]:
            parts.append(f"<details><summary>{len(shown) - 1} more</summary>{''.join(shown[1:])}</details>")
    return "".join([*parts, "</section>"])


def _drawn_sheets(evaluation: Evaluation, name: str) -> list[str]:
    """Models that a sheet was drawn of."""
    return sorted(at.stem for at in (evaluation.at / "sheets" / name).glob("*.png"))


def _sheets(evaluation: Evaluation, name: str, about: str) -> str:
    parts = [f"<h2>{escape(name)}</h2><p>{escape(about)}</p>"]
    for model in _drawn_sheets(evaluation, name):
        source = inlined(evaluation.at / "sheets" / name / f"{model}.png", SHEET_SIDE)
        parts.append(f'<div class="sheet"><h4>{escape(model)}</h4><img src="{source}" alt="{escape(name)}"></div>')
    return "".join(parts)
