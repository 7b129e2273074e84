"""Budgets and rates: what is granted is granted, and no more."""

import pytest

from openlvm.serving.limits import CLIENTS_KNOWN, Budget, Limits, Rates


def test_limits_reject_what_is_no_bound():
    with pytest.raises(ValueError, match="rate=0 must be above 0"):
        Limits(rate=0)
    with pytest.raises(ValueError, match="max_body_mb=inf"):
        Limits(max_body_mb=float("inf"))
    with pytest.raises(ValueError, match="request_seconds=nan"):
        Limits(request_seconds=float("nan"))


def test_rates_allow_a_burst_then_so_many_a_second():
    rates = Rates(Limits(rate=2, burst=3))
    assert [rates.wait("a", 100.0) for _ in range(3)] == [0, 0, 0]
    assert rates.wait("a", 100.0) == pytest.approx(0.5)
    assert rates.wait("b", 100.0) == 0  # another client has its own
    assert rates.wait("a", 100.25) == pytest.approx(0.25)
    assert rates.wait("a", 100.5) == 0
    assert rates.wait("a", 100.5) > 0
    assert [rates.wait("a", 200.0) for _ in range(4)] == [
        0,
        0,
        0,
        pytest.approx(0.5),
    ]  # no more than the burst is saved


def test_rates_forget_clients_that_are_silent():
    rates = Rates(Limits(rate=1, burst=1))
    for number in range(CLIENTS_KNOWN + 50):
        rates.wait(str(number), 1.0)
    assert len(rates._buckets) == CLIENTS_KNOWN
    assert rates.wait(str(CLIENTS_KNOWN), 1.0) > 0


def test_budget_gives_what_is_left():
    budget = Budget(10)
    assert budget.take(7) and not budget.take(4) and budget.take(3)
    budget.give_back(7)
    assert budget.taken == 3 and budget.take(7) and not budget.take(1)
