"""A tiny LVM that is served, pictures to ask it with, and a gate that holds its drawing back."""

import threading

import numpy as np
import pytest
from opinions import with_opinions

from openlvm.prompting.lvm import LVM
from openlvm.serving.client import Client
from openlvm.serving.limits import Limits
from openlvm.serving.server import running
from openlvm.serving.work.pool import Pool


@pytest.fixture(scope="session")
def lvm(lvm_at, tmp_path_factory) -> LVM:
    """4 codes an image of 16 pixels, 16 images; its answers depend on what it is shown."""
    return LVM.load(with_opinions(lvm_at, tmp_path_factory.mktemp("served") / "lvm"))


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    """Twenty pictures of the LVM's size, smooth enough to get different codes."""
    chance = np.random.default_rng(0)
    return [np.kron(chance.integers(0, 256, (2, 2, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(20)]


@pytest.fixture(scope="session")
def pairs(pictures):
    return [(pictures[0], pictures[1]), (pictures[2], pictures[3])]


@pytest.fixture
def serving(lvm):
    """Call with limits (and `token`): a server that runs until the test is over."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(*, token=None, lvms=None, **limits):
            return stack.enter_context(running(lvms or {"tiny": lvm}, token=token, limits=Limits(**limits)))

        yield start


@pytest.fixture(scope="module")
def server(lvm):
    """One server for the tests of a file that leave it as it is."""
    with running({"tiny": lvm}, limits=Limits(rate=1e6, burst=10**6, head_seconds=1, upload_seconds=1)) as started:
        yield started


@pytest.fixture
def client(server):
    return Client(server.url, timeout=20)


@pytest.fixture
def gate(monkeypatch):
    """Drawing waits until the gate is set; `gate.reached` says that it does."""
    gate, step = threading.Event(), Pool.step
    gate.reached = threading.Event()

    def held_back(pool):
        gate.reached.set()
        assert gate.wait(20)
        return step(pool)

    monkeypatch.setattr(Pool, "step", held_back)
    yield gate
    gate.set()
