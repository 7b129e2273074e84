"""What the training loop asks of the thing it trains: a decoder, a tokenizer, or a toy in a test."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from openlvm.training.config import OptimConfig

Evaluator = Callable[[int], Iterable[tuple[str, float]]]
"""Called with the number of steps done, under no_grad and with modules in eval mode; yields (name, value)."""


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """What one forward takes, with the numbers the loop must know before it."""

    data: Any
    """The task's own, on the CPU: `Task.loss` moves it to the device. The loop does not look at it."""
    weight: float
    """Sum of the loss weights in it."""
    units: int
    """Tokens or images in it, for the throughput."""
    flops: float = 0.0
    """Operations that the products of forward and backward need (guards/rates.py); 0 where nobody counts them."""


@dataclass(frozen=True)
class TaskLoss:
    """What one forward gives."""

    total: Tensor
    """Scalar with gradient: the SUM of weight * loss over the micro-batch, not the mean."""
    parts: Mapping[str, tuple[Tensor | float, Tensor | float]] = field(default_factory=dict)
    """Name -> (sum, weight), detached; logged as sum / weight since the last line. Names out of `Task.part_names`."""


@dataclass(frozen=True)
class Review:
    """What a task thinks of the run after a line of metrics."""

    alarms: Sequence[str] = ()
    """One line each: what left its band, and what to do about it."""
    diverged: str = ""
    """Why the run is beyond repair since some steps; empty while it is not. The loop rolls back."""


class Task(Protocol):
    """What is trained and how its loss is computed."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Trained and saved, by name; state outside the gradient (an EMA codebook) lives in persistent buffers."""
        ...

    @property
    def part_names(self) -> Sequence[str]:
        """Every name that may occur in `TaskLoss.parts`; the same on all ranks."""
        ...

    @property
    def own_optim(self) -> Mapping[str, OptimConfig]:
        """Modules with an optimizer, a rate and a gradient clip of their own; the others share `TrainConfig.optim`."""
        ...

    @property
    def unit(self) -> str:
        """What throughput counts: "tokens", "images"."""
        ...

    def micro_batches(self, step: int, positions: range) -> list[MicroBatch]:
        """The batches of these positions at optimizer step `step` (from 0).

        A pure function (chance from `core.seeds.rng`); it runs one or two steps ahead, in another thread.
        """
        ...

    def loss(self, batch: MicroBatch) -> TaskLoss:
        """Forward of one micro-batch; under autocast with precision=bf16. torch's chance is seeded at each step."""
        ...

    def after_step(self, step: int) -> None:
        """Called after optimizer step `step` (from 0): codebook updates and the like; most do nothing."""
        ...

    def review(self, lines: Sequence[Mapping[str, Any]]) -> Review:
        """Called with the lines of metrics so far, the newest last; the same on every rank, nothing but the lines."""
        ...


@runtime_checkable
class BlockTask(Task, Protocol):
    """A task whose modules may be split over ranks and recomputed in the backward (parallel/sharding.py)."""

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """In the order of the forward; each is called as a module, and called by the forward alone."""
        ...

    @property
    def entries(self) -> Mapping[str, str]:
        """Module -> the method by which `loss` enters it, first of all; only then may `loss` read weights itself."""
        ...

    @property
    def compile(self) -> bool:
        """Whether what is split is to be compiled, block by block; anything else a task compiles itself."""
        ...
