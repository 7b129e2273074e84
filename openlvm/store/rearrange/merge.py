"""Several stores become one: parts stay as they are cut, slots are united, origins and their passports are kept."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openlvm.core.records import BadRecord
from openlvm.store.format import Store
from openlvm.store.likeness.buckets import Buckets
from openlvm.store.rearrange.copying import Rows, copy_records, origin_of_parts, origins_of
from openlvm.store.rearrange.parts import bad_records_of_part, keys_of_part, require_fresh


class Merged(NamedTuple):
    """The merged store, and why its keys have prefixes."""

    store: Store
    clash: str
    """A key that two of the stores have, so that all keys got the name of their store before them; "" if none."""


def merge(stores: Sequence[Store | Path | str], at: Path | str) -> Merged:
    """Write the records of stores, one store after the other, into the store `at`.

    If a key stands in two of them, all keys become "STORE/key", where STORE is the name of the folder; folders of one
    name are numbered: "train-1/key", "train-2/key".

    Args:
        stores: at least two, of one tokenizer; their slots may differ.
        at: folder of the new store; absent or empty.

    Raises:
        ValueError: other tokenizers, one store twice, a slot drawn in two styles, a folder that is not empty.
    """
    opened = [store if isinstance(store, Store) else Store.open(store) for store in stores]
    _check(opened)
    require_fresh(Path(at))
    clash = clashing_key(opened)
    names = store_names(opened)
    source = {"layout": "merge", "of": names, "prefixed": bool(clash)}
    rows = _rows(opened, [f"{name}/" if clash else "" for name in names])
    return Merged(copy_records(Path(at), rows, source=source, of=opened, images_per_part=0), clash)


def store_names(stores: Sequence[Store]) -> list[str]:
    """Names of their folders; equal ones are numbered from 1."""
    names = [store.at.resolve().name for store in stores]
    counts, seen = Counter(names), Counter[str]()
    for place, name in enumerate(names):
        seen[name] += 1
        names[place] = f"{name}-{seen[name]}" if counts[name] > 1 else name
    return names


def clashing_key(stores: Sequence[Store]) -> str:
    """A key that two of the stores have, "" if there is none; by 64-bit hashes on disk, so that memory stays flat."""
    starts = np.cumsum([0, *(store.num_records for store in stores)])
    with Buckets(int(starts[-1])) as buckets:
        for store, start in zip(stores, starts.tolist(), strict=False):
            for part in range(len(store.part_names)):
                hashes = [hashlib.blake2b(key, digest_size=8).digest() for key in keys_of_part(store, part)]
                numbers = np.arange(len(hashes), dtype=np.uint64) + np.uint64(start + store.part_records[part])
                buckets.add(np.frombuffer(b"".join(hashes), dtype="<u8"), numbers)
        for group in buckets.groups():
            of = np.searchsorted(starts, group.numbers, side="right") - 1
            if of[0] != of[-1]:
                return stores[of[0]].key(int(group.numbers[0]) - int(starts[of[0]]))
    return ""


def _check(stores: Sequence[Store]) -> None:
    if len(stores) < 2:
        raise ValueError(f"merging takes at least two stores, given {len(stores)}")
    folders = [store.at.resolve() for store in stores]
    twice = sorted({str(at) for at in folders if folders.count(at) > 1})
    if twice:
        raise ValueError(f"given twice: {', '.join(twice)}; give each store once")
    for store in stores[1:]:
        if store.codes_fingerprint != stores[0].codes_fingerprint:
            raise ValueError(
                f"{store.at} was made with another tokenizer ({store.codes_fingerprint[:12]}…) than {stores[0].at} "
                f"({stores[0].codes_fingerprint[:12]}…); tokenize one of them again with the tokenizer of the other"
            )
    styles: dict[str, tuple[str, Path]] = {}
    for store in stores:
        drawn = {slot: style for origin in origins_of(store) for slot, style in origin.get("styles", {}).items()}
        for slot in store.slots:
            style, at = styles.setdefault(slot, (drawn.get(slot, ""), store.at))
            if style != drawn.get(slot, ""):
                raise ValueError(
                    f"slot {slot!r} is drawn in style {style!r} in {at} and in {drawn.get(slot, '')!r} in {store.at}; "
                    "tokenize one of them again with the style of the other"
                )


def _rows(stores: Sequence[Store], prefixes: list[str]) -> Iterator[Rows]:
    first_origin = 0
    for store, prefix in zip(stores, prefixes, strict=True):
        for part, origin in enumerate(origin_of_parts(store).tolist()):
            rows = np.arange(store.header["parts"][part]["records"])
            bad = [BadRecord(prefix + record.key, record.reason) for record in bad_records_of_part(store, part)]
            yield Rows(store, part, rows, first_origin + origin, prefix, bad)
        first_origin += len(origins_of(store))
