"""A finished store written out of records of others, part after part: memory does not grow with what is copied.

Codes are copied, never made again. Where a record came from stays known: a part holds records of one origin, and the
header lists the origins, each as its own store described itself, with the number of its parts, which lie together.
Letters: N codes per image, R records, I images.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from openlvm.core.files import atomic_folder, sha256_of
from openlvm.core.records import BadRecord
from openlvm.store.bind import bind
from openlvm.store.format import FORMAT, MAX_SLOTS, STORE, Store, image_numbers
from openlvm.store.rearrange.parts import Columns, codes_of_part, keys_of_part, require_fresh, write_part

BLOCK = 1 << 14
"""Images copied at once: 8 MB of 256 two-byte codes."""
_NOT_OF_AN_ORIGIN = {"format", "tokenizer", "dtype", "slots", "files"}  # the same for all, or of its files alone
_PASSPORT_TEXTS = ("dataset", "split", "licence", "home")


class Rows(NamedTuple):
    """Records of one part of a store that are copied."""

    store: Store
    part: int
    """Number of the part."""
    rows: np.ndarray
    """int64 [R], rising: places of the records in the part."""
    origin: int
    """Which of the new store's origins they have."""
    prefix: str = ""
    """Stands before their keys in the new store."""
    bad: Sequence[BadRecord] = ()
    """What the new part says could not be read."""

    @property
    def entries(self) -> np.ndarray:
        """Their RECORD rows."""
        return self.store.records[self.store.part_records[self.part] + self.rows]

    @property
    def num_images(self) -> int:
        """Images that are copied."""
        entries = self.entries
        return int((np.bitwise_count(entries["slots"]).astype(np.int64) * entries["num_frames"]).sum())


def origins_of(store: Store) -> list[dict[str, Any]]:
    """The stores that its records were tokenized into, in the order of its parts, as JSON values.

    Each is what its header said, with its name, the SHA-256 of its header, and "parts": how many of this store's parts
    have its records.
    """
    if "origins" in store.header:
        return store.header["origins"]
    told = {name: value for name, value in store.header.items() if name not in _NOT_OF_AN_ORIGIN}
    at = store.at.resolve()
    return [{**told, "name": at.name, "sha256": sha256_of(at / STORE), "parts": len(store.part_names)}]


def origin_of_parts(store: Store) -> np.ndarray:
    """Which of `origins_of(store)` the records of each part have: int64 [parts]."""
    origins = origins_of(store)
    return np.repeat(np.arange(len(origins)), [origin["parts"] for origin in origins])


def copy_records(
    at: Path, picked: Iterable[Rows], *, source: dict[str, Any], of: Sequence[Store], images_per_part: int
) -> Store:
    """Write the store `at`, whole or not at all.

    Args:
        at: its folder; absent or empty.
        picked: what is copied, in the order of the origins, which are those of all stores `of`, one after the other.
        source: how the new store came about, as JSON values; its header's "source".
        of: the stores that are copied from, of one tokenizer.
        images_per_part: a part is closed as soon as it has so many images; 0 makes a part of every `Rows`.

    Raises:
        ValueError: the folder is not empty, nothing was picked, or there are too many slots.
        OSError: a full disk; nothing is left behind.
    """
    require_fresh(at)
    slots = tuple(dict.fromkeys(slot for store in of for slot in store.slots))
    if len(slots) > MAX_SLOTS:
        raise ValueError(f"a store has at most {MAX_SLOTS} slots; these stores have {len(slots)} together")
    origins = [dict(origin) for store in of for origin in origins_of(store)]
    parts_of = [0] * len(origins)
    with atomic_folder(at) as folder:
        names: list[str] = []
        for together in _gathered(picked, images_per_part):
            names.append(f"{len(names):05d}")
            parts_of[together[0].origin] += 1
            codes = (block for rows in together for block in _codes(rows, slots))
            bad = [record for rows in together for record in rows.bad]
            write_part(folder, names[-1], _columns(together, slots), codes, bad)
        if not names:
            raise ValueError(f"no record is left for {at}; a store needs at least one")
        for origin, num_parts in zip(origins, parts_of, strict=True):
            origin["parts"] = num_parts
        bind(folder, _header(of[0], slots, source, origins), names)
    return Store.open(at)


