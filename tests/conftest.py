"""Fixtures that many tests share; what they are made of is in fakes.py."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # makes `fakes` importable, in spawned workers too
from fakes import FakeTokenizer, StoreMaker


@pytest.fixture
def fake_tokenizer() -> FakeTokenizer:
    """A tokenizer of 4 codes over 16 colors."""
    return FakeTokenizer()


@pytest.fixture
def make_store(tmp_path: Path) -> StoreMaker:
    """Call with parts of `Shape`s."""
    return StoreMaker(tmp_path)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of small tensors are faster so, and their processes inherit it."""
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
