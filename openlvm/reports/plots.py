"""The plots of a report, drawn by matplotlib (extra `report`) without a display."""

import io
from collections.abc import Sequence
from typing import Any

from openlvm.reports.runs import AVERAGED, Curve, Run
from openlvm.reports.scaling import Point, PowerLaw, laws_of, uses_heldout

_WIDTH, _HEIGHT = 7.0, 4.3  # inches of one panel
_GRID = {"color": "#dddddd", "linewidth": 0.6}


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise ImportError('plots need matplotlib: pip install "openlvm[report]"') from None
    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, bbox_inches="tight", metadata={"Software": None})
    _pyplot().close(figure)
    return buffer.getvalue()


def _colors(values: Sequence[float]) -> dict[float, Any]:
    """A color for each value, dark to light as it grows."""
    known = sorted(set(values))
    palette = _pyplot().get_cmap("viridis")
    return {value: palette(0.85 * place / max(1, len(known) - 1)) for place, value in enumerate(known)}


def _panel(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, which="both", **_GRID)
    axes.spines[["top", "right"]].set_visible(False)


def spell_count(value: float) -> str:
    """Such as 329568 -> "0.33M", 290968576 -> "291M"."""
    for least, size, letter in ((1e9, 1e9, "B"), (1e5, 1e6, "M"), (1e3, 1e3, "k")):
        if value >= least:
            return f"{value / size:.{3 if value >= 100 * size else 2}g}{letter}"
    return f"{value:.0f}"


def running_mean(curve: Curve, width: int = AVERAGED) -> list[tuple[float, float]]:
    """Each point's loss as the mean of it and of up to `width` - 1 points before."""
    losses = [loss for _, loss in curve]
    starts = (max(0, place + 1 - width) for place in range(len(losses)))
    return [(x, sum(losses[start : place + 1]) / (place + 1 - start))
            for place, ((x, _), start) in enumerate(zip(curve, starts, strict=True))]  # fmt: skip


def draw_curves(runs: Sequence[Run]) -> bytes:
    """Losses by codes trained on, as a PNG: running means of the training, and dots of held-out losses."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(_WIDTH, _HEIGHT))
    colors, told = _colors([run.parameters for run in runs]), set()
    for run in sorted(runs, key=lambda run: run.parameters):
        color = colors[run.parameters]
        label = None if run.parameters in told else f"{spell_count(run.parameters)} parameters"
        told.add(run.parameters)
        axes.plot(*zip(*running_mean(run.training), strict=True), color=color, linewidth=1.1, alpha=0.8, label=label)
        if run.heldout:
            axes.plot(*zip(*run.heldout, strict=True), color=color, linewidth=0, marker="o", markersize=4)
    if any(run.heldout for run in runs):
        axes.plot([], [], color="#555555", linewidth=0, marker="o", markersize=4, label="held out")
    axes.xaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: spell_count(value) if value else "0"))
    _panel(axes, "codes trained on", "loss, nats a code")
    axes.legend(frameon=False, fontsize=9)
    axes.set_title(f"Training loss, mean of {AVERAGED} lines", fontsize=10, loc="left")
    return _png(figure)


def draw_scaling(points: Sequence[Point]) -> bytes:
    """Loss by parameters and by operations, both logarithmic, as a PNG: every run, means, spread, and a power law."""
    plt = _pyplot()
    figure, panels = plt.subplots(1, 2, figsize=(2 * _WIDTH * 0.72, _HEIGHT), sharey=True)
    what = "held-out loss" if uses_heldout([run for point in points for run in point.runs]) else "training loss"
    laws = laws_of(points)
    for axes, letter, x in zip(panels, "NC", ("parameters", "operations of the training"), strict=True):
        places = [point.parameters if letter == "N" else point.flops for point in points]
        _draw_points(axes, places, points, laws.get(letter), letter)
        _panel(axes, x, f"{what}, nats a code" if letter == "N" else "")
    return _png(figure)


def _draw_points(
    axes: Any, places: Sequence[float], points: Sequence[Point], law: PowerLaw | None, letter: str
) -> None:
    for place, point in zip(places, points, strict=True):
        axes.plot([place] * len(point.losses), point.losses, color="#999999", linewidth=0, marker=".", markersize=5)
    means, spreads = [point.loss for point in points], [point.spread or 0.0 for point in points]
    axes.errorbar(places, means, yerr=spreads, color="#3b528b", linewidth=0, elinewidth=1.2, marker="o", capsize=3)
    axes.set_xscale("log")
    axes.set_xticks(places, labels=[spell_count(place) if letter == "N" else f"{place:.1e}" for place in places])
    axes.minorticks_off()
    if law is not None:
        line = sorted(places)
        axes.plot(line, [law.at(place) for place in line], color="#d95f02", linewidth=1)
        axes.set_title(spell_law(law, letter), fontsize=10, loc="left")


def spell_law(law: PowerLaw, letter: str) -> str:
    """Such as: loss = 12.3 N^-0.076 (R2 0.99)."""
    return f"loss = {law.scale:.3g} {letter}^{-law.exponent:.3g}  (R² {law.r2:.3f})"
