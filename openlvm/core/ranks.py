"""Which process this is among those that work together; set by torchrun, one process otherwise."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Ranks:
    """This process's number and the number of processes; `local` numbers and counts those on one machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"RANK={self.rank} must be at least 0 and below WORLD_SIZE={self.world_size}")

    @property
    def is_main(self) -> bool:
        """True on the process that prints and writes."""
        return self.rank == 0


def ranks_from_environment() -> Ranks:
    """The ranks torchrun put into RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE; a single process without them."""
    names = {
        "rank": "RANK",
        "world_size": "WORLD_SIZE",
        "local_rank": "LOCAL_RANK",
        "local_world_size": "LOCAL_WORLD_SIZE",
    }
    given = {field: os.environ[name] for field, name in names.items() if name in os.environ}
    for field, text in given.items():
        if not text.isdecimal():
            raise ValueError(f"{names[field]}={text!r} is not a number; torchrun sets it, or unset it")
    return Ranks(**{field: int(text) for field, text in given.items()})
