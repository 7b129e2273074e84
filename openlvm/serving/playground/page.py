"""The page: examples, a prompt, how to draw, and the answer, which grows row by row (Gradio's blocks)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from openlvm.serving.playground.answering import NOBODY, answer_of
from openlvm.serving.playground.answers.html import EMPTY
from openlvm.serving.playground.examples import Examples
from openlvm.serving.service import Service

WEB = Path(__file__).parent / "web"
STYLE = (WEB / "page.css").read_text()
THEME = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
CANDIDATES, FRAMES = 4, 2
"""Drawn unless somebody moves the sliders."""
MOST_FRAMES = 32
"""Beyond the context the first pictures are dropped, as `LVM.complete` does."""
SESSIONS_KEPT = 16
"""Of which Gradio keeps the last prompt and answer, which nothing here reads; it would keep those of 10,000."""
HEADER = (
    '<header class="lvm-header"><h1>OpenLVM</h1><p>Pictures in, pictures out. '
    '<a href="/docs">How programs ask</a></p></header>'
)
PROMPT = (
    '<div class="lvm-prompt"><div class="modes" role="tablist" aria-label="How to prompt"></div>'
    '<p class="about quiet"></p><div class="sections"></div><p class="says problem" role="alert"></p>'
    '<input type="file" accept="image/png,image/jpeg,image/webp" hidden></div>'
)
STOPPED = """() => {
    const status = document.querySelector(".lvm-answer [role=status]");
    if (status) status.textContent = "Stopped.";
}"""


def add_page(app: FastAPI, path: str, service: Service) -> dict[int, int]:
    """Mount the page of a service below a path; returns how many values each of its handlers takes."""
    page = _page(service)
    page.state_session_capacity = SESSIONS_KEPT
    gr.mount_gradio_app(
        app, page, path,
        footer_links=[], run_history=False, show_error=False, ssr_mode=False, theme=THEME, css=STYLE,
    )  # fmt: skip
    return {number: len(handler.inputs) for number, handler in page.fns.items()}


def _page(service: Service) -> gr.Blocks:
    names = list(service.lvms)
    examples = Examples(service.lvms[names[0]].bundle.tokenizer.preparation)
    with gr.Blocks(title="OpenLVM", analytics_enabled=False, fill_width=True) as page:
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

        async def asked(prompt: str, *how: Any) -> AsyncIterator[str]:
            async with aclosing(answer_of(service, prompt, *how)) as parts:  # closed at once if somebody leaves
                async for made in parts:
                    yield made

        async def cards() -> str:
            return await asyncio.to_thread(examples.cards)

        async def chosen(name: str) -> str:
            known = await asyncio.to_thread(examples.all)
            one = known.get(json.loads(name))
            return "null" if one is None else one.words

        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        page.load(cards, None, shown, **quiet)
        shown.select(chosen, shown, prompt, **quiet)
        running = run.click(asked, [prompt, *how], answer, concurrency_limit=None, **quiet)
        stop.click(None, None, None, cancels=[running], js=STOPPED, api_visibility="private")
    page.queue(max_size=service.limits.max_requests, default_concurrency_limit=None)
    return page


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
        candidates = gr.Slider(
            1, service.limits.max_candidates, CANDIDATES, step=1, label="Candidates", elem_classes="lvm-drawn"
        )
        frames = gr.Slider(1, MOST_FRAMES, FRAMES, step=1, label="Frames", elem_classes="lvm-frames")
    with gr.Row(elem_classes=["lvm-how", "lvm-drawn"]):
        temperature = gr.Slider(
            0, 2, sampling.temperature, step=0.05, label="Temperature", info="0 takes the likeliest code"
        )
        top_p = gr.Slider(0.05, 1, sampling.top_p or 1, step=0.01, label="Top-p", info="1 draws among all codes")
    with gr.Row(elem_classes=["lvm-how", "lvm-drawn"]):
        seed = gr.Number(0, precision=0, minimum=0, label="Seed")
        exact = gr.Checkbox(True, label="Same bits as the call in Python", info="slower in company")
    return [name, beside, candidates, frames, temperature, top_p, seed, exact]
