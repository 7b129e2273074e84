"""Pascal-5i: foreground masks of one class at a time, listed fold by fold for few-shot segmentation."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.images import MAX_PIXELS
from openlvm.core.records import IMAGE, BadRecord, Record, Segmentation
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.official.matched import item_of, read_items, read_keys
from openlvm.sources.official.planes import VOC_CLASSES

MASK = "mask"
PICTURES, CLASSES = "VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/SegmentationClassAug"
NUM_FOLDS, CLASSES_PER_FOLD = 4, 5


@dataclass(frozen=True, kw_only=True)
class PascalFold:
    """The evaluation list of one fold: each line a picture and one of the fold's five classes that it shows.

        splits/pascal/val/fold0.txt     2007_000033__01, ...: a picture, and class 1 (aeroplane)
        VOCdevkit/VOC2012/JPEGImages/2007_000033.jpg, SegmentationClassAug/2007_000033.png

        Record("2007_000033__01", label="aeroplane"): image, mask

    The mask is the class; other classes and the outlines that are not labelled (255) are background, as in Visual
    Prompting's loader. A picture of two classes is in the list twice.
    """

    at: Path
    """Folder of `VOCdevkit` and of `splits`."""
    fold: int
    """0 to 3: classes 5 fold + 1 to 5 fold + 5."""
    records_per_part: int = 1000
    """Lines read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Records with a larger picture are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)
        if self.fold not in range(NUM_FOLDS):
            raise ValueError(f"fold={self.fold} must be 0 to {NUM_FOLDS - 1}")

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture, and its mask."""
        return (IMAGE, MASK)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("pascal_fold", self)

    def parts(self) -> list[Part]:
        """Lines in the order of the list, which episodes are drawn from.

        Raises:
            FileNotFoundError: no list, or no folder of pictures.
            ValueError: a line is not PICTURE__CLASS with a class of this fold.
        """
        at = Path(self.at) / f"splits/pascal/val/fold{self.fold}.txt"
        lines = read_keys(at)
        items = []
        for folder in (PICTURES, CLASSES):
            if not (Path(self.at) / folder).is_dir():
                raise FileNotFoundError(f"no folder {Path(self.at) / folder}")
        for line in lines:
            picture, _, number = line.rpartition("__")
            if (
                not picture
                or "/" in picture
                or not number.isdigit()
                or (int(number) - 1) // CLASSES_PER_FOLD != self.fold
            ):
                raise ValueError(
                    f"{at} has the line {line!r}; expected PICTURE__CLASS, the class one of fold {self.fold}"
                )
            paths = [f"{PICTURES}/{picture}.jpg", f"{CLASSES}/{picture}.png"]
            items.append(item_of(line, VOC_CLASSES[int(number)], paths))
        return split_into_parts(items, self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each line."""
        kinds = {MASK: "voc"}
        for found in read_items(part.items, Path(self.at), self.slots, kinds=kinds, max_pixels=self.max_pixels):
            yield _of_one_class(found) if isinstance(found, Record) else found


def _of_one_class(record: Record) -> Record | BadRecord:
    classes = record.slots[MASK][0]
    assert isinstance(classes, Segmentation)
    mask = (classes.ids == VOC_CLASSES.index(record.label)).astype(np.int32)
    if not mask.any():
        return BadRecord(record.key, f"no pixel of its annotation is {record.label}, which the list says it shows")
    return Record(key=record.key, slots={IMAGE: record.slots[IMAGE], MASK: [Segmentation(mask)]}, label=record.label)
