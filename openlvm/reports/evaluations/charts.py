"""Bars and curves as SVG text: they stand in a page or in a file, need no library, and stay sharp at any width."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from openlvm.reports.evaluations.read import Value
from openlvm.reports.plots import spell_count

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#555555")
"""Of curves, in order: Okabe and Ito 2008, which color-blind readers tell apart, and two more."""
ROLE_COLORS = {"model": "#0072b2", "spoiled": "#9ec9e2", "baseline": "#bbbbbb", "ceiling": "#009e73"}
WIDTH = 460
ROW, BAR = 24, 14  # pixels of a row of bars, and of a bar
LETTER = 6.6  # mean width of a letter at the size of the labels
TICKS = 4
LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 58, 14, 10, 44, 230  # of curves


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart."""

    name: str
    value: Value
    role: str = "model"


@dataclass(frozen=True)
class Line:
    """A curve: points (x, value), ascending."""

    name: str
    points: Sequence[tuple[float, Value]]
    is_published: bool = False
    """Drawn dashed, without intervals."""


def spell(value: float, digits: int = 4) -> str:
    """So many digits that count, at most; "–" where there is no number."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
    return text.replace("-", "−")


def bar_chart(bars: Sequence[Bar]) -> str:
    """Horizontal bars from zero with 95 % intervals; a row without a finite value says so."""
    ends = [end for bar in bars for end in bar.value if math.isfinite(end)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    scale_of = high - low or 1.0
    left = min(190, 12 + LETTER * max((len(bar.name) for bar in bars), default=0))
    right = 62
    parts = []

    def place(value: float) -> float:
        return left + (min(max(value, low), high) - low) / scale_of * (WIDTH - left - right)

    for number, bar in enumerate(bars):
        top = number * ROW + (ROW - BAR) / 2
        middle = top + BAR / 2
        parts.append(_text(left - 6, middle, bar.name, anchor="end", room=left - 6))
        parts.append(_text(WIDTH - right + 6, middle, spell(bar.value.value)))
        if math.isfinite(bar.value.value):
            start, end = sorted((place(0.0), place(bar.value.value)))
            color = ROLE_COLORS[bar.role]
            parts.append(f'<rect x="{start:.1f}" y="{top:.1f}" width="{max(end - start, 1):.1f}" height="{BAR}" '
                         f'rx="2" fill="{color}"/>')  # fmt: skip
        if math.isfinite(bar.value.low) and math.isfinite(bar.value.high):
            parts.append(_whisker(place(bar.value.low), place(bar.value.high), middle))
    parts.append(f'<line x1="{place(0):.1f}" x2="{place(0):.1f}" y1="0" y2="{len(bars) * ROW}" stroke="#888"/>')
    return _svg(len(bars) * ROW, parts)


def _whisker(low: float, high: float, y: float) -> str:
    return (f'<path d="M{low:.1f} {y - 4:.1f}v8M{low:.1f} {y:.1f}H{high:.1f}M{high:.1f} {y - 4:.1f}v8" '
            'stroke="#222" fill="none"/>')  # fmt: skip


def line_chart(lines: Sequence[Line], *, x: str, y: str, is_log: bool = False) -> str:
    """Curves with their intervals as bands, a legend above.

    Args:
        x: name of the horizontal axis.
        y: name of the vertical axis.
        is_log: the horizontal axis is logarithmic, for numbers of parameters.
    """
    finite = [(place, value) for line in lines for place, value in line.points if math.isfinite(value.value)]
    if not finite:
        return _svg(20, [_text(0, 10, "no finite value to draw")])
    xs = sorted({place for place, _ in finite})
    ends = [end for _, value in finite for end in value if math.isfinite(end)]
    ticks = nice_ticks(min(ends), max(ends))
    head = 18 * len(lines) + TOP
    axes = _Axes(xs, ticks, head, is_log)
    parts = axes.drawn(x, y)
    for number, line in enumerate(lines):
        color = "#888888" if line.is_published else COLORS[number % len(COLORS)]
        dash = ' stroke-dasharray="5 4"' if line.is_published else ""
        parts.append(f'<path d="M{LEFT} {9 + 18 * number}h22" stroke="{color}" stroke-width="2"{dash}/>')
        parts.append(_text(LEFT + 28, 9 + 18 * number, line.name, room=WIDTH - LEFT - 30))
        points = [(place, value) for place, value in line.points if math.isfinite(value.value)]
        banded = [(place, v) for place, v in points if math.isfinite(v.low) and math.isfinite(v.high)]
        if len(banded) > 1 and not line.is_published:
            around = [*((p, v.low) for p, v in banded), *((p, v.high) for p, v in reversed(banded))]
            parts.append(f'<polygon points="{axes.spelled(around)}" fill="{color}" opacity=".15"/>')
        path = axes.spelled([(place, value.value) for place, value in points])
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{axes.x(place):.1f}" cy="{axes.y(value.value):.1f}" r="3.5" fill="{color}"/>'
                  for place, value in points]  # fmt: skip
    return _svg(head + HEIGHT + BOTTOM, parts)


class _Axes:
    """Where values stand on the picture."""

    def __init__(self, xs: Sequence[float], ticks: Sequence[float], head: float, is_log: bool):
        self.xs, self.ticks, self.head, self.is_log = xs, ticks, head, is_log

    def x(self, value: float) -> float:
        low, high, value = (math.log(one) if self.is_log else one for one in (self.xs[0], self.xs[-1], value))
        share = (value - low) / (high - low) if high > low else 0.5
        return LEFT + 16 + share * (WIDTH - LEFT - RIGHT - 32)

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return self.head + (1 - (value - low) / (high - low)) * HEIGHT

    def spelled(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(place):.1f},{self.y(value):.1f}" for place, value in points)

    def drawn(self, x: str, y: str) -> list[str]:
        """Grid, ticks and names."""
        parts, bottom = [], self.head + HEIGHT
        for tick in self.ticks:
            parts.append(f'<path d="M{LEFT} {self.y(tick):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            parts.append(_text(LEFT - 6, self.y(tick), spell(tick), anchor="end"))
        last = -math.inf
        for place in self.xs:
            label = spell_count(place) if self.is_log else spell(place)
            if self.x(place) - last > LETTER * len(label) + 6:  # labels that would overlap are left out
                parts.append(_text(self.x(place), bottom + 14, label, anchor="middle"))
                last = self.x(place)
        middle = self.head + HEIGHT / 2
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom + 34, x, anchor="middle"))
        parts.append(f'<text x="12" y="{middle}" transform="rotate(-90 12 {middle})" text-anchor="middle">'
                     f"{escape(y)}</text>")  # fmt: skip
        return parts


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers, evenly spaced, the first at or below `low` and the last at or above `high`."""
    reach = (high - low) or abs(high) or 1.0
    raw = reach / TICKS
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _text(x: float, y: float, words: str, *, anchor: str = "start", room: float = math.inf) -> str:
    """Words centered on y; those longer than `room` pixels end in an ellipsis."""
    most = WIDTH if math.isinf(room) else int(room / LETTER)
    shown = words if len(words) <= most else words[: max(1, most - 1)] + "…"
    return f'<text x="{x:.1f}" y="{y:.1f}" dy=".35em" text-anchor="{anchor}">{escape(shown)}</text>'


def _svg(height: float, parts: Sequence[str]) -> str:
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            'font-family="system-ui, sans-serif" font-size="12" fill="#222">'
            f"{''.join(parts)}</svg>")  # fmt: skip
