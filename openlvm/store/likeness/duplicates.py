"""Records of a store that show the same: those of equal codes, and those that look nearly alike.

Near ones are found by locality-sensitive hashing: a picture's vector (looks.py) gives `BANDS` words of bits, each bit
the side of a random plane (Charikar, STOC 2002, section 3); who shares a word is compared. A word has about log2 of the
number of pictures bits, so that few share one by chance, and of those only neighbors are compared: time is linear.
Two pictures of likeness s are compared with probability 1 - (1 - (1 - arccos(s) / pi)^bits)^BANDS.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from openlvm.core.seeds import derive, rng, seed_of
from openlvm.store.format import Store, image_numbers
from openlvm.store.likeness.buckets import Buckets
from openlvm.store.likeness.looks import BLOCK, Looks, code_colors, images_of, walk
from openlvm.store.rearrange.parts import codes_of_part
from openlvm.tokenizer.interface import Tokenizer

BANDS = 32
NEIGHBORS = 8
"""Of those that share a word, each is compared with so many that come after it."""
MIN_BITS = 8
MAX_FRAMES = 4
"""Frames of a record that stand for it, evenly spread, when near duplicates are looked for."""


@dataclass(frozen=True)
class Group:
    """Records that show the same, by number, rising."""

    records: tuple[int, ...]
    likeness: float
    """1 for equal codes; else the highest that was found between two of them, 0 .. 1."""


@dataclass(frozen=True)
class Duplicates:
    """What was found, groups in the order of their first records."""

    exact: list[Group]
    """All codes of the slot are equal, frame by frame."""
    near: list[Group]
    """Chains of look-alikes; of an exact group only its first record is looked at."""
    plain: int
    """Pictures of one color, which were not compared."""


def find_duplicates(
    store: Store, *, tokenizer: Tokenizer | None, similarity: float = 0.9, slot: str = "image"
) -> Duplicates:
    """Find the records of a store that show the same in one slot.

    Args:
        store: what is searched.
        tokenizer: the store's; None finds equal codes only.
        similarity: likeness from which two pictures are near duplicates, 0 .. 1.
        slot: what is compared.
    """
    if not 0 < similarity <= 1:
        raise ValueError(f"similarity={similarity} must be above 0 and at most 1")
    exact = list(_exact(store, slot))
    if tokenizer is None:
        return Duplicates(exact, [], 0)
    if tokenizer.codes_fingerprint != store.codes_fingerprint:
        raise ValueError(f"the store {store.at} was made with another tokenizer than the one given")
    near, plain = _near(store, slot, similarity, Looks(code_colors(tokenizer)), exact)
    return Duplicates(exact, near, plain)


def _exact(store: Store, slot: str) -> Iterator[Group]:
    with Buckets(store.num_records) as buckets:
        for part in range(len(store.part_names)):
            records, hashes = [], []
            for record, codes in _codes_of_records(store, part, slot):
                records.append(record)
                hashes.append(hashlib.blake2b(codes.tobytes(), digest_size=8).digest())
            buckets.add(np.frombuffer(b"".join(hashes), dtype="<u8"), np.array(records, dtype=np.uint64))
        found: list[Group] = []
        for group in buckets.groups():
            same: dict[bytes, list[int]] = defaultdict(list)  # equal hashes need not be equal codes
            for record in group.numbers.tolist():
                same[_codes(store, record, slot).tobytes()].append(record)
            found += [Group(tuple(records), 1.0) for records in same.values() if len(records) > 1]
    yield from sorted(found, key=lambda group: group.records)


def _codes_of_records(store: Store, part: int, slot: str) -> Iterator[tuple[int, np.ndarray]]:
    """Every record of a part that has the slot, with its codes [F, N]."""
    bit = np.uint64(store.slot_number(slot))
    start, end = store.part_records[part : part + 2]
    entries = store.records[start:end]
    codes = codes_of_part(store, part)
    firsts = image_numbers(entries, np.full(len(entries), bit), np.zeros(len(entries), np.int64))
    firsts -= store.part_images[part]
    rows = np.flatnonzero(entries["slots"] >> bit & np.uint64(1)).tolist()
    for row in rows:
        yield int(start) + row, codes[firsts[row] : firsts[row] + int(entries["num_frames"][row])]


def _codes(store: Store, record: int, slot: str) -> np.ndarray:
    entry = store.records[record : record + 1]
    first = image_numbers(entry, np.array([store.slot_number(slot)], np.uint64), np.zeros(1, np.int64))
    return store.read(first + np.arange(store.num_frames(record)))


def _near(store: Store, slot: str, similarity: float, looks: Looks, exact: list[Group]) -> tuple[list[Group], int]:
    copies = np.array(sorted(record for group in exact for record in group.records[1:]), dtype=np.int64)
    num_pictures = min(store.num_images, MAX_FRAMES * store.num_records)
    bits = max(MIN_BITS, int(np.ceil(np.log2(max(num_pictures, 2)))))
    plain = 0
    with Buckets(BANDS * num_pictures) as buckets:
        planes: np.ndarray | None = None
        for block in walk(store, slot, MAX_FRAMES):
            vectors = looks(block.codes)
            if planes is None:
                planes = rng("planes").standard_normal((vectors.shape[1], BANDS * bits)).astype(np.float32)
            shown = vectors.any(axis=1)
            plain += int((~shown).sum())
            shown &= ~np.isin(block.records, copies)
            numbers = (block.records * MAX_FRAMES + block.steps)[shown].astype(np.uint64)
            buckets.add(_words(vectors[shown], planes, bits).ravel(), np.tile(numbers, BANDS))
        chains = _Chains()
        for first, second in buckets.neighbors(NEIGHBORS):
            _compare(store, slot, looks, similarity, first.astype(np.int64), second.astype(np.int64), chains)
    return chains.groups(), plain


def _words(vectors: np.ndarray, planes: np.ndarray, bits: int) -> np.ndarray:
    """The words of pictures, different in every band: uint64 [BANDS, B]."""
    sides = np.zeros((len(vectors), BANDS, 64), dtype=bool)
    sides[..., :bits] = (vectors @ planes > 0).reshape(len(vectors), BANDS, bits)
    words = np.packbits(sides, axis=-1, bitorder="little").view("<u8")[..., 0]  # [B, BANDS]
    seeds = np.array([seed_of("band", band) for band in range(BANDS)], dtype=np.uint64)
    return derive(seeds, words).T


def _compare(
    store: Store, slot: str, looks: Looks, similarity: float, first: np.ndarray, second: np.ndarray, chains: "_Chains"
) -> None:
    """Look at pairs of pictures, each int64 [n] as record * MAX_FRAMES + step; keep those of records that are alike."""
    others = first // MAX_FRAMES != second // MAX_FRAMES
    pairs = np.stack([first[others], second[others]])
    for cut in range(0, pairs.shape[1], BLOCK):
        records, steps = np.divmod(pairs[:, cut : cut + BLOCK], MAX_FRAMES)
        images = images_of(store, slot, records.ravel(), steps.ravel(), MAX_FRAMES)
        vectors = looks(store.read(images)).reshape(2, records.shape[1], -1)
        likeness = (vectors[0] * vectors[1]).sum(axis=1)
        for place in np.flatnonzero(likeness >= similarity).tolist():
            chains.join(int(records[0, place]), int(records[1, place]), float(likeness[place]))


class _Chains:
    """Records joined to groups (union-find); memory grows with what was found."""

    def __init__(self) -> None:
        self.above: dict[int, int] = {}
        self.highest: dict[tuple[int, int], float] = {}

    def join(self, first: int, second: int, likeness: float) -> None:
        pair = (min(first, second), max(first, second))
        self.highest[pair] = max(self.highest.get(pair, 0.0), likeness)
        low, high = sorted((self._root(first), self._root(second)))
        self.above[high] = low

    def _root(self, record: int) -> int:
        path = []
        while (above := self.above.setdefault(record, record)) != record:
            path.append(record)
            record = above
        for passed in path:
            self.above[passed] = record
        return record

    def groups(self) -> list[Group]:
        members: dict[int, list[int]] = defaultdict(list)
        likeness: dict[int, float] = defaultdict(float)
        for record in self.above:
            members[self._root(record)].append(record)
        for (first, _), highest in self.highest.items():
            root = self._root(first)
            likeness[root] = max(likeness[root], highest)
        return [Group(tuple(sorted(members[root])), round(likeness[root], 4)) for root in sorted(members)]


def told(store: Store, found: Duplicates) -> Iterator[dict[str, Any]]:
    """The groups by key, as JSON values."""
    for kind, groups in (("exact", found.exact), ("near", found.near)):
        for group in groups:
            keys = [store.key(record) for record in group.records]
            yield {"kind": kind, "keys": keys, "likeness": group.likeness}
