"""How loss falls with size: runs of one size and length as seeds of one point, and a power law through the points."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from openlvm.reports.runs import Run

SAME_LENGTH = 0.01  # runs of one size whose codes differ by less, relatively, are seeds of one point
LEAST_SIZES = 3  # points of a line that could have missed it


@dataclass(frozen=True, kw_only=True)
class Point:
    """Runs of one size and length."""

    parameters: int
    tokens: float
    flops: float
    runs: tuple[Run, ...]
    losses: tuple[float, ...]
    """Of the runs: held-out where all runs of the report have one, else of the training."""

    @property
    def loss(self) -> float:
        """Mean over the runs."""
        return mean(self.losses)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the runs (n - 1); None of a single one."""
        return stdev(self.losses) if len(self.losses) > 1 else None


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """loss = scale * x^-exponent, a straight line through the logarithms of the points' means."""

    scale: float
    exponent: float
    r2: float
    """Share of the logarithms' variance that the line explains."""

    def at(self, x: float) -> float:
        """The loss it says."""
        return self.scale * x**-self.exponent


def uses_heldout(runs: Sequence[Run]) -> bool:
    """Whether every run has a held-out loss, so that they can be compared by it."""
    return all(run.heldout_loss is not None for run in runs)


def points_of(runs: Sequence[Run]) -> list[Point]:
    """The points of these runs, by size, then by length."""
    heldout = uses_heldout(runs)
    groups: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: (run.parameters, run.tokens)):
        last = groups[-1][0] if groups else None
        if last and last.parameters == run.parameters and run.tokens - last.tokens < SAME_LENGTH * last.tokens:
            groups[-1].append(run)
        else:
            groups.append([run])
    return [
        Point(
            parameters=group[0].parameters,
            tokens=mean(run.tokens for run in group),
            flops=mean(run.flops for run in group),
            runs=tuple(group),
            losses=tuple(_loss(run, heldout) for run in group),
        )
        for group in groups
    ]


def laws_of(points: Sequence[Point]) -> dict[str, PowerLaw]:
    """The power laws of the points' means, by letter: N parameters, C operations; without those that say nothing.

    A law of N compares sizes after equally many codes, so it is left out where lengths differ.
    """
    lengths = [point.tokens for point in points]
    is_level = max(lengths) - min(lengths) < SAME_LENGTH * max(lengths)
    found = {
        "N": power_law([(float(point.parameters), point.loss) for point in points]) if is_level else None,
        "C": power_law([(point.flops, point.loss) for point in points]),
    }
    return {letter: law for letter, law in found.items() if law is not None}


def _loss(run: Run, heldout: bool) -> float:
    loss = run.heldout_loss if heldout else run.training_loss
    assert loss is not None
    return loss


def power_law(pairs: Sequence[tuple[float, float]]) -> PowerLaw | None:
    """Least squares through (log x, log loss); None with fewer than three different x."""
    if len({x for x, _ in pairs}) < LEAST_SIZES:
        return None
    logs = [(math.log(x), math.log(loss)) for x, loss in pairs]
    middle_x, middle_y = mean(x for x, _ in logs), mean(y for _, y in logs)
    slope = sum((x - middle_x) * (y - middle_y) for x, y in logs) / sum((x - middle_x) ** 2 for x, _ in logs)
    total = sum((y - middle_y) ** 2 for _, y in logs)
    missed = sum((y - middle_y - slope * (x - middle_x)) ** 2 for x, y in logs)
    return PowerLaw(
        scale=math.exp(middle_y - slope * middle_x), exponent=-slope, r2=1 - missed / total if total else 1.0
    )
