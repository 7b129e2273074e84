"""The figures that `mini` must reach, for weights trained on CPUs alone and for those trained on a GPU."""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from openlvm.evaluation.intervals import Estimate
from openlvm.evaluation.perplexity.choices import Chosen, accuracy, chance_level
from openlvm.evaluation.perplexity.curves import Curve
from openlvm.evaluation.suites.scores import Overall, TaskScores

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
EDGE_RIVALS = ("copy", "mean", "none")  # the best of them is the baseline of edges


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One figure: what is asked of whom, and what was measured."""

    name: str
    measured: float
    compare: str
    """How `measured` must stand to what is asked: one of >=, <=, >, <."""
    cpu: float | None
    """Asked of weights trained on CPUs; None is nothing."""
    gpu: float | None
    """Asked of weights trained on a GPU."""
    shown: str
    """The measurement in words, with its interval."""

    def passes(self, asked: float | None) -> bool | None:
        """Whether the figure is reached; None where nothing is asked."""
        return None if asked is None else _COMPARE[self.compare](self.measured, asked)


def _spelled(estimate: Estimate, digits: int = 3) -> str:
    value, low, high = estimate.interval
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def task_gates(tasks: Mapping[str, TaskScores], whole: Overall) -> Iterator[Gate]:
    """Of drawn answers.

    Args:
        tasks: the listed tasks by name.
        whole: over them.
    """
    for way, words in (("mean", "in the mean"), ("interval", "beyond the interval")):
        won = len(whole.beaten[way])
        yield Gate(
            name=f"tasks that beat copying, the mean answer and no examples, {words}",
            measured=won, compare=">=", cpu=10, gpu=10, shown=f"{won} of {len(tasks)}",
        )  # fmt: skip
    if whole.does_wrong_task:
        yield Gate(
            name="with wrong examples the answer is nearer to the wrong task's (lower bound)",
            measured=whole.does_wrong_task.interval.low, compare=">", cpu=0.5, gpu=0.5,
            shown=_spelled(whole.does_wrong_task, 2),
        )  # fmt: skip
    over = whole.over_ceiling
    yield Gate(name="pixel error over the tokenizer's ceiling", measured=over.value, compare="<=",
               cpu=0.04, gpu=0.02, shown=_spelled(over))  # fmt: skip
    for condition, cpu, gpu in (("wrong", 2.0, 3.0), ("shuffled", 1.6, 2.0)):
        ratio = whole.ratio(condition)
        yield Gate(name=f"pixel error, {condition} / correct examples", measured=ratio.value, compare=">=",
                   cpu=cpu, gpu=gpu, shown=_spelled(ratio, 2))  # fmt: skip
    iou = tasks["segmentation"].value["correct"]
    yield Gate(name="mask IoU", measured=iou.value, compare=">=", cpu=0.55, gpu=0.80, shown=_spelled(iou))
    for name, words in (("depth", "depth AbsRel / the mean answer's"), ("normals", "normal angle / the mean answer's")):
        share = tasks[name].value["correct"] / tasks[name].value["mean"]
        yield Gate(name=words, measured=share.value, compare="<=", cpu=None, gpu=0.6, shown=_spelled(share, 2))
    values = tasks["edges"].value
    rival = max(EDGE_RIVALS, key=lambda name: values[name].value)
    gain = values["correct"] / values[rival]
    yield Gate(name=f"edge F1 / the best baseline's ({rival})", measured=gain.value, compare=">=", cpu=None, gpu=2.0,
               shown=_spelled(gain, 2))  # fmt: skip
    right = tasks["recoloring (unseen)"].value["correct"]
    yield Gate(name="unseen recolorings: pixels right within 32/255", measured=right.value, compare=">=",
               cpu=None, gpu=0.7, shown=_spelled(right))  # fmt: skip


def curve_gates(over_tasks: Curve, curves: Mapping[str, Curve]) -> Iterator[Gate]:
    """Of perplexity by examples and frames.

    Args:
        over_tasks: the mean over analogy tasks.
        curves: every curve that must not rise, by name.
    """
    for first, second in ((0, 1), (1, 5)):
        if second in over_tasks.counts:
            change = over_tasks.change(first, second)
            yield Gate(name=f"perplexity from {first} to {second} examples, nats a code (upper bound)",
                       measured=change.interval.high, compare="<", cpu=0, gpu=0, shown=_spelled(change))  # fmt: skip
    rises = [f"{name} at {number}" for name, one in curves.items() for number in one.rises_after]
    yield Gate(name="numbers of examples or frames that raise it beyond their interval",
               measured=len(rises), compare="<=", cpu=0, gpu=0, shown=", ".join(rises) or "none")  # fmt: skip


MATRICES = "matrices"
"""Kind of the puzzles that are Raven's matrices."""
REASONING_ASKED = {"color": (0.60, 0.80), "shape": (0.60, 0.80), "size": (0.80, 0.95)}
"""Kind of change -> what is asked of CPU and GPU weights."""


def choice_gates(chosen: Mapping[str, Sequence[Chosen]]) -> Iterator[Gate]:
    """Of reasoning, each chosen by perplexity and by perplexity against the context-free one."""
    for kind, puzzles in chosen.items():
        for way in ("in context", "against context-free"):
            found = accuracy(puzzles, way)
            shown = f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}], chance {chance_level(puzzles):.1%}"
            name = f"{kind}, chosen by perplexity {way}"
            if kind == MATRICES:
                yield Gate(name=f"{name} (lower bound)", measured=found.low, compare=">", cpu=chance_level(puzzles),
                           gpu=None, shown=shown)  # fmt: skip
                yield Gate(name=name, measured=found.value, compare=">=", cpu=None, gpu=0.35, shown=shown)
            else:
                cpu, gpu = REASONING_ASKED[kind]
                yield Gate(name=name, measured=found.value, compare=">=", cpu=cpu, gpu=gpu, shown=shown)
        free = accuracy(puzzles, "context-free")
        chance = chance_level(puzzles)
        yield Gate(
            name=f"{kind}, context-free choice: distance of its interval from chance",
            measured=max(free.low - chance, chance - free.high, 0.0), compare="<=", cpu=0, gpu=0,
            shown=f"{free.value:.1%} [{free.low:.1%}, {free.high:.1%}], chance {chance:.1%}",
        )  # fmt: skip
