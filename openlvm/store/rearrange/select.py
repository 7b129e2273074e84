"""Some of a store's records become stores: split by shares, or a sample.

Where a record goes is a hash of (seed, key) or (seed, label): not of its place. So the same record goes the same way
in every store that has it, a store that grew splits as before, and a sample of 200 holds that of 100.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from openlvm.core.seeds import seed_of
from openlvm.store.format import Store
from openlvm.store.rearrange.copying import Rows, copy_records, origin_of_parts
from openlvm.store.rearrange.parts import keys_of_part, require_fresh

By = Literal["record", "label"]

_BINS = 1 << 16  # of the histogram that finds a sample's threshold without keeping the hashes


def split(
    store: Store, at: Path | str, shares: Mapping[str, float], *, seed: int, by: By = "record"
) -> dict[str, Store]:
    """Write the records of a store into several, each at `at`/NAME; every record goes into exactly one.

    Args:
        store: what is split.
        at: folder of the new stores' folders.
        shares: share of each new store by its name; they sum to 1. A hash decides, so counts come near to them only.
        seed: of the hash.
        by: "record" by keys; "label" keeps all records of a label together: classes or objects never seen in training.

    Raises:
        ValueError: wrong shares or names, a store would be empty, records have no label, a folder is not empty.
    """
    limits = _limits(shares)
    hashed = (
        partial(_hashes_of_labels, store, seed) if by == "label" else partial(_hashes_of_keys, store, seed, "split")
    )
    if by == "label" and "" in store.labels:
        raise ValueError(f'{store.at} has records without a label, which would all go one way; split it by="record"')
    for name in shares:
        require_fresh(Path(at) / name)
    counts = dict.fromkeys(shares, 0)
    for _, hashes in hashed():
        for name, count in zip(shares, np.bincount(_sides(hashes, limits), minlength=len(shares)), strict=True):
            counts[name] += int(count)
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise ValueError(
            f"no record of {store.at} would go to {', '.join(empty)} (records: {counts}); "
            "raise the share, or give another seed"
        )
    told = {"layout": "split", "of": store.at.resolve().name, "shares": dict(shares), "seed": seed, "by": by}
    return {
        name: _copy(store, Path(at) / name, _of_side(hashed(), limits, side), {**told, "share": name})
        for side, name in enumerate(shares)
    }


def sample(store: Store, at: Path | str, num_records: int, *, seed: int) -> Store:
    """Write `num_records` records of a store, those of the lowest hashes, in their order into the store `at`.

    Raises:
        ValueError: the store has fewer, or the folder is not empty.
    """
    if not 1 <= num_records <= store.num_records:
        raise ValueError(f"num_records={num_records}: {store.at} has {store.num_records} records")
    require_fresh(Path(at))
    limit, ties = _threshold(store, num_records, seed)
    told = {"layout": "sample", "of": store.at.resolve().name, "records": num_records, "seed": seed}
    return _copy(store, Path(at), _lowest(store, seed, limit, ties), told)


def _limits(shares: Mapping[str, float]) -> np.ndarray:
    """Where the shares end in 2^64: uint64, one for each but the last."""
    if len(shares) < 2 or any(not 0 < share < 1 for share in shares.values()):
        raise ValueError(f"a split has at least two shares between 0 and 1, given {dict(shares)}")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"shares sum to 1, these to {sum(shares.values()):.6g}: {dict(shares)}")
    bad = [name for name in shares if not name or Path(name).name != name or name.startswith(".")]
    if bad:
        raise ValueError(f"the name of a share becomes a folder; {bad[0]!r} cannot be one")
    ends = np.cumsum([Fraction(share) for share in shares.values()])
    return np.array([min(int(end * 2**64), 2**64 - 1) for end in ends[:-1]], dtype=np.uint64)


def _sides(hashes: np.ndarray, limits: np.ndarray) -> np.ndarray:
    return np.searchsorted(limits, hashes, side="right")


def _of_side(
    hashed: Iterator[tuple[int, np.ndarray]], limits: np.ndarray, side: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Part by part: its number and the places of the records that go to one side, int64 [R]."""
    for part, hashes in hashed:
        yield part, np.flatnonzero(_sides(hashes, limits) == side)


def _hashes_of_labels(store: Store, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Part by part: its number and a hash of every record's label, uint64 [R]."""
    of_labels = np.array([seed_of("split", seed, label) for label in store.labels], dtype=np.uint64)
    for part in range(len(store.part_names)):
        start, end = store.part_records[part : part + 2]
        yield part, of_labels[store.records["label"][start:end]]


def _hashes_of_keys(store: Store, seed: int, purpose: str) -> Iterator[tuple[int, np.ndarray]]:
    """The same of every record's key; another `purpose` gives others, so that a sample can be split with its seed."""
    for part in range(len(store.part_names)):
        keys = keys_of_part(store, part)
        yield part, np.array([seed_of(purpose, seed, key.decode()) for key in keys], dtype=np.uint64)


def _threshold(store: Store, num_records: int, seed: int) -> tuple[int, int]:
    """The highest hash of a sample, and how many records of that very hash belong to it; memory stays flat."""
    counts = np.zeros(_BINS, dtype=np.int64)
    shift = np.uint64(64 - (_BINS.bit_length() - 1))
    for _, hashes in _hashes_of_keys(store, seed, "sample"):
        counts += np.bincount((hashes >> shift).astype(np.int64), minlength=_BINS)
    last = int(np.searchsorted(np.cumsum(counts), num_records))  # the bin in which the sample ends
    inside = [hashes[hashes >> shift == last] for _, hashes in _hashes_of_keys(store, seed, "sample")]
    candidates = np.sort(np.concatenate(inside))
    wanted = num_records - int(counts[:last].sum())
    limit = candidates[wanted - 1]
    return int(limit), wanted - int((candidates < limit).sum())


def _lowest(store: Store, seed: int, limit: int, ties: int) -> Iterator[tuple[int, np.ndarray]]:
    for part, hashes in _hashes_of_keys(store, seed, "sample"):
        equal = np.flatnonzero(hashes == np.uint64(limit))[:ties]
        ties -= len(equal)
        yield part, np.union1d(np.flatnonzero(hashes < np.uint64(limit)), equal)


def _copy(store: Store, at: Path, picked: Iterator[tuple[int, np.ndarray]], source: dict[str, Any]) -> Store:
    """Parts are as large as the largest of the store, so that a small sample is not cut into thousands."""
    origins = origin_of_parts(store).tolist()
    largest = max(part["images"] for part in store.header["parts"])
    rows = (Rows(store, part, rows, origins[part]) for part, rows in picked)
    return copy_records(at, rows, source=source, of=[store], images_per_part=largest)
