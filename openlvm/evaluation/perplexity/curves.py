"""Perplexity of the true answer by how many examples, or frames, are shown before it (arXiv 2312.00785 §4.2).

Teacher-forced: the true earlier codes of the answer are given, and they too tell which task it is; so the curve says
that examples help, not how well answers are drawn. Letters: n queries, L numbers of examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openlvm.evaluation.intervals import Estimate, mean_of
from openlvm.evaluation.trials import encode_each_once
from openlvm.prompting.lvm import LVM
from openlvm.prompting.prompts import code_row
from openlvm.prompting.scoring import row_log_probs


def mean_log_probs(lvm: LVM, prompts: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Mean log-probability a code of the last picture of each prompt, given those before it: float64 [n].

    Args:
        prompts: at least one picture uint8 [size, size, 3] each, of any number.
    """
    bundle = lvm.bundle
    if bundle.special.bos is None:
        raise ValueError("perplexity without examples needs a model with a BOS; this one has none")
    codes = encode_each_once(bundle.tokenizer, prompts)
    rows = [code_row(images, bundle.special.bos) for images in codes]
    return row_log_probs(bundle.decoder, rows, bundle.tokenizer.codes_per_image).double().mean(dim=1).numpy()


@dataclass(frozen=True, eq=False)
class Curve:
    """Negative log-probabilities a code, by number of examples or frames."""

    counts: tuple[int, ...]
    """L numbers, rising."""
    nats: list[Estimate]
    """L estimates of one set of resamples: the mean over queries; their exponentials are perplexities of the mean."""
    perplexities: list[Estimate]
    """L means of the queries' perplexities, as published."""

    def change(self, first: int, second: int) -> Estimate:
        """Nats a code that going from one number to another adds; below 0 is better."""
        return self.nats[self.counts.index(second)] - self.nats[self.counts.index(first)]

    def falls(self, first: int, second: int) -> bool:
        """The change is below 0 beyond its interval."""
        return self.change(first, second).interval.high < 0

    @property
    def rises_after(self) -> list[int]:
        """Numbers at which it is above the number before, beyond the interval of that change."""
        steps = zip(self.counts, self.counts[1:], strict=False)
        return [second for first, second in steps if self.change(first, second).interval.low > 0]

    @property
    def summary(self) -> dict:
        """Perplexities in both customs, and changes to the number before, with intervals."""
        changes = [self.change(*pair).interval for pair in zip(self.counts, self.counts[1:], strict=False)]
        return {
            "counts": list(self.counts),
            "perplexity": [estimate.exp().interval._asdict() for estimate in self.nats],
            "mean_of_perplexities": [estimate.interval._asdict() for estimate in self.perplexities],
            "change_in_nats": [change._asdict() for change in changes],
            "rises_at": self.rises_after,
        }


def counts_that_fit(counts: Sequence[int], *, images_each: int, others: int, images_in_context: int) -> tuple[int, ...]:
    """The numbers of examples (of `images_each` pictures) that fit beside `others` pictures."""
    return tuple(count for count in counts if count * images_each + others <= images_in_context)


def curve(
    lvm: LVM, prompts: Sequence[Sequence[Sequence[np.ndarray]]], counts: Sequence[int], weights: np.ndarray
) -> Curve:
    """The curve of a task.

    Args:
        prompts: of each query (n) and each number (L), the pictures shown and, last, the truth.
        counts: L numbers.
        weights: of the resamples, [R, n].
    """
    flat = [shown for query in prompts for shown in query]
    nats = -mean_log_probs(lvm, flat).reshape(len(prompts), len(counts))  # [n, L]
    return Curve(
        tuple(counts),
        [Estimate.mean(column, weights) for column in nats.T],
        [Estimate.mean(np.exp(column), weights) for column in nats.T],
    )


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean over tasks, each with an equal vote."""
    counts = curves[0].counts
    if any(one.counts != counts for one in curves):
        raise ValueError(f"curves of {[one.counts for one in curves]} have no mean; measure them at the same numbers")
    places = range(len(counts))
    return Curve(
        counts,
        [mean_of([one.nats[place] for one in curves]) for place in places],
        [mean_of([one.perplexities[place] for one in curves]) for place in places],
    )
