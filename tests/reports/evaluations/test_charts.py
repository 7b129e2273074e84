"""Bars and curves: where their marks stand, and that odd numbers break nothing."""

import math
import re
from xml.etree import ElementTree

import pytest

from openlvm.reports.evaluations.charts import WIDTH, Bar, Line, bar_chart, line_chart, nice_ticks, spell
from openlvm.reports.evaluations.read import Value

NAN = math.nan


def alone(number):
    return Value(number, NAN, NAN)


def parts(svg, tag):
    root = ElementTree.fromstring(svg)
    return [one for one in root.iter() if one.tag.endswith(tag)]


def test_bars_are_as_long_as_their_values():
    svg = bar_chart([Bar("a", Value(10, 8, 12)), Bar("b & c", alone(5), "baseline"), Bar("d", alone(math.inf))])
    first, second = (float(one.get("width")) for one in parts(svg, "rect"))
    assert first == pytest.approx(2 * second, rel=0.01)
    whisker = re.search(r"M([\d.]+) [\d.]+H([\d.]+)", svg)
    start = float(parts(svg, "rect")[0].get("x"))
    assert float(whisker[1]) - start == pytest.approx(0.8 * first, rel=0.01)
    assert float(whisker[2]) - start == pytest.approx(1.2 * first, rel=0.01)
    words = [one.text for one in parts(svg, "text")]
    assert words == ["a", "10", "b & c", "5", "d", "∞"]


def test_negative_bars_begin_at_zero():
    svg = bar_chart([Bar("a", alone(-5)), Bar("b", alone(5))])
    left, right = parts(svg, "rect")
    assert float(left.get("x")) + float(left.get("width")) == pytest.approx(float(right.get("x")), abs=0.2)
    assert bar_chart([Bar("a", alone(0))]).count("<rect") == 1  # all zero: no division by the reach


def test_points_stand_where_their_values_are():
    line = Line("small", [(1, Value(10, 9, 11)), (3, Value(6, 5, 7)), (7, Value(2, 1, 3))])
    svg = line_chart([line], x="frames", y="perplexity ↓")
    places = [(float(one.get("cx")), float(one.get("cy"))) for one in parts(svg, "circle")]
    assert (places[1][0] - places[0][0]) / (places[2][0] - places[0][0]) == pytest.approx(2 / 6, abs=0.01)
    assert (places[1][1] - places[0][1]) / (places[2][1] - places[0][1]) == pytest.approx(0.5, abs=0.01)
    assert len(parts(svg, "polygon")) == 1
    words = [one.text for one in parts(svg, "text")]
    assert {"small", "frames", "perplexity ↓", "1", "3", "7"} <= set(words)
    assert all(0 <= x <= WIDTH for x, _ in places)


def test_sizes_are_logarithmic_and_spelled():
    svg = line_chart(
        [Line("c", [(1e6, alone(3)), (1e7, alone(2)), (1e8, alone(1))])], x="parameters", y="p", is_log=True
    )
    xs = [float(one.get("cx")) for one in parts(svg, "circle")]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert {"1M", "10M", "100M"} <= {one.text for one in parts(svg, "text")}


def test_published_curves_are_dashed_and_without_bands():
    svg = line_chart([Line("theirs", [(1, Value(2, 1, 3)), (2, Value(1, 0, 2))], is_published=True)], x="x", y="y")
    assert "stroke-dasharray" in svg and not parts(svg, "polygon")


def test_nothing_to_draw_is_said():
    assert "no finite value to draw" in line_chart([Line("a", [(1, alone(NAN)), (2, alone(math.inf))])], x="x", y="y")
    single = line_chart([Line("a", [(1, alone(5))])], x="x", y="y")
    assert len(parts(single, "circle")) == 1


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (12.1, 62.3), (0.00012, 0.00019), (-3, 4), (5, 5), (0, 0), (150, 1150)]
)
def test_ticks_are_round_and_enclose(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-12 and ticks[-1] >= high - 1e-12 and 2 <= len(ticks) <= 7
    steps = {round(after - before, 12) for before, after in zip(ticks, ticks[1:], strict=False)}
    assert len(steps) == 1


def test_numbers_are_spelled_with_four_digits():
    assert [spell(one) for one in (282.44, 0.051234, -1.5, NAN, math.inf, 123456.7, 0)] == [
        "282.4", "0.05123", "−1.5", "–", "∞", "123,457", "0"
    ]  # fmt: skip
    assert [spell(one, 3) for one in (282.44, 0.051234, 1234.5)] == ["282", "0.0512", "1,234"]


def test_long_names_are_cut():
    svg = bar_chart([Bar("a" * 80, alone(1))])
    assert parts(svg, "text")[0].text.endswith("…") and len(parts(svg, "text")[0].text) < 40
