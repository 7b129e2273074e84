"""A store on disk: codes of images, one row each, and columns about the records they belong to; read by memory map.

    store.json           written last: what made the store, its parts, size and SHA-256 of every file
    tokenize.json        written first: what was asked for (tokenize.py)
    records.bin          RECORD, one entry a record, in the order of the parts
    labels.json          sorted; column `label` holds indices into it
    parts/00000/codes.bin    little-endian uint16 or uint32 [images, N]; of a record slot after slot, frame after frame
               /records.bin  PART_RECORD    /keys.bin  UTF-8, one after the other
               /bad.jsonl    the records that could not be read, key and reason a line; absent where all could
               /part.json    written last: counts, labels, size and SHA-256 of the part's files

Equal inputs give equal bytes: nothing on disk knows the time, the machine or the number of workers.
Letters: N codes per image, F frames, P parts.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.files import read_json, sha256_of
from openlvm.core.records import BadRecord
from openlvm.sentences.grammar import ImageRef

FORMAT = 1
STORE, REQUEST, RECORDS, LABELS, PARTS = "store.json", "tokenize.json", "records.bin", "labels.json", "parts"
PART, CODES, KEYS, BAD = "part.json", "codes.bin", "keys.bin", "bad.jsonl"

MAX_SLOTS = 63
"""Slots a store can have: a record's slots are bits of one integer."""

RECORD = np.dtype([("first_image", "<u8"), ("slots", "<u8"), ("num_frames", "<u4"), ("label", "<u4")])
"""A record: its first image in the store, its slots as bits (bit i: `slots[i]`), F, and its label."""
PART_RECORD = np.dtype([("slots", "<u8"), ("key_end", "<u8"), ("num_frames", "<u4"), ("label", "<u4")])
"""A record in its part: `label` counts in the part's own labels, its key ends at byte `key_end` of keys.bin."""


def codes_dtype(codebook_size: int) -> np.dtype:
    """uint16 up to 65,536 codes, else uint32; little-endian."""
    return np.dtype("<u2" if codebook_size <= 1 << 16 else "<u4")


@dataclass(frozen=True, kw_only=True)
class Passport:
    """Where the data of a store come from, as whoever tokenized them said; "" is left out."""

    dataset: str = ""
    """Its published name."""
    split: str = ""
    """train, val, ..."""
    licence: str = ""
    """A note on its terms."""
    home: str = ""
    """Address of its page."""

    def values(self) -> dict[str, str]:
        """What is said, as JSON values."""
        return {name: value for name, value in asdict(self).items() if value}


