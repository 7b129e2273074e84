"""Divergence and falls of PSNR, told from lines of metrics alone."""

import json
import math

import numpy as np
import pytest

from openlvm.training.tokenizer.health.divergence import DivergenceLimits, psnr_falls, values_of, why_diverged

LIMITS = DivergenceLimits(factor=3.0, window=20, at_least=5, largest_logit=50.0, patience=2)


def lines_of(losses: list[float], **parts: list[float]) -> list[dict]:
    """One line per loss; further parts belong to the last lines."""
    lines = [
        {"step": 10 * (i + 1), "loss": -1.0, "grad_norm": 1.0, "parts": {"squared": x}} for i, x in enumerate(losses)
    ]
    for name, values in parts.items():
        for line, value in zip(lines[len(lines) - len(values) :], values, strict=True):
            line["parts"][name] = value
    return lines


def first_divergence(lines: list[dict], limits: DivergenceLimits = LIMITS) -> tuple[int, str] | None:
    """Number of the first line that is called diverged, and why."""
    for number in range(1, len(lines) + 1):
        why = why_diverged(lines[:number], limits, losses=("squared",), logits=("real_logit",))
        if why:
            return number - 1, why
    return None


def falling(count: int, seed: int = 0) -> list[float]:
    """A healthy loss: falls to a plateau, with noise of 30 %."""
    noise = np.random.default_rng(seed).normal(0, 0.3, count)
    return [float((0.01 + 0.2 * math.exp(-i / 10)) * math.exp(noise[i])) for i in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_healthy_run_is_left_alone(seed):
    logits = list(np.random.default_rng(seed).normal(1.0, 2.0, 150))
    assert first_divergence(lines_of(falling(200, seed), real_logit=logits)) is None


def test_jump_is_noticed_after_patience_and_one_outlier_is_not():
    jump = falling(40) + [0.2, 0.2, 0.2]
    at, why = first_divergence(lines_of(jump))
    assert at == 41 and why.startswith("squared 0.2 is above 3 x its running median 0.01")
    outlier = [*falling(40), 0.2, *falling(60, seed=1)[40:]]
    assert first_divergence(lines_of(outlier)) is None


def test_slow_divergence_passes_the_running_median_but_not_the_lowest():
    """3 % a line: 20 lines of a window make 1.3 x their median, never 3 x."""
    slow = falling(60) + [0.01 * 1.03**i for i in range(100)]
    at, why = first_divergence(lines_of(slow))
    assert 90 < at < 130 and "running median" in why and "3 x its lowest" in why
    assert first_divergence(lines_of(slow[: at - 1])) is None


def test_logits_that_run_away_are_noticed():
    """An artificially diverging discriminator: its logits double with every line."""
    logits = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]
    at, why = first_divergence(lines_of(falling(60), real_logit=logits))
    assert at == 58 and why == "real_logit 128 ran beyond +-50"
    at, why = first_divergence(lines_of(falling(60), real_logit=[-value for value in logits]))
    assert at == 58 and why == "real_logit -128 ran beyond +-50"
    assert first_divergence(lines_of(falling(60), real_logit=[*logits[:7], 32.0, 128.0])) is None  # never two in a row


@pytest.mark.parametrize("name", ["loss", "grad_norm", "squared", "real_logit"])
@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_not_finite_counts_at_once(name, value):
    lines = lines_of([0.1, 0.1], real_logit=[1.0])
    assert why_diverged(lines, LIMITS, losses=("squared",), logits=("real_logit",)) == ""
    (lines[-1] if name in lines[-1] else lines[-1]["parts"])[name] = value
    assert why_diverged(lines, LIMITS, losses=("squared",), logits=("real_logit",)).startswith(f"{name} is ")


def test_answer_repeats_from_the_file():
    """What a resumed run reads back from metrics.jsonl gives the same answers, to the letter."""
    lines = lines_of(falling(40) + [0.2, 0.2], real_logit=[1.0, 2.0, 3.0])
    again = [json.loads(json.dumps(line)) for line in lines]
    assert first_divergence(again) == first_divergence(lines) is not None


def test_losses_of_an_evaluation_have_their_own_history():
    lines = lines_of(falling(60))
    for line in lines[4::5]:
        line["evaluation"] = {"photos/mse": 0.01, "photos/psnr": None}
    lines[-1]["evaluation"] = lines[-6]["evaluation"] = {"photos/mse": 0.5}
    assert "photos/mse 0.5 is above" in why_diverged(lines, LIMITS, losses=("squared", "photos/mse"))
    assert why_diverged(lines[:-5], LIMITS, losses=("squared", "photos/mse")) == ""  # the first of two
    later = [*lines, *lines_of([0.01])]
    assert why_diverged(later, LIMITS, losses=("squared", "photos/mse")) == ""  # a line without it says nothing of it
    assert why_diverged([], LIMITS, losses=("squared",)) == ""


def evaluated(*psnr: float | None) -> list[dict]:
    return [{"step": 100 * (i + 1), "evaluation": {"photos/psnr": x, "photos/used": 0.5}} for i, x in enumerate(psnr)]


def test_falls_are_measured_from_the_best_and_from_the_start():
    lines = evaluated(20.0, 23.0, 22.5, 21.0)
    falls = psnr_falls(lines, start_step=300)
    assert falls == {"photos/psnr_below_best": 2.0, "photos/psnr_below_start": 1.5}
    assert psnr_falls(lines[:3], start_step=300) == {"photos/psnr_below_best": 0.5}  # not after the start yet
    assert psnr_falls(lines, start_step=None) == {"photos/psnr_below_best": 2.0}
    assert psnr_falls(lines, start_step=0) == {"photos/psnr_below_best": 2.0}  # nothing was measured before it
    assert psnr_falls(evaluated(20.0, 21.0), start_step=100)["photos/psnr_below_start"] == -1.0
    assert psnr_falls([*lines, {"step": 410}], start_step=300) == {} == psnr_falls([], start_step=None)


def test_falls_say_when_psnr_is_no_number():
    falls = psnr_falls(evaluated(None, 20.0, None), start_step=200)
    assert math.isnan(falls["photos/psnr_below_best"]) and math.isnan(falls["photos/psnr_below_start"])
    assert math.isnan(values_of(evaluated(None)[0])["photos/psnr"])
    assert psnr_falls(evaluated(None, 20.0), start_step=100) == {"photos/psnr_below_best": 0.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factor": 1.0}, "factor=1.0 must be above 1"),
        ({"largest_logit": 0.0}, "largest_logit=0.0 above 0"),
        ({"at_least": 60}, r"at_least=60 .* must lie in 1..window=50"),
        ({"patience": 0}, "patience=0.*at least 1"),
    ],
)
def test_limits_reject(changes, message):
    with pytest.raises(ValueError, match=message):
        DivergenceLimits(**changes)
