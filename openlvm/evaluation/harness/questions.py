"""What is asked in an evaluation, before any model is: episodes, questions with their truth, and columns of a table.

An episode names records and a seed; a column turns it into a question, and an answer into sums that add over episodes
and over processes; a metric turns sums into its value.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Asks = Literal["picture", "likelihood", "choice"]
"""What a predictor must give: a picture; the truth's log-probability; options' perplexities, also without context."""
Sums = Mapping[str, float]
"""Counts and sums of one answer, or of many added together."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One query with what is shown before it, by name: the same for every predictor."""

    number: int
    """Place in the column's list."""
    query: str
    """Key of the record that is asked about."""
    examples: tuple[str, ...] = ()
    """Keys of the records shown, in order."""
    label: str = ""
    """Class or fold, where scores are told apart by it."""
    cluster: str = ""
    """What is drawn again by the bootstrap; "" is the query."""
    seed: int = 0
    """Of what is drawn for this episode: holes, noise, frames."""


def digest(episodes: Sequence[Episode]) -> str:
    """SHA-256 of a list of episodes: two runs with equal digests asked the same."""
    text = json.dumps([asdict(episode) for episode in episodes], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """The pictures of an episode, uint8 [H, W, 3] each, of any sizes."""

    style: Literal["analogy", "sequence"] = "analogy"
    """Pairs and a query, or frames whose next is asked for."""
    examples: Sequence[tuple[np.ndarray, np.ndarray]] = ()
    """Pairs (picture, answer); none in a sequence."""
    query: np.ndarray | None = None
    """The picture to answer; None in a sequence."""
    frames: Sequence[np.ndarray] = ()
    """Of a sequence, in order."""
    truth: np.ndarray | None = None
    """The true answer at the size at which it is scored; answers are resized to it."""
    payload: Any = None
    """The truth in its units (core/records.py), where the metric needs them."""
    options: Sequence[np.ndarray] = ()
    """Of a choice."""
    answer: int = -1
    """Index of the right option."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """What else the metric needs (ids, colors, head sizes)."""

    @property
    def context(self) -> list[np.ndarray]:
        """Every picture shown, in the order of the prompt."""
        if self.style == "sequence":
            return list(self.frames)
        shown = [picture for pair in self.examples for picture in pair]
        return shown if self.query is None else [*shown, self.query]


@dataclass(frozen=True, eq=False)
class Likelihood:
    """How a model saw the true answer: natural log-probability of each code and whether it was the likeliest, [N]."""

    log_probs: np.ndarray
    is_top: np.ndarray


Given = Any
"""What a predictor gave: uint8 [H, W, 3], a `Likelihood`, or perplexities of options [2, O], in context and alone."""


@dataclass(frozen=True, eq=False)
class Metric:
    """A number of a table: how one answer becomes sums, and how sums become the number."""

    name: str
    """As printed: "mIoU", "PSNR (dB)"."""
    better: Literal["higher", "lower"]
    sums: Callable[[Given, Question], Sums]
    """Of one answer; adds over episodes."""
    value: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    """From sums, each an array [R] (of R resamples, or of one whole): the metric, float64 [R]; NaN where undefined."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """A column of a table: one task on one dataset, with its metrics; the first metric is the one printed first."""

    name: str
    asks: Asks = "picture"
    metrics: tuple[Metric, ...]
    episodes: Callable[[], Sequence[Episode]]
    """The frozen list; the same on every call and machine."""
    question: Callable[[Episode], Question]
    """Reads and draws what an episode names."""
    data: str = ""
    """Which data this is, for the report: "NYUv2 test (official)", "sample pack, heldout"."""
    protocol: str = ""
    """What a reader must know to compare: sizes, spaces, thresholds, with the source."""
    curve: tuple[str, float] | None = None
    """Name of the axis of a curve on which it is a point, and its place there: ("context frames", 7)."""


def sums_of(column: Column, given: Given, question: Question) -> dict[str, float]:
    """The sums of every metric of a column for one answer: "metric/sum" -> number."""
    return {
        f"{metric.name}/{name}": float(number)
        for metric in column.metrics
        for name, number in metric.sums(given, question).items()
    }


def value_of(metric: Metric, sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """The value of one metric from sums as `sums_of` names them, float64 [R]."""
    mine = {
        key.removeprefix(f"{metric.name}/"): total for key, total in sums.items() if key.startswith(f"{metric.name}/")
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(metric.value(mine), dtype=np.float64)
