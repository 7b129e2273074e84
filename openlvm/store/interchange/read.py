"""Token files of LVM and DeLVM become a store: a line of S images a record of S frames, slot "image".

Who reads the store needs to know what the codes mean, and the files do not say: the tokenizer is given by the user, and
every code is checked against it. Letters: N codes per image, K codebook size, T codes of a line, S images, F frames.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from openlvm.core.files import atomic_folder, sha256_of
from openlvm.core.picking import pick
from openlvm.core.records import IMAGE, BadRecord
from openlvm.store.bind import bind
from openlvm.store.format import FORMAT, MAX_SLOTS, Passport, Store, codes_dtype
from openlvm.store.interchange.formats import FORMATS, BadLine, Format, Line, read_lines
from openlvm.store.rearrange.parts import Columns, require_fresh, write_part
from openlvm.tokenizer.interface import Tokenizer

log = logging.getLogger(__name__)

MAX_LOGGED = 5
"""Bad lines that are logged one by one."""
_JUDGED_FROM = 1000  # lines before a share of bad ones means anything


class _Record(NamedTuple):
    key: str
    label: str
    slots: tuple[str, ...]
    codes: np.ndarray
    """int [len(slots) * F, N], slot after slot in the order of `slots`."""


class Imported(NamedTuple):
    """The store, and the codes at the end of a stream that filled no record."""

    store: Store
    left_over: int


def import_files(
    files: Sequence[Path | str],
    at: Path | str,
    form: str,
    *,
    tokenizer: Tokenizer,
    stream: int = 0,
    records_per_part: int = 1000,
    max_bad_share: float = 0.001,
    passport: Passport | None = None,
) -> Imported:
    """Write the lines of token files as records of the store `at`.

    A line becomes a record "FILE#NUMBER" without a label, unless it says "key", "label" and "slots", as lines that
    `export_records` wrote do. A line of no whole number of images, or with a code outside 0 .. K-1, is a bad line.

    Args:
        files: of one format, read in this order; their names differ.
        at: folder of the store; absent or empty.
        form: a name in `FORMATS`.
        tokenizer: the one that made the codes.
        stream: 0, or S: lines are joined end to end and cut into records of S images, for files whose lines are not
            whole images. What is left at the end is dropped and counted.
        records_per_part: records of a part of the store.
        max_bad_share: bad lines are skipped and counted up to this share of all.
        passport: where the data came from; kept in the store.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: too many bad lines, nothing read, a key twice, a meta of another file, a folder that is not empty.
    """
    places = [Path(file) for file in files]
    if not places or len({place.name for place in places}) < len(places):
        raise ValueError(f"give token files of different names, given {', '.join(map(str, places)) or 'none'}")
    if stream < 0 or records_per_part < 1 or not 0 <= max_bad_share <= 1:
        told = f"stream={stream}, records_per_part={records_per_part}, max_bad_share={max_bad_share}"
        raise ValueError(f"{told} are out of range")
    require_fresh(Path(at))
    lines = _Lines(places, pick(FORMATS, form, "token file"), tokenizer, max_bad_share)
    records = lines.joined(stream) if stream else lines.records()
    slots: list[str] = []
    names: list[str] = []
    with atomic_folder(at) as folder:
        for batch in _batches(records, records_per_part):
            names.append(f"{len(names):05d}")
            _write(folder, names[-1], batch, lines.taken_bad(), slots, tokenizer)
        lines.judge()
        if not names:
            raise ValueError(f"no line of {', '.join(map(str, places))} could be read as images of this tokenizer")
        if lines.bad:  # after the last record
            names.append(f"{len(names):05d}")
            _write(folder, names[-1], [], lines.taken_bad(), slots, tokenizer)
        hashes = {place.name: sha256_of(place) for place in places}
        bind(folder, _header(tokenizer, slots, {"layout": form, "files": hashes, "stream": stream}, passport), names)
    return Imported(Store.open(at), lines.left_over)


def _header(
    tokenizer: Tokenizer, slots: list[str], source: dict[str, Any], passport: Passport | None
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "tokenizer": {
            "codes_fingerprint": tokenizer.codes_fingerprint,
            "codes_per_image": tokenizer.codes_per_image,
            "codebook_size": tokenizer.codebook_size,
            "preparation": asdict(tokenizer.preparation),
        },
        "dtype": codes_dtype(tokenizer.codebook_size).name,
        "slots": slots,
        "source": source,
        "generated": [],
        "seed": 0,
        "passport": {**(passport.values() if passport else {}), "codes_fingerprint": tokenizer.codes_fingerprint},
    }


class _Lines:
    """The lines of several files as records; counts the bad ones and stops when there are too many."""

    def __init__(self, places: list[Path], form: Format, tokenizer: Tokenizer, max_bad_share: float):
        self.places, self.form, self.max_bad_share = places, form, max_bad_share
        self.codes_per_image, self.codebook_size = tokenizer.codes_per_image, tokenizer.codebook_size
        self.num_lines = self.num_bad = self.left_over = 0
        self.bad: list[BadRecord] = []  # of the part that is read
        self.told: list[str] = []

    def records(self) -> Iterator[_Record]:
        for key, line in self._good():
            try:
                yield self._record(key, line)
            except ValueError as error:
                self._count(BadRecord(key, str(error)))

    def joined(self, num_images: int) -> Iterator[_Record]:
        """Records of `num_images` images, cut from all codes end to end."""
        size = num_images * self.codes_per_image
        waiting, number = np.empty(0, dtype=np.int64), 0
        for _, line in self._good():
            waiting = np.concatenate([waiting, line.codes])
            while len(waiting) >= size:
                codes = waiting[:size].reshape(num_images, -1)
                yield _Record(f"stream#{number:08d}", "", (IMAGE,), codes)
                waiting, number = waiting[size:], number + 1
        self.left_over = len(waiting)

    def _good(self) -> Iterator[tuple[str, Line]]:
        """Lines whose codes the tokenizer has, with the key they have by their place."""
        for place in self.places:
            for line in read_lines(place, self.form):
                key = f"{place.name}#{line.number:08d}"
                self.num_lines += 1
                reason = line.reason if isinstance(line, BadLine) else self._out_of_bounds(line.codes)
                if reason:
                    self._count(BadRecord(key, reason))
                elif isinstance(line, Line):
                    yield key, line

    def _out_of_bounds(self, codes: np.ndarray) -> str:
        wrong = np.flatnonzero((codes < 0) | (codes >= self.codebook_size))
        if not len(wrong):
            return "" if len(codes) else "it has no codes"
        return (
            f"code {codes[wrong[0]]} at place {wrong[0]} is outside the tokenizer's 0 .. {self.codebook_size - 1}: "
            "another tokenizer, or a special id"
        )

    def _record(self, key: str, line: Line) -> _Record:
        """A record as the line describes it, or as it is taken when it does not."""
        key, label, slots = line.told.get("key", key), line.told.get("label", ""), line.told.get("slots", [IMAGE])
        if not isinstance(key, str) or not key or not isinstance(label, str):
            raise ValueError(f'its "key" {key!r} and "label" {label!r} are not texts')
        if not isinstance(slots, list) or not slots or not all(isinstance(slot, str) and slot for slot in slots):
            raise ValueError(f'its "slots" {slots!r} are not a list of names')
        per_frame = self.codes_per_image * len(slots)
        if len(set(slots)) < len(slots) or line.codes.size % per_frame:
            raise ValueError(
                f"{line.codes.size} codes are no whole number of images of {self.codes_per_image} codes"
                f"{f' in the slots {slots}' if slots != [IMAGE] else ''}: another tokenizer, or a file for --stream"
            )
        return _Record(key, label, tuple(slots), line.codes.reshape(-1, self.codes_per_image))

    def taken_bad(self) -> list[BadRecord]:
        """The bad lines since this was last asked."""
        taken, self.bad = self.bad, []
        return taken

    def judge(self) -> None:
        """Stop if the share of bad lines is too large."""
        if self.num_bad > self.max_bad_share * self.num_lines:
            raise ValueError(
                f"{self.num_bad} of {self.num_lines} lines could not be read, more than "
                f"max_bad_share={self.max_bad_share}; first: {'; '.join(self.told)}"
            )

    def _count(self, bad: BadRecord) -> None:
        self.num_bad += 1
        self.bad.append(bad)
        if len(self.told) < MAX_LOGGED:
            self.told.append(f"{bad.key}: {bad.reason}")
            log.warning("skipped line %s: %s", bad.key, bad.reason)
        if self.num_lines >= _JUDGED_FROM:
            self.judge()


def _batches(records: Iterator[_Record], size: int) -> Iterator[list[_Record]]:
    batch: list[_Record] = []
    for record in records:
        batch.append(record)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _write(
    folder: Path, name: str, records: list[_Record], bad: list[BadRecord], slots: list[str], tokenizer: Tokenizer
) -> None:
    """Write a part; `slots` are those of the store so far, to which those that it has first are added."""
    seen: set[str] = set()
    for record in records:
        if record.key in seen:
            raise ValueError(f"two lines have the key {record.key!r}; keys are unique")
        seen.add(record.key)
        slots += [slot for slot in record.slots if slot not in slots]
    if len(slots) > MAX_SLOTS:
        raise ValueError(f"a store has at most {MAX_SLOTS} slots; the lines name {json.dumps(slots)[:200]}")
    columns = Columns(
        keys=[record.key.encode() for record in records],
        labels=[record.label for record in records],
        slots=np.array([sum(1 << slots.index(slot) for slot in record.slots) for record in records], dtype=np.uint64),
        num_frames=np.array([len(record.codes) // len(record.slots) for record in records], dtype=np.int64),
    )
    dtype = codes_dtype(tokenizer.codebook_size)
    write_part(folder, name, columns, (_in_order(record, slots).astype(dtype) for record in records), bad)


def _in_order(record: _Record, slots: list[str]) -> np.ndarray:
    """The record's codes with its slots in the order of the store."""
    order = np.argsort([slots.index(slot) for slot in record.slots])
    codes = record.codes.reshape(len(record.slots), -1, record.codes.shape[1])
    return codes[order].reshape(record.codes.shape)
