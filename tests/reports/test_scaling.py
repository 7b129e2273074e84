"""Points and power laws."""

from dataclasses import replace
from pathlib import Path

import pytest

from openlvm.reports.runs import Run
from openlvm.reports.scaling import laws_of, points_of, power_law, uses_heldout

RUN = Run(
    name="a", at=Path("a"), parameters=1000, flops_per_token=10.0, seed=0, steps=10, all_steps=10, tokens=1e6,
    seconds=1.0, training=[(1e6, 3.0)], heldout=[(1e6, 4.0)],
)  # fmt: skip


def _run(parameters, loss, tokens=1e6):
    return replace(
        RUN, parameters=parameters, flops_per_token=parameters / 100, tokens=tokens, heldout=[(tokens, loss)]
    )


def test_power_law_finds_an_exact_one_and_the_line_of_least_squares():
    law = power_law([(x, 7 * x**-0.25) for x in (10.0, 100.0, 1e4)])
    assert (law.scale, law.exponent, law.r2) == pytest.approx((7, 0.25, 1))
    assert law.at(1e6) == pytest.approx(7 * 1e6**-0.25)
    bent = power_law([(1.0, 1.0), (10.0, 10.0), (100.0, 10.0)])  # logarithms 0, 1, 1 over 0, 1, 2: slope 1/2
    assert bent.exponent == pytest.approx(-0.5) and bent.r2 == pytest.approx(0.75)


def test_two_sizes_make_no_law():
    assert power_law([(10.0, 5.0), (100.0, 4.0), (100.0, 4.2)]) is None


def test_runs_of_one_size_and_length_are_one_point():
    runs = [_run(2000, 3.0), _run(1000, 4.0), _run(1000, 4.2), _run(1000, 4.4, tokens=1.005e6), _run(1000, 3.5, 2e6)]
    points = points_of(runs)
    assert [(point.parameters, len(point.runs)) for point in points] == [(1000, 3), (1000, 1), (2000, 1)]
    assert points[0].loss == pytest.approx(4.2) and points[0].spread == pytest.approx(0.2)
    assert points[1].spread is None and points[0].flops == pytest.approx(10e6 * 3.005 / 3)


def test_size_is_compared_after_equally_many_codes_alone():
    runs = [_run(size, loss) for size, loss in ((1000, 4.0), (2000, 3.5), (4000, 3.0))]
    assert set(laws_of(points_of(runs))) == {"N", "C"}
    longer = [*runs[:2], _run(4000, 3.0, tokens=2e6)]
    assert set(laws_of(points_of(longer))) == {"C"}


def test_heldout_loss_counts_only_if_every_run_has_one():
    without = replace(RUN, parameters=500, heldout=[])
    assert uses_heldout([RUN]) and not uses_heldout([RUN, without])
    assert [point.loss for point in points_of([RUN, without])] == [3.0, 3.0]
    assert [point.loss for point in points_of([RUN])] == [4.0]
