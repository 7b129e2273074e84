"""A visual sentence as a value: references to images, and what every kind of sentence must offer to compose them.

Letters: M sentences, R records a sentence, S images a sentence.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from openlvm.core.seeds import Part, seed_of

MAX_IMAGES = 16
"""Images in the longest sentence: 16 x 256 codes = the context of 4096 (LVM section 3.2)."""

ROLES = ("context", "query", "answer")
"""What an image is in its sentence; decides the weight of its loss. A role in an array is an index into this tuple."""


class ImageRef(NamedTuple):
    """One image of a store: record number, slot name, frame, and its role in the sentence (one of `ROLES`)."""

    record: int
    slot: str
    frame: int
    role: str = "context"


class Kind(Protocol):
    """What every kind of sentence offers. All of it is a function of the settings, `num_frames` and the seed."""

    name: ClassVar[str]

    @property
    def num_images(self) -> int:
        """S."""

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots each record must have."""

    @property
    def chunks(self) -> int:
        """Groups in a sentence; each of another label. 1 unless it is a category of several classes."""

    @property
    def records_per_chunk(self) -> int:
        """Records in a group; of one label if `grouped`."""

    @property
    def grouped(self) -> bool:
        """Whether the records of a group share their label."""

    @property
    def members(self) -> tuple[int, ...]:
        """Which of its R records each of the S images is taken from."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The role of each of the S images."""

    def fits(self, num_frames: np.ndarray) -> np.ndarray:
        """Whether a record of so many frames (int, any shape) is long enough; bool of the same shape."""

    def layout(self, num_frames: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw M sentences.

        Args:
            num_frames: int64 [M, R], frames of the records of each sentence.
            seeds: uint64 [M].

        Returns:
            slots int64 [M, S], indices into `self.slots`; frames int64 [M, S]. Both may broadcast.
        """


def records_per_sentence(kind: Kind) -> int:
    """R: the records one sentence of this kind is made of."""
    return kind.chunks * kind.records_per_chunk


def accepts(kind: Kind, num_frames: int, slots: Sequence[str]) -> bool:
    """Whether a record with these frames and slots can stand in a sentence of this kind."""
    return set(kind.slots) <= set(slots) and bool(kind.fits(np.asarray(num_frames)))


def compose(kind: Kind, records: Sequence[int], num_frames: Sequence[int], *parts: Part) -> list[ImageRef]:
    """One sentence: S references to images, a pure function of the arguments.

    Args:
        records: R record numbers; grouped kinds expect chunk after chunk.
        num_frames: R frame counts.
        parts: what the draw depends on, as in `seed_of(*parts)`.
    """
    seeds = np.array([seed_of(*parts)], dtype=np.uint64)
    return compose_many(kind, np.array([records]), np.array([num_frames]), seeds)[0]


def compose_many(kind: Kind, records: np.ndarray, num_frames: np.ndarray, seeds: np.ndarray) -> list[list[ImageRef]]:
    """M sentences of records int64 [M, R] with frames int64 [M, R] and seeds uint64 [M]."""
    shape = (len(seeds), kind.num_images)
    if records.shape != (len(seeds), records_per_sentence(kind)):
        raise ValueError(f"{kind} takes {records_per_sentence(kind)} records a sentence, given {records.shape[-1]}")
    if not kind.fits(num_frames).all():
        raise ValueError(f"{kind} cannot be made of records of {num_frames.min()} frames")
    slots, frames = (np.broadcast_to(part, shape).tolist() for part in kind.layout(num_frames, seeds))
    rows = zip(records[:, kind.members].tolist(), slots, frames, strict=True)
    return [
        [
            ImageRef(record, kind.slots[slot], frame, role)
            for record, slot, frame, role in zip(*row, kind.roles, strict=True)
        ]
        for row in rows
    ]


def check_size(kind: Kind, *counts: int) -> None:
    """Refuse a kind whose settings `counts` are below 1, or whose sentence is too long."""
    if min(counts) < 1 or kind.num_images > MAX_IMAGES:
        raise ValueError(
            f"{kind} has {kind.num_images} images; a sentence has 1 to {MAX_IMAGES}, and all its counts are at least 1"
        )
