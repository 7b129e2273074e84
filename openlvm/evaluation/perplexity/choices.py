"""Choosing among options by perplexity: color, shape and size changes, and Raven's matrices.

Each puzzle is answered three ways: by the options' perplexity in the context, by its ratio to their perplexity without
any context, and by the latter alone, which must be at chance: else the options give the answer away.
Letters beside the project's own: O options.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from openlvm.evaluation.intervals import Interval, wilson
from openlvm.evaluation.perplexity.curves import mean_log_probs
from openlvm.evaluation.trials import encode_each_once
from openlvm.prompting.lvm import LVM
from openlvm.prompting.prompts import code_row
from openlvm.prompting.scoring import option_log_probs

PUZZLES_AT_ONCE = 50  # whose pictures are in memory
WAYS = ("in context", "against context-free", "context-free")
"""By the perplexity given the context; by its ratio to the perplexity without; by the latter alone."""


class Puzzle(Protocol):
    """What `sources.worlds` makes: pictures uint8 [H, W, 3] of a context and of options, one of which is right."""

    @property
    def key(self) -> str:
        """Names the puzzle."""

    @property
    def kind(self) -> str:
        """The attribute that changes, or the configuration of a matrix."""

    @property
    def context(self) -> Sequence[np.ndarray]:
        """What is shown, in order."""

    @property
    def options(self) -> Sequence[np.ndarray]:
        """Of which one continues the context."""

    @property
    def answer(self) -> int:
        """Index of the right option."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """A puzzle's options under both readings."""

    key: str
    kind: str
    answer: int
    in_context: np.ndarray
    """float64 [O]: mean log-probability a code, given the context."""
    context_free: np.ndarray
    """float64 [O]: the same after BOS alone."""

    def picks(self, way: str) -> int:
        """Index of the option that one of `WAYS` takes."""
        scores = {
            "in context": self.in_context,
            "against context-free": self.in_context - self.context_free,
            "context-free": self.context_free,
        }
        return int(scores[way].argmax())


def choose_all(lvm: LVM, puzzles: Iterable[Puzzle]) -> list[Chosen]:
    """Every puzzle answered; pictures of any size, prepared here."""
    chosen: list[Chosen] = []
    waiting: list[Puzzle] = []
    for puzzle in puzzles:
        waiting.append(puzzle)
        if len(waiting) == PUZZLES_AT_ONCE:
            chosen += _choose(lvm, waiting)
            waiting = []
    return chosen + (_choose(lvm, waiting) if waiting else [])


def _choose(lvm: LVM, puzzles: Sequence[Puzzle]) -> list[Chosen]:
    bundle = lvm.bundle
    prepare = bundle.tokenizer.preparation
    contexts = [[prepare(picture) for picture in puzzle.context] for puzzle in puzzles]
    options = [[prepare(picture) for picture in puzzle.options] for puzzle in puzzles]
    codes = encode_each_once(bundle.tokenizer, [*contexts, *options])  # int64 [S, N] or [O, N] each
    free = mean_log_probs(lvm, [[option] for several in options for option in several])
    free_of = np.split(free, np.cumsum([len(several) for several in options])[:-1])
    chosen = []
    for puzzle, shown, offered, alone in zip(puzzles, codes, codes[len(puzzles) :], free_of, strict=False):
        scores = option_log_probs(bundle.decoder, code_row(shown, bundle.special.bos), offered)  # [O, N]
        chosen.append(Chosen(puzzle.key, puzzle.kind, puzzle.answer, scores.double().mean(dim=1).numpy(), alone))
    return chosen


def accuracy(chosen: Sequence[Chosen], way: str) -> Interval:
    """Share of right choices and its 95 % interval."""
    return wilson(sum(one.picks(way) == one.answer for one in chosen), len(chosen))


def chance_level(chosen: Sequence[Chosen]) -> float:
    """Accuracy of guessing."""
    return float(np.mean([1 / len(one.in_context) for one in chosen]))
