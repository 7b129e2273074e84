"""The training loop: the same for a decoder and for a tokenizer; what differs is a `Task` (task.py).

One optimizer step, on every rank:

    positions    this rank's even share of [next, next + positions_per_step)
    batches      task.micro_batches(step, positions), made ahead in a thread
    total        sum of the batches' weights over all ranks, known before any backward
    backward     of sum(weight * loss) / total, batch after batch; the ranks' gradients are summed
    step         clip by global norm, refuse what is not finite, optimizer, task.after_step

Loss and gradient thus do not depend on the number of ranks or of micro-batches (up to float rounding). The state of a
run is (weights, optimizer, step, next position): it is saved between steps, and a resumed run repeats to the bit.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from openlvm.core.ranks import Ranks, ranks_from_environment
from openlvm.core.runs import RunFolder, open_run
from openlvm.core.seeds import seed_of
from openlvm.training.checkpoint import TrainState, hash_config, load_checkpoint, load_state, save_checkpoint
from openlvm.training.config import TrainConfig
from openlvm.training.optim import Optimizers, lr_share, make_optimizer
from openlvm.training.parallel import (
    barrier,
    broadcast_modules,
    device_of,
    positions_of,
    process_group,
    sum_gradients,
    sum_over_ranks,
)
from openlvm.training.prefetch import prefetch
from openlvm.training.progress import Progress
from openlvm.training.task import Evaluator, MicroBatch, Task

_REBATCH_MAY_CHANGE = ("positions_per_step", "positions_per_forward")


def train(
    config: TrainConfig,
    task: Task,
    at: Path | str,
    *,
    device: str = "cpu",
    evaluators: Sequence[Evaluator] = (),
    whole_config: Any = None,
    resume: bool = False,
    rebatch: bool = False,
    name: str = "train",
) -> Path:
    """Train `task` in a run folder.

    Args:
        config: steps, batch, optimizer, cadences.
        task: its modules are moved to `device` and changed in place.
        at: the run folder (core/runs.py).
        device: "cpu", or "cuda" for the GPU of this rank.
        evaluators: called every `evaluate_every` steps and after the last, on every rank.
        whole_config: what is written to config.json and compared on resume; default `config`. When it is more than
            `config`, it holds it in a field `train`.
        resume: go on from the last checkpoint of the run in `at`, to the bit; with none there, start.
        rebatch: a resumed run may have another global batch; data goes on at the next position.
        name: shown in the progress.

    Returns:
        The checkpoint folder after the last step.
    """
    ranks = ranks_from_environment()
    positions_of(0, config.positions_per_step, ranks)  # refuses an uneven split before anything is written
    on = device_of(ranks, device)
    whole = config if whole_config is None else whole_config
    prefix = "" if whole_config is None else "train."
    may_differ = [prefix + field for field in _REBATCH_MAY_CHANGE] if rebatch else []
    with process_group(ranks, on):
        if ranks.is_main:
            open_run(at, whole, resume=resume, may_differ=may_differ)
        barrier()
        for module in task.modules.values():
            module.to(on)
        broadcast_modules(task.modules.values())
        optimizers = make_optimizer(task.modules, config.optim)
        loop = _Loop(config, task, RunFolder(Path(at)), ranks, on, optimizers, evaluators, hash_config(whole), name)
        return loop.run_from(loop.restored(rebatch))


@dataclass(frozen=True)
class _Loop:
    """The values every part of the loop needs; what changes is passed along."""

    config: TrainConfig
    task: Task
    run: RunFolder
    ranks: Ranks
    device: torch.device
    optimizers: Optimizers
    evaluators: Sequence[Evaluator]
    config_hash: str
    name: str

    def restored(self, rebatch: bool) -> TrainState:
        """The state of the last checkpoint, with weights and optimizer filled; step 0 when there is none."""
        latest = self.run.latest_checkpoint()
        state = self.state_at(0, 0, torch.zeros(len(self.task.part_names), 2))
        if latest is not None:
            old = load_state(latest).positions_per_step
            if not rebatch and old != self.config.positions_per_step:
                raise ValueError(
                    f"{latest} was trained with positions_per_step={old}, now {self.config.positions_per_step}; "
                    "resume with the same, or allow another with rebatch (--rebatch)"
                )
            state = load_checkpoint(latest, self.task.modules, self.optimizers)
        if self.ranks.is_main:
            self.run.cut_metrics(state.step)
        barrier()
        return state

    def state_at(self, step: int, next_position: int, meters: torch.Tensor) -> TrainState:
        pairs = zip(self.task.part_names, meters.tolist(), strict=True)
        return TrainState(
            step=step,
            next_position=next_position,
            positions_per_step=self.config.positions_per_step,
            world_size=self.ranks.world_size,
            config_hash=self.config_hash,
            meters={part: (total, weight) for part, (total, weight) in pairs},
        )

    def run_from(self, state: TrainState) -> Path:
        """Every step from `state` to the end."""
        config, task = self.config, self.task
        pairs = [state.meters.get(part, (0.0, 0.0)) for part in task.part_names]
        meters = torch.tensor(pairs, dtype=torch.float64, device=self.device).reshape(-1, 2)  # [parts, (sum, weight)]
        clock = _Clock(task.unit, self.device)
        self.set_training(True)
        shown = Progress(
            steps=config.steps, first_step=state.step, unit=task.unit, name=self.name, is_shown=self.ranks.is_main
        )
        work = prefetch(lambda pair: task.micro_batches(pair[0], self.share(pair[1])), self.plan(state))
        with shown, closing(work):
            for (step, first), batches in work:
                line = self.step(step, first, batches, meters)
                clock.count(sum(batch.units for batch in batches) * self.ranks.world_size)
                done = step + 1
                is_evaluated = done == config.steps or _is_due(done, config.evaluate_every)
                if is_evaluated or done % config.log_every == 0:
                    line |= {"parts": self.read_meters(meters), "timing": clock.read()}
                    if is_evaluated and self.evaluators:
                        line["evaluation"] = self.evaluate(done)
                        clock.restart()
                    if self.ranks.is_main:
                        self.run.append_metrics(line)
                    shown.line(line)
                if done == config.steps or done % config.checkpoint_every == 0:
                    self.save(self.state_at(done, first + config.positions_per_step, meters))
                    clock.restart()
                shown.step(done)
        return self.run.checkpoint_at(config.steps)

    def plan(self, state: TrainState) -> Iterator[tuple[int, int]]:
        """(step, first position of the global batch) of every step still to do."""
        for step in range(state.step, self.config.steps):
            yield step, state.next_position + (step - state.step) * self.config.positions_per_step

    def share(self, first: int) -> range:
        return positions_of(first, self.config.positions_per_step, self.ranks)

    def step(self, step: int, first: int, batches: Sequence[MicroBatch], meters: torch.Tensor) -> dict[str, Any]:
        """One optimizer step; returns its line of metrics and adds its parts to `meters`."""
        torch.manual_seed(seed_of("training step", self.config.seed, step, self.ranks.rank))
        optim = self.config.optim
        weight = sum_over_ranks(torch.tensor(float(sum(b.weight for b in batches)), device=self.device)).item()
        if weight <= 0:
            raise ValueError(
                f"step {step + 1}: all loss weights of positions {self.spell(first)} are 0; nothing to learn"
            )
        sums = torch.zeros(1 + len(meters), 2, dtype=torch.float64, device=self.device)  # row 0: the loss, then parts
        for batch in batches:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                loss = self.task.loss(batch)
            (loss.total / weight).backward()
            sums[0, 0] += loss.total.detach()
            for part, (total, part_weight) in loss.parts.items():
                row = 1 + self.task.part_names.index(part)
                sums[row, 0] += total
                sums[row, 1] += part_weight
        params = self.optimizers.parameters()
        sum_gradients(params)
        sum_over_ranks(sums)
        grad_norm = torch.nn.utils.clip_grad_norm_(params, optim.clip_norm).item()
        mean = sums[0, 0].item() / weight
        self.refuse_non_finite(step, first, mean, grad_norm)
        meters += sums[1:]
        share = lr_share(optim, step, self.config.steps)
        self.optimizers.set_lr_share(share)
        self.optimizers.step()
        self.optimizers.zero_grad()
        self.task.after_step(step)
        return {"step": step + 1, "loss": mean, "lr": optim.lr * share, "grad_norm": grad_norm}

    def spell(self, first: int) -> str:
        return f"{first}..{first + self.config.positions_per_step - 1}"

    def refuse_non_finite(self, step: int, first: int, loss: float, grad_norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise ValueError(
                f"step {step + 1} (positions {self.spell(first)}): loss {loss}, gradient norm {grad_norm}. The weights "
                f"were left as they were. Lower optim.lr={self.config.optim.lr} or lengthen the warm-up, then resume "
                f"or start again; checkpoints lie in {self.run.checkpoints_at}"
            )

    def read_meters(self, meters: torch.Tensor) -> dict[str, float]:
        """The means since the last line, of the parts that occurred; `meters` go back to 0."""
        rows = dict(zip(self.task.part_names, meters.tolist(), strict=True))
        meters.zero_()
        return {part: total / weight for part, (total, weight) in rows.items() if weight > 0}

    def evaluate(self, done: int) -> dict[str, float | None]:
        """Name -> value of every evaluator; None for what is not finite, which JSON cannot hold."""
        self.set_training(False)
        with torch.no_grad():
            values = {name: float(value) for evaluator in self.evaluators for name, value in evaluator(done)}
        self.set_training(True)
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def save(self, state: TrainState) -> None:
        if self.ranks.is_main:
            self.run.sync_metrics()
            save_checkpoint(self.run.checkpoint_at(state.step), self.task.modules, self.optimizers, state)
            self.run.keep_last(self.config.keep_checkpoints)
        barrier()

    def set_training(self, mode: bool) -> None:
        for module in self.task.modules.values():
            module.train(mode)


def _is_due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


class _Clock:
    """Units per second of training alone: restarted after evaluations and checkpoints."""

    def __init__(self, unit: str, device: torch.device):
        self.unit, self.device = unit, device
        self.restart()

    def restart(self) -> None:
        self.units, self.start = 0, time.perf_counter()

    def count(self, units: int) -> None:
        self.units += units

    def read(self) -> dict[str, float]:
        """Rate since the last reading; on CUDA the peak of memory too."""
        seconds = time.perf_counter() - self.start
        timing = {f"{self.unit}_per_second": self.units / seconds, "seconds": seconds}
        if self.device.type == "cuda":
            timing["peak_memory_gib"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        self.restart()
        return timing
