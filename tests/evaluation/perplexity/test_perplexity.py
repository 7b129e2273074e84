"""Batched scoring against the facade's one by one, and puzzles whose answer is known."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from openlvm.evaluation.intervals import resamples
from openlvm.evaluation.perplexity.choices import Chosen, accuracy, chance_level, choose_all
from openlvm.evaluation.perplexity.curves import counts_that_fit, curve, mean_curve, mean_log_probs
from openlvm.prompting.lvm import LVM


@pytest.fixture(scope="module")
def lvm(lvm_at) -> LVM:
    return LVM.load(lvm_at)


def picture(seed: int, size: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@dataclass
class Quiz:
    key: str
    answer: int
    kind: str = "color"
    context: list = field(default_factory=lambda: [picture(1, 20), picture(2, 20)])
    options: list = field(default_factory=lambda: [picture(3, 20), picture(4, 20), picture(5, 20)])


def test_mean_log_probs_match_the_facade(lvm):
    prompts = [[picture(0)], [picture(1), picture(2)], [picture(3)], [picture(1), picture(2), picture(0)]]
    found = mean_log_probs(lvm, prompts)
    expected = [lvm.score(prompt[:-1], prompt[-1]) for prompt in prompts]
    assert np.exp(-found) == pytest.approx(expected, rel=1e-5) and len(set(found)) == 4


def test_curve_takes_each_number_from_its_own_column(lvm):
    prompts = [[[picture(q)], [picture(9), picture(q)], [picture(8), picture(9), picture(q)]] for q in range(4)]
    weights = resamples(list("abcd"), 0)
    found = curve(lvm, prompts, (0, 1, 2), weights)
    for place, count in enumerate((0, 1, 2)):
        nats = -mean_log_probs(lvm, [query[place] for query in prompts])
        assert found.nats[place].value == pytest.approx(nats.mean()), count
        assert found.perplexities[place].value == pytest.approx(np.exp(nats).mean()), count
    assert found.summary["perplexity"][1]["value"] == pytest.approx(np.exp(found.nats[1].value))
    assert found.change(0, 2).value == pytest.approx(found.nats[2].value - found.nats[0].value)
    double = mean_curve([found, found])
    assert double.nats[0].value == pytest.approx(found.nats[0].value)
    with pytest.raises(ValueError, match="have no mean; measure them at the same numbers"):
        mean_curve([found, curve(lvm, [query[:2] for query in prompts], (0, 1), weights)])


def test_numbers_that_do_not_fit_are_left_out():
    assert counts_that_fit((0, 1, 3, 7), images_each=2, others=2, images_in_context=16) == (0, 1, 3, 7)
    assert counts_that_fit((0, 1, 3, 7), images_each=2, others=2, images_in_context=15) == (0, 1, 3)


def test_choices_match_the_facade(lvm):
    quizzes = [Quiz("first", 0), Quiz("second", 2, context=[picture(7, 20)], options=[picture(6, 20), picture(1, 20)])]
    for quiz, chosen in zip(quizzes, choose_all(lvm, quizzes), strict=True):
        told = lvm.choose(quiz.context, quiz.options)
        assert np.exp(-chosen.in_context) == pytest.approx(told.perplexities, rel=1e-5)
        assert chosen.picks("in context") == told.index
        alone = [lvm.score([], option) for option in quiz.options]
        assert np.exp(-chosen.context_free) == pytest.approx(alone, rel=1e-5)
        assert (chosen.key, chosen.answer) == (quiz.key, quiz.answer)


def test_many_puzzles_keep_their_order(lvm, monkeypatch):
    monkeypatch.setattr("openlvm.evaluation.perplexity.choices.PUZZLES_AT_ONCE", 2)
    quizzes = [Quiz(str(number), 0, options=[picture(number, 20), picture(99, 20)]) for number in range(5)]
    chosen = choose_all(lvm, quizzes)
    assert [one.key for one in chosen] == list("01234")
    assert chosen[4].in_context == pytest.approx(choose_all(lvm, quizzes[4:])[0].in_context, rel=1e-5)


def test_ways_of_choosing_differ_and_are_counted():
    in_context, free = np.array([-1.0, -2.0, -3.0]), np.array([-1.0, -1.9, -9.0])
    puzzle = Chosen("a", "color", 2, in_context, free)
    assert [puzzle.picks(way) for way in ("in context", "against context-free", "context-free")] == [0, 2, 0]
    other = Chosen("b", "color", 0, in_context, free)
    assert accuracy([puzzle, other], "in context").value == 0.5
    assert accuracy([puzzle, puzzle], "against context-free").value == 1
    assert chance_level([puzzle, Chosen("c", "size", 0, free[:2], free[:2])]) == pytest.approx((1 / 3 + 1 / 2) / 2)
