"""The loop between the list and its workers, with simulated ones: faults of a cluster lose and double nothing."""

from collections import Counter

import pytest
from scripts import script

from openlvm.sources.interface import Part
from openlvm.store.engines.crew import Report, work_off
from openlvm.store.engines.worklist import Patience

cluster = script("benchmarks/cluster.py")


@pytest.mark.parametrize("seed", range(4))
def test_cluster_with_faults_finishes_every_part_once(seed):
    """100 machines, 16 parts a worker; the faults of benchmarks/cluster.py, several times as many."""
    faulty = cluster.Cluster(
        nodes=100, workers_per_node=2, failing=0.03, hanging=0.01, slow=0.05, dying=0.08, broken=2, seed=seed
    )
    facts, finished = cluster.simulate(faulty, 3200, Patience())
    assert Counter(finished) == Counter(cluster.names_of(3200))
    assert facts["dead"] and facts["silent"] and facts["failed"] > 50 and facts["handed_out_again"] > 0
    assert facts["hours"] < 1.7 * facts["ideal_hours"]


def test_cluster_without_faults_is_nearly_ideal():
    faultless = cluster.Cluster(nodes=100, workers_per_node=2, failing=0, hanging=0, slow=0, dying=0, broken=0)
    facts, finished = cluster.simulate(faultless, 3200, Patience())
    assert Counter(finished) == Counter(cluster.names_of(3200)) and facts["attempts"] == 3200
    assert facts["hours"] < 1.15 * facts["ideal_hours"]


def test_simulation_repeats():
    small = cluster.Cluster(nodes=20, seed=7)
    runs = [cluster.simulate(small, 500, Patience()) for _ in range(2)]
    assert runs[0][1] == runs[1][1] and runs[0][0]["hours"] == runs[1][0]["hours"]


class Scripted:
    """A crew of one that answers each part with the next of its reports."""

    num_workers = 1

    def __init__(self, *reports):
        self.coming, self.heard, self.starts, self.closed, self.clock = list(reports), [], 0, False, 0.0

    def now(self):
        return self.clock

    def start(self, worker):
        self.starts += 1
        self.heard.append(Report(worker))

    def give(self, worker, part):
        report = self.coming.pop(0)
        self.heard.append(report._replace(told={"name": part.name}) if report == Report(0) else report)

    def reports(self, seconds):
        self.clock += 1.0
        heard, self.heard = self.heard, []
        return heard

    def close(self):
        self.closed = True


PARTS = [Part("a", ()), Part("b", ())]


def test_failed_worker_is_started_anew_and_its_part_done_again():
    crew = Scripted(Report(0, failure="killed"), Report(0), Report(0))
    assert [told["name"] for told in work_off(PARTS, crew)] == ["b", "a"]
    assert crew.starts == 2 and crew.closed


def test_error_ends_the_work_and_the_crew():
    crew = Scripted(Report(0), Report(0, error=ValueError("two records of one key")))
    with pytest.raises(ValueError, match="two records"):
        list(work_off(PARTS, crew))
    assert crew.closed


def test_crew_is_closed_when_nobody_wants_more():
    crew = Scripted(Report(0), Report(0))
    written = work_off(PARTS, crew)
    next(written)
    written.close()
    assert crew.closed
