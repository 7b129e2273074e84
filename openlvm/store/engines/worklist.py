"""Which parts of a store are waiting, being written, and done; bookkeeping alone: workers are numbers, time is given.

A part is handed out until somebody has finished it: again when its attempt failed or its worker was lost, and, once
nothing else is waiting, to one more worker when those before take much longer than parts usually take (the backup
tasks of MapReduce, section 3.6, OSDI 2004). Writing a part twice is harmless: the first to finish counts, and both
have the same bytes. A part that fails again and again stops the work; a worker that does is rested, then sent away.
"""

from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple


class Patience(NamedTuple):
    """When an attempt is late, and how often what fails is tried."""

    attempts: int = 5
    """Failures of one part that stop the work. Three were too few: where 1 % of attempts fail by chance, they stopped
    three of eight simulated runs over 164,000 parts (benchmarks/cluster.py)."""
    late_factor: float = 1.5
    """An attempt is late after this many times the mean seconds of finished parts,"""
    least_late: float = 60.0
    """but not before so many seconds."""
    streak: int = 7
    """Failures in a row after which a worker is sent away: a machine with a broken disk fails parts faster than any
    other writes them, and must not use up their attempts."""
    rest: float = 1.0
    """Seconds a worker rests after a failure; twice as long after each further one in a row."""


USUAL = Patience()


class WorkList:
    """The parts of a store and who has them. Costs are constant per call, whatever the number of parts.

    Every worker has at most one part at a time; a worker is called lost by `fail`.
    """

    def __init__(self, names: Iterable[str], *, workers: int, patience: Patience = USUAL):
        self.patience = patience
        self.num_workers = workers
        self.given_twice = 0  # late parts that one more worker got
        self.doubled = 0  # attempts that finished after another one had
        self._waiting = deque(names)
        self._left = set(self._waiting)
        if len(self._left) != len(self._waiting):
            raise ValueError("the parts of a source have different names; some are given twice")
        self._attempts: dict[int, tuple[str, float]] = {}  # worker -> its part and when it began
        self._copies: Counter[str] = Counter()  # part -> workers on it
        self._handed_out: dict[str, float] = {}  # parts with a worker -> when the last one got it, oldest first
        self._failures: Counter[str] = Counter()
        self._streaks: Counter[int] = Counter()
        self._sent_away: set[int] = set()
        self._seconds, self._finished = 0.0, 0

    @property
    def is_done(self) -> bool:
        """Whether every part is finished."""
        return not self._left

    @property
    def failed_attempts(self) -> int:
        """Attempts that ended without their part."""
        return self._failures.total()

    def take(self, worker: int, now: float) -> str | None:
        """A part for an idle worker: the next that waits, else a late one; None if there is neither now.

        Args:
            worker: who asks; it has no part.
            now: seconds, never less than in the call before.
        """
        assert worker not in self._attempts and worker not in self._sent_away, worker
        name = self._waiting.popleft() if self._waiting else self._late(now)
        if name is None:
            return None
        self._attempts[worker] = name, now
        self._copies[name] += 1
        self.given_twice += self._handed_out.pop(name, None) is not None
        self._handed_out[name] = now
        return name

    def finish(self, worker: int, now: float) -> str | None:
        """The worker has written its part: the part's name, or None if another one was first."""
        name, since = self._release(worker)
        self._streaks[worker] = 0
        self._seconds += now - since
        self._finished += 1
        if name not in self._left:
            self.doubled += 1
            return None
        self._left.remove(name)
        self._handed_out.pop(name, None)  # late workers may still be on it
        return name

    def fail(self, worker: int, reason: str, now: float) -> float | None:
        """The worker failed, or was lost, on its part or without one: seconds to rest, None if it is sent away.

        Raises:
            OSError: the part has failed too often, or no worker is left; `reason` is told.
        """
        if worker in self._attempts:
            name, _ = self._release(worker)
            if name in self._left:
                self._failed(name, reason, now)
        self._streaks[worker] += 1
        if self._streaks[worker] < self.patience.streak:
            return self.patience.rest * 2 ** (self._streaks[worker] - 1)
        self._sent_away.add(worker)
        if len(self._sent_away) == self.num_workers and not self.is_done:
            raise OSError(f"every worker failed {self.patience.streak} times in a row; the last time: {reason}")
        return None

    def _failed(self, name: str, reason: str, now: float) -> None:
        self._failures[name] += 1
        if self._failures[name] >= self.patience.attempts:
            raise OSError(f"part {name} failed {self._failures[name]} times; the last time: {reason}")
        if not self._copies[name]:  # else another worker is on it
            self._waiting.append(name)  # at the end, so that others come first to whoever failed

    def _release(self, worker: int) -> tuple[str, float]:
        name, since = self._attempts.pop(worker)
        self._copies[name] -= 1
        if not self._copies[name]:
            del self._copies[name]
            self._handed_out.pop(name, None)
        return name, since

    def _late(self, now: float) -> str | None:
        """The part that was handed out longest ago, if that is too long."""
        if not self._handed_out or not self._finished:
            return None
        name, since = next(iter(self._handed_out.items()))
        mean = self._seconds / self._finished
        return name if now - since > max(self.patience.least_late, self.patience.late_factor * mean) else None
