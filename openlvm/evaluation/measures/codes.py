"""How likely the true codes are: loss, accuracy and perplexity in both customs; and the share of right choices."""

from collections.abc import Callable, Mapping

import numpy as np

from openlvm.evaluation.harness.questions import Likelihood, Metric, Question, Sums


def _loss_sums(given: Likelihood, question: Question) -> Sums:
    return {"nats": float(-given.log_probs.sum()), "codes": given.log_probs.size}


def _loss(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    return sums["nats"] / sums["codes"]


LOSS = Metric("loss (nats a code)", "lower", _loss_sums, _loss)
"""Cross entropy over the whole vocabulary, mean over all codes (DeLVM's validation loss)."""
PERPLEXITY_OF_MEAN = Metric("perplexity of the mean", "lower", _loss_sums, lambda sums: np.exp(_loss(sums)))
"""exp of the mean loss over all codes (DeLVM)."""


def _perplexity_sums(given: Likelihood, question: Question) -> Sums:
    return {"sum": float(np.exp(-given.log_probs.mean())), "answers": 1}


PERPLEXITY = Metric("perplexity", "lower", _perplexity_sums, lambda sums: sums["sum"] / sums["answers"])
"""The mean over answers of each one's perplexity, as LVM's evaluation computes it (EVAL.md, eval_perplexity.py)."""


def _accuracy_sums(given: Likelihood, question: Question) -> Sums:
    return {"right": int(given.is_top.sum()), "codes": given.is_top.size}


ACCURACY = Metric("accuracy of codes", "higher", _accuracy_sums, lambda sums: sums["right"] / sums["codes"])
"""Share of the codes that were the likeliest of the whole vocabulary, the true ones before them given."""


def _choices(name: str, cost_of: Callable[[np.ndarray], np.ndarray]) -> Metric:
    """Share of the puzzles whose right option costs least; a cost is made of perplexities float64 [2, O].

    Equal lowest costs share the point, so that a model that knows nothing is at chance; unknown ones do not count.
    """

    def sums(perplexities: np.ndarray, question: Question) -> Sums:
        cost = cost_of(perplexities)
        if np.isnan(cost).any():
            return {"right": 0, "choices": 0}
        lowest = cost == cost.min()
        return {"right": float(lowest[question.answer] / lowest.sum()), "choices": 1}

    return Metric(name, "higher", sums, lambda totals: totals["right"] / totals["choices"])


CHOICE = _choices("right choices", lambda perplexities: perplexities[0])
"""By the lowest perplexity given the context."""
CHOICE_AGAINST_ALONE = _choices("right against alone", lambda perplexities: perplexities[0] / perplexities[1])
"""By the lowest ratio of that perplexity to the one without any context: what the context makes likelier."""
CHOICE_ALONE = _choices("right alone", lambda perplexities: perplexities[1])
"""By the perplexity without any context: a control, which is at chance where options do not give the answer away."""
