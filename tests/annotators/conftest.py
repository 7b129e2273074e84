"""Tiny networks of transformers, written once a run."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def network_at(tmp_path_factory) -> Callable[..., Path]:
    """Call with the name of a function of miniatures/networks.py and its options: the folder of the network."""
    pytest.importorskip("transformers")
    from miniatures import networks

    made: dict[str, Path] = {}

    def at(name: str, **options) -> Path:
        key = f"{name}-{options}"
        if key not in made:
            made[key] = getattr(networks, name)(tmp_path_factory.mktemp("networks") / f"tiny-{name}", **options)
        return made[key]

    return at


@pytest.fixture(scope="session")
def images():
    """Four pictures of noise, three sizes, the first and the third of one."""
    import numpy as np

    chance = np.random.default_rng(0)
    return [chance.integers(0, 256, (*size, 3), dtype=np.uint8) for size in [(40, 60), (30, 30), (40, 60), (70, 33)]]
