"""The held-out report of an LVM: every task under every condition, perplexity curves, choices, and the figures asked.

out/
  report.json     everything, with the pixel error of every query
  report.md       figures asked and measured, tables
  gallery.png     the first query of every task, not the best
  failures.png    the query of every task whose error exceeds the tokenizer's most
"""

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openlvm.core.files import atomic_write, write_json
from openlvm.core.images import write_image
from openlvm.core.picking import pick
from openlvm.evaluation.perplexity.choices import WAYS, Chosen, accuracy, chance_level
from openlvm.evaluation.perplexity.curves import Curve, mean_curve
from openlvm.evaluation.suites.gates import Gate, choice_gates, curve_gates, task_gates
from openlvm.evaluation.suites.mini import SAMPLING, TASKS, SuiteTask
from openlvm.evaluation.suites.report import curve_summaries, markdown, sheet
from openlvm.evaluation.suites.run import Answered, Scenes, answer_task, example_curve, frame_curve, reasoning
from openlvm.evaluation.suites.scores import TaskScores, overall, overall_report, task_report
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import Sampling
from openlvm.tokenizer.interface import fingerprint_of
from openlvm.training.progress import say, spell_seconds

SUITES = {"mini": TASKS}
"""Name -> tasks."""
SHOWN_CURVES = ("segmentation", "depth", "normals", "edges")
"""Whose curves must not rise, beside the mean over analogy tasks and the sequences."""
MORE_CURVES = ("shapes: recoloring",)
"""Curves measured besides: here every example may show another part of the rule."""
ANSWER_SECONDS = 3.0  # for one answer from 3 pairs and a query, on two cores
ANSWERS_TIMED = 3


@dataclass(frozen=True)
class Evaluated:
    """The report and its lines for people."""

    report: dict[str, Any]
    tasks: Sequence[TaskScores]
    gates: Sequence[Gate]


def run_evaluation(
    lvm: LVM,
    *,
    out: Path,
    name: str,
    suite: str = "mini",
    queries: int = 64,
    puzzles: int = 300,
    temperature: float = SAMPLING.temperature,
    seed: int = 0,
) -> Evaluated:
    """Evaluate and write everything into the folder `out`.

    Args:
        name: of the model, for the report.
        queries: prompts of each task.
        puzzles: of each reasoning test.
        temperature: at which answers are drawn.
        seed: of the draws of scenes, examples, answers and resamples.
    """
    tasks = pick(SUITES, suite, "suite")
    if min(queries, puzzles) < 1:
        raise ValueError(f"queries={queries} and puzzles={puzzles} must be at least 1")
    start = time.monotonic()
    scenes = Scenes(lvm.bundle.tokenizer.preparation)
    sampling = Sampling(temperature=temperature)
    answered = [answer_task(lvm, task, scenes, queries=queries, sampling=sampling, seed=seed) for task in tasks]
    answered_at = time.monotonic()
    curves = _curves(lvm, tasks, scenes, queries=queries, seed=seed)
    curved_at = time.monotonic()
    chosen = reasoning(lvm, puzzles=puzzles, seed=seed)
    gates = _gates(answered, curves, chosen, _seconds_of_an_answer(lvm, answered[0], sampling))
    end = time.monotonic()
    seconds = {
        "tasks": round(answered_at - start, 1),
        "curves": round(curved_at - answered_at, 1),
        "choices": round(end - curved_at, 1),
        "all": round(end - start, 1),
        "by_task": {one.scores.task.name: one.seconds for one in answered},
    }
    scores = [one.scores for one in answered]
    report = {
        **_facts(lvm, name),
        "suite": suite, "seed": seed, "queries": queries, "puzzles": puzzles, "temperature": temperature,
        "seconds": seconds,
        "tasks": {one.task.name: task_report(one) for one in scores},
        "overall": {group: overall_report(overall(some)) for group, some in _groups(scores).items()},
        "curves": curve_summaries(curves),
        "choices": {kind: _choice_report(puzzles) for kind, puzzles in chosen.items()},
        "gates": [_gate_report(gate) for gate in gates],
    }  # fmt: skip
    write_json(out / "report.json", report)
    write_image(out / "gallery.png", sheet([one.first for one in answered]))
    write_image(out / "failures.png", sheet([one.worst for one in answered], with_errors=True))
    with atomic_write(out / "report.md") as file:
        file.write(markdown(report, scores, gates).encode())
    say(f"evaluated in {spell_seconds(end - start)}")
    return Evaluated(report, scores, gates)


