"""Which process this is."""

import pytest

from openlvm.core.ranks import Ranks, ranks_from_environment


@pytest.fixture(autouse=True)
def no_torchrun(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_ranks_are_one_process_by_default():
    assert ranks_from_environment() == Ranks(rank=0, world_size=1, local_rank=0)
    assert ranks_from_environment().is_main


def test_ranks_come_from_torchrun(monkeypatch):
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert ranks_from_environment() == Ranks(rank=5, world_size=8, local_rank=1)
    assert not ranks_from_environment().is_main


def test_ranks_rejects_contradiction(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(ValueError, match="RANK=3 must be at least 0 and below WORLD_SIZE=1"):
        ranks_from_environment()


def test_ranks_rejects_what_is_not_a_number(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ValueError, match="WORLD_SIZE='two' is not a number"):
        ranks_from_environment()
