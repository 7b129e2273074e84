"""The local engine: parts are written one by one in this process, or by a crew of processes of one thread each."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from openlvm.sources.interface import Part
from openlvm.store.engines.crew import Report
from openlvm.store.engines.worker import Loaded, Models, Worker
from openlvm.store.part import Job, write_part


def in_turn(job: Job, parts: Sequence[Part], loaded: Loaded) -> Generator[dict[str, Any], None, None]:
    """Finished parts; on one thread, as in workers, because the order of a sum may depend on the number of threads."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for part in parts:
            yield write_part(job, part, loaded.tokenizer, loaded.annotators)
    finally:
        torch.set_num_threads(num_threads)


class Processes:
    """A `Crew` of processes on this machine; where there are several GPUs they are spread over them."""

    def __init__(self, job: Job, models: Models, facts: dict[str, Any], *, workers: int):
        self.num_workers = workers
        self._job, self._models, self._facts = job, models, facts
        self._context = multiprocessing.get_context("spawn")
        self._started: dict[int, tuple[multiprocessing.process.BaseProcess, Connection]] = {}

    def now(self) -> float:
        return time.monotonic()

    def start(self, worker: int) -> None:
        self._end(worker)
        here, there = self._context.Pipe()
        models = replace(self._models, device=self._device_of(worker))
        made = Worker(worker, self._job, models, self._facts, os.getcwd())
        process = self._context.Process(target=_serve, args=(made, there), daemon=True)
        process.start()
        there.close()  # so that the end of the process is the end of the pipe
        self._started[worker] = process, here

    def give(self, worker: int, part: Part) -> None:
        with suppress(OSError):  # it was killed while it was idle; its pipe says so to `reports`
            self._started[worker][1].send(part)

    def reports(self, seconds: float | None) -> list[Report]:
        pipes = {pipe: worker for worker, (_, pipe) in self._started.items()}
        return [self._heard(pipes[pipe]) for pipe in wait(list(pipes), seconds) if isinstance(pipe, Connection)]

    def close(self) -> None:
        for worker in list(self._started):
            self._end(worker)

    def _heard(self, worker: int) -> Report:
        process, pipe = self._started[worker]
        try:
            report = pipe.recv()
        except (EOFError, OSError):
            process.join()
            report = Report(worker, failure=_told_of_end(process.exitcode))
        if report.failure:
            self._end(worker)
        return report

    def _end(self, worker: int) -> None:
        if worker in self._started:
            process, pipe = self._started.pop(worker)
            process.kill()
            process.join()
            pipe.close()

    def _device_of(self, worker: int) -> str:
        device = self._models.device
        return f"cuda:{worker % max(1, torch.cuda.device_count())}" if device == "cuda" else device


def _told_of_end(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"its worker was killed ({name}), perhaps for memory; lower workers or batch_size"
    return f"its worker ended by itself (exit status {exitcode})"


def _serve(worker: Worker, pipe: Connection) -> None:
    """What a process does: it starts, and writes the parts that come through the pipe until it is ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt from the keyboard reaches the parent, who ends it
    threading.Thread(target=_die_with_parent, daemon=True).start()
    report = worker.start()
    while True:
        pipe.send(report)
        report = worker.write(pipe.recv())


def _die_with_parent() -> None:
    """A parent that was killed cannot tell its workers; they must not go on writing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
