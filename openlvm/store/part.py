"""One part of a store: records are read, drawn, encoded and written; whole on disk or absent, whoever is killed when.

A pure function of a `Job` and a part, so that it may run in any process, on any machine, again, and twice at once.
Letters: N codes per image, F frames.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch

from openlvm.annotators.interface import Annotator, annotated
from openlvm.core.files import TEMPORARY, read_json, sync_folder
from openlvm.core.images import stack_images
from openlvm.core.records import BadRecord, Record
from openlvm.sentences.generated import add_generated
from openlvm.sentences.render import draw
from openlvm.sources.interface import Part, Source
from openlvm.store.bind import Columns, close_part
from openlvm.store.format import CODES, PART, codes_dtype
from openlvm.tokenizer.interface import Tokenizer


@dataclass(frozen=True)
class Job:
    """What is the same for all parts of a store."""

    source: Source
    generated: tuple[str, ...]
    seed: int
    batch_size: int
    at: Path
    """Folder of the parts."""
    annotated: tuple[str, ...] = ()
    """Slots that annotators add, in their order."""
    styles: Mapping[str, str] = field(default_factory=dict)
    """Slot -> how its annotation is drawn, where that is not the usual way (sentences/render.py)."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Slots of the store, in the order in which a record's images are stored."""
        return (*self.source.slots, *self.annotated, *self.generated)


class Drawn(NamedTuple):
    """A record as pictures: uint8 [size, size, 3] slot after slot, frame after frame; `slots` as bits."""

    key: str
    label: str
    slots: int
    num_frames: int
    pictures: list[np.ndarray]


def write_part(job: Job, part: Part, tokenizer: Tokenizer, annotators: Sequence[Annotator] = ()) -> dict[str, Any]:
    """Write one part, unless it is there; returns what its part.json says.

    Raises:
        OSError: nothing could be written, a full disk say; no part is left behind.
        ValueError: two records of one key.
    """
    if (job.at / part.name).exists():
        return read_json(job.at / part.name / PART, "part header")
    with _whole_or_absent(job.at / part.name) as folder:
        bad: list[BadRecord] = []
        written: list[Drawn] = []
        with open(folder / CODES, "wb") as file:
            waiting: list[np.ndarray] = []
            for drawn in _drawn_records(job, part, tokenizer, annotators, bad):
                waiting += drawn.pictures
                written.append(drawn._replace(pictures=[]))
                while len(waiting) >= job.batch_size:
                    _encode(waiting[: job.batch_size], tokenizer, file)
                    del waiting[: job.batch_size]
            if waiting:
                _encode(waiting, tokenizer, file)
        columns = Columns(
            keys=[drawn.key.encode() for drawn in written],
            labels=[drawn.label for drawn in written],
            slots=np.array([drawn.slots for drawn in written], dtype=np.uint64),
            num_frames=np.array([drawn.num_frames for drawn in written], dtype=np.int64),
        )
        told = close_part(folder, part.name, columns, bad)
    return told


@contextmanager
def _whole_or_absent(at: Path) -> Iterator[Path]:
    """A folder to fill that becomes `at` when the block ends well; if another attempt was faster, its is kept.

    Unlike `core.files.atomic_folder` its temporary name is unique over the machines of a cluster, and a part that is
    there is never moved, not for a moment: both attempts have the same bytes.
    """
    folder = at.with_name(f"{TEMPORARY}{secrets.token_hex(8)}-{at.name}")
    folder.mkdir(parents=True)
    try:
        yield folder
        for file in folder.iterdir():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())
        try:
            os.rename(folder, at)  # of a folder onto one that is not empty is refused
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        sync_folder(at.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _drawn_records(
    job: Job, part: Part, tokenizer: Tokenizer, annotators: Sequence[Annotator], bad: list[BadRecord]
) -> Iterator[Drawn]:
    """The part's good records as pictures; the others are appended to `bad`."""
    seen: set[str] = set()
    records = job.source.read(part)
    for record in annotated(records, annotators, batch_size=job.batch_size) if annotators else records:
        if isinstance(record, BadRecord):
            bad.append(BadRecord(_printable(record.key), _printable(record.reason)))
            continue
        if record.key in seen:
            raise ValueError(
                f"part {part.name} of the source has two records with the key {record.key!r}; keys are unique"
            )
        seen.add(record.key)
        try:
            drawn = _draw(add_generated(record, job.generated, job.seed), job, tokenizer)
        except ValueError as error:
            bad.append(BadRecord(_printable(record.key), _printable(str(error))))
        else:
            yield drawn


def _printable(text: str) -> str:
    """The text as UTF-8 can hold it: bytes of file names that are not UTF-8 are spelled out."""
    return text.encode(errors="backslashreplace").decode()


def _draw(record: Record, job: Job, tokenizer: Tokenizer) -> Drawn:
    if (shown := _printable(record.key + record.label)) != record.key + record.label:
        raise ValueError(f"its key or label is not UTF-8 ({shown}); rename its file or folder")
    slots = job.slots
    unknown = sorted(set(record.slots) - set(slots))
    if unknown:
        raise ValueError(
            f"it has the slots {unknown}, which the source does not announce; announced: {', '.join(slots)}"
        )
    present = [slot for slot in slots if slot in record.slots]
    bits = sum(1 << slots.index(slot) for slot in present)
    pictures = [
        draw(payload, tokenizer.preparation, job.styles.get(slot, ""))
        for slot in present
        for payload in record.slots[slot]
    ]
    return Drawn(record.key, record.label, bits, record.num_frames, pictures)


def _encode(pictures: list[np.ndarray], tokenizer: Tokenizer, file: IO[bytes]) -> None:
    with torch.inference_mode():
        codes = tokenizer.encode(torch.from_numpy(stack_images(pictures))).cpu().numpy()  # int64 [B, N]
    assert codes.shape == (len(pictures), tokenizer.codes_per_image), codes.shape
    assert 0 <= codes.min() <= codes.max() < tokenizer.codebook_size, (codes.min(), codes.max())
    file.write(codes.astype(codes_dtype(tokenizer.codebook_size)).tobytes())
