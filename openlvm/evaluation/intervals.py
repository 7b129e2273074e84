"""How sure a score is: percentile bootstrap over clusters of queries, and Wilson's interval of a share.

What is drawn again are clusters (objects, clips, task instances), not queries: two queries of one object are not two
independent witnesses. Differences and ratios are paired, since all estimates of one task share their resamples.
Letters: n queries, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from openlvm.core.seeds import Part, rng

RESAMPLES = 1000
LEVEL = 0.95
Z = 1.959964  # of the normal distribution at LEVEL, two-sided


class Interval(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def resamples(clusters: Sequence[str], *parts: Part, count: int = RESAMPLES) -> np.ndarray:
    """Weights float64 [R, n]: how often each query counts in each resample of the clusters.

    Args:
        clusters: of each query, n names.
        parts: of the chance, as for `core.seeds.rng`.
    """
    names, of_query = np.unique(np.asarray(clusters), return_inverse=True)
    shares = np.full(len(names), 1 / len(names))
    drawn = rng("bootstrap", *parts).multinomial(len(names), shares, size=count)  # [R, clusters]
    return drawn[:, of_query].astype(np.float64)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number and what it is in each resample; sums, differences and ratios of estimates are estimates."""

    value: float
    samples: np.ndarray
    """float64 [R]."""

    @classmethod
    def mean(cls, values: Sequence[float] | np.ndarray, weights: np.ndarray) -> "Estimate":
        """Mean of n values under the weights [R, n] of `resamples`."""
        column = np.asarray(values, dtype=np.float64)
        with np.errstate(invalid="ignore"):  # 0 times infinity: `is_finite` says so
            return cls(float(column.mean()), weights @ column / weights.sum(1))

    def __sub__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.value - other.value, self.samples - other.samples)

    def __truediv__(self, other: "Estimate") -> "Estimate":
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(np.float64(self.value) / other.value)
            return Estimate(value, self.samples / other.samples)

    def exp(self) -> "Estimate":
        """Of the natural exponential: a mean of log-probabilities becomes a perplexity."""
        return Estimate(float(np.exp(self.value)), np.exp(self.samples))

    @property
    def interval(self) -> Interval:
        """Percentiles of the resamples, both ends inclusive."""
        tail = (1 - LEVEL) / 2
        with np.errstate(invalid="ignore"):
            low, high = np.quantile(self.samples, [tail, 1 - tail])
        return Interval(self.value, float(low), float(high))

    @property
    def is_finite(self) -> bool:
        """Value and resamples are numbers; PSNR of equal pictures is none."""
        return bool(np.isfinite(self.value) and np.isfinite(self.samples).all())


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean over tasks, each with an equal vote; the tasks' queries are drawn apart."""
    return Estimate(
        float(np.mean([estimate.value for estimate in estimates])),
        np.mean([estimate.samples for estimate in estimates], axis=0),
    )


def wilson(hits: int, count: int) -> Interval:
    """A share and Wilson's score interval (1927), which stays inside 0..1 and is not empty at 0 or 1."""
    if not 0 <= hits <= count or not count:
        raise ValueError(f"a share needs 0 <= hits <= count and count >= 1, given {hits} of {count}")
    share, square = hits / count, Z * Z
    middle = (share + square / (2 * count)) / (1 + square / count)
    reach = Z / (1 + square / count) * np.sqrt(share * (1 - share) / count + square / (4 * count * count))
    return Interval(share, float(max(0.0, middle - reach)), float(min(1.0, middle + reach)))
