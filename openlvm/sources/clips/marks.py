"""How the annotations of frames are stored: one file for each frame, or one for a whole clip.

Letters: F frames; J joints.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openlvm.core.images import read_image
from openlvm.core.records import JOINTS, MAX_INSTANCES, Flow, Keypoints, Payload, Segmentation
from openlvm.sources.clips.flow import read_flo_file
from openlvm.sources.listing import PICTURE_ENDINGS
from openlvm.sources.matlab import read_mat
from openlvm.sources.pairs import read_plane, read_segmentation_file

VIPSEG_CLASSES = 124  # README of github.com/VIPSeg-Dataset/VIPSeg-Dataset: 0 is void, larger numbers are things
VIPSEG_THING = 100  # the same: class * 100 + number of the thing


def read_vipseg_classes_file(path: Path, max_pixels: int) -> Segmentation:
    """A VIPSeg panoptic mask as classes 1..124; what nobody labelled is VOID."""
    numbers = _vipseg_numbers(path, max_pixels)
    classes = np.where(numbers > VIPSEG_CLASSES, numbers // VIPSEG_THING, numbers)
    if classes.max() > VIPSEG_CLASSES:
        raise ValueError(f"{path} has a thing of class {classes.max()}; VIPSeg has 1 to {VIPSEG_CLASSES}")
    return Segmentation(np.where(classes == 0, Segmentation.VOID, classes).astype(np.int32))


def read_vipseg_things_file(path: Path, max_pixels: int) -> Segmentation:
    """A VIPSeg panoptic mask as its things, under the publisher's numbers; stuff is background."""
    numbers = _vipseg_numbers(path, max_pixels)
    things = np.where(numbers > VIPSEG_CLASSES, numbers, 0)
    return Segmentation(np.where(numbers == 0, Segmentation.VOID, things).astype(np.int32))


def _vipseg_numbers(path: Path, max_pixels: int) -> np.ndarray:
    return read_plane(path, max_pixels, ("L", "I", "I;16"), "VIPSeg's gray values, 8 or 16 bits").astype(np.int32)


def _read_picture(path: Path, max_pixels: int) -> np.ndarray:
    return read_image(path, max_pixels=max_pixels)


FRAME_MARKS: dict[str, tuple[tuple[str, ...], Callable[[Path, int], Payload]]] = {
    "picture": (PICTURE_ENDINGS, _read_picture),
    "ids": ((".png",), read_segmentation_file),
    "vipseg classes": ((".png",), read_vipseg_classes_file),
    "vipseg things": ((".png",), read_vipseg_things_file),
    "flo": ((".flo",), read_flo_file),
}
"""Kind of file for each frame -> its endings and its reader (path, largest number of pixels)."""


# ------------------------------------------------------------------------------------------------------- whole clips


def read_jhmdb_joints_file(path: Path, size: tuple[int, int]) -> list[Payload]:
    """JHMDB's joint_positions.mat: `pos_img` [2, 15, F], pixels that count from 1; outside the picture is invisible."""
    positions = _array(path, "pos_img", 3)
    if positions.shape[:2] != (2, len(JOINTS["jhmdb"])):
        raise ValueError(f"{path} has pos_img {list(positions.shape)}; expected [2, {len(JOINTS['jhmdb'])}, frames]")
    points = positions.transpose(2, 1, 0).astype(np.float32) - 0.5  # [F, J, 2]; pixel 1 covers 0..1, its middle is 0.5
    inside = np.asarray(((points >= 0) & (points < size[::-1])).all(axis=-1))
    return [Keypoints(points[f : f + 1], inside[f : f + 1], size, "jhmdb") for f in range(len(points))]


def read_jhmdb_flow_file(path: Path, size: tuple[int, int]) -> list[Payload]:
    """JHMDB's puppet_flow.mat: `u` and `v` [H, W, F] in pixels; where both are 0 is no puppet, hence unknown."""
    right, down = _array(path, "u", 3), _array(path, "v", 3)
    if right.shape != down.shape or right.shape[:2] != size:
        raise ValueError(
            f"{path} has u {list(right.shape)} and v {list(down.shape)}; expected [{size[0]}, {size[1]}, frames]"
        )
    vectors = np.stack([right, down], axis=-1).transpose(2, 0, 1, 3).astype(np.float32)  # [F, H, W, 2]
    known = vectors.any(axis=-1, keepdims=True)
    return [Flow(frame) for frame in np.where(known, vectors, np.float32(np.nan))]


CLIP_MARKS: dict[str, Callable[[Path, tuple[int, int]], list[Payload]]] = {
    "jhmdb joints": read_jhmdb_joints_file,
    "jhmdb flow": read_jhmdb_flow_file,
}
"""Kind of file for each clip -> its reader (path, height and width of the frames): a payload for each frame in turn."""


def _array(path: Path, name: str, dimensions: int) -> np.ndarray:
    variables = read_mat(path)
    value = variables.get(name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        there = ", ".join(sorted(key for key in variables if not key.startswith("__")))
        raise ValueError(f"{path} has no array {name!r}; it has {there or 'nothing'}")
    while value.ndim < dimensions:  # MATLAB drops a last dimension of one
        value = value[..., None]
    return value


# --------------------------------------------------------------------------------------------------------- instances


@dataclass(frozen=True)
class Numbering:
    """Which number each object of a clip has in a record."""

    new: dict[int, int]
    """The publisher's id -> 1..n; objects left out are background."""

    @classmethod
    def of(cls, frames: Sequence[Segmentation]) -> "Numbering":
        """Objects of the frames in the order of their ids; the largest `MAX_INSTANCES`, when there are more."""
        pixels: dict[int, int] = {}
        for frame in frames:
            for number, count in zip(*np.unique(frame.ids, return_counts=True), strict=True):
                if number > 0:
                    pixels[int(number)] = pixels.get(int(number), 0) + int(count)
        kept = sorted(pixels, key=lambda number: (-pixels[number], number))[:MAX_INSTANCES]
        return cls({number: place for place, number in enumerate(sorted(kept), 1)})

    def __call__(self, frame: Segmentation) -> Segmentation:
        """The frame under its new numbers; background and VOID stay."""
        old, places = np.unique(frame.ids, return_inverse=True)
        new = np.array([self.new.get(int(number), min(int(number), 0)) for number in old], dtype=np.int32)
        return Segmentation(new[places].reshape(frame.ids.shape))
