"""The suite of choices: generated puzzles and RAVEN's files end to end, whoever answers."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from miniatures.puzzles import raven

from openlvm.bundle import SpecialIds
from openlvm.evaluation.harness import run
from openlvm.evaluation.harness.baselines import SIMPLE, Spoiled
from openlvm.evaluation.harness.predictors import LVMPredictor
from openlvm.evaluation.harness.questions import Question, digest
from openlvm.evaluation.harness.run import ask, lines_of
from openlvm.evaluation.harness.scores import write_scores
from openlvm.evaluation.harness.suite import Data, require_data
from openlvm.evaluation.published.reasoning import (
    COMPARING,
    SUITE,
    impartial_puzzle,
    matrix_question,
    one_change_puzzle,
)
from openlvm.prompting.lvm import LVM
from openlvm.sources.worlds.changes import change_puzzles
from openlvm.sources.worlds.matrices import matrix_puzzles

MATRICES = ("raven", "i_raven")
CHANCE = {"color": 1 / 3, "shape": 1 / 3, "size": 1 / 2, "raven": 1 / 8, "i_raven": 1 / 8}


@dataclass
class Knowing:
    """Finds the option `beside` places after the right one likeliest, in context; alone all are alike."""

    name: str
    beside: int = 0

    def describe(self):
        return {"predictor": self.name}

    def answers(self, questions, *, seed):
        raise AssertionError("no pictures are asked for")

    def likelihoods(self, questions):
        raise AssertionError("nor likelihoods")

    def perplexities(self, questions):
        found = []
        for question in questions:
            costs = np.full(len(question.options), 2.0)
            if question.context:
                costs[(question.answer + self.beside) % len(costs)] = 1.5
            found.append(costs)
        return found


@pytest.fixture(autouse=True)
def _few_pictures(monkeypatch):
    """Writing them is most of the time of a small run."""
    monkeypatch.setattr(run, "SHOWN", 1)


@pytest.fixture
def official(tmp_path):
    for name in MATRICES:
        raven(tmp_path / "data" / name)
    return Data(root=tmp_path / "data", episodes=None)


def columns_of(data, *names):
    return [plan.make(data) for plan in SUITE.chosen(names)]


def values(report, column, predictor):
    return {name: one["value"] for name, one in report["columns"][column]["rows"][predictor]["values"].items()}


@pytest.mark.parametrize("where", ["packaged", "official"])
def test_who_knows_is_right_and_who_errs_is_wrong(tmp_path, official, where):
    data = Data(episodes=7) if where == "packaged" else replace(official, episodes=7)
    columns = columns_of(data)
    ask(columns, [Knowing("right"), Knowing("wrong", 1), *SIMPLE], tmp_path / "run", suite="reasoning")
    report = write_scores(columns, tmp_path / "run", SUITE.references)
    assert list(report["columns"]) == ["color", "shape", "size", "raven", "i_raven"]
    for name, chance in CHANCE.items():
        assert set(report["columns"][name]["rows"]) == {"right", "wrong"}  # who draws pictures is not asked
        right, wrong = (values(report, name, who) for who in ("right", "wrong"))
        assert right == {"right choices": 1, "right against alone": 1, "right alone": pytest.approx(chance)}
        assert wrong == {"right choices": 0, "right against alone": 0, "right alone": pytest.approx(chance)}


def test_every_problem_of_the_test_split_is_asked_by_configuration(tmp_path, official):
    (raven,) = columns_of(official, "raven")
    episodes = raven.episodes()
    assert len(episodes) == 14 and set(Counter(one.label for one in episodes).values()) == {2}
    assert all(one.query.endswith("_test") for one in episodes)
    ask([raven], [Knowing("right")], tmp_path / "run", suite="reasoning")
    row = write_scores([raven], tmp_path / "run")["columns"]["raven"]["rows"]["right"]
    assert len(row["values"]["right choices"]["by_label"]) == 7
    few = columns_of(replace(official, episodes=5), "raven")[0].episodes()
    assert len({one.query for one in few} & {one.query for one in episodes}) == 5


def test_questions_are_the_generators_puzzles():
    data = Data(episodes=9, seed=4)
    color, i_raven = columns_of(data, "color", "i_raven")
    puzzles = list(change_puzzles("color", count=9, seed=4))
    matrices = list(matrix_puzzles(count=9, seed=4, options=8))
    for column, expected in ((color, puzzles), (i_raven, matrices)):
        for episode, puzzle in zip(column.episodes(), expected, strict=True):
            question = column.question(episode)
            assert question.answer == puzzle.answer and len(question.context) == len(puzzle.context)
            assert all(map(np.array_equal, question.context, puzzle.context))
            assert all(map(np.array_equal, question.options, puzzle.options))
    for name in CHANCE:
        told = [digest(columns_of(Data(episodes=9, seed=seed), name)[0].episodes()) for seed in (4, 4, 5)]
        assert told[0] == told[1] != told[2]
    assert len(columns_of(Data(), "color")[0].episodes()) == 32


def test_beside_datasets_900_changes_are_asked(official):
    assert sum(len(column.episodes()) for column in columns_of(official, "color", "shape", "size")) == 900


def test_options_of_the_one_kind_give_the_answer_away_and_of_the_other_do_not():
    """What RAVEN was blamed for (arXiv 2002.06838): the majority of one-change options is the answer."""
    biased, fair = (
        [generate(number, seed=0) for number in range(35)] for generate in (one_change_puzzle, impartial_puzzle)
    )
    usual = COMPARING[1]
    for puzzle in biased:
        assert len({option.tobytes() for option in puzzle.options}) == 8
    right = [
        [int(cost.argmin()) == one.answer for one, cost in zip(some, usual.perplexities(some), strict=True)]
        for some in ([matrix_question(puzzle) for puzzle in puzzles] for puzzles in (biased, fair))
    ]
    assert np.mean(right[0]) > 0.9 and np.mean(right[1]) < 0.35
    again, other = one_change_puzzle(5, seed=0), one_change_puzzle(5, seed=1)
    assert again.answer == biased[5].answer and all(map(np.array_equal, again.options, biased[5].options))
    assert other.options[0].tobytes() != again.options[0].tobytes()
    assert len({puzzle.answer for puzzle in biased}) == 8


def gray(*values):
    return [np.full((4, 4, 3), value, np.uint8) for value in values]


def test_comparing_finds_the_option_nearest_to_the_query_or_to_the_others():
    nearest, usual = COMPARING
    question = Question(style="sequence", frames=gray(0, 90), options=gray(10, 100, 20, 30), answer=1)
    assert nearest.perplexities([question])[0].tolist() == [81, 11, 71, 61]
    assert np.array_equal(nearest.answers([question], seed=0)[0], question.options[1])
    assert usual.perplexities([question])[0].tolist() == [16, 76, 6, 6]  # the median is 25
    alone = replace(question, frames=())
    assert np.isnan(nearest.perplexities([alone])[0]).all()
    assert usual.perplexities([alone])[0].tolist() == [16, 76, 6, 6]


def test_comparing_stands_in_the_table_and_only_where_options_are(tmp_path):
    columns = columns_of(Data(episodes=9), "size", "raven")
    assert {one.name for plan in SUITE.plans for one in plan.classical()} == {"nearest option", "usual option"}
    ask(columns, COMPARING, tmp_path, suite="reasoning")
    report = write_scores(columns, tmp_path)
    found = values(report, "raven", "usual option")
    assert found["right choices"] == found["right alone"] > 0.8
    assert found["right against alone"] == pytest.approx(1 / 8)  # the context changes nothing
    assert values(report, "raven", "nearest option")["right alone"] is None


def test_a_model_answers_and_a_stopped_run_goes_on(tmp_path, official, lvm_at):
    lvm = LVM.load(lvm_at)
    model = LVMPredictor(lvm, "tiny")
    columns = columns_of(replace(official, episodes=4))
    ask(columns, [model, Spoiled(model, "none")], tmp_path / "whole", suite="reasoning")
    for name in CHANCE:
        found = values(write_scores(columns, tmp_path / "whole"), name, "tiny")
        assert all(0 <= one <= 1 for one in found.values())
    puzzle = columns[0].question(columns[0].episodes()[0])
    told = lvm.choose(puzzle.context, list(puzzle.options)).perplexities
    assert model.perplexities([puzzle])[0] == pytest.approx(told, rel=1e-5)
    alone = replace(puzzle, examples=(), query=None)
    expected = [lvm.score([], option) for option in puzzle.options]
    assert model.perplexities([alone])[0] == pytest.approx(expected, rel=1e-5)
    ask(columns[:2], [model, Spoiled(model, "none")], tmp_path / "part", suite="reasoning")
    for name in ("color", "shape"):
        for row in ("tiny", "tiny none"):
            one, other = (
                [{**line, "seconds": 0} for line in lines_of(tmp_path / at, name, row)] for at in ("whole", "part")
            )
            assert one == other


def test_a_model_that_cannot_begin_alone_has_no_control(tmp_path, lvm_at):
    lvm = LVM.load(lvm_at)
    lvm.bundle = replace(lvm.bundle, special=SpecialIds())
    (color,) = columns_of(Data(episodes=3), "color")
    ask([color], [LVMPredictor(lvm, "old")], tmp_path, suite="reasoning")
    found = values(write_scores([color], tmp_path), "color", "old")
    assert found["right alone"] is None and found["right against alone"] is None and found["right choices"] is not None


def test_absent_data_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"2 of 2 datasets are not there: .*/raven: RAVEN-10000 .*/i_raven: I-"):
        require_data(SUITE.plans, Data(root=tmp_path))
    require_data(SUITE.chosen(["color"]), Data(root=tmp_path))