class Store:
    """A finished store, open for reading; made by `Store.open`. Sending it to another process opens it there."""

    def __init__(self, at: Path, header: dict[str, Any]):
        self.at = at
        self.header = header
        self.slots: tuple[str, ...] = tuple(header["slots"])
        self.codes_per_image: int = header["tokenizer"]["codes_per_image"]
        self.codebook_size: int = header["tokenizer"]["codebook_size"]
        self.codes_fingerprint: str = header["tokenizer"]["codes_fingerprint"]
        self.dtype = codes_dtype(self.codebook_size)
        self.part_records = _starts(part["records"] for part in header["parts"])  # int64 [P + 1]
        self.part_images = _starts(part["images"] for part in header["parts"])  # int64 [P + 1]
        self.num_records = int(self.part_records[-1])
        self.num_images = int(self.part_images[-1])
        self.records = _map(at / RECORDS, RECORD, (self.num_records,))
        self.labels: list[str] = read_json(at / LABELS, "list of labels")
        self._codes: dict[int, np.ndarray] = {}

    @classmethod
    def open(cls, path: Path | str, tokenizer: Any = None) -> "Store":
        """Open a store after checking that it is finished, whole, and of this tokenizer.

        Args:
            path: folder of the store.
            tokenizer: a tokenizer, or its `codes_fingerprint`; None opens the store of any tokenizer.

        Raises:
            FileNotFoundError: no store there, or an unfinished one.
            ValueError: another format or tokenizer, a missing or truncated file; the message names it.
        """
        at = Path(path)
        if not (at / STORE).is_file():
            if (at / REQUEST).is_file():
                raise FileNotFoundError(f"the store {at} is not finished; run the tokenize command that made it again")
            raise FileNotFoundError(f"no store at {at} ({STORE} is missing)")
        header = read_json(at / STORE, "store header")
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise ValueError(f"{at / STORE} is not a header of store format {FORMAT}; tokenize the data again")
        for file, size, _ in _files(at, header):
            _check_size(file, size)
        wanted = getattr(tokenizer, "codes_fingerprint", tokenizer)
        store = cls(at, header)
        if wanted is not None and wanted != store.codes_fingerprint:
            raise ValueError(
                f"the store {at} was made with another tokenizer: its codes_fingerprint is "
                f"{store.codes_fingerprint[:12]}…, given {str(wanted)[:12]}…. Give its own, or tokenize the data again"
            )
        return store

    def __reduce__(self):
        return Store.open, (self.at,)

    @property
    def part_names(self) -> list[str]:
        """Names of the parts, in order."""
        return [part["name"] for part in self.header["parts"]]

    def num_frames(self, record: int) -> int:
        """F of a record."""
        return int(self._entry(record)["num_frames"])

    def label(self, record: int) -> str:
        """Label of a record, "" if it has none."""
        return self.labels[self._entry(record)["label"]]

    def slots_of(self, record: int) -> tuple[str, ...]:
        """Slots of a record, in the order in which its images are stored."""
        bits = int(self._entry(record)["slots"])
        return tuple(slot for place, slot in enumerate(self.slots) if bits >> place & 1)

    def key(self, record: int) -> str:
        """Key of a record in its data set."""
        self._entry(record)
        part = int(np.searchsorted(self.part_records, record, side="right")) - 1
        folder = self.at / PARTS / self.part_names[part]
        ends = _map(folder / RECORDS, PART_RECORD, (self.header["parts"][part]["records"],))["key_end"]
        place = record - int(self.part_records[part])
        with open(folder / KEYS, "rb") as file:
            start = int(ends[place - 1]) if place else 0
            file.seek(start)
            return file.read(int(ends[place]) - start).decode()

    def slot_number(self, slot: str) -> int:
        """Place of a slot in `self.slots`."""
        if slot not in self.slots:
            raise ValueError(f"the store {self.at} has no slot {slot!r}; its slots are {', '.join(self.slots)}")
        return self.slots.index(slot)

    def codes(self, refs: Sequence[ImageRef]) -> np.ndarray:
        """Codes of images: int64 [len(refs), N] in 0 .. K-1."""
        for ref in refs:
            if ref.slot not in self.slots_of(ref.record) or not 0 <= ref.frame < self.num_frames(ref.record):
                raise ValueError(
                    f"record {ref.record} of {self.at} has {self.num_frames(ref.record)} frames of "
                    f"{', '.join(self.slots_of(ref.record))}; there is no frame {ref.frame} of {ref.slot!r}"
                )
        slots = np.array([self.slots.index(ref.slot) for ref in refs], dtype=np.uint64)
        entries = self.records[np.array([ref.record for ref in refs], dtype=np.int64)]
        images = image_numbers(entries, slots, np.array([ref.frame for ref in refs], dtype=np.int64))
        return self.read(images)

    def read(self, images: np.ndarray) -> np.ndarray:
        """Codes of images by their number in the store: int [...] -> int64 [..., N]; the fast way."""
        flat = images.ravel()
        found = np.empty((len(flat), self.codes_per_image), dtype=np.int64)
        if len(self.part_images) == 2:
            found[:] = self._codes_of(0).take(flat, axis=0)
        else:
            part = np.searchsorted(self.part_images, flat, side="right") - 1
            order = np.argsort(part, kind="stable")
            present, begins = np.unique(part[order], return_index=True)
            for number, places in zip(present.tolist(), np.split(order, begins[1:]), strict=True):
                found[places] = self._codes_of(number).take(flat[places] - self.part_images[number], axis=0)
        return found.reshape(*images.shape, self.codes_per_image)

    def info(self) -> dict[str, Any]:
        """Counts and provenance, as JSON values."""
        made_of = {name: self.header[name] for name in ("tokenizer", "source", "generated", "seed", "skipped")}
        return {
            "records": self.num_records,
            "images": self.num_images,
            "parts": len(self.part_names),
            "labels": len(self.labels),
            "slots": list(self.slots),
            "bytes": sum(size for _, size, _ in _files(self.at, self.header)),
            **made_of,
        }

    def bad_records(self) -> Iterator[BadRecord]:
        """Every record that was skipped, in order; those of parts written before reasons were kept are left out."""
        for part in self.header["parts"]:
            if BAD in part["files"]:
                lines = (self.at / PARTS / part["name"] / BAD).read_bytes().splitlines()  # text has more line ends
                yield from (BadRecord(**json.loads(line)) for line in lines)

    def damages(self) -> list[str]:
        """Read everything and compare with the checksums: one line for each damaged file."""
        return [
            f"{file}: its SHA-256 is not the one written down" for file, _, sha in _files(self.at, self.header)
            if sha256_of(file) != sha
        ]  # fmt: skip

    def verify(self) -> None:
        """Raise a ValueError that lists every damaged file, if there are any."""
        damages = self.damages()
        if damages:
            raise ValueError(
                f"{len(damages)} files of the store {self.at} are damaged: {'; '.join(damages[:5])}. "
                "Delete their parts and store.json, then run the tokenize command again"
            )

    def _entry(self, record: int) -> np.void:
        if not 0 <= record < self.num_records:
            raise ValueError(f"no record {record} in {self.at}; it has {self.num_records}")
        return self.records[record]

    def _codes_of(self, part: int) -> np.ndarray:
        if part not in self._codes:
            shape = (self.header["parts"][part]["images"], self.codes_per_image)
            self._codes[part] = _map(self.at / PARTS / self.part_names[part] / CODES, self.dtype, shape)
        return self._codes[part]


