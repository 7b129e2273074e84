"""The training loop: the same for a decoder and for a tokenizer; what differs is a `Task` (task.py).

One optimizer step, on every rank:

    positions    this rank's even share of [next, next + positions_per_step)
    batches      task.micro_batches(step, positions), made ahead in a thread
    total        sum of the batches' weights over all ranks, known before any backward
    backward     of sum(weight * loss) / total, batch after batch; the ranks' gradients are summed
    step         clip by global norm, refuse what is not finite, optimizer, task.after_step

Loss and gradient thus do not depend on the number of ranks or of micro-batches (up to float rounding). The state of a
run is (weights, optimizer, step, next position): it is saved between steps, and a resumed run repeats to the bit.

A run that diverges (a loss or gradient that is not finite, a spike where `spikes` says so, or a task that says so) goes
back to its last checkpoint, at most `max_roll_backs` times, with half the learning rate and the data that follows; the
next line of metrics says so. A spike that is skipped leaves the weights as they were, and a line of its own.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from openlvm.core.ranks import Ranks, ranks_from_environment
from openlvm.core.runs import RunFolder, open_run, read_metrics
from openlvm.core.seeds import seed_of
from openlvm.training.checkpoint import (
    TrainState,
    hash_config,
    load_checkpoint,
    load_state,
    save_checkpoint,
    write_state,
)
from openlvm.training.config import TrainConfig
from openlvm.training.guards.determinism import algorithms
from openlvm.training.guards.expected import alarm_of
from openlvm.training.guards.memory import is_out_of_memory, spell_out_of_memory
from openlvm.training.guards.rates import Clock, peak_flops
from openlvm.training.guards.spikes import SpikeWatch
from openlvm.training.optim import Optimizers, lr_share, make_optimizer
from openlvm.training.parallel.collectives import (
    barrier,
    device_of,
    max_over_ranks,
    positions_of,
    process_group,
    sum_gradients,
    sum_over_ranks,
)
from openlvm.training.parallel.sharding import blocks_as, is_split, place, refuse_what_has_no_blocks, sum_at_last
from openlvm.training.parallel.shards import ShardWriter, tensors_of
from openlvm.training.prefetch import prefetch, timed
from openlvm.training.progress import Progress, say
from openlvm.training.task import Evaluator, MicroBatch, Task
from openlvm.training.tensorboard import event_writer

_MAY_CHANGE = (  # of a resumed run: what is computed stays the same, up to rounding
    "positions_per_forward",
    "ranks_per_shard",
    "activation_checkpointing",
    "async_checkpoints",
    "tensorboard",
    "expected_loss",
)
_REBATCH_MAY_CHANGE = ("positions_per_step",)


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
        task: its modules are moved to `device` and changed in place. Split over ranks they hold shares only: read what
            they became from the checkpoint (`load_weights`).
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
    may_differ = [prefix + field for field in _MAY_CHANGE + (_REBATCH_MAY_CHANGE if rebatch else ())]
    refuse_what_has_no_blocks(task, config)
    with process_group(ranks, on), algorithms(on, deterministic=config.deterministic):
        if ranks.is_main:
            open_run(at, whole, resume=resume, may_differ=may_differ)
        barrier()
        place(task, config, ranks, on)
        optimizers = make_optimizer(task.modules, config.optim, task.own_optim)
        shards = None
        if config.parallel != "ddp":
            shards = ShardWriter(is_main=ranks.is_main, in_background=config.async_checkpoints)
        folder, config_hash = RunFolder(Path(at)), hash_config(whole)
        loop = _Loop(config, task, folder, ranks, on, optimizers, shards, evaluators, config_hash, name)
        with blocks_as(task, config):
            return loop.run_from(loop.restored(rebatch))


class Diverged(Exception):
    """The run is lost from some step on; `at` is the state it had reached."""

    def __init__(self, at: TrainState, reason: str):
        super().__init__(reason)
        self.at = at


@dataclass(frozen=True)
class _Loop:
    """The values every part of the loop needs; what changes is passed along."""

    config: TrainConfig
    task: Task
    run: RunFolder
    ranks: Ranks
    device: torch.device
    optimizers: Optimizers
    shards: ShardWriter | None
    evaluators: Sequence[Evaluator]
    config_hash: str
    name: str

    def restored(self, rebatch: bool) -> TrainState:
        """The state of the last checkpoint, with weights and optimizer filled; step 0 when there is none."""
        latest = self.run.latest_checkpoint()
        state = self.start()
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

    def named(self, meters: torch.Tensor) -> dict[str, tuple[float, float]]:
        pairs = zip(self.task.part_names, meters.tolist(), strict=True)
        return {part: (total, weight) for part, (total, weight) in pairs}

    def start(self) -> TrainState:
        return TrainState(
            step=0,
            next_position=0,
            positions_per_step=self.config.positions_per_step,
            world_size=self.ranks.world_size,
            config_hash=self.config_hash,
            meters={},
        )

    def run_from(self, state: TrainState) -> Path:
        """Every step from `state` to the end, with as many roll-backs as are allowed."""
        rolled_back: dict[str, Any] = {}
        while True:
            try:
                return self.run_until_diverged(state, rolled_back)
            except Diverged as diverged:
                state, rolled_back = self.rolled_back(diverged)

    def run_until_diverged(self, state: TrainState, rolled_back: dict[str, Any]) -> Path:
        """Every step from `state` to the end; the first line of metrics carries the note `rolled_back`, if any."""
        config, task = self.config, self.task
        pairs = [state.meters.get(part, (0.0, 0.0)) for part in task.part_names]
        meters = torch.tensor(pairs, dtype=torch.float64, device=self.device).reshape(-1, 2)  # [parts, (sum, weight)]
        lines = [line for line in read_metrics(self.run.at) if line["step"] <= state.step]
        peak = peak_flops(self.device, config.precision)
        clock = Clock(task.unit, self.device, peak and peak * self.ranks.world_size)
        watch = SpikeWatch(config.spikes, state.recent_losses, state.skipped_in_a_row)
        self.set_training(True)
        shown = Progress(
            steps=config.steps, first_step=state.step, unit=task.unit, name=self.name, is_shown=self.ranks.is_main
        )
        work = prefetch(lambda pair: task.micro_batches(pair[0], self.share(pair[1])), self.plan(state))
        is_told = config.tensorboard and self.ranks.is_main
        events = event_writer(self.run.at / "tensorboard", first_step=state.step + 1, is_on=is_told)
        with shown, closing(work), events as told:
            for ((step, first), batches), waited in timed(work):
                now = replace(state, step=step + 1, next_position=first + config.positions_per_step)
                line = self.step(now, first, batches, meters, watch)
                units, flops = sum(batch.units for batch in batches), sum(batch.flops for batch in batches)
                clock.count(units * self.ranks.world_size, flops * self.ranks.world_size, waited)
                is_evaluated = now.step == config.steps or _is_due(now.step, config.evaluate_every)
                if is_evaluated or now.step % config.log_every == 0 or "skipped" in line:
                    line |= {"parts": self.read_meters(meters), "timing": clock.read()}
                    if is_evaluated and self.evaluators:
                        line["evaluation"] = self.evaluate(now.step)
                        clock.restart()
                    lines.append(self.reviewed(line | rolled_back, lines, now))
                    rolled_back = {}
                    shown.line(lines[-1])
                    told.line(lines[-1])
                if now.step == config.steps or now.step % config.checkpoint_every == 0:
                    losses, in_a_row = tuple(watch.losses), watch.in_a_row
                    self.save(replace(now, meters=self.named(meters), recent_losses=losses, skipped_in_a_row=in_a_row))
                    clock.restart()
                shown.step(now.step)
        self.settle()
        return self.run.checkpoint_at(config.steps)

    def reviewed(self, line: dict[str, Any], lines: list[dict[str, Any]], now: TrainState) -> dict[str, Any]:
        """Append a line of metrics, with the alarms of the task, and show these."""
        review = self.task.review([*lines, line])
        expected = alarm_of(self.config.expected_loss, now.step, line["loss"])
        alarms = [*review.alarms, *([expected] if expected else [])]
        if alarms:
            line["alarms"] = alarms
        if self.ranks.is_main:
            self.run.append_metrics(line)
            for alarm in alarms:
                say(f"{self.name} step {now.step}: {alarm}")
        if review.diverged:
            raise Diverged(now, f"step {now.step}: {review.diverged}")
        return line

    def rolled_back(self, diverged: "Diverged") -> tuple[TrainState, dict[str, Any]]:
        """Back to the last checkpoint: its state, with the data that follows, and the note for the metrics."""
        self.settle()
        latest, roll_backs = self.run.latest_checkpoint(), diverged.at.roll_backs + 1
        if latest is None or roll_backs > self.config.max_roll_backs:
            raise ValueError(
                f"{diverged}. Lower optim.lr={self.config.optim.lr} or lengthen the warm-up, then resume "
                f"or start again; checkpoints lie in {self.run.checkpoints_at}"
            )
        old = load_checkpoint(latest, self.task.modules, self.optimizers)
        if self.ranks.is_main:
            self.run.cut_metrics(old.step)
            say(f"{self.name}: {diverged}. Going back to step {old.step} with half the learning rate")
        barrier()
        self.optimizers.zero_grad()
        note = {"from": diverged.at.step, "to": old.step, "reason": str(diverged)}
        state = replace(old, next_position=diverged.at.next_position, roll_backs=roll_backs)
        return state, {"rolled_back": note}

    def plan(self, state: TrainState) -> Iterator[tuple[int, int]]:
        """(step, first position of the global batch) of every step still to do."""
        for step in range(state.step, self.config.steps):
            yield step, state.next_position + (step - state.step) * self.config.positions_per_step

    def share(self, first: int) -> range:
        return positions_of(first, self.config.positions_per_step, self.ranks)

    def step(
        self, now: TrainState, first: int, batches: Sequence[MicroBatch], meters: torch.Tensor, watch: SpikeWatch
    ) -> dict[str, Any]:
        """The optimizer step that leads to `now`; returns its line of metrics and adds its parts to `meters`."""
        step, optim = now.step - 1, self.config.optim
        torch.manual_seed(seed_of("training step", self.config.seed, step, self.ranks.rank))
        weight = sum_over_ranks(torch.tensor(float(sum(b.weight for b in batches)), device=self.device)).item()
        if weight <= 0:
            raise ValueError(
                f"step {step + 1}: all loss weights of positions {self.spell(first)} are 0; nothing to learn"
            )
        try:
            sums = self.backward(batches, weight, 1 + len(meters))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ValueError(spell_out_of_memory(self.config, self.device, now.step)) from None
        sum_over_ranks(sums)
        grad_norm = self.optimizers.clip()
        mean = sums[0, 0].item() / weight
        where = f"step {now.step} (positions {self.spell(first)})"
        if not (math.isfinite(mean) and math.isfinite(grad_norm)):
            what = f"loss {mean}, gradient norm {grad_norm}. The weights were left as they were"
            raise Diverged(now, f"{where}: {what}")
        share = lr_share(optim, step, self.config.steps) / 2**now.roll_backs
        line: dict[str, Any] = {"step": now.step, "loss": mean, "lr": optim.lr * share, "grad_norm": grad_norm}
        limit = watch.sees(mean)
        if limit is None:
            meters += sums[1:]
            self.optimizers.set_lr_share(share)
            self.optimizers.step()
        else:
            line["skipped"] = {"limit": limit, "in_a_row": watch.in_a_row}
            self.tell_spike(now, f"{where}: loss {mean:.4f} is a spike above {limit:.4f}", watch)
        self.optimizers.zero_grad()
        self.task.after_step(step)
        return line

    def backward(self, batches: Sequence[MicroBatch], weight: float, rows: int) -> torch.Tensor:
        """Gradients of all ranks, summed. Sums of this rank, float64 [rows, (sum, weight)]: the loss, then parts."""
        sums = torch.zeros(rows, 2, dtype=torch.float64, device=self.device)
        splits = any(map(is_split, self.task.modules.values()))
        # Ranks that are split gather weights together, forward by forward: who has fewer repeats one, for nothing.
        count = max_over_ranks(len(batches), self.device) if splits else len(batches)
        for number in range(count):
            batch = batches[min(number, len(batches) - 1)]
            sum_at_last(self.task.modules, is_last=number == count - 1)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                loss = self.task.loss(batch)
            if number >= len(batches):
                (loss.total * 0.0).backward()
                continue
            (loss.total / weight).backward()
            sums[0, 0] += loss.total.detach()
            for part, (total, part_weight) in loss.parts.items():
                row = 1 + self.task.part_names.index(part)
                sums[row, 0] += total
                sums[row, 1] += part_weight
        if not splits:
            sum_gradients(self.optimizers.parameters())
        return sums

    def tell_spike(self, now: TrainState, what: str, watch: SpikeWatch) -> None:
        """Say that a step is skipped, or that the run has diverged."""
        config = self.config.spikes
        if config.action == "roll_back":
            raise Diverged(now, what)
        if watch.in_a_row >= config.max_in_a_row:
            raise Diverged(now, f"{what}, the {watch.in_a_row}th in a row")
        if self.ranks.is_main:
            say(f"{self.name} {what}; its update is skipped")

    def spell(self, first: int) -> str:
        return f"{first}..{first + self.config.positions_per_step - 1}"

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
        """Write a checkpoint; in shards, it may still be on its way when this returns."""
        at = self.run.checkpoint_at(state.step)
        if self.ranks.is_main:
            self.run.sync_metrics()
        if self.shards is not None:
            self.settle()
            tensors = tensors_of(self.task.modules, self.optimizers)
            self.shards.save(at, tensors, lambda folder: write_state(folder, state))
        elif self.ranks.is_main:
            save_checkpoint(at, self.task.modules, self.optimizers, state)
        if self.shards is None or not self.config.async_checkpoints:
            self.settle()

    def settle(self) -> None:
        """Until checkpoints that are being written lie under their names; older ones than are kept go."""
        if self.shards is not None:
            self.shards.wait()
        if self.ranks.is_main:
            self.run.keep_last(self.config.keep_checkpoints)
        barrier()

    def set_training(self, mode: bool) -> None:
        for module in self.task.modules.values():
            module.train(mode)


def _is_due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0
