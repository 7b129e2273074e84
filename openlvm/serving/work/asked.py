"""What is asked, as values: pictures that are ready for the tokenizer, and how their answer is to be drawn.

Letters beside the project's own: C candidates, F frames drawn.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from openlvm.prompting.answers import Answer, Choice
from openlvm.prompting.drawing import Wishes
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import Sampling
from openlvm.prompting.scoring import OnRows

Pixels = np.ndarray
"""uint8 [size, size, 3], as the tokenizer wants them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Complete:
    """Frames to go on with; arguments as `LVM.complete`."""

    images: list[Pixels]
    num_frames: int
    slide: bool = False
    keep: int | None = None
    reuse: bool = False
    has_query = False

    @property
    def shown(self) -> list[Pixels]:
        """The pictures in the order the model sees them."""
        return self.images

    def ask(self, lvm: LVM, **how: Any) -> Answer:
        """The answer of the LVM by itself."""
        return lvm.complete(
            self.images, num_frames=self.num_frames, slide=self.slide, keep=self.keep, reuse=self.reuse, **how
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Analogy:
    """Examples and a query; arguments as `LVM.analogy`."""

    pairs: list[tuple[Pixels, Pixels]]
    query: Pixels
    ensemble: int = 1
    num_frames = 1
    has_query = True

    @property
    def shown(self) -> list[Pixels]:
        """The pictures in the order the model sees them."""
        return [*(picture for pair in self.pairs for picture in pair), self.query]

    def ask(self, lvm: LVM, **how: Any) -> Answer:
        """The answer of the LVM by itself."""
        return lvm.analogy(self.pairs, self.query, ensemble=self.ensemble, **how)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compose:
    """Examples of several tasks and a query."""

    groups: list[list[tuple[Pixels, Pixels]]]
    query: Pixels
    num_frames = 1
    has_query = True

    @property
    def shown(self) -> list[Pixels]:
        """The pictures in the order the model sees them."""
        return [*(picture for group in self.groups for pair in group for picture in pair), self.query]

    def ask(self, lvm: LVM, **how: Any) -> Answer:
        """The answer of the LVM by itself."""
        return lvm.compose(self.groups, self.query, **how)


Drawing = Complete | Analogy | Compose
"""A prompt that is answered with pictures, `num_frames` of them; `has_query` where the last one shown is a query."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """A picture whose perplexity after others is asked for."""

    context: list[Pixels]
    target: Pixels
    restrict: bool

    def measure(self, lvm: LVM, on_rows: OnRows) -> float:
        """The perplexity."""
        return lvm.score(self.context, self.target, restrict=self.restrict, on_rows=on_rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class Choose:
    """Pictures of which one follows others best."""

    context: list[Pixels]
    options: list[Pixels]
    restrict: bool
    against: str

    def measure(self, lvm: LVM, on_rows: OnRows) -> Choice:
        """The choice."""
        return lvm.choose(self.context, self.options, restrict=self.restrict, against=self.against, on_rows=on_rows)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How an answer is drawn."""

    sampling: Sampling
    num_candidates: int = 1
    """C."""
    seed: int = 0
    exact: bool = False
    """By itself, with the bits of a call of the LVM in Python; else together with what others asked."""
    fast: bool = False
    ahead: int | None = None
    """As in a call of the LVM; both are drawn by themselves."""

    @property
    def wishes(self) -> Wishes:
        """The keywords of a call of the LVM."""
        return {
            "sampling": self.sampling,
            "num_candidates": self.num_candidates,
            "seed": self.seed,
            "exact": self.exact,
            "fast": self.fast,
            "ahead": self.ahead,
        }


class Cancelled(Exception):
    """Nobody waits for this answer any more: the client has left, or the time for it is over."""


class Job:
    """A question on its way to its answer; several threads look at it.

    Args:
        lvm: name of the LVM that is asked.
        asked: what is asked.
        way: how to draw; None for what is measured.
        on_change: called by the worker whenever a row of codes more was drawn.
    """

    def __init__(
        self,
        lvm: str,
        asked: Drawing | Score | Choose,
        way: Way | None,
        *,
        on_change: Callable[[], None] | None = None,
    ):
        self.lvm, self.asked, self.way = lvm, asked, way
        self.on_change = on_change
        self.result: Future[Answer | float | Choice] = Future()
        self.result.set_running_or_notify_cancel()  # who waits for it cannot cancel it; `cancel` can
        self.bytes = 0
        """What drawing it takes at most."""
        self.is_alone = way is None
        """It is answered by itself, with a call of the LVM."""
        self._gone = threading.Event()
        self.codes: list[list[int]] = [[] for _ in range(way.num_candidates if way else 0)]
        """Those drawn so far of each candidate, in the order of chance; grown by the worker alone."""

    def cancel(self) -> None:
        """Nobody waits any more; the worker lets go of it soon."""
        self._gone.set()

    @property
    def is_cancelled(self) -> bool:
        """Nobody waits for it."""
        return self._gone.is_set()

    def tell(self) -> None:
        """Let whoever waits know that there are more codes."""
        if self.on_change is not None:
            self.on_change()
