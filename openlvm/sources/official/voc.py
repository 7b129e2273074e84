"""PASCAL VOC's detection files: one XML file of boxes for each picture, and lists of names for the splits.

Format: the VOC development kit (host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc). An XML file may neither declare a
document type nor entities, and is bounded in size, so that a small one cannot become a large one.
"""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.images import MAX_PIXELS
from openlvm.core.records import IMAGE, BadRecord, Boxes, Record
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.official.rle import read_image_of

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""The 20 classes; ids are 1 to 20 in this order, as in the segmentation pictures."""
MAX_XML_BYTES = 4 * 2**20
"""Largest annotation file that is parsed; VOC's have some KB."""
MAX_LIST_BYTES = 256 * 2**20
"""Largest list of names that is read."""


@dataclass(frozen=True, kw_only=True)
class VocBoxes:
    """Pictures with boxes around every annotated object, difficult and truncated ones too.

    JPEGImages/2008_000002.jpg, Annotations/2008_000002.xml      Record("2008_000002"): image, boxes
    """

    at: Path
    """Folder with JPEGImages, Annotations and ImageSets (VOCdevkit/VOC2012)."""
    names: str = "ImageSets/Main/train.txt"
    """List of the pictures' names, below `at`."""
    records_per_part: int = 1000
    """Records read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Records with a larger picture are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture and its boxes."""
        return (IMAGE, "boxes")

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("voc boxes", self)

    def parts(self) -> list[Part]:
        """Names in the order of the list.

        Raises:
            FileNotFoundError: no such list.
            ValueError: it is empty, or has a name twice.
        """
        return split_into_parts([name for name, *_ in read_names(Path(self.at) / self.names)], self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each name."""
        for name in part.items:
            try:
                boxes = read_voc_boxes(Path(self.at) / "Annotations" / f"{name}.xml")
                picture = Path(self.at) / "JPEGImages" / f"{name}.jpg"
                pixels = read_image_of(picture, boxes.size, self.max_pixels)
                yield Record(key=name, slots={IMAGE: [pixels], "boxes": [boxes]})
            except (ValueError, OSError) as error:
                yield BadRecord(name, str(error))


def read_names(path: Path) -> list[list[str]]:
    """The lines of a split's list, each as its words: a name, and what follows it (VOC: 1, 0 or -1 for a class).

    A slash before a name is dropped (UP-3D).

    Raises:
        FileNotFoundError: no such list.
        ValueError: it is empty, too large, has a name twice, or one that leads out of its folder.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no list of names {path}")
    if path.stat().st_size > MAX_LIST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; the limit is {MAX_LIST_BYTES:,}")
    text = path.read_text(encoding="utf-8")
    lines = [line.removeprefix("/").split() for line in map(str.strip, text.splitlines()) if line.strip("/")]
    names = [words[0] for words in lines]
    if not names:
        raise ValueError(f"{path} lists no names")
    if len(set(names)) < len(names):
        raise ValueError(f"{path} lists {Counter(names).most_common(1)[0][0]!r} twice")
    refuse_stray(names, path)
    return lines


def refuse_stray(names: Iterable[str], path: Path) -> None:
    """A ValueError if one of the file names that `path` lists leads out of the dataset's folder."""
    for name in names:
        if name.startswith(("/", "\\")) or ".." in name.split("/"):
            raise ValueError(f"{path} lists {name!r}, which leads out of the dataset's folder")


def read_voc_boxes(path: Path) -> Boxes:
    """The boxes of one annotation file, in its order; VOC counts pixels from 1, both ends included.

    Raises:
        FileNotFoundError: no such file.
        ValueError: too large, not XML, with a document type, without a size, or with a class that is none of the 20.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no annotation file {path}")
    if path.stat().st_size > MAX_XML_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; the limit is {MAX_XML_BYTES:,}")
    try:
        text = path.read_text(encoding="utf-8")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:  # in text that was decoded: no other encoding can hide them
            raise ValueError("it declares a document type or entities")
        root = ElementTree.fromstring(text)
        size = (round(_number(root, "size/height")), round(_number(root, "size/width")))
        found = [(_box(one), _class_of(one)) for one in root.findall("object")]
    except (ElementTree.ParseError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} is not an annotation of VOC: {error}") from None
    corners = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
    return Boxes(corners, np.array([name for _, name in found], np.int32), size)


def _box(one: ElementTree.Element) -> tuple[float, float, float, float]:
    left, top, right, bottom = (_number(one, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
    if right < left or bottom < top:
        raise ValueError(f"a box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) has no area")
    return left - 1, top - 1, right, bottom


def _class_of(one: ElementTree.Element) -> int:
    name = (one.findtext("name") or "").strip()
    if name not in VOC_CLASSES:
        raise ValueError(f"{name!r} is none of VOC's 20 classes")
    return VOC_CLASSES.index(name) + 1


def _number(one: ElementTree.Element, where: str) -> float:
    text = one.findtext(where)
    if text is None:
        raise ValueError(f"it lacks {where}")
    number = float(text)
    if not 0 <= number < 1e6:  # NaN fails as well
        raise ValueError(f"{where} is {text}")
    return number
