"""Records become a part, and finished parts a store: columns are written and joined, headers last.

Headers of parts are read one at a time, so that memory grows by what store.json says of a part and no more.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from openlvm.core.files import atomic_write, read_json, write_json
from openlvm.core.records import BadRecord
from openlvm.store.format import (
    CODES,
    KEYS,
    LABELS,
    PART,
    PART_RECORD,
    PARTS,
    RECORD,
    RECORDS,
    STORE,
    content_sha256,
    describe_files,
    write_bad,
)

MAX_TOLD = 5
"""Bad records that part.json and store.json name; the parts' bad.jsonl name them all."""
_KEPT = ("name", "records", "images", "skipped", "files")  # of what part.json says


class Columns(NamedTuple):
    """The records of a part, one row each."""

    keys: list[bytes]
    """UTF-8, unique in the part."""
    labels: list[str]
    """"" where there is none."""
    slots: np.ndarray
    """uint64 [R], bits: bit i is slot i of the store."""
    num_frames: np.ndarray
    """int [R]."""

    @property
    def num_images(self) -> int:
        """Of all records."""
        return int((np.bitwise_count(self.slots).astype(np.int64) * self.num_frames).sum())


def close_part(folder: Path, name: str, columns: Columns, bad: Sequence[BadRecord]) -> dict[str, Any]:
    """Write what a part has beside its codes; returns what its part.json says.

    Args:
        folder: of the part; its codes are there.
        name: of the part.
        columns: its records.
        bad: what could not be read when these records were.
    """
    labels = sorted(set(columns.labels))
    places = {label: place for place, label in enumerate(labels)}
    rows = np.zeros(len(columns.keys), dtype=PART_RECORD)
    rows["slots"], rows["num_frames"] = columns.slots, columns.num_frames
    rows["label"] = [places[label] for label in columns.labels]
    rows["key_end"] = np.cumsum([len(key) for key in columns.keys])
    (folder / RECORDS).write_bytes(rows.tobytes())
    (folder / KEYS).write_bytes(b"".join(columns.keys))
    told = {
        "name": name,
        "records": len(rows),
        "images": columns.num_images,
        "labels": labels,
        "skipped": len(bad),
        "skipped_first": [[record.key, record.reason] for record in bad[:MAX_TOLD]],
        "files": describe_files(folder, [CODES, RECORDS, KEYS, *write_bad(folder, bad)]),
    }
    write_json(folder / PART, told)
    return told


def bind(at: Path, header: dict[str, Any], names: list[str]) -> None:
    """Write what a store has beside its parts.

    Args:
        at: folder of the store, with its parts.
        header: what store.json says besides; a passport gets the hash of the content.
        names: of the parts, in their order.
    """
    labels = sorted({label for part in _headers(at, names) for label in part["labels"]})
    places = {label: place for place, label in enumerate(labels)}
    first_image = 0
    parts: list[dict[str, Any]] = []
    told: list[list[str]] = []
    with atomic_write(at / RECORDS) as file:
        for part in _headers(at, names):
            columns = np.fromfile(at / PARTS / part["name"] / RECORDS, dtype=PART_RECORD)
            joined = np.zeros(len(columns), dtype=RECORD)
            joined["slots"], joined["num_frames"] = columns["slots"], columns["num_frames"]
            joined["label"] = np.array([places[label] for label in part["labels"]], dtype="<u4")[columns["label"]]
            images = np.bitwise_count(columns["slots"]).astype(np.uint64) * columns["num_frames"]
            joined["first_image"] = first_image + np.cumsum(images) - images
            first_image += part["images"]
            file.write(joined.tobytes())
            parts.append({name: part[name] for name in _KEPT})
            told += part["skipped_first"][: MAX_TOLD - len(told)]
    write_json(at / LABELS, labels)
    if "passport" in header:
        header = {**header, "passport": {**header["passport"], "content_sha256": content_sha256(parts)}}
    counts = {
        "records": sum(part["records"] for part in parts),
        "images": first_image,
        "skipped": sum(part["skipped"] for part in parts),
        "skipped_first": told,
    }
    write_json(at / STORE, {**header, **counts, "parts": parts, "files": describe_files(at, [RECORDS, LABELS])})


def _headers(at: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    return (read_json(at / PARTS / name / PART, "part header") for name in names)
