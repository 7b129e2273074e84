"""Workers of any kind work off the parts of a store: who is idle gets a part, what fails is done again.

Knows no processes and no cluster: a `Crew` stands for them, and a simulated one for a thousand machines.
"""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, Protocol

from openlvm.sources.interface import Part
from openlvm.store.engines.worklist import USUAL, Patience, WorkList

TICK = 1.0  # seconds between looks for late parts and rested workers, while anybody is idle


class Report(NamedTuple):
    """What is heard of a worker: it has started (nothing said), finished a part, or failed."""

    worker: int
    told: dict[str, Any] | None = None
    """What the part.json of the finished part says."""
    failure: str = ""
    """Why the attempt, or the start, failed; the worker is no longer there."""
    error: Exception | None = None
    """What every attempt would meet again: bad arguments, a full disk. It ends the work."""


class Crew(Protocol):
    """Workers, numbered from 0."""

    num_workers: int

    def now(self) -> float:
        """Seconds that never go back."""
        ...

    def start(self, worker: int) -> None:
        """Start a worker, anew if it was there; it reports when it is ready."""
        ...

    def give(self, worker: int, part: Part) -> None:
        """Let an idle worker write a part."""
        ...

    def reports(self, seconds: float | None) -> Sequence[Report]:
        """What is heard of the workers; waits for something to be heard, at most so long."""
        ...

    def close(self) -> None:
        """End every worker at once, whatever it is doing."""
        ...


def work_off(
    parts: Sequence[Part], crew: Crew, patience: Patience = USUAL
) -> Generator[dict[str, Any], None, WorkList]:
    """Let a crew write parts; what their part.json say, in the order in which they are finished.

    Returns:
        the list with its counts, all done.

    Raises:
        OSError: a part failed too often, or every worker did.
        Exception: what a worker said is an error for all.
    """
    by_name = {part.name: part for part in parts}
    num_workers = min(crew.num_workers, len(parts))
    work = WorkList(by_name, workers=num_workers, patience=patience)
    idle: dict[int, None] = {}  # in the order in which they became so
    resting: dict[int, float] = {}  # worker -> until when
    try:
        for worker in range(num_workers):
            crew.start(worker)
        while not work.is_done:
            now = crew.now()
            for worker in [worker for worker, until in resting.items() if until <= now]:
                del resting[worker]
                crew.start(worker)
            while idle and (name := work.take(next(iter(idle)), now)):
                worker = next(iter(idle))
                del idle[worker]
                crew.give(worker, by_name[name])
            for report in crew.reports(TICK if idle or resting else None):
                now, worker = crew.now(), report.worker
                if report.error:
                    raise report.error
                if report.failure:
                    rest = work.fail(worker, report.failure, now)
                    resting |= {} if rest is None else {worker: now + rest}
                    continue
                idle[worker] = None
                if report.told and work.finish(worker, now):
                    yield report.told
        return work
    finally:
        crew.close()
