"""A task of the smallest size: a linear map fitted to data that are a function of the position. Run as a script, it
trains in a folder given on the command line, for tests that kill it."""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from openlvm.core.seeds import rng
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.loop import train
from openlvm.training.task import MicroBatch, Review, TaskLoss


class ToyTask:
    """Least squares with a weight per example, dropout (so that chance is tested) and a buffer outside the gradient."""

    part_names = ("even", "odd")
    unit = "examples"
    own_optim: dict = {}

    def __init__(self, *, per_forward: int = 2, dropout: float = 0.0):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.Linear(8, 2))
        net.register_buffer("steps_seen", torch.zeros((), dtype=torch.int64))
        self.modules = {"net": net}
        self.per_forward, self.slow_seconds = per_forward, 0.0

    def micro_batches(self, step: int, positions: range) -> list[MicroBatch]:
        chunks = [positions[i : i + self.per_forward] for i in range(0, len(positions), self.per_forward)]
        return [self._batch(chunk) for chunk in chunks]

    def _batch(self, positions: range) -> MicroBatch:
        x = np.stack([rng("toy", p).normal(size=4).astype(np.float32) for p in positions])
        weight = torch.tensor([1.0 + p % 3 for p in positions])
        return MicroBatch(data=(torch.from_numpy(x), weight, list(positions)), weight=weight.sum().item(), units=len(x))

    def loss(self, batch: MicroBatch) -> TaskLoss:
        x, weight, positions = batch.data
        errors = (self.modules["net"](x) - x[:, :2].sin()).square().sum(-1)
        is_odd = torch.tensor(positions) % 2 == 1
        parts = {name: (errors.detach()[mask].sum(), mask.sum()) for name, mask in (("even", ~is_odd), ("odd", is_odd))}
        return TaskLoss((weight * errors).sum(), parts)

    def after_step(self, step: int) -> None:
        self.modules["net"].steps_seen += 1
        time.sleep(self.slow_seconds)

    def review(self, lines) -> Review:
        return Review()


def toy_config(**changes: object) -> TrainConfig:
    optim = OptimConfig(lr=1e-2, warmup_steps=2)
    values = {"steps": 12, "positions_per_step": 8, "optim": optim, "log_every": 1, "checkpoint_every": 5}
    return TrainConfig(**{**values, **changes})  # type: ignore[arg-type]


if __name__ == "__main__":
    at, slow_seconds, is_plain = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:] == ["plain"]
    config, task = toy_config(log_every=1 if is_plain else 2), ToyTask(dropout=0 if is_plain else 0.2)
    task.slow_seconds = slow_seconds
    train(config, task, at, resume=True)
