"""Makes `training_toys` importable for the tests beside it; ranks that are forks, and others that are not."""

import multiprocessing
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(params=["forked", pytest.param("spawned", marks=pytest.mark.slow)])
def ranks_of_both_kinds(request, monkeypatch):
    """`forked.Forked` forks, and in the slow tier also starts processes that have nothing in common, as torchrun does.

    Forks have one hash seed: an order of a set that decides what ranks send each other would not be noticed.
    """
    if request.param == "spawned":
        monkeypatch.setattr("forked.FORKS", multiprocessing.get_context("spawn"))
