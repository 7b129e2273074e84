"""Processes that tests let train together, or kill: forked from one that has imported torch, which saves each 3 s."""

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch._dynamo", "torch.distributed.fsdp", "openlvm.training.decoder.train"])


class Forked:
    """A process that calls a function of an importable module; what it says to stderr goes to a file."""

    def __init__(self, function: Callable, *args: Any, environment: Mapping[str, str], words_at: Path):
        self._words_at = words_at
        words_at.write_text("")  # nothing of an earlier process, nor no file where this one dies before it begins
        whole = {**os.environ, **environment}
        self._process = FORKS.Process(target=_call, args=(function, args, whole, words_at), daemon=True)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float) -> str:
        """Wait for its end; what it said."""
        self._process.join(timeout)
        assert not self._process.is_alive(), f"still running after {timeout} s"
        return self._words_at.read_text()


def joined(running: Sequence[Forked], timeout: float = 100) -> None:
    """Wait for processes that should succeed; one that fails ends the others, which may wait for it."""
    end = time.monotonic() + timeout
    while None in (codes := [process.returncode for process in running]) and not any(codes) and time.monotonic() < end:
        time.sleep(0.02)
    for process in running:
        process.kill()
    words = [process.wait(timeout=10) for process in running]
    assert codes == [0] * len(running), f"exit codes {codes}\n" + "\n".join(words)


def _call(function: Callable, args: tuple, environment: Mapping[str, str], words_at: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(words_at, os.O_WRONLY), 2)
    torch.set_num_threads(1)  # the server may have begun outside a test, without OMP_NUM_THREADS
    function(*args)
