"""Parts of a store without a tokenizer: read as columns and codes, and written from them.

The bytes are those that tokenizing writes (store/format.py). Letters: N codes per image, R records, I images.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from openlvm.core.records import BadRecord
from openlvm.store.bind import Columns, close_part
from openlvm.store.format import BAD, CODES, KEYS, PART_RECORD, PARTS, RECORDS, Store


def write_part(
    at: Path, name: str, columns: Columns, codes: Iterable[np.ndarray], bad: Sequence[BadRecord] = ()
) -> None:
    """Write one part into the folder of a store.

    Args:
        at: folder of the store.
        name: of the part.
        columns: its records.
        codes: blocks [I, N] of the type on disk: record after record, slot after slot, frame after frame.
        bad: what could not be read when these records were.
    """
    folder = at / PARTS / name
    folder.mkdir(parents=True)
    num_images = 0
    with open(folder / CODES, "wb") as file:
        for block in codes:
            file.write(np.ascontiguousarray(block).data)
            num_images += len(block)
    assert num_images == columns.num_images, (num_images, columns.num_images)
    close_part(folder, name, columns, bad)


def keys_of_part(store: Store, part: int) -> list[bytes]:
    """The keys of a part's records in their order, UTF-8."""
    folder = store.at / PARTS / store.part_names[part]
    ends = np.fromfile(folder / RECORDS, dtype=PART_RECORD)["key_end"].tolist()
    text = (folder / KEYS).read_bytes()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def bad_records_of_part(store: Store, part: int) -> list[BadRecord]:
    """What could not be read when the part was tokenized."""
    told = store.header["parts"][part]
    if BAD not in told["files"]:
        return []
    lines = (store.at / PARTS / told["name"] / BAD).read_bytes().splitlines()
    return [BadRecord(**json.loads(line)) for line in lines]


def codes_of_part(store: Store, part: int) -> np.ndarray:
    """The codes of a part's images as they lie on disk, [I, N]; a file map that goes when the array goes.

    `Store.read` keeps its maps: right for reading in any order, too much for walking through 100,000 parts once.
    """
    shape = (store.header["parts"][part]["images"], store.codes_per_image)
    if not shape[0]:  # an empty file cannot be mapped
        return np.empty(shape, store.dtype)
    return np.memmap(store.at / PARTS / store.part_names[part] / CODES, dtype=store.dtype, mode="r", shape=shape)


def require_fresh(at: Path) -> None:
    """Refuse a folder that holds something: a finished store is never written over."""
    if at.exists() and (not at.is_dir() or any(at.iterdir())):
        raise ValueError(f"{at} exists and is not an empty folder; give another folder, or delete it")
