"""PASCAL3D+ (release 1.1): objects of twelve rigid kinds with their keypoints, for the share of keypoints found (PCK).

Each object is a record: the square around its box cut out of the picture, and its keypoints. PCK at 0.1 asks for
keypoints within a tenth of the larger side of the box: of the square's side, however it is prepared for a tokenizer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from openlvm.core.images import MAX_PIXELS, read_image
from openlvm.core.records import IMAGE, JOINTS, BadRecord, Keypoints, Record
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.matlab import read_mat, structs
from openlvm.sources.official.rle import require_size
from openlvm.sources.official.voc import read_names

CATEGORIES = (
    *("aeroplane", "bicycle", "boat", "bottle", "bus", "car", "chair", "diningtable"),
    *("motorbike", "sofa", "train", "tvmonitor"),
)
MAX_OBJECT_BYTES = 16 * 2**20
"""Largest annotation file of one picture; they have some KB."""
_VISIBLE = 1  # status of a keypoint that has a place; others are hidden, outside, or cut off
_ENDINGS = {"pascal": ".jpg", "imagenet": ".JPEG"}


@dataclass(frozen=True, kw_only=True)
class Pascal3D:
    """The objects of PASCAL3D+ that have a visible keypoint, but those marked as difficult; the label is the kind.

    Images/car_pascal/2008_000027.jpg, Annotations/car_pascal/2008_000027.mat (2 cars)
        Record("car_pascal/2008_000027#0", label="car"), Record("car_pascal/2008_000027#1", label="car")
    """

    at: Path
    """Folder PASCAL3D+_release1.1."""
    split: Literal["train", "val"] = "train"
    """By the lists of VOC 2012, or of PASCAL3D+ for ImageNet's pictures."""
    subset: Literal["pascal", "imagenet"] = "pascal"
    """Which pictures: those of VOC 2012, or those of ImageNet."""
    records_per_part: int = 1000
    """Pictures read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Records with a larger picture are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)
        if self.subset not in _ENDINGS or self.split not in ("train", "val"):
            raise ValueError(
                f"subset={self.subset!r} and split={self.split!r} must be pascal or imagenet, train or val"
            )

    @property
    def slots(self) -> tuple[str, ...]:
        """The object's picture and its keypoints."""
        return (IMAGE, "pose")

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("pascal3d", self)

    def parts(self) -> list[Part]:
        """Pictures of each kind in the order of its list; an item is "car_pascal/2008_000027".

        Raises:
            FileNotFoundError: a list is missing.
            ValueError: a list is empty, or has a name twice.
        """
        items = []
        for category in CATEGORIES:
            lines = read_names(Path(self.at) / self._list_of(category))
            names = [name for name, *flag in lines if flag in ([], ["1"])]  # VOC: -1 has none, 0 difficult ones alone
            items += [f"{category}_{self.subset}/{name}" for name in names]
        return split_into_parts(items, self.records_per_part)

    def _list_of(self, category: str) -> str:
        if self.subset == "imagenet":
            return f"Image_sets/{category}_imagenet_{self.split}.txt"
        return f"PASCAL/VOCdevkit/VOC2012/ImageSets/Main/{category}_{self.split}.txt"

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """The records of each picture's objects; a picture whose objects have no visible keypoint gives none."""
        for item in part.items:
            try:
                yield from self._objects(item)
            except (ValueError, OSError) as error:
                yield BadRecord(item, str(error))

    def _objects(self, item: str) -> Iterator[Record]:
        category = item.partition("_")[0]
        annotation = read_mat(Path(self.at) / "Annotations" / f"{item}.mat", max_bytes=MAX_OBJECT_BYTES).get("record")
        if not isinstance(annotation, dict):
            raise ValueError("its .mat file has no struct `record`: not an annotation of PASCAL3D+")
        picture = Path(self.at) / "Images" / f"{item}{_ENDINGS[self.subset]}"
        named = str(annotation.get("filename", picture.name))
        if Path(named).stem != picture.stem:
            raise ValueError(f"its annotation is that of another picture, {named}")
        pixels = read_image(picture, max_pixels=self.max_pixels)
        if np.size(annotation.get("imgsize", ())) >= 2:
            width, height = (int(side) for side in annotation["imgsize"][:2])
            require_size(pixels, (height, width))
        for number, one in enumerate(structs(annotation.get("objects"))):
            if one.get("class") != category or np.any(one.get("difficult", 0)):
                continue
            cut, pose = cut_out(one, category, pixels)
            if pose.visible.any():
                yield Record(key=f"{item}#{number}", slots={IMAGE: [cut], "pose": [pose]}, label=category)


def cut_out(one: dict[str, Any], category: str, pixels: np.ndarray) -> tuple[np.ndarray, Keypoints]:
    """The square around an object's box, as far as the picture has it, and its keypoints; MATLAB counts from pixel 1.

    Args:
        one: the object's struct: `bbox` (left, top, right, bottom) and `anchors`, name -> location and status.
        category: of `CATEGORIES`.
        pixels: the whole picture, uint8 [H, W, 3].

    Raises:
        ValueError: no box, a box outside the picture, or a keypoint that is none of the kind's.
    """
    box = np.asarray(one.get("bbox", ()), np.float64).ravel()
    if box.shape != (4,) or not np.isfinite(box).all():
        raise ValueError("an object has no box of four numbers")
    height, width = pixels.shape[:2]
    left, top = np.floor(np.maximum(box[:2] - 1, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(box[2:], (width, height))).astype(int)
    if right <= left or bottom <= top:
        raise ValueError(f"an object's box {box.tolist()} lies outside its picture of {width} x {height} pixels")
    side = max(right - left, bottom - top)
    left, right = _widened(left, right, side, width)
    top, bottom = _widened(top, bottom, side, height)
    size = (bottom - top, right - left)
    joints = f"pascal3d_{category}"
    names = JOINTS[joints]
    points, visible = np.zeros((1, len(names), 2), np.float32), np.zeros((1, len(names)), bool)
    anchors = one.get("anchors")
    for name, anchor in anchors.items() if isinstance(anchors, dict) else ():
        if side_first(name) not in names:
            raise ValueError(f"keypoint {name!r} is none of a {category}'s")
        place = np.asarray(anchor.get("location", ()), np.float64).ravel()
        if np.any(anchor.get("status") != _VISIBLE) or place.shape != (2,) or not np.isfinite(place).all():
            continue
        joint = names.index(side_first(name))
        points[0, joint] = place - 0.5 - (left, top)
        visible[0, joint] = bool(((points[0, joint] >= 0) & (points[0, joint] < (size[1], size[0]))).all())
    return np.ascontiguousarray(pixels[top:bottom, left:right]), Keypoints(points, visible, size, joints)


def _widened(first: int, end: int, side: int, limit: int) -> tuple[int, int]:
    """A span of `side` pixels with the same middle, moved into 0..limit; all of it where that is shorter."""
    start = min(max(int(first + end - side) // 2, 0), max(0, limit - int(side)))
    return start, min(start + int(side), limit)


def side_first(name: str) -> str:
    """A keypoint's name in a file as `JOINTS` has it: "upper_left_windshield" -> "left_upper_windshield"."""
    words = name.split("_")
    side = next((word for word in words if word in ("left", "right")), "")
    if side:
        words.remove(side)
        words.insert(0, side)
    return "_".join(words)
