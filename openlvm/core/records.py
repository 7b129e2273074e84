"""What a dataset is made of: records, whose slots hold images and annotations in physical units.

Knows nothing of datasets on disk, of colors or of codes. Letters: H, W pixels; P people or objects; J joints; M boxes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

IMAGE = "image"  # the slot that every record has

JOINTS: dict[str, tuple[str, ...]] = {
    "coco": (
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
}
"""Sets of joints in the order of their dataset's files; a mirror exchanges left_x and right_x."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Class or instance ids, int32 [H, W]; 0 is background, `VOID` is not labelled."""

    ids: np.ndarray

    VOID = -1


@dataclass(frozen=True, eq=False)
class Depth:
    """Distance along the viewing axis, float32 [H, W] in meters; 0 or NaN where unknown."""

    meters: np.ndarray


@dataclass(frozen=True, eq=False)
class Normals:
    """Unit vectors float32 [H, W, 3] in camera axes (x right, y down, z forward); zero where unknown."""

    vectors: np.ndarray


@dataclass(frozen=True, eq=False)
class Edges:
    """Edge strength, float32 [H, W] in [0, 1]; 1 is an edge."""

    strength: np.ndarray


@dataclass(frozen=True, eq=False)
class Disparity:
    """Shift of a point from the left to the right picture, float32 [H, W] in pixels; 0 or NaN where unknown."""

    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Flow:
    """Motion to the next frame, float32 [H, W, 2] as (right, down) in pixels of this picture; NaN where unknown."""

    vectors: np.ndarray


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Joints of people: points float32 [P, J, 2] as (x, y), pixels; visible bool [P, J]; `size` (H, W) of the image."""

    points: np.ndarray
    visible: np.ndarray
    size: tuple[int, int]
    joints: str = "coco"
    """Which joints they are: a name in `JOINTS`; "" for any other set."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes float32 [M, 4] as (left, top, right, bottom) in pixels, ids int32 [M], of an image of `size` (H, W)."""

    corners: np.ndarray
    ids: np.ndarray
    size: tuple[int, int]


Payload = np.ndarray | Segmentation | Depth | Normals | Edges | Disparity | Flow | Keypoints | Boxes
"""What a slot holds for one frame: a picture uint8 [H, W, 3], or an annotation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """An image, a clip or the views of an object, with its annotations.

    image of a cat         Record(key="cat-1", slots={"image": [pixels], "depth": [Depth(...)]}, label="cat")
    clip of three frames   Record(key="run", slots={"image": [f0, f1, f2]})
    """

    key: str
    """Unique in its dataset; names the record in every message and in the store."""
    slots: Mapping[str, Sequence[Payload]]
    """Slot name -> F payloads; F is the same for every slot. F = 1 is an image, F > 1 a clip or views."""
    label: str = ""
    """Category, or task instance; groups records in sentences."""

    def __post_init__(self) -> None:
        lengths = {name: len(payloads) for name, payloads in self.slots.items()}
        if not self.key:
            raise ValueError(f"a record with slots {sorted(lengths)} has an empty key")
        if not lengths or len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ValueError(f"record {self.key!r} has slots of lengths {lengths}; all must be equal and at least 1")

    @property
    def num_frames(self) -> int:
        """F: 1 for an image, more for a clip or views."""
        return len(next(iter(self.slots.values())))


@dataclass(frozen=True)
class BadRecord:
    """A record that could not be read: it is skipped, counted and reported, never replaced."""

    key: str
    reason: str
