"""What a fit says of itself: a verdict that follows from the intervals, and lines that fit."""

import numpy as np
import pytest

from openlvm.jobs.fit.questions import NEW, Question, TaskScore, scored
from openlvm.jobs.fit.report import CELL, gallery, table, verdict


def flat(number: int) -> np.ndarray:
    return np.full((16, 16, 3), number, dtype=np.uint8)


def score(task: str, before: list[int], after: list[int]) -> TaskScore:
    questions = [Question(task, [flat(0)], flat(0), False, str(number)) for number in range(len(before))]
    pictures = {"before": [*map(flat, before)], "after": [*map(flat, after)], "ceiling": [flat(0)] * len(before)}
    return scored(questions, pictures, seed=0)[0]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([90, 95, 99, 101], [50, 52, 40, 44], "answered better than before"),
        ([50, 52, 40, 44], [90, 95, 99, 101], "answered worse than before"),
        ([50, 52, 40, 44], [52, 50, 44, 40], "cannot be told"),
    ],
)
def test_verdict_follows_the_interval(before, after, told):
    assert told in verdict([score(NEW, before, after)])


def test_verdict_names_what_was_forgotten():
    new = score(NEW, [90, 95], [50, 52])
    kept, lost = score("edges", [50, 60], [50, 60]), score("depth", [10, 20], [90, 95])
    assert "Worse than before, beyond the interval: depth." in verdict([new, kept, lost])
    assert "No old task got worse" in verdict([new, kept])


def test_table_has_a_line_for_each_task_and_fits_a_terminal():
    scores = [score(NEW, [90, 95], [50, 52]), score("depth", [10, 20], [90, 95])]
    lines = table(scores).splitlines()
    assert lines[1].split()[:5] == ["held-out", "pairs", "2", "0.363", "0.200"] and "-0.163" in lines[1]
    assert max(map(len, lines)) <= 110


def test_gallery_frames_both_answers():
    questions = [Question(NEW, [flat(1), flat(2), flat(3)], flat(4), False, "a")]
    sheet = gallery(questions, {"before": [flat(9)], "after": [flat(8)], "ceiling": [flat(4)]})
    green = (sheet == (0, 160, 80)).all(-1).any(0)
    assert 2 * CELL <= green.sum() < 3 * CELL
