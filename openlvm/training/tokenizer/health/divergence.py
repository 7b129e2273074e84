"""What the lines of metrics say about the course of a run: has it diverged, and how far has held-out PSNR fallen?

Pure functions of the lines (newest last): a resumed or rolled-back run, which has its lines back, judges exactly as the
run before. The loop writes the lines and acts on the answer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Line = Mapping[str, Any]
"""A line of metrics: `step`, `loss`, `grad_norm`, and values by name under `parts` and `evaluation`."""


@dataclass(frozen=True, kw_only=True)
class DivergenceLimits:
    """When a run counts as diverged. All chosen: an error three times the usual is 5 dB of squared error."""

    factor: float = 3.0
    """Largest loss, as a multiple of its running median; and largest running median, as a multiple of the lowest median
    of a window so far, which a slow divergence passes."""
    window: int = 50
    """Lines of the running median."""
    at_least: int = 5
    """Lines before the median is believed."""
    largest_logit: float = 50.0
    """Largest absolute mean logit of the discriminator. The hinge loss gains nothing beyond 1, so logits of a healthy
    run are of order 1."""
    patience: int = 2
    """Lines in a row beyond a limit that make it a divergence; what is not finite counts at once."""

    def __post_init__(self) -> None:
        if self.factor <= 1 or self.largest_logit <= 0:
            raise ValueError(f"factor={self.factor} must be above 1 and largest_logit={self.largest_logit} above 0")
        if not 1 <= self.at_least <= self.window or self.patience < 1:
            given = f"at_least={self.at_least} and patience={self.patience}"
            raise ValueError(f"{given}: the first must lie in 1..window={self.window}, the second be at least 1")


def values_of(line: Line) -> dict[str, float]:
    """All values of a line by name: loss, norm of the gradient, parts, evaluation; NaN for what JSON could not hold."""
    values = {name: line[name] for name in ("loss", "grad_norm") if name in line}
    values |= {**line.get("parts", {}), **line.get("evaluation", {})}
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


def why_diverged(
    lines: Sequence[Line], limits: DivergenceLimits, *, losses: Sequence[str], logits: Sequence[str] = ()
) -> str:
    """Why the run has diverged by its newest line; empty while it has not.

    Args:
        lines: of metrics, newest last.
        limits: see there.
        losses: names of reconstruction losses, at least 0 (not the whole loss: a generator's has no scale). Lines
            without the name are passed over, so a loss of an evaluation has its own, slower, history.
        logits: names of mean logits of the discriminator.
    """
    if not lines:
        return ""
    newest = values_of(lines[-1])
    for name in ("loss", "grad_norm", *losses, *logits):
        if not math.isfinite(newest.get(name, 0.0)):
            return f"{name} is {newest[name]}"
    for name in (name for name in (*losses, *logits) if name in newest):
        series = _series(lines, name)
        reason = _loss_reason(series, limits) if name in losses else _logit_reason(series, limits)
        if reason:
            return f"{name} {reason}"
    return ""


def _series(lines: Sequence[Line], name: str) -> list[float]:
    """Values of that name, oldest first; lines without it, or with what JSON could not hold, are passed over."""
    values = [line.get("parts", {}).get(name, line.get("evaluation", {}).get(name)) for line in lines]
    return [float(value) for value in values if value is not None]


def _loss_reason(series: list[float], limits: DivergenceLimits) -> str:
    before, last = series[: -limits.patience], series[-limits.patience :]
    if len(before) < limits.at_least:
        return ""
    usual = median(before[-limits.window :])
    if min(last) > limits.factor * usual:
        return f"{last[-1]:.4g} is above {limits.factor:g} x its running median {usual:.4g}"
    starts = range(0, len(before) - limits.at_least + 1, limits.window)
    lowest = min(median(before[start : start + limits.window]) for start in starts)
    if usual > limits.factor * lowest:
        return f"has a running median of {usual:.4g}, above {limits.factor:g} x its lowest {lowest:.4g}"
    return ""


def _logit_reason(series: list[float], limits: DivergenceLimits) -> str:
    last = series[-limits.patience :]
    if len(last) == limits.patience and min(map(abs, last)) > limits.largest_logit:
        return f"{last[-1]:.4g} ran beyond +-{limits.largest_logit:g}"
    return ""


def psnr_falls(lines: Sequence[Line], start_step: int | None) -> dict[str, float]:
    """How far PSNR of the newest line lies below earlier values, in dB, for `diagnosis.diagnose`.

    `SET/psnr_below_best`: below the best so far (0 when it is the best). `SET/psnr_below_start`: below the last value
    before the discriminator started (negative when it is better). Empty when the newest line has no evaluation.

    Args:
        lines: of metrics, newest last; evaluations named `SET/psnr` are looked at.
        start_step: `AdversarialConfig.start_step`; None without a discriminator.
    """
    falls: dict[str, float] = {}
    for name in lines[-1].get("evaluation", {}) if lines else ():
        if not name.endswith("/psnr"):
            continue
        values = [(line["step"], values_of(line)[name]) for line in lines if name in line.get("evaluation", {})]
        now = values[-1][1]
        falls[f"{name}_below_best"] = max((value for _, value in values if math.isfinite(value)), default=now) - now
        if start_step is not None and values[-1][0] > start_step:
            before = [value for step, value in values if step <= start_step and math.isfinite(value)]
            falls |= {f"{name}_below_start": before[-1] - now} if before else {}
    return falls