def _groups(scores: Sequence[TaskScores]) -> dict[str, list[TaskScores]]:
    return {
        group: [one for one in scores if one.task.group == group]
        for group in dict.fromkeys(one.task.group for one in scores)
    }


def _curves(lvm: LVM, tasks: Sequence[SuiteTask], scenes: Scenes, *, queries: int, seed: int) -> dict[str, Curve]:
    measured = [one for one in tasks if not one.is_sequence and (one.group == "listed" or one.name in MORE_CURVES)]
    curves = {task.name: example_curve(lvm, task, scenes, queries=queries, seed=seed) for task in measured}
    mean = mean_curve([curves[task.name] for task in measured if task.group == "listed"])
    curves["next view"] = frame_curve(lvm, "next view", "turns", scenes, queries=queries, seed=seed)
    curves["next frame"] = frame_curve(lvm, "next frame", "long motion", scenes, queries=queries, seed=seed)
    return {"all listed analogies": mean, **curves}


def _gates(
    answered: Sequence[Answered], curves: dict[str, Curve], chosen: dict[str, list[Chosen]], seconds: float
) -> list[Gate]:
    listed = {one.scores.task.name: one.scores for one in answered if one.scores.task.group == "listed"}
    watched = {name: curves[name] for name in ("all listed analogies", *SHOWN_CURVES, "next view", "next frame")}
    speed = Gate(
        name=f"seconds for one answer from 3 pairs, {torch.get_num_threads()} threads", measured=seconds,
        compare="<=", cpu=ANSWER_SECONDS, gpu=ANSWER_SECONDS, shown=f"{seconds:.2f}",
    )  # fmt: skip
    return [
        *task_gates(listed, overall(list(listed.values()))),
        *curve_gates(curves["all listed analogies"], watched),
        *choice_gates(chosen),
        speed,
    ]


def _seconds_of_an_answer(lvm: LVM, answered: Answered, sampling: Sampling) -> float:
    """The fastest of a few answers to a prompt of the first task, encoding and decoding included."""
    *shown, query = answered.first.trial.prompts["correct"]
    pairs = list(zip(shown[0::2], shown[1::2], strict=True))
    taken = []
    for _ in range(ANSWERS_TIMED):
        start = time.monotonic()
        lvm.analogy(pairs, query, sampling=sampling)
        taken.append(time.monotonic() - start)
    return min(taken)


def _facts(lvm: LVM, name: str) -> dict[str, Any]:
    """Which model this is, and on what it ran."""
    decoder, tokenizer = lvm.bundle.decoder, lvm.bundle.tokenizer
    return {
        "lvm": name,
        "decoder_parameters": decoder.config.num_parameters,
        "decoder_fingerprint": fingerprint_of(decoder.state_dict(), {}),
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "device": str(decoder.model.embed_tokens.weight.device),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }


def _choice_report(puzzles: Sequence[Chosen]) -> dict[str, Any]:
    by_kind = {kind: [one for one in puzzles if one.kind == kind] for kind in dict.fromkeys(p.kind for p in puzzles)}
    return {
        "puzzles": len(puzzles),
        "chance": chance_level(puzzles),
        "accuracy": {way: accuracy(puzzles, way)._asdict() for way in WAYS},
        "by_kind": {kind: {way: accuracy(some, way)._asdict() for way in WAYS} for kind, some in by_kind.items()},
        "right_in_context": [one.picks("in context") == one.answer for one in puzzles],
    }


def _gate_report(gate: Gate) -> dict[str, Any]:
    return {
        "name": gate.name, "measured": gate.measured, "shown": gate.shown, "compare": gate.compare,
        "cpu": gate.cpu, "cpu_passes": gate.passes(gate.cpu), "gpu": gate.gpu, "gpu_passes": gate.passes(gate.gpu),
    }  # fmt: skip
