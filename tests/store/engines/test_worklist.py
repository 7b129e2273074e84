"""The list of parts: each is finished exactly once, whatever fails, is late, lost or doubled."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openlvm.store.engines.worklist import Patience, WorkList

QUICK = Patience(attempts=3, late_factor=2.0, least_late=10.0, streak=3, rest=1.0)


def test_parts_are_handed_out_in_order_and_once():
    work = WorkList("abc", workers=2)
    assert [work.take(0, 0), work.take(1, 0)] == ["a", "b"]
    assert work.finish(0, 5) == "a" and work.take(0, 5) == "c"
    assert work.finish(1, 6) == "b" and work.take(1, 6) is None and not work.is_done
    assert work.finish(0, 7) == "c" and work.is_done
    assert (work.given_twice, work.doubled, work.failed_attempts) == (0, 0, 0)


def test_failed_part_comes_again_behind_the_others_and_stops_the_work_at_last():
    work = WorkList("abc", workers=2, patience=QUICK)
    work.take(0, 0)
    assert work.fail(0, "gone", 1) == 1.0
    assert [work.take(1, 1), work.finish(1, 2), work.take(1, 2), work.finish(1, 3)] == ["b", "b", "c", "c"]
    assert work.take(1, 3) == "a"
    work.fail(1, "gone", 4)
    work.take(1, 5)
    with pytest.raises(OSError, match="part a failed 3 times; the last time: no memory"):
        work.fail(1, "no memory", 6)


def test_late_part_goes_to_one_more_worker_and_the_first_to_finish_counts():
    work = WorkList("ab", workers=3, patience=QUICK)
    work.take(0, 0), work.take(1, 0)
    assert work.finish(1, 8) == "b"  # late is more than max(10, 2 x 8) seconds
    assert work.take(1, 16) is None
    assert work.take(1, 17) == "a"
    assert work.take(2, 18) is None  # the second has only begun
    assert work.take(2, 34) == "a"
    assert work.finish(1, 35) == "a" and work.is_done
    assert work.finish(0, 36) is None and work.fail(2, "killed", 37) == 1.0
    assert (work.given_twice, work.doubled, work.failed_attempts) == (2, 1, 0)


def test_nothing_is_late_before_anything_is_finished_or_while_parts_wait():
    work = WorkList("abc", workers=3, patience=QUICK)
    work.take(0, 0)
    assert work.take(1, 1000) == "b"
    assert work.finish(1, 1001) == "b" and work.take(1, 1001) == "c"
    assert work.take(2, 1001) == "a"
    only = WorkList("a", workers=2, patience=QUICK)
    only.take(0, 0)
    assert only.take(1, 1e9) is None


def test_failure_of_one_of_two_attempts_leaves_the_other_at_it():
    work = WorkList("ab", workers=2, patience=QUICK)
    work.take(0, 0), work.take(1, 0), work.finish(1, 1)
    assert work.take(1, 100) == "a"
    work.fail(0, "killed", 101)
    assert work.take(0, 102) is None  # not waiting: worker 1 has it
    assert work.finish(1, 103) == "a" and work.is_done


def test_worker_that_always_fails_rests_longer_and_is_sent_away():
    work = WorkList([str(number) for number in range(20)], workers=2, patience=QUICK)
    rests = []
    for _ in range(3):
        work.take(0, 0)
        rests.append(work.fail(0, "broken disk", 0))
    assert rests == [1.0, 2.0, None]
    assert work.fail(1, "cannot start", 0) == 1.0  # without a part
    work.take(1, 0), work.finish(1, 1)
    assert [work.fail(1, "killed", 1), work.fail(1, "killed", 1)] == [1.0, 2.0]  # a success begins the count anew
    with pytest.raises(OSError, match="every worker failed 3 times in a row; the last time: killed"):
        work.fail(1, "killed", 1)


def test_list_rejects_names_given_twice():
    with pytest.raises(ValueError, match="different names"):
        WorkList("aba", workers=1)


@settings(max_examples=200, deadline=None)
@given(
    num_parts=st.integers(1, 12),
    workers=st.integers(1, 5),
    steps=st.lists(st.tuples(st.integers(0, 4), st.sampled_from("tttffx"), st.floats(0, 30)), max_size=80),
)
def test_every_part_is_finished_exactly_once(num_parts, workers, steps):
    """Random takes (t), finishes (f) and failures (x) by random workers, then everybody works on without failing."""
    endless = Patience(attempts=10**9, late_factor=2.0, least_late=5.0, streak=10**9, rest=0.0)
    work = WorkList([str(number) for number in range(num_parts)], workers=workers, patience=endless)
    now, holds, finished = 0.0, {}, []

    def act(worker, what):
        if worker not in holds and what == "t":
            name = work.take(worker, now)
            holds.update({} if name is None else {worker: name})
        elif worker in holds and what == "f":
            held = holds.pop(worker)
            name = work.finish(worker, now)
            assert name == (None if held in finished else held)
            finished.extend([] if name is None else [name])
        elif worker in holds and what == "x":
            del holds[worker]
            work.fail(worker, "x", now)

    for worker, what, seconds in steps:
        now += seconds
        act(worker % workers, what)
    for _ in range(2 * num_parts + 2):
        now += 1.0
        for worker in range(workers):
            act(worker, "f")
            act(worker, "t")
    assert sorted(finished) == sorted(str(number) for number in range(num_parts)) and work.is_done
