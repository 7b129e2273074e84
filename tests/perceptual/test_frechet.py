"""Frechet distances against closed forms and an independent computation; statistics against numpy."""

import numpy as np
import pytest
import torch

from openlvm.perceptual.frechet import FeatureStatistics, frechet_distance


def statistics_of(rows: np.ndarray, batch: int) -> FeatureStatistics:
    statistics = FeatureStatistics(rows.shape[1])
    for start in range(0, len(rows), batch):
        statistics.add(torch.from_numpy(rows[start : start + batch]))
    return statistics


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_statistics_match_numpy_whatever_the_batches(batch):
    rows = np.random.default_rng(0).normal(1e4, 1, (100, 5)) @ np.diag([1, 2, 3, 4, 5.0])  # far from 0: no cancelling
    statistics = statistics_of(rows, batch)
    assert np.allclose(statistics.mean, rows.mean(0), rtol=1e-12)
    assert np.allclose(statistics.covariance, np.cov(rows, rowvar=False), rtol=1e-8, atol=1e-8)


def test_distance_matches_the_closed_form_of_one_number():
    first, second = np.array([[-1.0], [1], [3]]), np.array([[2.0], [6], [10]])  # means 1, 6; deviations 2, 4
    assert frechet_distance(statistics_of(first, 3), statistics_of(second, 2)) == pytest.approx(
        (6 - 1) ** 2 + (4 - 2) ** 2
    )


@pytest.mark.parametrize("count", [50, 6])
def test_distance_matches_the_root_of_the_unsymmetric_product(count):
    """With 6 rows of 8 numbers the covariances are singular."""
    chance = np.random.default_rng(1)
    first, second = chance.normal(0, 1, (count, 8)), chance.normal(0.3, 2, (count, 8)) @ chance.normal(0, 1, (8, 8))
    c1, c2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(c1 @ c2).astype(complex)).real.sum()
    expected = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * roots
    assert frechet_distance(statistics_of(first, 4), statistics_of(second, 4)) == pytest.approx(expected, rel=1e-5)


def test_distance_to_itself_is_zero_and_it_is_symmetric():
    chance = np.random.default_rng(2)
    first, second = (statistics_of(chance.normal(0, 1, (30, 6)), 8) for _ in range(2))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="2 pictures or more, given 1"):
        _ = statistics_of(np.ones((1, 2)), 1).covariance
    with pytest.raises(ValueError, match="3 and 2 numbers"):
        frechet_distance(FeatureStatistics(3), FeatureStatistics(2))
    with pytest.raises(ValueError, match="NaN or infinity"):
        FeatureStatistics(1).add(torch.tensor([[float("nan")]]))
    with pytest.raises(ValueError, match=r"\[B, 2\]"):
        FeatureStatistics(2).add(torch.ones(2, 3))
