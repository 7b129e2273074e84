"""Intervals against normal theory, scipy, and cases whose answer is known."""

import numpy as np
import pytest
from scipy.stats import binomtest

from openlvm.evaluation.intervals import Estimate, mean_of, resamples, wilson


def apart(count: int, seed: int = 0) -> np.ndarray:
    """Weights of `count` queries, each its own cluster."""
    return resamples([str(number) for number in range(count)], seed)


def test_interval_of_a_mean_matches_normal_theory():
    values = np.random.default_rng(0).normal(5, 2, 400)
    value, low, high = Estimate.mean(values, apart(400)).interval
    assert value == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert (low + high) / 2 == pytest.approx(value, abs=0.05)


def test_four_queries_of_one_object_are_one_witness():
    values = np.random.default_rng(1).normal(0, 1, 50)
    once = Estimate.mean(values, apart(50)).interval
    clusters = [str(number) for number in range(50) for _ in range(4)]
    repeated = Estimate.mean(np.repeat(values, 4), resamples(clusters, 0)).interval
    width = once.high - once.low
    assert repeated.high - repeated.low == pytest.approx(width, rel=0.1)
    careless = Estimate.mean(np.repeat(values, 4), apart(200)).interval
    assert careless.high - careless.low < 0.6 * width


def test_resamples_draw_whole_clusters():
    weights = resamples(["a", "b", "a", "c"], 3, count=20)
    assert weights.shape == (20, 4) and (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all() and weights.std() > 0
    assert (resamples(["a", "b"], 3) == resamples(["a", "b"], 3)).all()
    assert (resamples(["a", "b"], 3) != resamples(["a", "b"], 4)).any()


def test_differences_and_ratios_are_paired():
    values, weights = np.random.default_rng(2).uniform(1, 9, 30), apart(30)
    first, second = Estimate.mean(values + 0.5, weights), Estimate.mean(values, weights)
    assert (first - second).interval == pytest.approx((0.5, 0.5, 0.5))
    assert (Estimate.mean(3 * values, weights) / second).interval == pytest.approx((3, 3, 3))
    assert second.interval.high - second.interval.low > 1


def test_mean_of_tasks_narrows_as_independent_draws_do():
    values = np.random.default_rng(3).normal(0, 1, (4, 100))
    tasks = [Estimate.mean(row, apart(100, seed)) for seed, row in enumerate(values)]
    whole = mean_of(tasks)
    assert whole.value == pytest.approx(values.mean())
    widths = [task.interval.high - task.interval.low for task in tasks]
    assert whole.interval.high - whole.interval.low == pytest.approx(np.mean(widths) / 2, rel=0.15)


def test_exponential_and_infinity():
    estimate = Estimate.mean([0.0, 2.0], apart(2))
    assert estimate.exp().value == pytest.approx(np.e) and estimate.exp().interval.low == pytest.approx(1)
    assert estimate.is_finite and not Estimate.mean([np.inf, 1.0], apart(2)).is_finite


@pytest.mark.parametrize(("hits", "count"), [(0, 8), (8, 8), (37, 300), (250, 300)])
def test_wilson_matches_scipy(hits, count):
    oracle = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits, count) == pytest.approx((hits / count, oracle.low, oracle.high), abs=1e-6)


@pytest.mark.parametrize(("hits", "count"), [(1, 0), (5, 4), (-1, 4)])
def test_wilson_rejects_what_is_no_share(hits, count):
    with pytest.raises(ValueError, match=f"given {hits} of {count}"):
        wilson(hits, count)
