"""One part of a store: records are read, drawn, encoded and written; whole on disk or absent, whoever is killed when.

A pure function of (source, part, tokenizer, generated, seed, batch_size), so that it may run in any process and again.
Letters: N codes per image, F frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch

from openlvm.core.files import atomic_folder, write_json
from openlvm.core.images import stack_images
from openlvm.core.records import BadRecord, Record
from openlvm.sentences.generated import add_generated
from openlvm.sentences.render import draw
from openlvm.sources.interface import Part, Source
from openlvm.store.format import CODES, KEYS, PART, PART_RECORD, RECORDS, codes_dtype, describe_files
from openlvm.tokenizer.interface import Tokenizer

MAX_TOLD = 5
"""Bad records of a part whose key and reason are kept."""


@dataclass(frozen=True)
class Job:
    """What is the same for all parts of a store."""

    source: Source
    generated: tuple[str, ...]
    seed: int
    batch_size: int
    at: Path
    """Folder of the parts."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Slots of the store, in the order in which a record's images are stored."""
        return (*self.source.slots, *self.generated)


class Drawn(NamedTuple):
    """A record as pictures: uint8 [size, size, 3] slot after slot, frame after frame; `slots` as bits."""

    key: str
    label: str
    slots: int
    num_frames: int
    pictures: list[np.ndarray]


def write_part(job: Job, part: Part, tokenizer: Tokenizer) -> dict[str, Any]:
    """Write one part; returns what its part.json says.

    Raises:
        OSError: nothing could be written, a full disk say; no part is left behind.
        ValueError: two records of one key.
    """
    with atomic_folder(job.at / part.name) as folder:
        bad: list[BadRecord] = []
        written: list[Drawn] = []
        with open(folder / CODES, "wb") as file:
            waiting: list[np.ndarray] = []
            for drawn in _drawn_records(job, part, tokenizer, bad):
                waiting += drawn.pictures
                written.append(drawn._replace(pictures=[]))
                while len(waiting) >= job.batch_size:
                    _encode(waiting[: job.batch_size], tokenizer, file)
                    del waiting[: job.batch_size]
            if waiting:
                _encode(waiting, tokenizer, file)
        labels = _write_records(folder, written)
        told = {
            "name": part.name,
            "records": len(written),
            "images": sum(drawn.slots.bit_count() * drawn.num_frames for drawn in written),
            "labels": labels,
            "skipped": len(bad),
            "skipped_first": [[record.key, record.reason] for record in bad[:MAX_TOLD]],
            "files": describe_files(folder, [CODES, RECORDS, KEYS]),
        }
        write_json(folder / PART, told)
    return told


def _drawn_records(job: Job, part: Part, tokenizer: Tokenizer, bad: list[BadRecord]) -> Iterator[Drawn]:
    """The part's good records as pictures; the others are appended to `bad`."""
    seen: set[str] = set()
    for record in job.source.read(part):
        if isinstance(record, BadRecord):
            bad.append(record)
            continue
        if record.key in seen:
            raise ValueError(
                f"part {part.name} of the source has two records with the key {record.key!r}; keys are unique"
            )
        seen.add(record.key)
        try:
            drawn = _draw(add_generated(record, job.generated, job.seed), job.slots, tokenizer)
        except ValueError as error:
            bad.append(BadRecord(record.key, str(error)))
        else:
            yield drawn


def _draw(record: Record, slots: tuple[str, ...], tokenizer: Tokenizer) -> Drawn:
    unknown = sorted(set(record.slots) - set(slots))
    if unknown:
        raise ValueError(
            f"it has the slots {unknown}, which the source does not announce; announced: {', '.join(slots)}"
        )
    present = [slot for slot in slots if slot in record.slots]
    bits = sum(1 << slots.index(slot) for slot in present)
    pictures = [draw(payload, tokenizer.preparation) for slot in present for payload in record.slots[slot]]
    return Drawn(record.key, record.label, bits, record.num_frames, pictures)


def _encode(pictures: list[np.ndarray], tokenizer: Tokenizer, file: IO[bytes]) -> None:
    with torch.inference_mode():
        codes = tokenizer.encode(torch.from_numpy(stack_images(pictures))).cpu().numpy()  # int64 [B, N]
    assert codes.shape == (len(pictures), tokenizer.codes_per_image), codes.shape
    assert 0 <= codes.min() <= codes.max() < tokenizer.codebook_size, (codes.min(), codes.max())
    file.write(codes.astype(codes_dtype(tokenizer.codebook_size)).tobytes())


def _write_records(folder: Path, written: list[Drawn]) -> list[str]:
    """Write the part's columns and keys; returns its labels, to which column `label` points."""
    labels = sorted({drawn.label for drawn in written})
    places = {label: place for place, label in enumerate(labels)}
    keys = [drawn.key.encode() for drawn in written]
    columns = np.zeros(len(written), dtype=PART_RECORD)
    columns["slots"] = [drawn.slots for drawn in written]
    columns["key_end"] = np.cumsum([len(key) for key in keys])
    columns["num_frames"] = [drawn.num_frames for drawn in written]
    columns["label"] = [places[drawn.label] for drawn in written]
    (folder / RECORDS).write_bytes(columns.tobytes())
    (folder / KEYS).write_bytes(b"".join(keys))
    return labels
