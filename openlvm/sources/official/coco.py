"""COCO's annotation files: boxes, classes, instances and people's joints of one JSON file, and panoptic pictures.

Format: cocodataset.org/#format-data. One file describes all pictures of a split; it is parsed once a process, and of
it only what the slots need is kept (train2017: 0.4 GB of JSON). Class ids are COCO's own, 1 to 200, with gaps.
"""

import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.images import MAX_PIXELS
from openlvm.core.picking import pick
from openlvm.core.records import (
    IMAGE,
    JOINTS,
    MAX_INSTANCES,
    BadRecord,
    Boxes,
    Keypoints,
    Payload,
    Record,
    Segmentation,
)
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import natural_order
from openlvm.sources.official.rle import (
    num_pixels,
    painted,
    painted_instances,
    read_image_of,
    runs_of,
    runs_of_polygons,
)
from openlvm.sources.official.voc import refuse_stray

MAX_JSON_BYTES = 4 * 2**30
"""Largest annotation file that is parsed."""
_NEEDS = {
    "boxes": ("bbox", "category_id"),
    "segmentation": ("segmentation", "category_id"),
    "instances": ("segmentation",),
    "pose": ("keypoints",),
}
"""Slot -> fields of an annotation that it is made from."""


@dataclass(frozen=True)
class Annotated:
    """A parsed file: pictures by id as (file name, (H, W)); annotations by picture's id; which classes are things."""

    pictures: Mapping[int, tuple[str, tuple[int, int]]]
    annotations: Mapping[int, Sequence[Mapping[str, Any]]]
    is_thing: Mapping[int, bool]


