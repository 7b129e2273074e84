"""Sheets of prompts: what is asked, what is drawn where, and how prompts are cut to a model's context."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from openlvm.core.sheets import FRAME
from openlvm.evaluation import prompt_sheets as sheets
from openlvm.evaluation.harness.predictors import LVMPredictor
from openlvm.evaluation.harness.questions import Question
from openlvm.evaluation.harness.suite import Data
from openlvm.evaluation.prompt_sheets import SHEETS, Prompt, answers_one_by_one, as_much_as_fits, draw_sheet
from openlvm.prompting.lvm import LVM


def picture(value):
    return np.full((8, 8, 3), value, np.uint8)


@dataclass
class Counting:
    """Answers with the brightness of its number of calls; up to `room` pictures fit."""

    room: int = 99
    asked: list = field(default_factory=list)
    seeds: list = field(default_factory=list)
    name: str = "counting"

    def describe(self):
        return {}

    def fits(self, question):
        return len(question.context) + 1 <= self.room

    def answers(self, questions, *, seed):
        self.asked += questions
        self.seeds.append(seed)
        return [picture(100 + len(self.asked)) for _ in questions]


def brightnesses(question):
    return [int(one[0, 0, 0]) for one in question.context]


def test_an_answer_is_shown_before_the_next_is_asked_for():
    model = Counting()
    question = Question(style="sequence", frames=[picture(1), picture(2)])
    answers = answers_one_by_one(model, question, 3, seed=7)
    assert [brightnesses(one) for one in model.asked] == [[1, 2], [1, 2, 101], [1, 2, 101, 102]]
    assert [int(one[0, 0, 0]) for one in answers] == [101, 102, 103] and model.seeds == [7, 8, 9]
    model = Counting(room=3)
    answers_one_by_one(model, question, 3, seed=7)
    assert [brightnesses(one) for one in model.asked] == [[1, 2], [2, 101], [101, 102]]


def test_first_examples_are_left_out_where_all_do_not_fit():
    question = Question(examples=[(picture(n), picture(n + 1)) for n in (1, 3, 5)], query=picture(9))
    assert brightnesses(as_much_as_fits(Counting(room=6), question)) == [3, 4, 5, 6, 9]
    assert brightnesses(as_much_as_fits(Counting(room=5), question)) == [5, 6, 9]
    assert brightnesses(as_much_as_fits(Counting(room=1), question)) == [9]
    assert as_much_as_fits(Counting(), question) is question


def test_a_row_is_prompt_framed_answers_and_truth():
    def prompts(seed):
        return [Prompt(f"row {seed}", Question(style="sequence", frames=[picture(40)]), [picture(200), picture(201)])]

    sheet = draw_sheet(prompts, Counting(), Data(), 3)
    middle = [int(sheet[50, x, 0]) for x in range(sheet.shape[1]) if len(set(sheet[50, x].tolist())) == 1]
    runs = [value for value, before in zip(middle, [None, *middle], strict=False) if value != before]
    assert [value for value in runs if value in (40, 101, 102, 200, 201)] == [40, 101, 102, 200, 201]
    framed = (sheet[50] == FRAME).all(-1)
    assert 6 <= framed.sum() <= 12


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_every_sheet_asks_the_same_for_a_seed_and_shows_no_truth(sheet):
    prompts = sheet.draw.args[0]
    first, again, other = prompts(0), prompts(0), prompts(1)
    assert len(first) >= 3 and len(first) == len(other)
    for one, same in zip(first, again, strict=True):
        assert one.title == same.title and len(one.question.context) <= 15 and one.truths
        assert all(map(np.array_equal, one.question.context, same.question.context))
        for truth in one.truths:
            assert truth.shape == (sheets.SIZE, sheets.SIZE, 3)
            assert not any(np.array_equal(truth, shown) for shown in one.question.context)
    assert any(
        not np.array_equal(one.question.context[0], two.question.context[0])
        for one, two in zip(first, other, strict=True)
    )


def test_a_tiny_model_fills_a_sheet(lvm_at):
    model = LVMPredictor(LVM.load(lvm_at), "tiny")
    sheet = next(sheet for sheet in SHEETS if sheet.name == "compositional")
    drawn = sheet.draw(model, Data(), 0)
    assert drawn.dtype == np.uint8 and np.array_equal(drawn, sheet.draw(model, Data(), 0))
    assert not np.array_equal(drawn, sheet.draw(Counting(), Data(), 0))


def test_what_words_hardly_say_is_drawn_as_said():
    ramp = np.tile(np.arange(0, 192, 2, dtype=np.uint8)[:, None], (96, 1, 3)).reshape(96, 96, 3)
    assert np.array_equal(sheets.closer(ramp, 0), ramp)
    assert sheets.closer(ramp, 6)[0, 0, 0] == pytest.approx(2 * 96 * 6 / 24, abs=2)  # a quarter off each side
    assert sheets.closer(ramp, 6)[0, -1, 0] == pytest.approx(2 * (96 - 96 * 6 / 24), abs=3)
    bright = np.full((96, 96, 3), 200, np.uint8)
    assert [int(sheets.lit(bright, step)[0].sum(-1).argmax()) for step in range(8)] == [12 * n for n in range(8)]
    assert sheets.lit(bright, 0)[0, -1, 0] == 40
    for count in range(1, 10):
        shown = (sheets.copies(np.zeros((96, 96, 3), np.uint8), count) == 0).all(-1)
        assert shown.sum() == count * 32 * 32
    assert shown[-1, -1] and not (sheets.copies(np.zeros((96, 96, 3), np.uint8), 2) == 0)[0, -1].any()
