"""Spikes of the loss: steps whose loss stands far above the last ones, by a rule that a few bad steps cannot move.

    limit = median + deviations * max(1.4826 * median |loss - median|, 0.001 * |median|)

over the losses of the last `window` steps that were no spikes; 1.4826 makes the median deviation of a normal
distribution its standard deviation. While the loss falls, the median lies above it: no false alarm, a later true one.
Nothing is a spike before the window is full.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Literal

NORMAL = 1.4826  # standard deviation over median absolute deviation, of a normal distribution
LEAST = 1e-3  # of the median: losses that hardly differ must not make spikes of nothing


@dataclass(frozen=True, kw_only=True)
class SpikeConfig:
    """What counts as a spike of the loss, and what is done about it."""

    deviations: float = 0.0
    """Robust standard deviations above the median from which a loss is a spike; 0 watches nothing, 6 to 10 is usual."""
    window: int = 64
    """Steps whose losses are compared with."""
    action: Literal["skip", "roll_back"] = "skip"
    """`skip` leaves the weights as they are and goes on with the next data; `roll_back` treats it as a divergence."""
    max_in_a_row: int = 8
    """So many skipped steps one after the other are a divergence: the loss has moved, not spiked."""

    def __post_init__(self) -> None:
        if not 0 <= self.deviations < math.inf or self.window < 8 or self.max_in_a_row < 1:
            raise ValueError(
                f"spikes.deviations={self.deviations} must be at least 0, window={self.window} at least 8 and "
                f"max_in_a_row={self.max_in_a_row} at least 1"
            )


class SpikeWatch:
    """The losses a run remembers; what it holds belongs to a checkpoint, so that a resumed run decides the same."""

    def __init__(self, config: SpikeConfig, losses: Iterable[float] = (), in_a_row: int = 0):
        self.config, self.in_a_row = config, in_a_row
        self.losses = deque(losses, maxlen=config.window if config.deviations else 0)

    def limit(self) -> float:
        """The loss above which a step is a spike; infinity while too few are known, or nothing is watched."""
        if not self.config.deviations or len(self.losses) < self.config.window:
            return math.inf
        middle = median(self.losses)
        spread = NORMAL * median(abs(loss - middle) for loss in self.losses)
        return middle + self.config.deviations * max(spread, LEAST * abs(middle))

    def sees(self, loss: float) -> float | None:
        """Take note of a step's loss; the limit it passed if it is a spike, else None."""
        limit = self.limit()
        if loss > limit:
            self.in_a_row += 1
            return limit
        self.losses.append(loss)
        self.in_a_row = 0
        return None
