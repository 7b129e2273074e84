"""Masks written as run lengths (COCO, SA-1B): decoded without trust in their numbers, painted as ids; SA-1B itself.

A run-length mask lists how many pixels are off, on, off, ... down the columns, left to right; as integers, or packed
into text of 5 bits a character with differences to the run before the last (COCO's API, common/maskApi.c). Decoding
is numpy; only polygons need pycocotools (extra `catalog`). R is the number of runs of pixels that are on.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.images import MAX_PIXELS, read_image
from openlvm.core.records import IMAGE, MAX_INSTANCES, BadRecord, Record, Segmentation
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import find_files, folder_of, natural_order
from openlvm.sources.official.tars import MAX_MEMBER_BYTES, read_tar

MAX_RUNS = 4_000_000
"""Letters or numbers of one mask; a picture of 2250 x 1500 pixels in stripes of one pixel needs fewer."""


def runs_of(mask: Any, size: tuple[int, int]) -> np.ndarray:
    """Where a mask is on, int64 [R, 2] as (first, end) of pixels counted down the columns.

    Args:
        mask: {"size": [H, W], "counts": text or list of integers}, as in COCO and SA-1B.
        size: (H, W) of the picture.

    Raises:
        ValueError: of another size, or runs that do not fill it exactly.
    """
    if not isinstance(mask, dict) or "counts" not in mask or list(mask.get("size", ())) != list(size):
        raise ValueError(f'a mask must be {{"size": {list(size)}, "counts": ...}} as its picture, not {mask!r:.80}')
    counts = mask["counts"]
    if len(counts) > MAX_RUNS:
        raise ValueError(f"a mask of {len(counts):,} runs; the limit is {MAX_RUNS:,}")
    lengths = _unpacked(counts) if isinstance(counts, str | bytes) else np.array(counts)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
        raise ValueError(f"the runs of a mask do not fill its {size[1]} x {size[0]} pixels; its counts are damaged")
    ends = np.cumsum(lengths)
    return np.stack([ends[0 : 2 * (len(ends) // 2) : 2], ends[1::2]], axis=1)


def _unpacked(counts: str | bytes) -> np.ndarray:
    """Run lengths int64 [2 R or 2 R + 1] out of COCO's text; 6 bits a character: 5 of a number, 1 for "goes on"."""
    try:
        text = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        raise ValueError("the counts of a mask hold letters that are not COCO's") from None
    letters = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    goes_on = (letters & 32) > 0
    if not letters.size or letters.min() < 0 or letters.max() > 63 or goes_on[-1]:
        raise ValueError("the counts of a mask are empty, cut off, or hold letters that are not COCO's")
    ends = np.flatnonzero(~goes_on)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(letters.size) - np.repeat(starts, ends - starts + 1)  # of each letter in its number, lowest first
    if place.max() > 6:
        raise ValueError("a count of a mask has more than 35 bits")
    numbers = np.add.reduceat((letters & 31) << (5 * place), starts)
    numbers -= np.where(letters[ends] & 16, np.int64(1) << (5 * (place[ends] + 1)), 0)  # two's complement
    numbers[1::2] = np.cumsum(numbers[1::2])  # from the third on, each is a difference to the one two before
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def runs_of_polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    """Where polygons are, int64 [R, 2] as of `runs_of`; the pixels are those COCO's own API gives.

    Args:
        polygons: each x, y, x, y, ... in pixels, at least three points; the mask is all of them together.
        size: (H, W) of the picture.

    Raises:
        ImportError: pycocotools is not installed.
        ValueError: not polygons, or far outside the picture.
    """
    try:
        from pycocotools import mask as coco_masks
    except ImportError:
        raise ImportError("polygons need pycocotools: pip install openlvm[catalog]") from None
    height, width = size
    for polygon in polygons:
        corners = np.asarray(polygon, dtype=np.float64)
        if corners.ndim != 1 or corners.size < 6 or corners.size % 2:
            raise ValueError("a polygon must be x, y, x, y, ... of at least three points")
        if not (np.abs(corners.reshape(-1, 2)) <= (2 * width, 2 * height)).all():  # NaN fails as well
            raise ValueError(f"a polygon reaches far outside its picture of {width} x {height} pixels")
    if not polygons:
        return np.zeros((0, 2), np.int64)
    merged = coco_masks.merge(coco_masks.frPyObjects([list(map(float, one)) for one in polygons], height, width))
    return runs_of({"size": [height, width], "counts": merged["counts"]}, size)


def num_pixels(runs: np.ndarray) -> int:
    """How many pixels are on."""
    return int((runs[:, 1] - runs[:, 0]).sum())


def painted(layers: Sequence[tuple[np.ndarray, int]], size: tuple[int, int]) -> Segmentation:
    """Masks laid over each other, the first lowest; ids int32 [H, W], 0 where none is.

    Args:
        layers: each the runs of a mask and the id painted there.
        size: (H, W).
    """
    columns = np.zeros(size[0] * size[1], np.int32)
    for runs, name in layers:
        for first, end in runs.tolist():  # a mask has few runs a column: faster than a whole plane for each
            columns[first:end] = name
    return Segmentation(np.ascontiguousarray(columns.reshape(size[1], size[0]).T))


