"""The Ray engine: a crew of actors, on this machine or on every machine of a Ray cluster, GPUs shared among them.

Actors and not Ray Data (2.60): there a block whose actor dies is tried again without limit, an error stops everything
the first time, and a late block is never given to a second worker. Here the list decides, as for every engine, and
nothing has to be passed along: a part is written to disk by who made it.
"""

import importlib
import os
import time
from typing import Any

from openlvm.sources.interface import Part
from openlvm.store.engines.crew import Report
from openlvm.store.engines.worker import Models, Worker
from openlvm.store.part import Job

OBJECT_STORE_BYTES = 100 * 2**20  # of a Ray started here: parts and reports are small; its default is 30% of memory


class Actors:
    """A `Crew` of Ray actors, each of one CPU and, on CUDA, of a share of a GPU."""

    def __init__(
        self, job: Job, models: Models, facts: dict[str, Any], *, workers: int, address: str, workers_per_gpu: int
    ):
        """Start Ray on this machine, or join a cluster.

        Args:
            job: with a folder and a source that every machine reaches under the same path; relative ones begin at the
                working folder of this process there too.
            models: under the same path or name on every machine.
            facts: of the models here; every worker's must be equal.
            workers: 0 takes as many as there are CPUs, on CUDA `workers_per_gpu` for each GPU.
            address: of the cluster, "auto" where this machine is one of it; "" starts Ray here for the time.
            workers_per_gpu: actors that share one GPU.

        Raises:
            ImportError: Ray is not installed.
            ValueError: the cluster has no room for so many workers.
            ConnectionError: no cluster there.
        """
        self._ray = _load_ray()
        self._job, self._models, self._facts = job, models, facts
        self._was_there = self._ray.is_initialized()
        if not self._was_there:
            _begin(self._ray, address, workers)
        on_gpu = models.device.startswith("cuda")
        self._share = 1 / workers_per_gpu if on_gpu else 0
        there = self._ray.cluster_resources()
        cpus, gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
        room = min(cpus, gpus * workers_per_gpu) if on_gpu else cpus
        if not 0 < max(1, workers) <= room:
            self._leave()
            told = f"{cpus} CPUs" + (f" and {gpus} GPUs, {workers_per_gpu} workers each" if on_gpu else "")
            raise ValueError(f"the Ray cluster has room for {room} workers ({told}), asked for {workers or 'any'}")
        self.num_workers = workers or room
        self._actors: dict[int, Any] = {}
        self._expected: dict[Any, int] = {}  # reference to a report -> its worker

    def now(self) -> float:
        return time.monotonic()

    def start(self, worker: int) -> None:
        self._end(worker)
        remote = self._ray.remote(Worker).options(num_cpus=1, num_gpus=self._share, max_restarts=0)
        actor = self._actors[worker] = remote.remote(worker, self._job, self._models, self._facts, os.getcwd())
        self._expected[actor.start.remote()] = worker

    def give(self, worker: int, part: Part) -> None:
        self._expected[self._actors[worker].write.remote(part)] = worker

    def reports(self, seconds: float | None) -> list[Report]:
        expected = list(self._expected)
        if not expected:  # all rest
            time.sleep(seconds or 0)
            return []
        ready, _ = self._ray.wait(expected, num_returns=1, timeout=seconds)
        if ready:  # and whatever else is there by now
            ready, _ = self._ray.wait(expected, num_returns=len(expected), timeout=0)
        return [self._heard(reference) for reference in ready]

    def close(self) -> None:
        for worker in list(self._actors):
            self._end(worker)
        self._leave()

    def _heard(self, reference: Any) -> Report:
        worker = self._expected.pop(reference)
        try:
            report = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            first_line = str(error).strip().splitlines()[0]
            report = Report(worker, failure=f"its worker was lost ({type(error).__name__}: {first_line})")
        if report.failure:
            self._end(worker)
        return report

    def _end(self, worker: int) -> None:
        if worker in self._actors:
            self._expected = {reference: other for reference, other in self._expected.items() if other != worker}
            self._ray.kill(self._actors.pop(worker))

    def _leave(self) -> None:
        if not self._was_there:
            self._ray.shutdown()


def _load_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ImportError("engine 'ray' needs Ray: pip install openlvm[ray]") from None


def _begin(ray: Any, address: str, workers: int) -> None:
    told = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address:
        ray.init(address=address, **told)
    else:
        ray.init(
            address="local",  # whatever RAY_ADDRESS says
            num_cpus=workers or os.cpu_count(),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **told,
        )
