"""The grammar of visual sentences: which images of which records, in which order; at most 16 images.

Knows nothing of pixels, codes or files: a kind sees how many frames its records have and draws references to images.
The kinds are those of LVM, arXiv 2312.00785 section 3; differences from its released scripts are said at each kind.

    kind        records  images
    single      1        a
    sequence    1        f0 f1 f2 …             frames of a clip at a stride
    views       1        v0 v1 v2 …             views of an object
    category    c x p    a a … b b …            p images of each of c classes, class after class
    pairs       n        a A b B …              image, annotation, image, annotation
    free_form   n        a A α  b B β …         m slots of each record, in one drawn order
    clip_pairs  1        f0 A0 f1 A1 …          interleaved; or f0 f1 … A0 A1 …, separate

Letters: M sentences, R records a sentence, S images a sentence.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from openlvm.core.records import IMAGE
from openlvm.core.seeds import below, derive, draw
from openlvm.sentences.sentence import MAX_IMAGES, ROLES, ImageRef, Kind, accepts, check_size, compose

__all__ = [  # the one door for readers of sentences
    "GRAMMAR",
    "MAX_IMAGES",
    "ROLES",
    "Category",
    "ClipPairs",
    "FreeForm",
    "ImageRef",
    "Kind",
    "Pairs",
    "Sequence",
    "Single",
    "Views",
]


def _frame_of_each(num_frames: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """One frame of every record: int64 [M, R]. Images have one frame; of a clip any frame may stand for it."""
    if (num_frames == 1).all():
        return np.zeros_like(num_frames)  # what the draw would give
    return below(derive(seeds[:, None], np.arange(num_frames.shape[1])), num_frames)


@dataclass(frozen=True, kw_only=True)
class Single:
    """One image; of a clip, a frame drawn at random."""

    slot: str = IMAGE
    """The slot shown."""

    name: ClassVar[str] = "single"
    chunks: ClassVar[int] = 1
    records_per_chunk: ClassVar[int] = 1
    grouped: ClassVar[bool] = False
    num_images: ClassVar[int] = 1
    members: ClassVar[tuple[int, ...]] = (0,)
    roles: ClassVar[tuple[str, ...]] = ("context",)
    accepts, compose = accepts, compose

    @property
    def slots(self) -> tuple[str, ...]:
        return (self.slot,)

    def fits(self, num_frames: np.ndarray) -> np.ndarray:
        return num_frames >= 1

    def layout(self, num_frames: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(1, dtype=np.int64), _frame_of_each(num_frames, seeds)


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Frames of a clip at a stride drawn from `strides`, from a random start.

    In a short clip the drawn stride shrinks to the largest that fits, as in LVM's tokenize_video_muse.py; a clip of
    fewer than `num_images` frames is refused (their script put a random other clip in its place).
    """

    num_images: int = MAX_IMAGES
    """S, images."""
    strides: tuple[int, ...] = (1,)
    """Frames from one image to the next; one is drawn for each sentence. Papers 10/20/30, LVM's release 8/12/24."""
    slot: str = IMAGE
    """The slot shown."""

    name: ClassVar[str] = "sequence"
    chunks: ClassVar[int] = 1
    records_per_chunk: ClassVar[int] = 1
    grouped: ClassVar[bool] = False
    accepts, compose = accepts, compose

    def __post_init__(self):
        check_size(self, self.num_images, len(self.strides), *self.strides)

    @property
    def slots(self) -> tuple[str, ...]:
        return (self.slot,)

    @property
    def members(self) -> tuple[int, ...]:
        return (0,) * self.num_images

    @property
    def roles(self) -> tuple[str, ...]:
        return ("context",) * self.num_images

    def fits(self, num_frames: np.ndarray) -> np.ndarray:
        return num_frames >= self.num_images

    def layout(self, num_frames: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(1, dtype=np.int64), _frames_at_stride(num_frames[:, 0], seeds, self.strides, self.num_images)


def _frames_at_stride(num_frames: np.ndarray, seeds: np.ndarray, strides: tuple[int, ...], count: int) -> np.ndarray:
    """`count` frames of each clip: int64 [M, count], at a drawn stride that fits, from a drawn start."""
    stride = np.array(strides)[draw(seeds, 0, len(strides))]  # [M]
    stride = np.minimum(stride, (num_frames - 1) // max(count - 1, 1))  # [M]
    start = draw(seeds, 1, num_frames - (count - 1) * stride)  # [M]
    return start[:, None] + stride[:, None] * np.arange(count)  # [M, count]


@dataclass(frozen=True, kw_only=True)
class Views:
    """Views of an object from a random start, always the same way round; past the last view only on a full turn.

    Objaverse in LVM: 24 views of one turn in steps of 15 degrees; which 16 of them is not published.
    """

    num_images: int = MAX_IMAGES
    """S, images."""
    stride: int = 1
    """Views from one image to the next."""
    full_turn: bool = False
    """The views close a full turn, so that the first follows the last."""
    slot: str = IMAGE
    """The slot shown."""

    name: ClassVar[str] = "views"
    chunks: ClassVar[int] = 1
    records_per_chunk: ClassVar[int] = 1
    grouped: ClassVar[bool] = False
    accepts, compose = accepts, compose

    def __post_init__(self):
        check_size(self, self.num_images, self.stride)

    @property
    def slots(self) -> tuple[str, ...]:
        return (self.slot,)

    @property
    def members(self) -> tuple[int, ...]:
        return (0,) * self.num_images

    @property
    def roles(self) -> tuple[str, ...]:
        return ("context",) * self.num_images

    def fits(self, num_frames: np.ndarray) -> np.ndarray:
        """No view may come twice."""
        if self.full_turn:
            return num_frames // np.gcd(num_frames, self.stride) >= self.num_images
        return num_frames > (self.num_images - 1) * self.stride

    def layout(self, num_frames: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        steps = self.stride * np.arange(self.num_images)  # [S]
        starts = num_frames if self.full_turn else num_frames - steps[-1]  # [M, 1]
        return np.zeros(1, dtype=np.int64), (draw(seeds[:, None], 0, starts) + steps) % num_frames


@dataclass(frozen=True, kw_only=True)
class Category:
    """`per_class` images of each of `classes` classes, class after class (1 x 16, 2 x 8, 4 x 4 in LVM)."""

    classes: int = 1
    """Different labels in a sentence."""
    per_class: int = MAX_IMAGES
    """Images of each label."""
    slot: str = IMAGE
    """The slot shown."""

    name: ClassVar[str] = "category"
    grouped: ClassVar[bool] = True
    accepts, compose = accepts, compose

    def __post_init__(self):
        check_size(self, self.classes, self.per_class)

    @property
    def num_images(self) -> int:
        return self.classes * self.per_class

    @property
    def chunks(self) -> int:
        return self.classes

    @property
    def records_per_chunk(self) -> int:
        return self.per_class

    @property
    def slots(self) -> tuple[str, ...]:
        return (self.slot,)

    @property
    def members(self) -> tuple[int, ...]:
        return tuple(range(self.num_images))

    @property
    def roles(self) -> tuple[str, ...]:
        return ("context",) * self.num_images

    def fits(self, num_frames: np.ndarray) -> np.ndarray:
        return num_frames >= 1

    def layout(self, num_frames: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(1, dtype=np.int64), _frame_of_each(num_frames, seeds)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """image, annotation, image, annotation … of one annotation; of a clip, one frame drawn at random."""

    source: str = IMAGE
    """Slot of the images that are given ("query")."""
    target: str
    """Slot of the images that are asked for ("answer")."""
    pairs: int = MAX_IMAGES // 2
    """Pairs in a sentence."""
    by_label: bool = False
    """All pairs of a sentence share their label, which may be a task instance (one recoloring)."""

    name: ClassVar[str] = "pairs"
    chunks: ClassVar[int] = 1
    accepts, compose = accepts, compose

    def __post_init__(self):
        check_size(self, self.pairs)
        if self.source == self.target:
            raise ValueError(f"source and target of pairs are both {self.source!r}; they must be two slots")

    @property
    def num_images(self) -> int:
        return 2 * self.pairs

    @property
    def records_per_chunk(self) -> int:
        return self.pairs

    @property
    def grouped(self) -> bool:
        return self.by_label

    @property
    def slots(self) -> tuple[str, ...]:
        return self.source, self.target

    @property
    def members(self) -> tuple[int, ...]:
        return tuple(pair for pair in range(self.pairs) for _ in range(2))

    @property
    def roles(self) -> tuple[str, ...]:
        return ("query", "answer") * self.pairs

    def fits(self, num_frames: np.ndarray) -> np.ndarray:
        return num_frames >= 1

    def layout(self, num_frames: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames = np.repeat(_frame_of_each(num_frames, seeds), 2, axis=1)  # [M, S]
        return np.tile(np.array([0, 1]), self.pairs), frames


@dataclass(frozen=True, kw_only=True)
class FreeForm:
    """`slots_per_record` of the `candidates` of each record, in an order drawn once a sentence ("_cot" in LVM)."""

    candidates: tuple[str, ...]
    """The 1 + k slots to draw from."""
    slots_per_record: int
    """m, images shown of each record."""
    records: int
    """n, records in a sentence."""
    by_label: bool = False
    """All records of a sentence share their label."""

    name: ClassVar[str] = "free_form"
    chunks: ClassVar[int] = 1
    accepts, compose = accepts, compose

    def __post_init__(self):
        check_size(self, self.slots_per_record, self.records)
        if self.slots_per_record > len(set(self.candidates)) or len(set(self.candidates)) < len(self.candidates):
            raise ValueError(f"{self} needs at least slots_per_record={self.slots_per_record} different candidates")

    @property
    def num_images(self) -> int:
        return self.slots_per_record * self.records

    @property
    def records_per_chunk(self) -> int:
        return self.records

    @property
    def grouped(self) -> bool:
        return self.by_label

    @property
    def slots(self) -> tuple[str, ...]:
        return self.candidates

    @property
    def members(self) -> tuple[int, ...]:
        return tuple(record for record in range(self.records) for _ in range(self.slots_per_record))

    @property
    def roles(self) -> tuple[str, ...]:
        return ("context",) * self.num_images

    def fits(self, num_frames: np.ndarray) -> np.ndarray:
        return num_frames >= 1

    def layout(self, num_frames: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        numbers = self.records + np.arange(len(self.candidates))  # after those of _frame_of_each
        order = np.argsort(derive(seeds[:, None], numbers), axis=1)[:, : self.slots_per_record]
        frames = np.repeat(_frame_of_each(num_frames, seeds), self.slots_per_record, axis=1)
        return np.tile(order, (1, self.records)), frames  # [M, S]


@dataclass(frozen=True, kw_only=True)
class ClipPairs:
    """A clip and its annotation, frame by frame (`interleaved`) or one after the other (`separate`).

    Strides as in `Sequence`; LVM's tokenize_multi_seq_images_muse.py draws 1 to 4 and writes both arrangements.
    """

    target: str
    """Slot of the annotation."""
    source: str = IMAGE
    """Slot of the frames."""
    frames: int = MAX_IMAGES // 2
    """Frames in a sentence, each with its annotation."""
    arrangement: Literal["interleaved", "separate"] = "interleaved"
    """f0 a0 f1 a1 … or f0 f1 … a0 a1 …"""
    strides: tuple[int, ...] = (1,)
    """Frames from one image to the next; one is drawn for each sentence."""

    name: ClassVar[str] = "clip_pairs"
    chunks: ClassVar[int] = 1
    records_per_chunk: ClassVar[int] = 1
    grouped: ClassVar[bool] = False
    accepts, compose = accepts, compose

    def __post_init__(self):
        check_size(self, self.frames, len(self.strides), *self.strides)
        if self.source == self.target:
            raise ValueError(f"source and target of clip_pairs are both {self.source!r}; they must be two slots")
        if self.arrangement not in ("interleaved", "separate"):
            raise ValueError(f"no arrangement {self.arrangement!r} of clip_pairs; known: interleaved, separate")

    @property
    def num_images(self) -> int:
        return 2 * self.frames

    @property
    def slots(self) -> tuple[str, ...]:
        return self.source, self.target

    @property
    def members(self) -> tuple[int, ...]:
        return (0,) * self.num_images

    @property
    def roles(self) -> tuple[str, ...]:
        return ("context",) * self.num_images

    def fits(self, num_frames: np.ndarray) -> np.ndarray:
        return num_frames >= self.frames

    def layout(self, num_frames: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames = _frames_at_stride(num_frames[:, 0], seeds, self.strides, self.frames)  # [M, F]
        slots = np.array([0, 1])
        if self.arrangement == "interleaved":
            return np.tile(slots, self.frames), np.repeat(frames, 2, axis=1)
        return np.repeat(slots, self.frames), np.tile(frames, (1, 2))


GRAMMAR: dict[str, type[Kind]] = {
    kind.name: kind for kind in (Single, Sequence, Views, Category, Pairs, FreeForm, ClipPairs)
}
"""Every kind of sentence by its name."""
