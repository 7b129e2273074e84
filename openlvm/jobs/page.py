"""The demo's page: one HTML file with every picture inside, that opens from disk without a network."""

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
from openlvm.evaluation.trials import CONDITIONS, Outcome
from openlvm.store.format import Store
from openlvm.store.look import look_at_record
from openlvm.tokenizer.folder import load_tokenizer

PER_TASK = 4  # queries shown of each task, the first ones
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; font-size: .85rem } td, th { padding: .15rem .6rem; text-align: right }
th:first-child, td:first-child { text-align: left } tr:nth-child(even) { background: #f6f6f6 }
.row { display: flex; gap: 4px; margin: 4px 0; overflow-x: auto } figure { margin: 0; text-align: center }
figcaption { font-size: .7rem; color: #666 } img.cell { width: 88px; image-rendering: pixelated; display: block }
.answer img { outline: 3px solid #00a050; outline-offset: -3px } svg { background: #fafafa }
img.sheet { max-width: 100% }
"""
INTRODUCTION = """\
A small LVM was trained on this machine, on the sample pack that comes with OpenLVM, and then prompted with
objects it has never seen, before photographs it has never seen. Minutes of CPU make a weak model: this page
shows what it learned and, beside it, what needs no model at all. Green frames are its answers. The first
queries of each task are shown, not the best ones."""
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


def demo_page(
    at: Path, report: Mapping[str, Any], outcomes: Sequence[Outcome], *, run_at: Path, tokenizer: Path
) -> None:
    """Write the page of a demo's run."""
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
    head = f'<meta charset="utf-8"><title>OpenLVM demo</title><style>{STYLE}</style>'
    html = f'<!doctype html><html lang="en">{head}{body}</html>'
    with atomic_write(at) as file:
        file.write(html.encode())
