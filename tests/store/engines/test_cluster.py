"""The Ray engine: the same bytes as the local one, though a worker is killed; one Ray is started for all of it."""

import sys
from functools import partial
from types import SimpleNamespace

import pytest
from comparing import files_of
from deadly import Deadly

from openlvm.store.engines.cluster import Actors
from openlvm.store.engines.crew import work_off
from openlvm.store.engines.worker import Models
from openlvm.store.engines.worklist import Patience
from openlvm.store.part import Job
from openlvm.store.tokenize import tokenize


@pytest.mark.slow
def test_ray_gives_the_bytes_of_the_local_engine_though_a_worker_is_killed(tmp_path, tiny_vqgan, picture_folder):
    """Two workers on this machine, started by the call itself; kill -9 of the one that is in the second part."""
    ray = pytest.importorskip("ray")
    ray.cloudpickle.register_pickle_by_value(sys.modules["deadly"])  # Ray's workers do not find the tests
    deadly = Deadly(source=picture_folder, part="00001", how="kill", counted_at=tmp_path / "counted")
    options = {"tokenizer": tiny_vqgan, "generated": ("noisy",), "batch_size": 2}
    standings = []
    tokenize(deadly, at=tmp_path / "ray", engine="ray", workers=2, progress=standings.append, **options)
    tokenize(picture_folder, at=tmp_path / "local", workers=2, **options)
    tokenize(picture_folder, at=tmp_path / "alone", **options)
    assert len(list((tmp_path / "counted").iterdir())) == 1
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local") == files_of(tmp_path / "alone")
    assert [standing.parts_done for standing in standings] == [0, 1, 2, 3, 4]
    assert not ray.is_initialized()


class FakeRay:
    """As much of Ray as the crew uses: actors in this process that answer at once, `lost` of whose answers are lost."""

    class RayError(Exception):
        pass

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, resources, lost=0):
        self.resources, self.lost, self.told, self.options_told, self.killed = resources, lost, {}, [], 0

    def is_initialized(self):
        return False

    def init(self, **told):
        self.told = told

    def shutdown(self):
        self.told["shutdown"] = True

    def cluster_resources(self):
        return self.resources

    def remote(self, kind):
        def make(*arguments):
            worker = kind(*arguments)
            answers = {name: SimpleNamespace(remote=partial(partial, getattr(worker, name))) for name in METHODS}
            return SimpleNamespace(**answers)

        def options(**told):
            self.options_told.append(told)
            return SimpleNamespace(remote=make)

        return SimpleNamespace(options=options)

    def wait(self, references, *, num_returns, timeout):
        assert references
        return references[:num_returns], references[num_returns:]

    def get(self, reference):
        if reference.func.__name__ == "write" and self.lost:
            self.lost -= 1
            raise self.RayError("The actor died\nand more")
        return reference()

    def kill(self, actor):
        self.killed += 1


METHODS = ("start", "write")


@pytest.fixture
def actors_of(tmp_path, tiny_vqgan, picture_folder, monkeypatch):
    def make(ray, *, device="cpu", **options):
        monkeypatch.setitem(sys.modules, "ray", ray)
        job = Job(picture_folder, (), 0, 2, tmp_path / "parts")
        facts = Models(str(tiny_vqgan), (), "cpu", "fp32").load().facts()
        return Actors(job, Models(str(tiny_vqgan), (), device, "fp32"), facts, **{**ONE, **options})

    return make


ONE = {"workers": 1, "address": "", "workers_per_gpu": 1}


def test_lost_actor_is_replaced(actors_of, picture_folder):
    ray = FakeRay({"CPU": 2.0}, lost=2)
    crew = actors_of(ray, workers=2)
    names = [told["name"] for told in work_off(picture_folder.parts(), crew, Patience(rest=0.0))]
    assert sorted(names) == ["00000", "00001", "00002", "00003"]
    assert ray.killed == 4 and ray.told["shutdown"] and ray.told["address"] == "local" and ray.told["num_cpus"] == 2


def test_reason_of_a_lost_actor_is_told(actors_of, picture_folder):
    with pytest.raises(OSError, match=r"failed 2 times; .*its worker was lost .RayError: The actor died.$"):
        list(work_off(picture_folder.parts(), actors_of(FakeRay({"CPU": 1.0}, lost=9)), Patience(attempts=2, rest=0.0)))


def test_workers_share_the_gpus_of_a_cluster(actors_of):
    ray = FakeRay({"CPU": 64.0, "GPU": 4.0})
    crew = actors_of(ray, workers=0, workers_per_gpu=8, address="auto", device="cuda")
    crew.start(0)
    assert crew.num_workers == 32 and ray.told["address"] == "auto"
    assert ray.options_told == [{"num_cpus": 1, "num_gpus": 1 / 8, "max_restarts": 0}]
    assert actors_of(FakeRay({"CPU": 6.0, "GPU": 4.0}), workers=0, workers_per_gpu=8, device="cuda").num_workers == 6


@pytest.mark.parametrize(
    ("resources", "options", "words"),
    [
        ({"CPU": 4.0}, {"workers": 5}, r"room for 4 workers .4 CPUs., asked for 5"),
        ({"CPU": 4.0}, {"workers": 0, "device": "cuda"}, r"room for 0 workers .4 CPUs and 0 GPUs"),
        ({}, {"workers": 0}, "room for 0 workers"),
    ],
)
def test_cluster_without_room_is_refused(actors_of, resources, options, words):
    ray = FakeRay(resources)
    with pytest.raises(ValueError, match=words):
        actors_of(ray, **options)
    assert ray.told["shutdown"]


def test_engine_says_what_to_install(tmp_path, tiny_vqgan, picture_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    job = Job(picture_folder, (), 0, 2, tmp_path / "parts")
    with pytest.raises(ImportError, match=r"pip install openlvm\[ray\]"):
        Actors(job, Models("demo", (), "cpu", "fp32"), {}, workers=1, address="", workers_per_gpu=1)