@dataclass(frozen=True, kw_only=True)
class CocoAnnotations:
    """Pictures with the objects or people that a COCO JSON file marks in them; those without any are left out.

    boxes         every object but crowds, by class
    segmentation  the class at each pixel, crowds too, small objects over large ones; 0 is none
    instances     1, 2, ... by size, the largest 255; crowds are not labelled (VOID)
    pose          17 joints of each person that has one labelled; hidden joints count, since their place is known
    """

    at: Path
    """Folder of COCO: annotations, train2017, val2017."""
    pictures: str
    """Folder of the pictures, below `at`."""
    annotations: str
    """The JSON file, below `at`."""
    annotated: tuple[str, ...] = ("boxes",)
    """Slots besides the picture: boxes, segmentation, instances, pose."""
    records_per_part: int = 1000
    """Records read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Records with a larger picture are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)
        for slot in self.annotated:
            pick(_NEEDS, slot, "slot of COCO's annotations")
        if not self.annotated:
            raise ValueError(f"annotated must name at least one of {', '.join(_NEEDS)}")

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture's slot, then `annotated`."""
        return (IMAGE, *self.annotated)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return {**describe_fields("coco", self), "annotated": list(self.annotated)}

    def parts(self) -> list[Part]:
        """Pictures that have what every slot needs, in natural order of their names; an item is "id//file name".

        Raises:
            FileNotFoundError: no such annotation file.
            ValueError: it is not COCO's, or annotations name pictures that it does not list.
        """
        known = self._known()
        items = [
            f"{picture}//{name}"
            for picture, (name, _) in known.pictures.items()
            if all(any(_marks(slot, one) for one in known.annotations.get(picture, ())) for slot in self.annotated)
        ]
        return split_into_parts(sorted(items, key=_by_name), self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each picture; its key is the file's name without the ending."""
        return _records(part, self._read)

    def _known(self) -> Annotated:
        fields = sorted({"iscrowd", *(field for slot in self.annotated for field in _NEEDS[slot])})
        return load_annotations(Path(self.at) / self.annotations, tuple(fields))

    def _read(self, picture: int, name: str) -> dict[str, Payload]:
        known = self._known()
        size = known.pictures[picture][1]
        marks = known.annotations[picture]
        slots: dict[str, Payload] = {IMAGE: read_image_of(Path(self.at) / self.pictures / name, size, self.max_pixels)}
        for slot in self.annotated:
            slots[slot] = _READERS[slot]([one for one in marks if _marks(slot, one)], known, size)
        return slots


def _by_name(item: str) -> tuple[list[str | int], str]:
    return natural_order(item.partition("//")[2])


def _records(part: Part, read: Callable[[int, str], dict[str, Payload]]) -> Iterator[Record | BadRecord]:
    """What `read` makes of each item's picture id and file name."""
    for item in part.items:
        picture, _, name = item.partition("//")
        key = name.rpartition(".")[0]
        try:
            yield Record(key=key, slots={slot: [payload] for slot, payload in read(int(picture), name).items()})
        except (ValueError, OSError) as error:
            yield BadRecord(key, str(error))


def load_annotations(path: Path, fields: tuple[str, ...]) -> Annotated:
    """A COCO JSON file, parsed once a process as long as it does not change.

    Args:
        path: of the file.
        fields: of each annotation that are kept.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, not COCO's, or annotations name pictures that it does not list.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no annotation file {path}")
    found = path.stat()
    if found.st_size > MAX_JSON_BYTES:
        raise ValueError(f"{path} has {found.st_size:,} bytes; the limit is {MAX_JSON_BYTES:,}")
    return _parsed(path, found.st_mtime_ns, fields)


@lru_cache(maxsize=2)  # a split for training and one to check it with
def _parsed(path: Path, _modified: int, fields: tuple[str, ...]) -> Annotated:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_hook=partial(_trimmed, fields=fields))
        pictures = {one["id"]: (str(one["file_name"]), (one["height"], one["width"])) for one in content["images"]}
        is_thing = {one["id"]: bool(one.get("isthing", 1)) for one in content["categories"]}
        annotations: dict[int, list[dict[str, Any]]] = {}
        for one in content["annotations"]:
            annotations.setdefault(one.pop("image_id"), []).append(one)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a COCO annotation file: {type(error).__name__} {error}") from None
    refuse_stray((name for name, _ in pictures.values()), path)
    lost = sorted(set(annotations) - set(pictures))
    if lost:
        raise ValueError(f"{path} annotates {len(lost)} pictures that it does not list, first ids {lost[:3]}")
    if not all(isinstance(name, int) and 1 <= name <= 255 for name in is_thing):
        raise ValueError(
            f"{path} has class ids outside 1 to 255, the colors there are: {sorted(is_thing, key=str)[:5]}"
        )
    return Annotated(pictures, annotations, is_thing)


def _trimmed(one: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """Of an annotation, as soon as it is parsed, the needed fields, polygons as arrays: a quarter of the memory."""
    if "image_id" not in one:
        return one
    kept = {name: one[name] for name in ("image_id", *fields) if name in one}
    polygons = kept.get("segmentation")
    if isinstance(polygons, list):
        kept["segmentation"] = [array("d", polygon) if isinstance(polygon, list) else polygon for polygon in polygons]
    return kept


def _marks(slot: str, one: Mapping[str, Any]) -> bool:
    """Whether an annotation has something for a slot."""
    if slot == "boxes":
        return not one.get("iscrowd")
    if slot == "pose":
        joints = one.get("keypoints", [])
        return not one.get("iscrowd") and (not isinstance(joints, list) or any(joints[2::3]))
    return True


def _class_of(one: Mapping[str, Any], known: Annotated) -> int:
    name = one.get("category_id")
    if not isinstance(name, int) or name not in known.is_thing:
        raise ValueError(f"class id {name!r} is none of the {len(known.is_thing)} classes that the file lists")
    return name


def _read_boxes(marks: Sequence[Mapping[str, Any]], known: Annotated, size: tuple[int, int]) -> Boxes:
    """COCO's left, top, width, height in pixels of the picture; a box without area marks nothing and is left out."""
    boxes = _numbers([one.get("bbox", ()) for one in marks], 4, "a box")
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    has_area = (boxes[:, 2:] > 0).all(axis=1)
    return Boxes(corners[has_area], np.array([_class_of(one, known) for one in marks], np.int32)[has_area], size)


def _read_pose(marks: Sequence[Mapping[str, Any]], known: Annotated, size: tuple[int, int]) -> Keypoints:
    """COCO's x, y, flag; x and y are whole pixels from 0, so that a joint is at the middle of its pixel."""
    joints = _numbers([one.get("keypoints", ()) for one in marks], 3 * len(JOINTS["coco"]), "a person")
    joints = joints.reshape(len(marks), -1, 3)
    return Keypoints(joints[..., :2] + np.float32(0.5), joints[..., 2] > 0, size, "coco")


def _numbers(rows: Sequence[Any], width: int, what: str) -> np.ndarray:
    """Rows of numbers as float32 [N, width]."""
    try:
        numbers = np.array(rows, np.float32).reshape(len(rows), width)
    except (ValueError, TypeError):
        raise ValueError(f"{what} must be {width} numbers") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"{what} must be {width} finite numbers")
    return numbers


