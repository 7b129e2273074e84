"""Numbers with 64-bit hashes, kept on disk so that those of one hash come back together: memory stays flat.

A bucket holds the hashes that begin alike, so equal hashes meet in one bucket, which is small enough to sort in memory.
Cost: 16 bytes of disk a pair while it is used, and time linear in the pairs.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

PAIRS_PER_BUCKET = 1 << 20
"""On average: 16 MB; a bucket is sorted in memory."""
MAX_BUCKETS = 256
"""Open files; beyond 268 M pairs the buckets grow."""

_PAIR = np.dtype([("hash", "<u8"), ("number", "<u8")])


class Group(NamedTuple):
    """What has one hash."""

    hash: int
    numbers: np.ndarray
    """uint64, rising; at least two."""


class Buckets:
    """A context: `add` pairs, then read `groups`. The files lie in the folder for temporary files (TMPDIR)."""

    def __init__(self, expected: int):
        self.num_buckets = 1
        while self.num_buckets < MAX_BUCKETS and self.num_buckets * PAIRS_PER_BUCKET < expected:
            self.num_buckets *= 2
        self._shift = np.uint64(64 - (self.num_buckets.bit_length() - 1))

    def __enter__(self) -> "Buckets":
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openlvm-buckets-")))
            self._files = [stack.enter_context(open(self._folder / f"{n}", "wb")) for n in range(self.num_buckets)]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def add(self, hashes: np.ndarray, numbers: np.ndarray) -> None:
        """Keep pairs: both uint64 [n]."""
        pairs = np.empty(len(hashes), dtype=_PAIR)
        pairs["hash"], pairs["number"] = hashes, numbers
        if self.num_buckets == 1:
            self._files[0].write(pairs.tobytes())
            return
        buckets = (hashes >> self._shift).astype(np.int64)
        order = np.argsort(buckets, kind="stable")
        present, begins = np.unique(buckets[order], return_index=True)
        for bucket, chosen in zip(present.tolist(), np.split(order, begins)[1:], strict=True):
            self._files[bucket].write(pairs[chosen].tobytes())

    def groups(self) -> Iterator[Group]:
        """What shares a hash, hash by hash; nothing is added afterwards."""
        for pairs in self._sorted():
            same = np.concatenate([[False], pairs["hash"][1:] == pairs["hash"][:-1], [False]])
            begins = np.flatnonzero(~same[:-1] & same[1:])
            ends = np.flatnonzero(same[:-1] & ~same[1:]) + 1
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
                yield Group(int(pairs["hash"][begin]), pairs["number"][begin:end])

    def neighbors(self, reach: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers that share a hash, in pairs: each with at most `reach` that come after it; uint64 [n] twice.

        A pair comes once from a bucket, whatever hashes it shares in it.
        """
        for pairs in self._sorted():
            found = [np.empty((0, 2), dtype=np.uint64)]
            for step in range(1, min(reach, len(pairs) - 1) + 1):
                same = pairs["hash"][step:] == pairs["hash"][:-step]
                found.append(np.stack([pairs["number"][:-step][same], pairs["number"][step:][same]], axis=1))
            first, second = np.unique(np.concatenate(found), axis=0).T
            yield first, second

    def _sorted(self) -> Iterator[np.ndarray]:
        """The pairs of one bucket after the other, by hash, then by number."""
        for file in self._files:
            file.close()
        for bucket in range(self.num_buckets):
            pairs = np.fromfile(self._folder / f"{bucket}", dtype=_PAIR)
            yield pairs[np.lexsort((pairs["number"], pairs["hash"]))]