def image_numbers(entries: np.ndarray, slots: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Numbers of images in their store: int64, of the broadcast shape.

    Args:
        entries: RECORD, of the records the images belong to.
        slots: uint64, numbers of slots that the records have.
        frames: int64, in 0 .. F-1.
    """
    before = np.bitwise_count(entries["slots"] & ((np.uint64(1) << slots) - np.uint64(1))).astype(np.int64)
    return entries["first_image"].astype(np.int64) + before * entries["num_frames"] + frames


def write_bad(folder: Path, bad: Sequence[BadRecord]) -> list[str]:
    """Write a part's bad records, a line each; returns the names of the files written, none if none is bad."""
    if not bad:
        return []
    lines = [json.dumps({"key": record.key, "reason": record.reason}, ensure_ascii=False) for record in bad]
    (folder / BAD).write_bytes("".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
    return [BAD]


def content_sha256(parts: Iterable[Mapping[str, Any]]) -> str:
    """Names all codes, keys and columns of parts, given what their part.json say: equal content, equal hash."""
    digest = hashlib.sha256()
    for part in parts:
        for name in (CODES, RECORDS, KEYS):
            digest.update(bytes.fromhex(part["files"][name]["sha256"]))
    return digest.hexdigest()


def describe_files(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Size and SHA-256 of files, as they stand in headers."""
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in names}


def _files(at: Path, header: dict[str, Any]) -> Iterable[tuple[Path, int, str]]:
    """Every file of a store with the size and checksum it must have."""
    groups = [(at, header["files"])]
    groups += [(at / PARTS / part["name"], part["files"]) for part in header["parts"]]
    for folder, files in groups:
        yield from ((folder / name, told["bytes"], told["sha256"]) for name, told in files.items())


def _check_size(file: Path, size: int) -> None:
    try:
        found = os.stat(file).st_size
    except FileNotFoundError:
        raise ValueError(f"{file} is missing from the store; copy the store again or tokenize again") from None
    if found != size:
        raise ValueError(f"{file} has {found} bytes instead of {size}: truncated or changed; copy the store again")


def _starts(counts: Iterable[int]) -> np.ndarray:
    return np.cumsum([0, *counts], dtype=np.int64)


def _map(file: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """A file as a read-only array; a plain ndarray view, which indexes faster than np.memmap."""
    if shape[0] == 0:  # an empty file cannot be mapped
        return np.empty(shape, dtype=dtype)
    return np.asarray(np.memmap(file, dtype=dtype, mode="r", shape=shape))
