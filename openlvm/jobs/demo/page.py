"""The demo's pages: one HTML file with every picture inside, that opens from disk without a network."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from openlvm.core.files import atomic_write
from openlvm.core.runs import read_metrics
from openlvm.evaluation.suites.questions import Answered, Chosen
from openlvm.evaluation.trials import CONDITIONS, Outcome
from openlvm.store.format import Store
from openlvm.store.look import look_at_record
from openlvm.tokenizer.folder import load_tokenizer

PER_TASK = 4  # queries shown of each task, the first ones
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem } h3 { font-size: .95rem; margin: 1rem 0 0 }
table { border-collapse: collapse; font-size: .85rem } td, th { padding: .15rem .6rem; text-align: right }
th:first-child, td:first-child { text-align: left } tr:nth-child(even) { background: #f6f6f6 }
.row { display: flex; gap: 4px; margin: 4px 0; overflow-x: auto } figure { margin: 0; text-align: center }
figcaption { font-size: .7rem; color: #666 } img.cell { width: 88px; image-rendering: pixelated; display: block }
.answer img { outline: 3px solid #00a050; outline-offset: -3px } svg { background: #fafafa }
img.sheet { max-width: 100% }
"""
PROMPTED = """\
The model is small and its weights come with OpenLVM. It was prompted once for every task, on held-out objects before
held-out photographs, and chose once in every kind of puzzle. Green frames are its answers and choices, as they came:
failures too. One query says little; <code>openlvm evaluate mini</code> scores many, beside what needs no model."""
INTRODUCTION = """\
A small LVM was trained on this machine, on the sample pack that comes with OpenLVM, and then prompted with
objects it has never seen, before photographs it has never seen. Minutes of CPU make a weak model: this page
shows what it learned and, beside it, what needs no model at all. Green frames are its answers. The first
queries of each task are shown, not the best ones."""
HEADINGS = {
    "analogy": "By examples: picture and answer, three times, then a query",
    "sequence": "What comes next",
    "composition": "Two tasks at once, each shown by two examples",
    "choice": "Which option fits best? The one with the lowest perplexity",
}
LEGEND = """\
Mean absolute pixel error in 0..1, lower is better; inpainting, next view and next frame where query and truth
differ. <b>correct</b>: 3 example pairs, or 7 frames; <b>wrong</b>: examples of another task; <b>shuffled</b>:
the examples' answers exchanged among them; <b>none</b>: no example; <b>copy</b>: the query itself; <b>mean</b>:
the mean answer of the training set; <b>ceiling</b>: the truth after encoding and decoding, which no decoder can
beat on average."""


def picture_tag(pixels: np.ndarray, kind: str = "cell") -> str:
    """uint8 [H, W, 3] as an <img> that holds its own data."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return f'<img class="{kind}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _figure(pixels: np.ndarray, caption: str, kind: str = "") -> str:
    return f'<figure class="{kind}">{picture_tag(pixels)}<figcaption>{escape(caption)}</figcaption></figure>'


def error_table(tasks: Mapping[str, Any]) -> str:
    """Pixel errors of all tasks under all conditions, and the task's own metric."""
    head = "".join(f"<th>{condition}</th>" for condition in CONDITIONS)
    rows = []
    for name, task in tasks.items():
        cells = "".join(f"<td>{task['pixel_error'][condition]:.3f}</td>" for condition in CONDITIONS)
        own = "".join(f"<td>{_spell(task['value'][condition])}</td>" for condition in ("correct", "copy", "ceiling"))
        rows.append(f"<tr><td>{escape(name)}</td>{cells}<td>{task['metric']}</td>{own}</tr>")
    own_head = "<th>own metric</th><th>answer</th><th>copy</th><th>ceiling</th>"
    return f"<table><tr><th>task</th>{head}{own_head}</tr>{''.join(rows)}</table>"


def _spell(value: float | None) -> str:
    return "∞" if value is None else f"{value:.3g}"


def loss_curve(lines: Sequence[Mapping[str, Any]], width: int = 560, height: int = 180) -> str:
    """The training loss over steps as an SVG."""
    steps = np.array([line["step"] for line in lines], dtype=float)
    losses = np.array([line["loss"] for line in lines])
    low, high = losses.min(), max(losses.max(), losses.min() + 1e-6)
    x = 40 + (width - 50) * steps / steps.max()
    y = 10 + (height - 30) * (high - losses) / (high - low)
    points = " ".join(f"{left:.1f},{top:.1f}" for left, top in zip(x, y, strict=True))
    return (
        f'<svg width="{width}" height="{height}" font-size="11">'
        f'<polyline points="{points}" fill="none" stroke="#3465a4"/>'
        f'<text x="2" y="16">{high:.2f}</text><text x="2" y="{height - 20}">{low:.2f}</text>'
        f'<text x="40" y="{height - 4}">training loss, nats per code, to step {int(steps.max())}</text></svg>'
    )