def _header(
    store: Store, slots: tuple[str, ...], source: dict[str, Any], origins: list[dict[str, Any]]
) -> dict[str, Any]:
    seeds = {origin["seed"] for origin in origins}
    return {
        "format": FORMAT,
        "tokenizer": store.header["tokenizer"],
        "dtype": store.header["dtype"],
        "slots": slots,
        "source": source,
        "generated": list(dict.fromkeys(name for origin in origins for name in origin["generated"])),
        "seed": seeds.pop() if len(seeds) == 1 else None,
        "passport": _passport(origins, store.codes_fingerprint),
        "origins": origins,
    }


def _passport(origins: list[dict[str, Any]], codes_fingerprint: str) -> dict[str, Any]:
    """What the origins' passports say, each thing once."""
    passports = [origin.get("passport", {}) for origin in origins]
    texts = {name: "; ".join(dict.fromkeys(p[name] for p in passports if name in p)) for name in _PASSPORT_TEXTS}
    annotators: list[Any] = []
    for passport in passports:
        annotators += [told for told in passport.get("annotators", []) if told not in annotators]
    said = {name: text for name, text in texts.items() if text} | ({"annotators": annotators} if annotators else {})
    return {**said, "codes_fingerprint": codes_fingerprint}


def _gathered(picked: Iterable[Rows], images_per_part: int) -> Iterator[list[Rows]]:
    """What is written into one part: rows of one origin, until there are images enough."""
    together: list[Rows] = []
    num_images = 0
    for rows in picked:
        if not len(rows.rows) and images_per_part:
            continue
        if together and (num_images >= images_per_part or rows.origin != together[0].origin):
            yield together
            together, num_images = [], 0
        together.append(rows)
        num_images += rows.num_images
    if together:
        yield together


def _columns(together: list[Rows], slots: tuple[str, ...]) -> Columns:
    keys, labels, bits, num_frames = [], [], [], []
    for rows in together:
        prefix, of_part, entries = rows.prefix.encode(), keys_of_part(rows.store, rows.part), rows.entries
        keys += [prefix + of_part[row] for row in rows.rows.tolist()]
        labels += [rows.store.labels[label] for label in entries["label"].tolist()]
        moved = np.zeros(len(entries), dtype=np.uint64)
        for place, slot in enumerate(rows.store.slots):
            moved |= (entries["slots"] >> np.uint64(place) & np.uint64(1)) << np.uint64(slots.index(slot))
        bits.append(moved)
        num_frames.append(entries["num_frames"])
    return Columns(keys, labels, np.concatenate(bits), np.concatenate(num_frames))


def _codes(rows: Rows, slots: tuple[str, ...]) -> Iterator[np.ndarray]:
    """Codes of the rows, each record's images in the order of `slots`: blocks [I, N] of the type on disk."""
    codes = codes_of_part(rows.store, rows.part)
    images = _images(rows.entries, rows.store.slots, slots) - rows.store.part_images[rows.part]
    for start in range(0, len(images), BLOCK):
        yield codes[images[start : start + BLOCK]]


def _images(entries: np.ndarray, slots: tuple[str, ...], order: tuple[str, ...]) -> np.ndarray:
    """Numbers of the records' images in their store, int64 [I]: record after record, slots in `order`.

    Args:
        entries: RECORD [R].
        slots: of their store.
        order: in which each record's slots come; holds all of `slots`.
    """
    numbers = np.array([slots.index(slot) for slot in order if slot in slots], dtype=np.uint64)
    record, place = np.nonzero(entries["slots"][:, None] >> numbers & np.uint64(1))
    counts = entries["num_frames"][record].astype(np.int64)
    firsts = image_numbers(entries[record], numbers[place], np.zeros(len(record), dtype=np.int64))
    return np.repeat(firsts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
