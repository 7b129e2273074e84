"""The demo: an LVM is prompted once for every task on pictures it has never seen, and all of it is shown.

out/
  index.html      prompts, answers and truths, in one file
  gallery.png     the same as one picture
  report.json     errors, choices, and where the seconds went
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openlvm.core.files import write_json
from openlvm.core.images import write_image
from openlvm.core.sheets import contact_sheet
from openlvm.evaluation.suites.mini import SAMPLING
from openlvm.evaluation.suites.questions import Answered, Chosen, Question, puzzles, questions
from openlvm.jobs.demo.page import prompts_page
from openlvm.jobs.laps import Laps
from openlvm.prompting.lvm import LVM
from openlvm.sources.worlds.changes import Puzzle
from openlvm.training.progress import say


def run_demo(*, out: Path, lvm: Path | str = "mini", seed: int = 0) -> dict[str, Any]:
    """Prompt an LVM and write what came of it into the folder `out`. Returns the report.

    Args:
        lvm: name of an embedded LVM, or a bundle folder.
        seed: of the pictures that are asked about, and of the answers.
    """
    laps = Laps()
    model = LVM.load(lvm)
    laps.lap("loading")
    preparation = model.bundle.tokenizer.preparation
    asked = list(questions(preparation, seed=seed))
    riddles = list(puzzles(preparation, seed=seed))
    laps.lap("pictures")
    say(f"prompting {lvm}: {len(asked)} tasks and {len(riddles)} puzzles")
    with _one_thread():
        answered = [answer(model, question, seed=seed) for question in asked]
        chosen = [choose(model, puzzle) for puzzle in riddles]
    laps.lap("prompting")
    report = {"lvm": _facts(str(lvm), model), "seed": seed, **scores(answered, chosen)}
    write_image(out / "gallery.png", gallery(answered, chosen))
    prompts_page(out / "index.html", report, answered, chosen)
    laps.lap("writing")
    report["seconds"] = laps.seconds
    write_json(out / "report.json", report)
    say(summary(report))
    return report


@contextmanager
def _one_thread() -> Iterator[None]:
    """A row of a small decoder is too little for two threads: on two cores that others used too, the prompts of a demo
    took 79 s with two threads and 8 s with one (2.4M parameters, 2026-11-21).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def answer(lvm: LVM, question: Question, *, seed: int) -> Answered:
    """Have a question answered once."""
    start = time.monotonic()
    if question.style == "sequence":
        drawn = lvm.complete(question.given, num_frames=len(question.truths), seed=seed, sampling=SAMPLING)
    elif question.style == "analogy":
        drawn = lvm.analogy(question.groups[0], question.given[0], seed=seed, sampling=SAMPLING)
    else:
        drawn = lvm.compose(question.groups, question.given[0], seed=seed, sampling=SAMPLING)
    seconds = time.monotonic() - start
    tokenizer = lvm.bundle.tokenizer
    codes = tokenizer.encode(torch.from_numpy(np.stack(question.truths)))
    return Answered(question, list(drawn.images[0]), list(tokenizer.decode(codes).numpy()), seconds)


def choose(lvm: LVM, puzzle: Puzzle) -> Chosen:
    """Have a puzzle solved: the option with the lowest perplexity."""
    start = time.monotonic()
    choice = lvm.choose(puzzle.context, puzzle.options)
    return Chosen(puzzle, choice, time.monotonic() - start)


def _facts(name: str, lvm: LVM) -> dict[str, Any]:
    bundle = lvm.bundle
    return {
        "name": name,
        "decoder_parameters": bundle.decoder.config.num_parameters,
        "tokenizer_fingerprint": bundle.tokenizer.fingerprint,
    }


def scores(answered: Sequence[Answered], chosen: Sequence[Chosen]) -> dict[str, Any]:
    """What each answer is worth, and each choice."""
    answers = {
        one.question.name: {
            "style": one.question.style,
            "pixel_error": one.question.error(one.answers),
            "ceiling": one.question.error(one.ceilings),
            "region": one.question.region,
            "metric": one.question.metric,
            "value": _finite(one.question.value(one.answers)),
            "seconds": round(one.seconds, 2),
        }
        for one in answered
    }
    choices = {
        one.name: {
            "perplexities": list(one.choice.perplexities),
            "chosen": one.choice.index,
            "right": one.puzzle.answer,
            "seconds": round(one.seconds, 2),
        }
        for one in chosen
    }
    return {"answers": answers, "choices": choices}


def _finite(value: float) -> float | None:
    """None for the PSNR of equal pictures, which JSON cannot write."""
    return value if math.isfinite(value) else None


def gallery(answered: Sequence[Answered], chosen: Sequence[Chosen]) -> np.ndarray:
    """Every prompt with its answer framed and the truth, then the puzzles with the choice framed; uint8 [H, W, 3]."""
    rows: list[list[np.ndarray]] = []
    titles, captions, framed = [], [], []
    for one in answered:
        prompt, count = one.question.prompt, len(one.answers)
        framed += [(len(rows), len(prompt) + number) for number in range(count)]
        rows.append([*prompt, *one.answers, *one.question.truths])
        captions.append([*[""] * len(prompt), *["answer"] * count, *["truth"] * count])
        titles.append(one.question.name)
    for pick in chosen:
        context = pick.puzzle.context
        framed.append((len(rows), len(context) + pick.choice.index))
        rows.append([*context, *pick.puzzle.options])
        captions.append([*[""] * len(context), *pick.captions])
        titles.append(pick.name)
    return contact_sheet(rows, captions=captions, titles=titles, cell=80, framed=framed)


def summary(report: dict[str, Any]) -> str:
    """What a person reads at the end, in a few lines."""
    lines = [f"{'one query each':24} {'pixel error':>11} {'ceiling':>8}   own metric"]
    for name, one in report["answers"].items():
        value = "∞" if one["value"] is None else f"{one['value']:.3g}"
        lines.append(f"{name:24} {one['pixel_error']:11.3f} {one['ceiling']:8.3f}   {one['metric']} {value}")
    for name, one in report["choices"].items():
        verdict = "right" if one["chosen"] == one["right"] else "wrong"
        perplexities = " ".join(f"{value:.3g}" for value in one["perplexities"])
        lines.append(f"{name:24} {verdict} of {len(one['perplexities'])}, perplexities {perplexities}")
    slowest = max(one["seconds"] for one in report["answers"].values())
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in report["seconds"].items())
    lines.append(f"seconds: {stages}; slowest answer {slowest:.1f}")
    return "\n".join(lines)