def _answers(outcomes: Sequence[Outcome]) -> str:
    parts = []
    for name in dict.fromkeys(outcome.trial.task.name for outcome in outcomes):
        parts.append(f"<h2>{escape(name)}</h2>")
        for outcome in [one for one in outcomes if one.trial.task.name == name][:PER_TASK]:
            prompt = outcome.trial.prompts["correct"]
            cells = [_figure(picture, "query" if picture is prompt[-1] else "") for picture in prompt]
            cells.append(_figure(outcome.answers["correct"], "answer", "answer"))
            cells += [_figure(outcome.trial.truth, "truth"), _figure(outcome.answers["ceiling"], "truth, decoded")]
            parts.append(f'<div class="row">{"".join(cells)}</div>')
    return "".join(parts)


def prompts_page(at: Path, report: Mapping[str, Any], answered: Sequence[Answered], chosen: Sequence[Chosen]) -> None:
    """Write the page of `openlvm demo`."""
    told = report["lvm"]
    parts = [
        f"""<h1>OpenLVM: pictures in, pictures out</h1><p><b>{escape(told["name"])}</b>,
{told["decoder_parameters"]:,} parameters. {PROMPTED}</p>
<p><small>Pixel error in 0..1, lower is better; for inpainting and frames where truth and last given picture differ.
Ceiling: that of the truth after encoding and decoding, which no decoder can beat on average.</small></p>"""
    ]
    for style in dict.fromkeys(one.question.style for one in answered):
        parts.append(f"<h2>{HEADINGS[style]}</h2>")
        parts += [_question(one, report["answers"]) for one in answered if one.question.style == style]
    parts.append(f"<h2>{HEADINGS['choice']}</h2>")
    parts += [_puzzle(one) for one in chosen]
    _write_page(at, "".join(parts))


def _question(one: Answered, answers: Mapping[str, Any]) -> str:
    question, scored = one.question, answers[one.question.name]
    cells = [_figure(picture, "") for picture in question.prompt]
    cells += [_figure(picture, "answer", "answer") for picture in one.answers]
    cells += [_figure(picture, "truth") for picture in question.truths]
    cells += [_figure(picture, "truth, decoded") for picture in one.ceilings]
    worth = f"{scored['metric']} {_spell(scored['value'])}"
    return f"""<h3>{escape(question.name)}</h3><div class="row">{"".join(cells)}</div><p><small>pixel error
{scored["pixel_error"]:.3f} (ceiling {scored["ceiling"]:.3f}), {worth}</small></p>"""


def _puzzle(one: Chosen) -> str:
    puzzle, verdict = one.puzzle, "right" if one.choice.index == one.puzzle.answer else "wrong"
    cells = [_figure(picture, "") for picture in puzzle.context]
    cells += [
        _figure(picture, caption, "answer" if number == one.choice.index else "")
        for number, (picture, caption) in enumerate(zip(puzzle.options, one.captions, strict=True))
    ]
    return f"""<h3>{escape(one.name)}</h3><div class="row">{"".join(cells)}</div>
<p><small>chosen: option {one.choice.index + 1} of {len(puzzle.options)}, {verdict}</small></p>"""


def training_page(
    at: Path, report: Mapping[str, Any], outcomes: Sequence[Outcome], *, run_at: Path, tokenizer: Path
) -> None:
    """Write the page of `openlvm demo --train`."""
    loaded = load_tokenizer(tokenizer)
    store = Store.open(run_at / "stores" / "views", loaded)
    sheet = look_at_record(store, loaded, 0)
    whole = report["overall"]
    beaten = ", ".join(whole["beats_copying"]) or "none"
    body = f"""<h1>OpenLVM: pictures in, pictures out</h1><p>{INTRODUCTION}</p>
<p>{report["decoder_parameters"]:,} parameters, {report["training_steps"]} steps,
{report["seconds"]["until trained"]:.0f} seconds until trained. Better than copying the query on: {escape(beaten)}.
With wrong examples the error is {whole["wrong_over_correct"]:.2f} times, with shuffled answers
{whole["shuffled_over_correct"]:.2f} times as large.</p>
<h2>Scores on held-out objects</h2>{error_table(report["tasks"])}<p><small>{LEGEND}</small></p>
{loss_curve(read_metrics(run_at))}{_answers(outcomes)}
<h2>A training record, as its codes show it</h2><pre>{escape(sheet.header)}</pre>{picture_tag(sheet.pixels, "sheet")}"""
    _write_page(at, body)


def _write_page(at: Path, body: str) -> None:
    head = f'<meta charset="utf-8"><title>OpenLVM demo</title><style>{STYLE}</style>'
    with atomic_write(at) as file:
        file.write(f'<!doctype html><html lang="en">{head}<body>{body}</body></html>'.encode())
