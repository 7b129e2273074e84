"""Trainings of the small decoder on several gloo processes. As a script, one rank of them: it runs its scenarios one
after the other, so that torch is imported once."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from forked import Forked

HERE = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_ranks(world_size: int, scenarios: list[dict[str, Any]]) -> list[subprocess.Popen]:
    """Start one process a rank; each runs all scenarios, dicts of `train_small`'s arguments."""
    told = json.dumps([{**scenario, "port": free_port()} for scenario in scenarios])
    root = HERE.parents[2]
    where = {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": str(world_size), "OMP_NUM_THREADS": "1"}
    where |= {"PYTHONPATH": f"{root}:{HERE.parent / 'decoder'}:{root / 'tests'}"}
    return [
        subprocess.Popen(
            [sys.executable, __file__, told],
            env={**os.environ, **where, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]


def fork_ranks(world_size: int, scenarios: list[dict[str, Any]], words_at: Path) -> list[Forked]:
    """`start_ranks` in less time; what rank r says is in the folder `words_at`. Not for what compiles or has a GPU."""
    scenarios = [{**scenario, "port": free_port()} for scenario in scenarios]
    return fork_each(world_size, run_all, scenarios, words_at=words_at)


def fork_each(world_size: int, function: Callable, *args: Any, words_at: Path) -> list[Forked]:
    """A process a rank that calls the function."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(world_size)}
    return [
        Forked(function, *args, environment={**where, "RANK": str(rank)}, words_at=words_at / f"rank-{rank}.txt")
        for rank in range(world_size)
    ]


def train_struck(
    at: str, place: str, blow: Callable[[], None], *, of: str = "step-00000010", rank: int = 0, **changes: Any
) -> None:
    """Train split; where rank `rank` calls "module.function" for a path with `of` in it, the blow falls first."""
    module, name = place.rsplit(".", 1)
    within = import_module(f"openlvm.training.{module}")
    found = getattr(within, name)

    def struck(*given: Any) -> Any:
        if of in str(given[0]):
            blow()
        return found(*given)

    if int(os.environ.get("RANK", 0)) == rank:
        setattr(within, name, struck)
    train_small(at, parallel="fsdp", **changes)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail_to_read() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def finish(running: list[subprocess.Popen], timeout: float = 100) -> list[str]:
    """Wait for ranks that should succeed; what each said."""
    words = [process.communicate(timeout=timeout)[1] for process in running]
    assert [process.returncode for process in running] == [0] * len(running), "\n".join(words)
    return words


def train_small(
    at: str,
    *,
    device: str = "cpu",
    slow_seconds: float = 0.0,
    explode: bool = False,
    images: list[int] | None = None,
    codebook: bool = False,
    **changes,
):
    """Train the small decoder: 8 positions a step in forwards of 2, AdamW, checkpoint and evaluation every 5 steps.

    With `explode`, the loss of position 60, in step 8, is infinite.
    """
    import torch
    from small_plans import DrawnPlan, small_decoder, small_task

    from openlvm.training.config import OptimConfig, TrainConfig
    from openlvm.training.decoder.codebook import freeze_codebook
    from openlvm.training.decoder.train import heldout_evaluator
    from openlvm.training.loop import train

    optim = OptimConfig(lr=5e-3, warmup_steps=2)
    optim = replace(optim, **changes.pop("optim", {}))
    resume, tied, compile = (changes.pop(name, False) for name in ("resume", "tied", "compile"))
    values = {"steps": 10, "positions_per_step": 8, "positions_per_forward": 2, "log_every": 1, "checkpoint_every": 5}
    values |= {"evaluate_every": 5}
    config = TrainConfig(**{**values, "optim": optim, **changes})
    plan = DrawnPlan(tuple(images or (16, 4, 3)), num_positions=1000)
    decoder = small_decoder(tie_embeddings=tied)
    if codebook:
        freeze_codebook(decoder, torch.randn(16, 6, generator=torch.Generator().manual_seed(0)), seed=0)
    task = small_task("dense", plan=plan, decoder=decoder, compile=compile)
    if slow_seconds:
        task.after_step = lambda step: time.sleep(slow_seconds)
    if explode:
        task.loss = partial(exploding, task.loss)
    evaluators = [heldout_evaluator(task, num_positions=6, precision=config.precision)]
    return train(config, task, at, device=device, resume=resume, evaluators=evaluators)


def exploding(loss: Any, batch: Any) -> Any:
    found = loss(batch)
    return replace(found, total=found.total * float("inf")) if 60 in batch.data.positions else found


def run_all(scenarios: list[dict[str, Any]]) -> None:
    """One rank: its scenarios, one after the other."""
    for scenario in scenarios:
        os.environ["MASTER_PORT"] = str(scenario.pop("port"))
        train_small(**scenario)


if __name__ == "__main__":
    run_all(json.loads(sys.argv[1]))
