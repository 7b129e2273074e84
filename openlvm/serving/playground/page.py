"""The page: examples, a prompt, how to draw, and the answer, which grows row by row (Gradio's blocks)."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from fastapi import FastAPI

from openlvm.serving.playground.answering import NOBODY, answer_of
from openlvm.serving.playground.answers.html import EMPTY
from openlvm.serving.playground.examples import Examples
from openlvm.serving.playground.listeners import Listeners, newest
from openlvm.serving.service import Service

WEB = Path(__file__).parent / "web"
STYLE = (WEB / "page.css").read_text()
THEME = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
CANDIDATES, FRAMES = 4, 2
"""Drawn unless somebody moves the sliders."""
MOST_FRAMES = 32
"""Beyond the context the first pictures are dropped, as `LVM.complete` does."""
MOST_CALLS = 40
"""At a time, and at least twice as many as requests are admitted, so that a call is refused at once instead of lying in
Gradio's queue with its pictures, where nobody counts them."""
HEADER = (
    '<header class="lvm-header"><h1>OpenLVM</h1><p>Pictures in, pictures out. '
    '<a href="/docs">How programs ask</a></p></header>'
)
PROMPT = (
    '<div class="lvm-prompt"><div class="modes" role="tablist" aria-label="How to prompt"></div>'
    '<p class="about quiet"></p><div class="sections"></div><p class="says problem" role="alert"></p>'
    '<input type="file" accept="image/png,image/jpeg,image/webp" hidden></div>'
)


class Added(NamedTuple):
    """A page that was mounted."""

    handlers: Mapping[int, int]
    """Their numbers -> how many values each takes."""
    listeners: Listeners


def add_page(app: FastAPI, path: str, service: Service) -> Added:
    """Mount the page of a service below a path."""
    page = gr.Blocks(title="OpenLVM", analytics_enabled=False, fill_width=True)
    page.max_threads = max(MOST_CALLS, 2 * service.limits.max_requests)
    page.state_session_capacity = page.max_threads
    listeners = Listeners(page, service.limits)
    _fill(page, service, listeners)
    gr.mount_gradio_app(
        app, page, path,
        footer_links=[], run_history=False, show_error=False, ssr_mode=False, theme=THEME, css=STYLE,
    )  # fmt: skip
    return Added({number: len(handler.inputs) for number, handler in page.fns.items()}, listeners)


def _fill(page: gr.Blocks, service: Service, listeners: Listeners) -> None:
    """All parts of the page and their handlers."""
    names = list(service.lvms)
    examples = Examples(service.lvms[names[0]].bundle.tokenizer.preparation)
    with page:
        gr.HTML(HEADER, apply_default_css=False)
        shown = _custom("examples.js", '<div class="lvm-examples" role="group" aria-label="Ready examples"></div>')
        with gr.Row():
            with gr.Column(scale=5, min_width=340):
                prompt = _custom("prompt.js", PROMPT, max_bytes=service.limits.max_body_bytes)
                how = _how_to_draw(service)
                with gr.Row():
                    run = gr.Button("Draw", variant="primary", elem_id="lvm-run")
                    stop = gr.Button("Stop", elem_id="lvm-stop")
            with gr.Column(scale=7, min_width=340):
                answer = _custom("answer.js", '<div class="lvm-answer" aria-busy="false">${value}</div>', value=EMPTY)

        async def asked(request: gr.Request, prompt: str, *how: Any) -> AsyncIterator[str]:
            parts = newest(answer_of(service, prompt, *how), partial(listeners.is_behind, request.session_hash or ""))
            async with aclosing(parts):  # at once if somebody leaves
                async for made in parts:
                    yield made

        async def cards() -> str:
            return await asyncio.to_thread(examples.cards)

        async def chosen(name: str) -> str:
            known = await asyncio.to_thread(examples.all)
            return {json.dumps(one.name): one.words for one in known.values()}.get(name, "null")

        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        page.load(cards, None, shown, **quiet)
        shown.select(chosen, shown, prompt, **quiet)
        running = run.click(asked, [prompt, *how], answer, concurrency_limit=None, **quiet)
        stop.click(None, None, None, cancels=[running], api_visibility="private")
        page.queue(max_size=service.limits.max_requests, default_concurrency_limit=None)


def _custom(script: str, template: str, *, value: str = "", **props: Any) -> gr.HTML:
    """A part of the page with its own script."""
    return gr.HTML(
        value, html_template=template, js_on_load=(WEB / script).read_text(), apply_default_css=False, **props
    )


def _how_to_draw(service: Service) -> list[Any]:
    """The switches, in the order of `answer_of`; page.css hides those that a mode does not need."""
    names = list(service.lvms)
    lvm = service.lvms[names[0]]
    sampling = lvm.sampling
    several = len(names) > 1
    with gr.Row(elem_classes="lvm-how"):
        name = gr.Dropdown(names, value=names[0], label="LVM", visible=several)
        beside = gr.Dropdown([NOBODY, *names], value=NOBODY, label="Beside it", visible=several)
    with gr.Row(elem_classes="lvm-how"):
        most = service.limits.max_candidates
        candidates = gr.Slider(1, most, min(CANDIDATES, most), step=1, label="Candidates", elem_classes="lvm-drawn")
        most = min(MOST_FRAMES, service.limits.max_drawn)
        frames = gr.Slider(1, most, min(FRAMES, most), step=1, label="Frames", elem_classes="lvm-frames")
    with gr.Row(elem_classes=["lvm-how", "lvm-drawn"]):
        temperature = gr.Slider(
            0, 2, sampling.temperature, step=0.05, label="Temperature", info="0 takes the likeliest code"
        )
        top_p = gr.Slider(0.05, 1, sampling.top_p or 1, step=0.01, label="Top-p", info="1 draws among all codes")
    with gr.Row(elem_classes=["lvm-how", "lvm-drawn"]):
        seed = gr.Number(0, precision=0, minimum=0, label="Seed")
        exact = gr.Checkbox(True, label="Same bits as the call in Python", info="slower in company")
    return [name, beside, candidates, frames, temperature, top_p, seed, exact]
