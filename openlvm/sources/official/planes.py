"""Annotations in picture files whose numbers follow a dataset's own rule: class ids by table, instances, disparity."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from openlvm.core.images import MAX_PIXELS
from openlvm.core.records import MAX_INSTANCES, Disparity, Payload, Segmentation
from openlvm.sources.clips.flow import read_kitti_flow_file
from openlvm.sources.pairs import KINDS, VOID_ID, read_plane

MAX_NUMBER = 65_535
THING_ID = 1000  # Cityscapes' instanceIds: labelId * 1000 + number for what is counted, the labelId alone for the rest

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""Pascal VOC's classes, the id being the place."""
CITYSCAPES_CLASSES = (
    *("", "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
"""The 19 classes that Cityscapes' benchmark counts, by our id: its trainId + 1, so that 0 stays background."""
_CITYSCAPES_LABELS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  # labelId of each class

VOC: Mapping[int, int] = {**{number: number for number in range(21)}, VOID_ID: Segmentation.VOID}
"""Pascal VOC: 0 background, 1 to 20 classes, 255 the outlines, which are not labelled."""
ADE20K: Mapping[int, int] = {0: Segmentation.VOID, **{number: number for number in range(1, 151)}}
"""ADE20K's scene parsing: 1 to 150 classes, 0 is not labelled."""
CITYSCAPES: Mapping[int, int] = {
    **{label: Segmentation.VOID for label in range(34)},
    **{label: place for place, label in enumerate(_CITYSCAPES_LABELS, start=1)},
}
"""Cityscapes' labelIds: those the benchmark counts -> 1 to 19; the others are not labelled."""


def read_ids_file(path: Path, max_pixels: int = MAX_PIXELS, *, table: Mapping[int, int]) -> Segmentation:
    """A picture of gray values or palette indices, each an id of the dataset, as our ids.

    Args:
        path: PNG of one channel.
        max_pixels: a larger one is refused before it is decoded.
        table: id in the file -> our id, 0..255 or `Segmentation.VOID`.

    Raises:
        ValueError: an id that the table does not have; names the first ones.
    """
    numbers = _read_numbers(path, max_pixels)
    ours = np.full(max(int(numbers.max()), *table) + 1, Segmentation.VOID, dtype=np.int32)
    is_known = np.zeros(len(ours), dtype=bool)
    ours[list(table)], is_known[list(table)] = list(table.values()), True
    present = np.flatnonzero(np.bincount(numbers.ravel()))
    strange = present[~is_known[present]]
    if strange.size:
        known = sorted(table)
        raise ValueError(
            f"{path} has the ids {', '.join(map(str, strange[:5]))}, which the dataset does not know; "
            f"it has {known[0]} to {known[-1]}"
        )
    return Segmentation(ours[numbers])


def read_voc_instances_file(path: Path, max_pixels: int = MAX_PIXELS) -> Segmentation:
    """VOC's SegmentationObject: palette indices 1..n are objects, 0 background, 255 outlines (not labelled)."""
    numbers = _read_numbers(path, max_pixels)
    objects = numbered(np.where(numbers == VOID_ID, 0, numbers)).ids
    return Segmentation(np.where(numbers == VOID_ID, Segmentation.VOID, objects).astype(np.int32))


def read_cityscapes_instances_file(path: Path, max_pixels: int = MAX_PIXELS) -> Segmentation:
    """Cityscapes' 16-bit instanceIds: things that are counted as instances 1..n, all else background."""
    numbers = _read_numbers(path, max_pixels)
    return numbered(np.where(numbers >= THING_ID, numbers, 0))


def numbered(ids: np.ndarray) -> Segmentation:
    """Instances under any ids as instances 1..n, the largest first; the `MAX_INSTANCES` largest are kept.

    Args:
        ids: int [H, W]; 0 is background, and so become the instances that are not kept.
    """
    present, places, areas = np.unique(ids[ids != 0], return_inverse=True, return_counts=True)
    kept = np.argsort(-areas, kind="stable")[:MAX_INSTANCES]  # of two as large, the one with the lower id first
    ours = np.zeros(len(present), dtype=np.int32)
    ours[kept] = np.arange(1, len(kept) + 1)
    instances = np.zeros(ids.shape, dtype=np.int32)
    instances[ids != 0] = ours[places]
    return Segmentation(instances)


def read_disparity_file(path: Path, max_pixels: int = MAX_PIXELS) -> Disparity:
    """KITTI's 16-bit disparity: pixels times 256, 0 where unknown."""
    steps = read_plane(path, max_pixels, ("I", "I;16"), "16-bit gray, 1/256 pixel")
    return Disparity((steps / 256).astype(np.float32))


def _read_numbers(path: Path, max_pixels: int) -> np.ndarray:
    """What a single-channel picture of 8 or 16 bits stores, int64 [H, W], 0..65535."""
    plane = read_plane(path, max_pixels, ("L", "P", "I", "I;16"), "ids as gray or palette values, one channel")
    if plane.min() < 0 or plane.max() > MAX_NUMBER:  # tables as long as the largest id are made of it
        raise ValueError(f"{path} has the ids {plane.min()} to {plane.max()}; expected 8 or 16 bits, 0 to {MAX_NUMBER}")
    return plane.astype(np.int64)


OFFICIAL_KINDS: Mapping[str, Callable[[Path, int], Payload]] = {
    **KINDS,
    "voc": partial(read_ids_file, table=VOC),
    "voc_instances": read_voc_instances_file,
    "ade20k": partial(read_ids_file, table=ADE20K),
    "cityscapes": partial(read_ids_file, table=CITYSCAPES),
    "cityscapes_instances": read_cityscapes_instances_file,
    "disparity": read_disparity_file,
    "kitti_flow": read_kitti_flow_file,
}
"""What the files of a slot hold: kind -> its reader; those of `pairs.KINDS`, and the datasets' own."""
