"""The band in which the loss of a run was expected, as its recipe states it; outside is an alarm, not an error."""

from collections.abc import Sequence
from itertools import pairwise

Band = tuple[int, float, float]
"""(step, lowest, highest) of the training loss, in nats."""


def refuse_bands(bands: Sequence[Band]) -> None:
    """Raise ValueError unless steps ascend and every lowest is below its highest."""
    steps = [step for step, _, _ in bands]
    if any(later <= earlier for earlier, later in pairwise(steps)) or any(low >= high for _, low, high in bands):
        raise ValueError(f"expected_loss must be (step, lowest, highest), steps ascending, lowest < highest: {bands}")


def band_at(bands: Sequence[Band], step: int) -> tuple[float, float] | None:
    """(lowest, highest) at a step, straight lines between the steps given; None before the first and after the last."""
    for (start, *low_high), (stop, *then) in pairwise([*bands, *bands[-1:]]):
        if start <= step <= stop:
            share = (step - start) / max(1, stop - start)
            low, high = (a + share * (b - a) for a, b in zip(low_high, then, strict=True))
            return low, high
    return None


def alarm_of(bands: Sequence[Band], step: int, loss: float) -> str:
    """What to say about the loss of a step; nothing while it lies in its band, or where there is none."""
    band = band_at(bands, step)
    if band is None or band[0] <= loss <= band[1]:
        return ""
    side = "below" if loss < band[0] else "above"
    return (
        f"loss {loss:.4f} lies {side} the band {band[0]:.4g} .. {band[1]:.4g} expected at step {step}; "
        "compare data, batch and learning rate with the recipe's"
    )
