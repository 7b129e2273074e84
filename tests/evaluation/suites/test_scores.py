"""Scores, figures asked and their tables, from outcomes whose errors are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from openlvm.evaluation.intervals import Estimate, resamples
from openlvm.evaluation.perplexity.choices import Chosen
from openlvm.evaluation.perplexity.curves import Curve
from openlvm.evaluation.suites.gates import Gate, choice_gates, curve_gates, task_gates
from openlvm.evaluation.suites.mini import LISTED, SuiteTask
from openlvm.evaluation.suites.report import gate_lines, gate_table, sheet, table
from openlvm.evaluation.suites.scores import overall, score_task, task_report
from openlvm.evaluation.tasks import PromptTask
from openlvm.evaluation.trials import CONDITIONS, Outcome, Trial

TASK = SuiteTask(name="recoloring (unseen)", targets=("image",), metric="pixels_right")


def outcome(levels: dict[str, float], cluster: str, misled: int | None = None) -> Outcome:
    """The truth is black; the answer of each condition is gray of a pixel error in 0..1."""
    answers = {name: np.full((8, 8, 3), round(255 * levels[name]), np.uint8) for name in CONDITIONS}
    black = np.zeros((8, 8, 3), np.uint8)
    prompts = {"correct": [black] * 7, "none": [black]}
    wrong = None if misled is None else np.full((8, 8, 3), misled, np.uint8)
    task = PromptTask(name="recoloring (unseen)", target="image", metric="pixels_right")
    return Outcome(Trial(task, prompts, black, black, misled=wrong, cluster=cluster), answers)


def scored(task: SuiteTask = TASK, noise: float = 0.0, **levels: float):
    """Scores of 24 queries about 12 objects; `copy` swings by `noise`."""
    told = {"correct": 0.1, "wrong": 0.4, "shuffled": 0.2, "none": 0.3, "copy": 0.2, "mean": 0.25, "ceiling": 0.04}
    told |= levels
    outcomes = []
    for number in range(24):
        swing = noise * (-1) ** (number // 2)
        outcomes.append(outcome(told | {"copy": told["copy"] + swing}, str(number // 2), 255))
    return score_task(task, outcomes, seed=0), outcomes


def test_beating_counts_in_the_mean_and_beyond_the_interval():
    clear, _ = scored()
    assert clear.beats("copy") == clear.beats("mean") == clear.beats("none") == {"mean": True, "interval": True}
    narrow, _ = scored(noise=0.1, copy=0.12)
    assert narrow.beats("copy") == {"mean": True, "interval": False}
    lost, _ = scored(copy=0.05)
    assert lost.beats("copy") == {"mean": False, "interval": False}
    assert overall([clear, narrow, lost]).beaten == {"mean": [TASK.name] * 2, "interval": [TASK.name]}


def test_ratios_and_clusters():
    scores, _ = scored()
    assert scores.clusters == 12
    assert scores.ratio("wrong").interval == pytest.approx((4, 4, 4), rel=0.03)
    assert scores.does_wrong_task.value == 0  # 0.4 is nearer to black than to white
    whole = overall([scores, scored(correct=0.3)[0]])
    assert whole.ratio("wrong").value == pytest.approx(0.4 / 0.2, rel=0.02)
    assert whole.over_ceiling.value == pytest.approx(0.2 - 0.04, abs=0.005)


def test_task_report_keeps_every_query_and_no_infinity():
    report = task_report(scored(SuiteTask(name="x", targets=("image",), metric="psnr"), copy=0.0)[0])
    assert report["queries"]["wrong"] == pytest.approx([0.4] * 24, abs=0.01)
    assert report["value"]["correct"] == pytest.approx({"value": 1, "low": 1, "high": 1})
    infinite = score_task(TASK, [outcome(dict.fromkeys(CONDITIONS, 0.0), "a")], seed=0)
    assert task_report(infinite)["over_correct"]["wrong"] is None  # 0 / 0


def gates_of_tasks(**levels: float) -> dict[str, Gate]:
    tasks = {task.name: scored(task, **levels)[0] for task in LISTED}
    return {gate.name: gate for gate in task_gates(tasks, overall(list(tasks.values())))}


def verdicts(gates: dict[str, Gate], words: str) -> tuple[bool | None, bool | None]:
    (gate,) = [gate for name, gate in gates.items() if words in name]
    return gate.passes(gate.cpu), gate.passes(gate.gpu)


def test_task_gates_pass_and_fail_where_asked():
    good, bad = gates_of_tasks(correct=0.05, ceiling=0.04), gates_of_tasks(correct=0.26)
    for words, given in {
        "in the mean": (True, True), "beyond the interval": (True, True), "over the tokenizer's": (True, True),
        "wrong / correct": (True, True), "shuffled / correct": (True, True), "wrong task's": (False, False),
        "unseen recolorings": (None, True),
    }.items():  # fmt: skip
        assert verdicts(good, words) == given, words
    for words in ("in the mean", "beyond the interval", "over the tokenizer's", "wrong / correct", "shuffled / corr"):
        assert verdicts(bad, words) == (False, False), words
    middling = gates_of_tasks(correct=0.075, ceiling=0.04, wrong=0.18, shuffled=0.13)
    for words in ("over the tokenizer's", "wrong / correct", "shuffled / correct"):
        assert verdicts(middling, words) == (True, False), words


def curve_of(rows: dict[int, float], swing: float = 0.0) -> Curve:
    """Nats by number; half of 16 queries swing up at every second number, half down."""
    weights = resamples([str(number) for number in range(16)], 0)
    signs = np.array([1, -1] * 8)
    nats = [Estimate.mean(value + swing * place * signs, weights) for place, value in enumerate(rows.values())]
    return Curve(tuple(rows), nats, [one.exp() for one in nats])


def test_curve_gates_see_falls_and_rises():
    good = curve_of({0: 2.0, 1: 1.5, 2: 1.4, 3: 1.3, 5: 1.2, 7: 1.2})
    names = {gate.name: gate for gate in curve_gates(good, {"all": good})}
    assert verdicts(names, "from 0 to 1") == verdicts(names, "from 1 to 5") == (True, True)
    assert verdicts(names, "raise it") == (True, True) and names[list(names)[-1]].shown == "none"
    bad = curve_of({0: 2.0, 1: 2.1, 2: 1.9, 3: 1.9, 5: 2.2, 7: 2.0})
    names = {gate.name: gate for gate in curve_gates(bad, {"depth": bad})}
    assert verdicts(names, "from 0 to 1") == verdicts(names, "from 1 to 5") == (False, False)
    assert names[list(names)[-1]].shown == "depth at 1, depth at 5" and names[list(names)[-1]].measured == 2
    unsure = curve_of({0: 2.0, 1: 1.99, 5: 2.01}, swing=0.5)
    assert not unsure.falls(0, 1) and unsure.rises_after == []
    assert verdicts({gate.name: gate for gate in curve_gates(unsure, {})}, "from 0 to 1") == (False, False)


def choices(hits: int, count: int, options: int, free_hits: int | None = None) -> list[Chosen]:
    free = count // options if free_hits is None else free_hits
    return [
        Chosen(
            str(number), "k", 0, np.eye(options)[0 if number < hits else 1], 0.1 * np.eye(options)[int(number >= free)]
        )
        for number in range(count)
    ]


def test_choice_gates_ask_more_of_a_gpu():
    chosen = {"color": choices(200, 300, 3), "size": choices(290, 300, 2), "matrices": choices(76, 300, 5)}
    gates = {gate.name: gate for gate in choice_gates(chosen)}
    assert verdicts(gates, "color, chosen by perplexity in context") == (True, False)
    assert verdicts(gates, "size, chosen by perplexity in context") == (True, True)
    assert verdicts(gates, "matrices, chosen by perplexity in context (lower bound)") == (True, None)
    assert gates["matrices, chosen by perplexity in context"].passes(0.35) is False
    assert verdicts(gates, "color, context-free") == (True, True)
    for free_hits in (50, 150):  # an option that is never right gives the answer away too
        leaking = {gate.name: gate for gate in choice_gates({"color": choices(200, 300, 3, free_hits=free_hits)})}
        assert verdicts(leaking, "color, context-free") == (False, False)
    guessing = {gate.name: gate for gate in choice_gates({"matrices": choices(66, 300, 5)})}
    assert verdicts(guessing, "matrices, chosen by perplexity in context (lower") == (False, None)


def test_tables_fit_a_page_and_say_what_is_beaten():
    listed = [scored(task, noise=0.1, copy=0.12)[0] for task in LISTED]
    lines = table(listed).splitlines()
    assert max(map(len, lines)) <= 120 and len(lines) == len(LISTED) + 4
    row = next(line for line in lines if line.startswith("recoloring (unseen)"))
    assert " cMN " in row and " .400" in row and "0.102" in row
    assert " -MN " in table([scored(copy=0.05)[0]])
    gates = [Gate(name="speed", measured=2.0, compare="<=", cpu=3.0, gpu=1.0, shown="2.00 s")]
    assert "| speed | 2.00 s | <= 3 | pass | <= 1 | **FAIL** |" in gate_table(gates)
    assert max(map(len, gate_lines(gates).splitlines())) <= 120


def test_sheet_frames_the_answer():
    picture = sheet([scored()[1][0]], with_errors=True)
    assert (picture == (0, 160, 80)).all(-1).sum() > 4 * 90
    clip = SimpleNamespace(**vars(scored()[1][0]))
    assert picture.shape[1] > 10 * 96 and clip.trial.task.style == "analogy"