def _runs(one: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    mask = one.get("segmentation", ())
    return runs_of_polygons(mask, size) if isinstance(mask, list) else runs_of(mask, size)


def _read_classes(marks: Sequence[Mapping[str, Any]], known: Annotated, size: tuple[int, int]) -> Segmentation:
    layers = [(_runs(one, size), _class_of(one, known)) for one in marks]
    return painted(sorted(layers, key=lambda layer: -num_pixels(layer[0])), size)


def _read_instances(marks: Sequence[Mapping[str, Any]], known: Annotated, size: tuple[int, int]) -> Segmentation:
    things = painted_instances([_runs(one, size) for one in marks if not one.get("iscrowd")], size)
    crowds = painted([(_runs(one, size), 1) for one in marks if one.get("iscrowd")], size).ids
    return Segmentation(np.where((crowds > 0) & (things.ids == 0), Segmentation.VOID, things.ids).astype(np.int32))


_READERS: dict[str, Callable[..., Payload]] = {
    "boxes": _read_boxes,
    "segmentation": _read_classes,
    "instances": _read_instances,
    "pose": _read_pose,
}


@dataclass(frozen=True, kw_only=True)
class CocoPanoptic:
    """Pictures with every pixel's class, and the instance it belongs to, by COCO's panoptic JSON and PNG files.

    segmentation  the class at each pixel, things and stuff; not labelled is VOID
    instances     1, 2, ... by size, the largest 255; stuff is 0, crowds and what is not labelled VOID
    """

    at: Path
    """Folder of COCO: annotations, train2017, val2017."""
    pictures: str
    """Folder of the pictures, below `at`."""
    annotations: str
    """The JSON file, below `at`; its PNG files lie in the folder of the same name, beside it or in `at`."""
    annotated: tuple[str, ...] = ("segmentation", "instances")
    """Slots besides the picture."""
    records_per_part: int = 1000
    """Records read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Records with a larger picture are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)
        if not self.annotated or set(self.annotated) - {"segmentation", "instances"}:
            raise ValueError(f"annotated must be segmentation, instances or both, not {self.annotated}")

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture's slot, then `annotated`."""
        return (IMAGE, *self.annotated)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return {**describe_fields("coco panoptic", self), "annotated": list(self.annotated)}

    def parts(self) -> list[Part]:
        """Annotated pictures in natural order of their names; an item is "id//file name".

        Raises:
            FileNotFoundError: no such annotation file.
            ValueError: it is not COCO's, or annotations name pictures that it does not list.
        """
        known = self._known()
        items = [f"{picture}//{known.pictures[picture][0]}" for picture in known.annotations]
        return split_into_parts(sorted(items, key=_by_name), self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each picture; its key is the file's name without the ending."""
        return _records(part, self._read)

    def _known(self) -> Annotated:
        return load_annotations(Path(self.at) / self.annotations, _PANOPTIC)

    def _read(self, picture: int, name: str) -> dict[str, Payload]:
        known = self._known()
        size = known.pictures[picture][1]
        marks = known.annotations[picture]
        if len(marks) != 1 or "file_name" not in marks[0] or not isinstance(marks[0].get("segments_info"), list):
            raise ValueError(f"it has {len(marks)} panoptic annotations; expected one with {' and '.join(_PANOPTIC)}")
        pixels = read_image_of(Path(self.at) / self.pictures / name, size, self.max_pixels)
        beside = (Path(self.at) / self.annotations).with_suffix("")
        folder = beside if beside.is_dir() else Path(self.at) / beside.name
        colors = read_image_of(folder / str(marks[0]["file_name"]), size, self.max_pixels)
        planes = _planes_of(colors.astype(np.int64) @ (1, 256, 65536), marks[0]["segments_info"], known)
        return {IMAGE: pixels, **{slot: planes[slot] for slot in self.annotated}}


_PANOPTIC = ("file_name", "segments_info")


def _planes_of(segments: np.ndarray, listed: Any, known: Annotated) -> dict[str, Segmentation]:
    """Classes and instances out of each pixel's segment, int [H, W], 0 being not labelled."""
    names, places, areas = np.unique(segments, return_inverse=True, return_counts=True)
    told: dict[int, Mapping[str, Any]] = {one["id"]: one for one in listed if isinstance(one, dict) and "id" in one}
    strange, absent = set(names.tolist()) - {0} - set(told), set(told) - set(names.tolist())
    if strange or absent:
        raise ValueError(
            f"its PNG has segments {sorted(strange)[:3]} that the JSON does not list, and lacks {sorted(absent)[:3]}"
        )
    classes, things = np.full(len(names), Segmentation.VOID), np.full(len(names), Segmentation.VOID)
    number = 0
    for place in np.argsort(-areas, kind="stable"):
        if names[place] == 0:
            continue
        one = told[names[place]]
        classes[place] = _class_of(one, known)
        if one.get("iscrowd"):
            continue
        number += int(is_thing := known.is_thing[int(classes[place])])
        things[place] = number if is_thing and number <= MAX_INSTANCES else 0
    planes = {"segmentation": classes, "instances": things}
    return {
        slot: Segmentation(table[places].reshape(segments.shape).astype(np.int32)) for slot, table in planes.items()
    }
