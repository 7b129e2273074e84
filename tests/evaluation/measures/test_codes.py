"""Metrics of codes and of choices, against sums by hand."""

import numpy as np
import pytest

from openlvm.evaluation.harness.questions import Likelihood, Question
from openlvm.evaluation.measures.codes import (
    ACCURACY,
    CHOICE,
    CHOICE_AGAINST_ALONE,
    CHOICE_ALONE,
    LOSS,
    PERPLEXITY,
    PERPLEXITY_OF_MEAN,
)


def value(metric, given, questions=None):
    """Of several answers together."""
    rows = [metric.sums(one, question) for one, question in zip(given, questions or [Question()] * 9, strict=False)]
    with np.errstate(invalid="ignore"):
        return float(metric.value({name: np.array([sum(row[name] for row in rows)], float) for name in rows[0]})[0])


def likelihood(*probabilities, top=()):
    return Likelihood(np.log(np.array(probabilities)), np.array([n in top for n in range(len(probabilities))]))


def test_both_customs_of_perplexity():
    given = [likelihood(1 / 2, 1 / 8), likelihood(1 / 16)]  # perplexities 4 and 16
    assert value(PERPLEXITY, given) == pytest.approx(10)
    nats = (np.log(2) + np.log(8) + np.log(16)) / 3
    assert value(LOSS, given) == pytest.approx(nats)
    assert value(PERPLEXITY_OF_MEAN, given) == pytest.approx(np.exp(nats)) != 10


def test_accuracy_counts_codes_not_answers():
    assert value(ACCURACY, [likelihood(0.1, 0.2, 0.3, top=(0, 2)), likelihood(0.5)]) == pytest.approx(2 / 4)


def test_the_three_ways_of_choosing_differ():
    both = np.array([[4.0, 6.0, 9.0], [2.0, 2.0, 9.0]])  # in context, alone; the ratios are 2, 3, 1
    for answer, in_context, against, alone in ((0, 1, 0, 1 / 2), (1, 0, 0, 1 / 2), (2, 0, 1, 0)):
        question = [Question(answer=answer)]
        assert value(CHOICE, [both], question) == in_context
        assert value(CHOICE_AGAINST_ALONE, [both], question) == against
        assert value(CHOICE_ALONE, [both], question) == alone


def test_choices_without_a_beginning_do_not_count():
    both = np.array([[1.0, 2.0], [np.nan, np.nan]])
    assert value(CHOICE, [both], [Question(answer=0)]) == 1
    assert np.isnan(value(CHOICE_ALONE, [both], [Question(answer=0)]))
    assert np.isnan(value(CHOICE_AGAINST_ALONE, [both], [Question(answer=0)]))
