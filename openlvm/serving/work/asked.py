"""What is asked, as values: pictures that are ready for the tokenizer, and how their answer is to be drawn.

Letters beside the project's own: C candidates, F frames drawn.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from openlvm.bundle import Bundle
from openlvm.prompting.answers import Answer, Choice
from openlvm.prompting.engine.memory import bytes_needed
from openlvm.prompting.lvm import LVM
from openlvm.prompting.prompts import check_room
from openlvm.prompting.sampling import Sampling

Pixels = np.ndarray
"""uint8 [size, size, 3], as the tokenizer wants them."""


class Drawing(Protocol):
    """A prompt that is answered with pictures."""

    @property
    def shown(self) -> list[Pixels]:
        """The pictures in the order the model sees them."""

    @property
    def num_frames(self) -> int:
        """F."""

    @property
    def has_query(self) -> bool:
        """The last picture is a query, after examples."""

    def ask(self, lvm: LVM, **how: Any) -> Answer:
        """The answer of the LVM by itself."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Complete:
    """Frames to go on with."""

    images: list[Pixels]
    num_frames: int
    has_query = False

    @property
    def shown(self) -> list[Pixels]:
        return self.images

    def ask(self, lvm: LVM, **how: Any) -> Answer:
        return lvm.complete(self.images, num_frames=self.num_frames, **how)


@dataclass(frozen=True, kw_only=True, eq=False)
class Analogy:
    """Examples and a query."""

    pairs: list[tuple[Pixels, Pixels]]
    query: Pixels
    num_frames = 1
    has_query = True

    @property
    def shown(self) -> list[Pixels]:
        return [*(picture for pair in self.pairs for picture in pair), self.query]

    def ask(self, lvm: LVM, **how: Any) -> Answer:
        return lvm.analogy(self.pairs, self.query, **how)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compose:
    """Examples of several tasks and a query."""

    groups: list[list[tuple[Pixels, Pixels]]]
    query: Pixels
    num_frames = 1
    has_query = True

    @property
    def shown(self) -> list[Pixels]:
        return [*(picture for group in self.groups for pair in group for picture in pair), self.query]

    def ask(self, lvm: LVM, **how: Any) -> Answer:
        return lvm.compose(self.groups, self.query, **how)


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """A picture whose perplexity after others is asked for."""

    context: list[Pixels]
    target: Pixels
    restrict: bool

    def measure(self, lvm: LVM) -> float:
        """The perplexity."""
        return lvm.score(self.context, self.target, restrict=self.restrict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Choose:
    """Pictures of which one follows others best."""

    context: list[Pixels]
    options: list[Pixels]
    restrict: bool
    against: str

    def measure(self, lvm: LVM) -> Choice:
        """The choice."""
        return lvm.choose(self.context, self.options, restrict=self.restrict, against=self.against)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How an answer is drawn."""

    sampling: Sampling
    num_candidates: int = 1
    """C."""
    seed: int = 0
    exact: bool = False
    """By itself, with the bits of a call of the LVM in Python; else together with what others asked."""


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
        asked: "Drawing | Score | Choose",
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


def bytes_to_draw(bundle: Bundle, asked: Drawing, way: Way) -> int:
    """Keys, values and activations that a prompt takes at most (engine/memory.py), after refusing what does not fit."""
    num_shown, each = len(asked.shown), bundle.tokenizer.codes_per_image
    check_room(bundle, num_shown, asked.num_frames)
    length = num_shown * each + (bundle.special.bos is not None)
    rows = 1 if way.exact else way.num_candidates
    weight = next(bundle.decoder.parameters())
    memory = bytes_needed(
        bundle.decoder.config, [length], asked.num_frames * each,
        num_candidates=rows,
        rows_at_once=rows,
        bytes_per_number=4 if weight.device.type == "cpu" or weight.dtype == torch.float32 else 2,
    )  # fmt: skip
    return memory.cache + memory.activations
