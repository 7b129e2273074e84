"""What the API and the playground share: requests admitted, decoded, handed to the worker, told of as they go."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from openlvm.core.picking import pick
from openlvm.prompting.answers import Answer, Choice
from openlvm.prompting.lvm import LVM
from openlvm.serving.http.body import Refused, Upload, understand
from openlvm.serving.http.metrics import Metrics
from openlvm.serving.http.pictures import TooLarge
from openlvm.serving.http.stream import Progress, progress
from openlvm.serving.limits import Budget, Limits
from openlvm.serving.work.asked import Job, Way
from openlvm.serving.work.worker import Worker

THREADS = 2
"""That decode and encode pictures; each may hold one of the largest size."""


class Service:
    """The worker, what is granted and counted, and whether the server is stopping.

    Args:
        lvms: by the names that clients use; the first is the default.
    """

    def __init__(self, lvms: Mapping[str, LVM], limits: Limits):
        self.lvms, self.limits = dict(lvms), limits
        self.worker = Worker(lvms, max_bytes=limits.max_memory_bytes)
        self.metrics = Metrics()
        self.uploads = Budget(int(limits.max_uploads_mb * 2**20))
        self.requests = Budget(limits.max_requests)
        self.is_stopping = False
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="openlvm-pictures")

    def admit(self) -> None:
        """Count a request in, to be given back to `requests`; raises Refused where there is no room for it."""
        if self.is_stopping:
            raise Refused(503, "the server is stopping", retry_after=10)
        if not self.requests.take(1):
            told = f"{self.limits.max_requests} requests are being answered; try again"
            raise Refused(429, told, retry_after=self.wait_seconds())

    def wait_seconds(self) -> int:
        """When to try again: as long as an answer takes these days."""
        return min(30, max(1, round(self.metrics.lately)))

    def gauges(self) -> dict[str, tuple[str, str, float]]:
        """What is going on now, for metrics."""
        state = self.worker.state()
        return {
            "requests_now": ("gauge", "Requests being uploaded, waiting or answered.", self.requests.taken),
            "upload_bytes_now": ("gauge", "Bytes of bodies being read or decoded.", self.uploads.taken),
            "jobs_waiting": ("gauge", "Jobs that are not drawn yet.", state["waiting"]),
            "rows_drawn_together": ("gauge", "Candidates that are drawn together now.", state["rows"]),
            "codes_total": ("counter", "Codes drawn.", self.worker.num_codes),
            "steps_total": ("counter", "Steps in which codes were drawn together.", self.worker.num_steps),
            "stopping": ("gauge", "1 while the server finishes its work and takes no new one.", self.is_stopping),
        }

    def close(self) -> None:
        """End the threads, after the work that was submitted."""
        self.worker.stop()
        self.threads.shutdown()

    async def in_threads(self, act: Callable[..., Any], *given: Any) -> Any:
        """What `act` returns, from the threads that work on pictures."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, act, *given)


class Asking:
    """One request that was admitted, on its way."""

    request: Any
    """A model of wire.py."""
    name: str
    """Of the LVM that is asked."""
    job: Job

    def __init__(self, service: Service):
        self.service = service
        self.began, self.changed = time.monotonic(), asyncio.Event()

    @property
    def lvm(self) -> LVM:
        """The LVM that is asked."""
        return self.service.lvms[self.name]

    @property
    def seconds(self) -> float:
        """Since its pictures were decoded."""
        return time.monotonic() - self.began

    @property
    def is_done(self) -> bool:
        """It has its answer, or went wrong."""
        return self.job.result.done()

    async def submit(self, upload: Upload) -> None:
        """Decode its pictures and hand in a job that fits; raises Refused for one that does not."""
        service, self.request = self.service, upload.request
        try:
            names = list(service.lvms)
            self.name = names[0] if self.request.lvm is None else self.request.lvm
            preparation = pick(service.lvms, self.name, "LVM").bundle.tokenizer.preparation
            asked = await service.in_threads(understand, upload, preparation, service.limits)
            self.job = Job(self.name, asked, self._way(), on_change=self._call_soon())
            service.worker.check(self.job)
        except TooLarge as error:
            raise Refused(413, str(error)) from None
        except ValueError as error:
            raise Refused(422, str(error)) from None
        self.began = time.monotonic()
        self.job.result.add_done_callback(lambda _: self.job.tell())
        service.worker.submit(self.job)

    def _way(self) -> Way | None:
        """How to draw; None for what is measured."""
        asked = self.request
        if not hasattr(asked, "num_candidates"):
            return None
        sampling = self.lvm.sampling.but(temperature=asked.temperature, top_k=asked.top_k, top_p=asked.top_p)
        return Way(
            sampling=sampling, num_candidates=asked.num_candidates, seed=asked.seed,
            exact=asked.exact, fast=asked.fast, ahead=asked.ahead,
        )  # fmt: skip

    def _call_soon(self) -> Callable[[], None]:
        """Tells this event loop of a change; for the worker's thread."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop was closed: the server has stopped
                loop.call_soon_threadsafe(self.changed.set)

        return tell

    async def done(self) -> None:
        """Returns when it is done, or when its time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.service.limits.request_seconds - self.seconds):
                while not self.is_done:
                    await self.changed.wait()
                    self.changed.clear()

    def progress(self) -> AsyncIterator[Progress | None]:
        """How far it is, until it is done or its time is over; see `stream.progress`."""
        left = self.service.limits.request_seconds - self.seconds
        num_frames = getattr(self.request, "num_frames", 1)
        return progress(self.job, self.changed, self.lvm.bundle, num_frames, seconds=left)

    def result(self) -> Answer | Choice | float:
        """What came out; raises what went wrong, Refused if its time is over."""
        if not self.is_done:
            told = f"the answer took longer than the {self.service.limits.request_seconds:g} s that this server grants"
            raise Refused(503, told, retry_after=self.service.wait_seconds())
        found = self.job.result.result()
        self.service.metrics.took(self.seconds)
        return found
