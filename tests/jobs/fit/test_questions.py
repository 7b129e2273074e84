"""Questions of a fit: what is shown, which pictures they are made of, and that scores are paired."""

import numpy as np
import pytest

from openlvm.core.images import ImagePreparation, write_image
from openlvm.evaluation.metrics import pixel_error
from openlvm.jobs.fit import questions as asked
from openlvm.jobs.fit.folder import checked, find_pairs, split
from openlvm.jobs.fit.questions import NEW, Question, old_questions, pair_questions, scored

PREPARATION = ImagePreparation(size=16, filter="box")


def flat(number: int) -> np.ndarray:
    return np.full((16, 16, 3), number, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    for number in range(16):
        write_image(tmp_path / "input" / f"{number}.png", flat(number))
        write_image(tmp_path / "target" / f"{number}.png", flat(100 + number))
    files = find_pairs(tmp_path)
    return files, split(checked(files, PREPARATION), share=0.25, seed=0)


def test_held_out_pairs_are_asked_with_examples_of_the_training(folder):
    files, parts = folder
    questions = pair_questions(files, parts, PREPARATION, seed=0)
    assert len(questions) == asked.FEWEST_ASKED and {question.task for question in questions} == {NEW}
    heldout, training = ({int(pair.key) for pair in side} for side in (parts.heldout, parts.training))
    assert {question.cluster for question in questions} == {str(key) for key in heldout}
    for question in questions:
        numbers = [int(picture[0, 0, 0]) for picture in [*question.prompt, question.truth]]
        assert numbers[1::2] == [number + 100 for number in numbers[0::2]] and len(numbers) == 8
        assert set(numbers[0:6:2]) <= training and numbers[6] in heldout and len(set(numbers)) == 8
    first, again = (one for one in questions if one.cluster == questions[0].cluster), questions[len(heldout)]
    assert not np.array_equal(next(first).prompt[0], again.prompt[0])  # other examples


def test_old_questions_are_right(monkeypatch):
    monkeypatch.setattr(asked, "OLD", ("flip", "next frame"))
    questions = old_questions(PREPARATION, queries=2, seed=0)
    assert [question.task for question in questions] == ["flip"] * 2 + ["next frame"] * 2
    flip, frame = questions[0], questions[2]
    assert len(flip.prompt) == 7 and len(frame.prompt) == 7
    assert np.abs(flip.prompt[-1][:, ::-1].astype(int) - flip.truth).max() <= 1
    assert frame.only_changed and not flip.only_changed
    assert old_questions(PREPARATION, queries=0, seed=0) == []


def test_error_is_taken_where_something_changes():
    truth = flat(10)
    query = truth.copy()
    query[:8] = 60
    question = Question("any", [query], truth, True, "")
    answer = truth.copy()
    answer[:8], answer[8:] = 10, 200  # wrong only where nothing changes
    assert question.error(answer) == 0
    everywhere = Question("any", [query], truth, False, "")
    assert everywhere.error(answer) == pixel_error(answer, truth) > 0.3


def test_scores_are_paired_and_know_their_clusters():
    """The change is the same for every question: its interval has no width, whatever the questions are."""
    questions = [Question("any", [flat(0)], flat(10 * number), False, str(number // 2)) for number in range(1, 9)]
    before = [flat(10 * number + 51) for number in range(1, 9)]
    after = [question.truth for question in questions]
    [score] = scored(questions, {"before": before, "after": after, "ceiling": after}, seed=0)
    change = score.estimates["change"].interval
    assert (change.value, change.low, change.high) == pytest.approx((-0.2, -0.2, -0.2))
    assert score.clusters == 5
    assert score.estimates["copy"].value == pytest.approx(np.mean(np.arange(1, 9)) * 10 / 255)
    assert score.report()["questions"] == 8 and len(score.report()["errors"]["after"]) == 8
