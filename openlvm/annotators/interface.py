"""What every annotator offers, and records that get slots more from annotators, some pictures at a time.

An annotator looks at the pictures of a record alone; what it says of a picture depends on nothing else but the
rounding of a batch. Letters: F frames, H W pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from openlvm.core.records import IMAGE, BadRecord, Payload, Record


class Annotator(Protocol):
    """A model that says something about pictures: depth, classes, edges, people's joints."""

    @property
    def slot(self) -> str:
        """Slot of a record that its annotations go to: "depth"."""
        ...

    @property
    def name(self) -> str:
        """Its published name: "Intel/dpt-large"; of a folder, the folder's last name."""
        ...

    @property
    def version(self) -> str:
        """What tells two states of it apart: the commit of its repository, or the SHA-256 of its weights."""
        ...

    def describe(self) -> dict[str, Any]:
        """All that decides its annotations, and what they mean, as JSON values without a place on disk.

        Written into a store's passport. Keys "slot", "kind", "name", "version", then those of its kind.
        """
        ...

    def annotate(self, images: Sequence[np.ndarray]) -> list[Payload]:
        """An annotation of each picture, of its size and in physical units.

        Args:
            images: uint8 [H, W, 3], of any sizes.

        Raises:
            ValueError: a picture cannot be annotated.
        """
        ...


def annotated(
    records: Iterable[Record | BadRecord], annotators: Sequence[Annotator], *, batch_size: int
) -> Iterator[Record | BadRecord]:
    """The records in their order, each with a slot more for every annotator.

    Pictures of several records go to a model together, `batch_size` at a time; which ones depends on the records
    alone, so that the same records give the same bits. Bad records pass through; a record with a picture that cannot
    be annotated becomes a bad one. At most `batch_size` pictures and the frames of one record are held.

    Args:
        records: of a source; each has pictures in the slot "image".
        annotators: their slots must differ.
        batch_size: pictures given to a model at once.

    Raises:
        ValueError: a slot is asked for twice, or a record has it already.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    slots = [annotator.slot for annotator in annotators]
    if len(set(slots)) != len(slots):
        raise ValueError(f"each slot has one annotator, given {', '.join(slots)}")
    waiting: list[Record | BadRecord] = []
    num_waiting = 0
    for record in records:
        waiting.append(record)
        num_waiting += _checked(record, slots).num_frames if isinstance(record, Record) else 0
        if num_waiting >= batch_size:
            yield from _with_slots(waiting, annotators, batch_size)
            waiting, num_waiting = [], 0
    yield from _with_slots(waiting, annotators, batch_size)


def _checked(record: Record, slots: Sequence[str]) -> Record:
    given = sorted(set(record.slots) & set(slots))
    if given:
        raise ValueError(f"record {record.key!r} already has the slot {given[0]!r}; give no annotator for it")
    return record


def _with_slots(
    waiting: list[Record | BadRecord], annotators: Sequence[Annotator], batch_size: int
) -> list[Record | BadRecord]:
    """The records with their new slots; a record in which a picture fails becomes a bad one."""
    done: list[Record | BadRecord] = [_pictured(record) for record in waiting]
    for annotator in annotators:
        good = [place for place, record in enumerate(done) if isinstance(record, Record)]
        frames = [frame for place in good for frame in done[place].slots[IMAGE]]  # type: ignore[union-attr]
        try:
            payloads = iter(_in_batches(annotator, frames, batch_size))
        except ValueError:  # one at a time tells which record it is
            payloads = None
        for place in good:
            record = done[place]
            assert isinstance(record, Record)
            try:
                told = (
                    _in_batches(annotator, list(record.slots[IMAGE]), batch_size)
                    if payloads is None
                    else [next(payloads) for _ in range(record.num_frames)]
                )
            except ValueError as error:
                done[place] = BadRecord(record.key, f"{annotator.name} cannot annotate it: {error}")
            else:
                done[place] = Record(key=record.key, slots={**record.slots, annotator.slot: told}, label=record.label)
    return done


def _in_batches(annotator: Annotator, frames: list[Any], batch_size: int) -> list[Payload]:
    payloads: list[Payload] = []
    for start in range(0, len(frames), batch_size):
        batch = frames[start : start + batch_size]
        told = annotator.annotate(batch)
        assert len(told) == len(batch), (annotator.name, len(told), len(batch))
        payloads += told
    return payloads


def _pictured(record: Record | BadRecord) -> Record | BadRecord:
    """The record, or a bad one if it has no pictures to look at."""
    if isinstance(record, BadRecord):
        return record
    frames = record.slots.get(IMAGE, ())
    if not frames or not all(isinstance(frame, np.ndarray) for frame in frames):
        return BadRecord(record.key, f"an annotator needs pictures in slot {IMAGE!r}; it has {sorted(record.slots)}")
    return record
