"""A thousand machines work off the parts of a store, in simulated time: nothing lost or doubled, and how long it takes.

    python benchmarks/cluster.py
    python benchmarks/cluster.py --nodes 100 --parts 16400 --seed 3

The list of parts and the loop around it are those of `openlvm tokenize` (openlvm/store/engines); only the crew is
simulated. What goes wrong: attempts fail (1 %), machines are slow (2 % ten times, the others spread by 10 %), single
attempts take ten times as long (0.2 %), machines die (1 % at once, half of them without a word, so that their parts
never end), and one machine fails everything it is given within a second. `ideal` is the time in which these machines
would do the work if all lived, nothing failed and it could be cut as finely as one likes.
"""

import argparse
import heapq
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from measure import emit

from openlvm.core.seeds import rng
from openlvm.sources.interface import Part
from openlvm.store.engines.crew import Report, work_off
from openlvm.store.engines.worklist import Patience


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Machines and what goes wrong with them; seconds and shares."""

    nodes: int = 1000
    workers_per_node: int = 8
    part_seconds: float = 400.0  # 10,000 images at 25 a second for one of eight workers on a GPU: docs/scale.md
    start_seconds: float = 20.0
    heard_after: float = 30.0  # until the death of a machine is noticed
    failing: float = 0.01  # attempts
    hanging: float = 0.002  # attempts that take ten times as long
    slow: float = 0.02  # machines that take ten times as long
    dying: float = 0.01  # machines, at a time drawn evenly from the ideal time
    broken: int = 1  # machines that fail every attempt within a second
    seed: int = 0


class Simulated:
    """A `Crew` in simulated time: an event is (seconds, number, worker, life of the worker, its report)."""

    def __init__(self, cluster: Cluster, num_parts: int):
        self.cluster, self.num_workers = cluster, cluster.nodes * cluster.workers_per_node
        self._chance = rng("cluster", cluster.seed)
        self._clock, self._number = 0.0, 0
        self._events: list[tuple[float, int, int, int, Report | None]] = []
        self._lives: Counter[int] = Counter()  # an event of an earlier life is no longer heard
        self._has: dict[int, Part] = {}
        self.factors = np.where(self._chance.random(cluster.nodes) < cluster.slow, 10.0, 1.0)
        self.factors *= self._chance.lognormal(0, 0.1, cluster.nodes)
        self.ideal = num_parts * cluster.part_seconds / (cluster.workers_per_node * (1 / self.factors).sum())
        dying = np.flatnonzero(self._chance.random(cluster.nodes) < cluster.dying)
        self._dies = dict(zip(dying.tolist(), self._chance.uniform(0, self.ideal, len(dying)).tolist(), strict=True))
        self._silent = {node for node in self._dies if self._chance.random() < 0.5}
        alive = [node for node in range(cluster.nodes) if node not in self._dies]
        self._broken = set(self._chance.choice(alive, cluster.broken, replace=False).tolist())
        self.counts = Counter(dead=len(dying), silent=len(self._silent))

    def now(self) -> float:
        return self._clock

    def start(self, worker: int) -> None:
        self._lives[worker] += 1
        self._has.pop(worker, None)
        if not self._is_dead(worker, self._clock):  # a dead machine is waited for in vain, as Ray waits for resources
            self._later(worker, self.cluster.start_seconds * self._chance.uniform(0.5, 2), Report(worker))

    def give(self, worker: int, part: Part) -> None:
        self._has[worker] = part
        self.counts["attempts"] += 1
        node = worker // self.cluster.workers_per_node
        seconds = self.cluster.part_seconds * self.factors[node] * self._chance.lognormal(0, 0.05)
        if self._chance.random() < self.cluster.hanging:
            seconds *= 10
        report = Report(worker, told={"name": part.name})
        if node in self._broken or self._chance.random() < self.cluster.failing:
            share = self._chance.random()
            seconds, report = (share if node in self._broken else share * seconds), Report(worker, failure="failed")
            self.counts["failed"] += 1
        dies_in = self._dies.get(node, np.inf) - self._clock
        if seconds < dies_in:
            self._later(worker, seconds, report)
        elif node not in self._silent:
            self._later(worker, max(dies_in, 0) + self.cluster.heard_after, Report(worker, failure="its machine died"))

    def reports(self, seconds: float | None) -> list[Report]:
        until = np.inf if seconds is None else self._clock + seconds
        while self._events and self._events[0][0] <= until:
            self._clock, _, worker, life, report = heapq.heappop(self._events)
            if life == self._lives[worker] and report is not None:
                return [report]
        assert until < np.inf, "nothing will ever be heard again"
        self._clock = until
        return []

    def close(self) -> None:
        self._events.clear()

    def _later(self, worker: int, seconds: float, report: Report) -> None:
        self._number += 1
        heapq.heappush(self._events, (self._clock + seconds, self._number, worker, self._lives[worker], report))

    def _is_dead(self, worker: int, at: float) -> bool:
        return at >= self._dies.get(worker // self.cluster.workers_per_node, np.inf)


def simulate(cluster: Cluster, num_parts: int, patience: Patience) -> tuple[dict[str, float], list[str]]:
    """Facts of one run, and the names of the parts in the order in which they were finished."""
    crew = Simulated(cluster, num_parts)
    parts = [Part(name, ()) for name in names_of(num_parts)]
    begun, finished = time.perf_counter(), []
    written = work_off(parts, crew, patience)
    try:
        while True:
            finished.append(next(written)["name"])
    except StopIteration as ended:
        work = ended.value
    facts = {
        "hours": crew.now() / 3600, "ideal_hours": crew.ideal / 3600, "handed_out_again": work.given_twice,
        "doubled": work.doubled, "real_seconds": time.perf_counter() - begun, **crew.counts,
    }  # fmt: skip
    return facts, finished


def names_of(num_parts: int) -> list[str]:
    return [f"{number:05d}" for number in range(num_parts)]


def options() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--nodes", type=int, default=1000)
    ask.add_argument("--parts", type=int, default=164_000)
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--tiny", action="store_true", help="20 machines: a rehearsal of a second")
    return ask.parse_args()


def main() -> None:
    given = options()
    nodes, num_parts = (20, 3280) if given.tiny else (given.nodes, given.parts)
    faultless = dict(failing=0.0, hanging=0.0, slow=0.0, dying=0.0, broken=0)
    for name, wrong in {"faultless": faultless, "faults": {}}.items():
        cluster = Cluster(nodes=nodes, seed=given.seed, **wrong)
        facts, finished = simulate(cluster, num_parts, Patience())
        assert Counter(finished) == Counter(names_of(num_parts)), "parts were lost or doubled"
        facts = {key: round(float(value), 2) for key, value in facts.items()} | {"nodes": nodes, "parts": num_parts}
        emit(f"cluster makespan {name}/ideal", round(facts["hours"] / facts["ideal_hours"], 4), "ratio", **facts)
        emit(f"cluster list {name}", round(1e6 * facts["real_seconds"] / num_parts, 1), "us/part")


if __name__ == "__main__":
    main()
