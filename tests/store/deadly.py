"""A source that ends or stops whoever reads one of its parts, some times; spawned workers can import it."""

import errno
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openlvm.core.records import BadRecord, Record
from openlvm.sources.interface import Part, Source

How = Literal["kill", "exit", "raise", "oserror", "full", "wrong", "hang"]


@dataclass(frozen=True, kw_only=True)
class Deadly:
    """Reads like `source`, but part `part` does `how` to its reader after the first record, `times` times."""

    source: Source
    part: str
    how: How
    counted_at: Path
    """Folder of one file for each time; all workers see it."""
    times: int = 1

    @property
    def slots(self) -> tuple[str, ...]:
        return self.source.slots

    def describe(self) -> dict[str, Any]:
        return self.source.describe()  # so that the store is the one of the harmless source

    def parts(self) -> list[Part]:
        return self.source.parts()

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        records = self.source.read(part)
        yield next(records)
        self.counted_at.mkdir(exist_ok=True)
        done = len(list(self.counted_at.iterdir()))
        if part.name == self.part and done < self.times:
            (self.counted_at / str(done)).touch()
            self._strike()
        yield from records

    def _strike(self) -> None:
        match self.how:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(3)
            case "raise":
                raise TypeError("a bug")
            case "oserror":
                raise OSError(errno.EIO, "Input/output error")
            case "full":
                raise OSError(errno.ENOSPC, "No space left on device")
            case "wrong":
                raise ValueError("two records with the key 'same'")
            case "hang":
                time.sleep(1000)