def painted_instances(masks: Sequence[np.ndarray], size: tuple[int, int]) -> Segmentation:
    """Each mask with an id of its own, 1 the largest; smaller ones over larger ones, so that no part hides its whole.

    The largest `MAX_INSTANCES` are kept; what only smaller ones cover is background.
    """
    by_size = sorted(masks, key=num_pixels, reverse=True)[:MAX_INSTANCES]
    return painted([(runs, name) for name, runs in enumerate(by_size, start=1)], size)


def require_size(pixels: np.ndarray, size: tuple[int, int]) -> None:
    """A ValueError if a picture has not the size (H, W) that its annotations state."""
    if pixels.shape[:2] != tuple(size):
        found = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise ValueError(f"the picture is {found} but its annotations are for {size[1]} x {size[0]}")


def read_image_of(picture: Path | bytes, size: tuple[int, int], max_pixels: int) -> np.ndarray:
    """A picture as uint8 [H, W, 3] that must have the size (H, W) its annotations were made for."""
    pixels = read_image(picture, max_pixels=max_pixels)
    require_size(pixels, size)
    return pixels


@dataclass(frozen=True, kw_only=True)
class SegmentAnything:
    """SA-1B: pictures with all their masks, as instances by size; in the archives as published, unpacked, or mixed.

        sa_000000.tar (sa_1.jpg, sa_1.json, ...)      Record("sa_000000/sa_1"): image, instances
        sa_000001/sa_20000.jpg, sa_20000.json         Record("sa_000001/sa_20000"): image, instances

    DeLVM draws the same masks, large ones first, but ADDS the colors where masks overlap; here the smaller one lies on
    top. Its crops are `Augmented` records.
    """

    at: Path
    """Folder of the archives or of what was unpacked; subfolders are searched too."""
    records_per_part: int = 1000
    """Unpacked pictures read and written as one unit of work; an archive is one (some 11 000 pictures)."""
    max_pixels: int = MAX_PIXELS
    """Records with a larger picture are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture and its instances."""
        return (IMAGE, "instances")

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("segment anything", self)

    def parts(self) -> list[Part]:
        """Archives, of which none is opened; then unpacked pictures, an item being the path without its ending.

        Raises:
            FileNotFoundError: no such folder.
            ValueError: nothing there, a picture without its JSON or the reverse, or an archive and its unpacked folder.
        """
        found = find_files(Path(self.at), (".jpg", ".json", ".tar"), "SA-1B's archives, or its .jpg and .json files")
        archives = [path for path in found if path.endswith(".tar")]
        pictures = [path.removesuffix(".jpg") for path in found if path.endswith(".jpg")]
        annotated = {path.removesuffix(".json") for path in found if path.endswith(".json")}
        lonely = sorted(annotated.symmetric_difference(pictures), key=natural_order)
        if lonely:
            raise ValueError(
                f"{len(lonely)} of {len(annotated.union(pictures))} pictures of SA-1B in {self.at} lack their .jpg or "
                f"their .json, first {', '.join(lonely[:3])}"
            )
        twice = sorted({path.removesuffix(".tar") for path in archives}.intersection(map(folder_of, pictures)))
        if twice:
            raise ValueError(f"{self.at} has {twice[0]}.tar and its unpacked folder: remove one of the two")
        unpacked = split_into_parts(pictures, self.records_per_part)
        return [
            Part(f"{number:05d}", items)
            for number, items in enumerate([*((path,) for path in archives), *(part.items for part in unpacked)])
        ]

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each picture, of each archive in the order of its members."""
        for item in part.items:
            if not item.endswith(".tar"):
                yield self._unpacked_record(item)
                continue
            for found in read_tar(Path(self.at) / item, item.removesuffix(".tar")):
                yield found if isinstance(found, BadRecord) else self._record(*found)

    def _unpacked_record(self, key: str) -> Record | BadRecord:
        try:
            paths = {ending: Path(self.at) / f"{key}.{ending}" for ending in ("jpg", "json")}
            large = [str(path) for path in paths.values() if path.stat().st_size > MAX_MEMBER_BYTES]
            if large:
                raise ValueError(f"{large[0]} has more than {MAX_MEMBER_BYTES:,} bytes")
            return self._record(key, {ending: path.read_bytes() for ending, path in paths.items()})
        except (ValueError, OSError) as error:
            return BadRecord(key, str(error))

    def _record(self, key: str, files: dict[str, bytes]) -> Record | BadRecord:
        try:
            if set(files) != {"jpg", "json"}:
                raise ValueError(f"expected its .jpg and .json, found {sorted(files)}")
            size, masks = masks_of(files["json"])
            pixels = read_image_of(files["jpg"], size, self.max_pixels)
            return Record(key=key, slots={IMAGE: [pixels], "instances": [painted_instances(masks, size)]})
        except (ValueError, OSError) as error:
            return BadRecord(key, str(error))


def masks_of(content: bytes) -> tuple[tuple[int, int], list[np.ndarray]]:
    """The size (H, W) of a picture and the runs of its masks, out of one of SA-1B's JSON files.

    Raises:
        ValueError: not JSON, a field is missing, or a mask is damaged.
    """
    try:
        told = json.loads(content)
        size = (int(told["image"]["height"]), int(told["image"]["width"]))
        masks = [one["segmentation"] for one in told["annotations"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"its JSON is not SA-1B's: {type(error).__name__} {error}") from None
    return size, [runs_of(mask, size) for mask in masks]
