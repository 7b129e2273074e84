"""CO3D: turns around objects as frames with foreground masks and depth, listed in a gzipped JSON for each category."""

import gzip
import json
import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from openlvm.core.images import MAX_PIXELS
from openlvm.core.records import IMAGE, BadRecord, Depth, Payload, Record
from openlvm.sources.clips.frames import cut_into_records, read_frames
from openlvm.sources.clips.shrinking import refuse_other_shape, shrink_payload
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import natural_order
from openlvm.sources.pairs import read_mask_file, read_plane

log = logging.getLogger(__name__)

ANNOTATIONS = "frame_annotations.jgz"
MAX_ANNOTATION_BYTES = 4 * 2**30
"""Largest annotation file that is unpacked, bytes of JSON."""


@dataclass(frozen=True, kw_only=True)
class CO3D:
    """Common Objects in 3D, version 1 or 2: sequences of frames with foreground masks and depth.

    On disk, and the record it becomes:

        apple/frame_annotations.jgz
        apple/110_13051_23361/{images,masks,depths,depth_masks}/frame000001...      Record("apple/110_13051_23361#0000")
    """

    at: Path
    """Folder of the category folders."""
    subset: str = ""
    """Take the sequences of each category's set_lists/set_lists_SUBSET.json alone (fewview_train ...); "" takes all."""
    records_per_part: int = 16
    """Sequences read and written as one unit of work."""
    frames_per_record: int = 480
    """Longer sequences are cut into records of at most this many frames."""
    short_side: int = 256
    """Frames, masks and depth are shrunk to this short side, pixels, as they are read; bounds memory."""
    max_pixels: int = MAX_PIXELS
    """A sequence with a larger file is skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(
            records_per_part=self.records_per_part,
            frames_per_record=self.frames_per_record,
            short_side=self.short_side,
            max_pixels=self.max_pixels,
        )

    @property
    def slots(self) -> tuple[str, ...]:
        """The frame, the object's mask, its depth."""
        return (IMAGE, "mask", "depth")

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("co3d", self)

    def parts(self) -> list[Part]:
        """Sequences as "category/sequence", categories and sequences in natural order.

        Raises:
            FileNotFoundError: no folder, or no category in it.
            ValueError: a damaged annotation file, or no sequence of the subset.
        """
        root = Path(self.at)
        categories = sorted((path.parent.name for path in root.glob(f"*/{ANNOTATIONS}")), key=natural_order)
        if not categories:
            raise FileNotFoundError(f"no */{ANNOTATIONS} in {root}; expected CO3D's category folders there")
        items = [
            f"{category}/{sequence}"
            for category in categories
            for sequence in sorted(_wanted(root / category, self.subset), key=natural_order)
        ]
        if not items:
            raise ValueError(f"no category in {root} has set_lists/set_lists_{self.subset}.json with a sequence in it")
        return split_into_parts(items, self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """The records of each sequence in turn; frames without mask or depth are left out and counted in the log."""
        for item in part.items:
            category, _, sequence = item.partition("/")
            try:
                frames = _annotations(Path(self.at) / category).get(sequence, ())
                whole = [frame for frame in frames if frame.mask and frame.depth]
                if not whole:
                    raise ValueError(f"none of its {len(frames)} frames in {category}/{ANNOTATIONS} has mask and depth")
            except (ValueError, OSError) as error:
                yield BadRecord(f"{item}#0000", str(error))
                continue
            if len(whole) < len(frames):
                log.info("%s: %d of %d frames have no mask or depth", item, len(frames) - len(whole), len(frames))
            yield from cut_into_records(item, category, whole, self._slots, self.frames_per_record)

    def _slots(self, frames: "Sequence[_Frame]") -> dict[str, list[Payload]]:
        root = Path(self.at)
        slots: dict[str, list[Payload]] = {
            IMAGE: read_frames([root / frame.image for frame in frames], self.short_side, self.max_pixels),
            "mask": [
                shrink_payload(read_mask_file(root / frame.mask, self.max_pixels), self.short_side) for frame in frames
            ],
            "depth": [shrink_payload(_read_depth(root, frame, self.max_pixels), self.short_side) for frame in frames],
        }
        for slot in ("mask", "depth"):
            refuse_other_shape(slots[IMAGE], slots[slot], slot)
        return slots


@dataclass(frozen=True)
class _Frame:
    """Files of one frame, relative to the dataset's folder; "" where there is none."""

    image: str
    mask: str
    depth: str
    depth_mask: str
    scale: float
    """Depth is the file's number times this, in the unit of the sequence's reconstruction, which is not the meter."""


def read_half_float_file(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A 16-bit gray PNG whose bits are those of half-precision floats (co3d/dataset: _load_16big_png_depth).

    Returns:
        float32 [H, W].
    """
    bits = read_plane(path, max_pixels, ("I", "I;16"), "16-bit gray, the bits of half floats").astype(np.uint16)
    return bits.view(np.float16).astype(np.float32)


def _read_depth(root: Path, frame: _Frame, max_pixels: int) -> Depth:
    meters = read_half_float_file(root / frame.depth, max_pixels) * frame.scale
    known = np.isfinite(meters) & (meters > 0)
    if frame.depth_mask:
        trusted = read_plane(root / frame.depth_mask, max_pixels, ("L", "1", "P", "I", "I;16"), "a mask of one channel")
        if trusted.shape != meters.shape:
            raise ValueError(f"{frame.depth_mask} is {list(trusted.shape)} but {frame.depth} {list(meters.shape)}")
        known &= trusted > 0
    return Depth(np.where(known, meters, 0).astype(np.float32))


def _wanted(category: Path, subset: str) -> list[str]:
    sequences = list(_annotations(category))
    if not subset:
        return sequences
    at = category / "set_lists" / f"set_lists_{subset}.json"
    if not at.is_file():  # not every category is part of every subset
        return []
    try:
        listed = {str(row[0]) for rows in json.loads(at.read_text(encoding="utf-8")).values() for row in rows}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{at} is no set list of CO3D: {error}") from None
    strangers = sorted(listed - set(sequences))
    if strangers:
        raise ValueError(f"{at} lists {len(strangers)} sequences that {ANNOTATIONS} lacks, first {strangers[0]!r}")
    return [sequence for sequence in sequences if sequence in listed]


def _annotations(category: Path) -> "dict[str, tuple[_Frame, ...]]":
    """Sequence -> its frames in order; a category's file is parsed once a process."""
    at = category / ANNOTATIONS
    if not at.is_file():
        raise FileNotFoundError(f"no file {at}")
    return _parse(at, at.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _parse(at: Path, changed_ns: int) -> "dict[str, tuple[_Frame, ...]]":
    try:
        with gzip.open(at) as file:
            text = file.read(MAX_ANNOTATION_BYTES + 1)
        if len(text) > MAX_ANNOTATION_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_ANNOTATION_BYTES:,} bytes")
        rows = json.loads(text)
        numbered: dict[str, list[tuple[int, _Frame]]] = {}
        for row in rows:
            numbered.setdefault(row["sequence_name"], []).append((int(row["frame_number"]), _frame_of(row)))
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{at} cannot be read as CO3D's frame annotations: {error!r}") from None
    return {
        name: tuple(frame for _, frame in sorted(frames, key=lambda pair: pair[0])) for name, frames in numbered.items()
    }


def _frame_of(row: dict[str, Any]) -> _Frame:
    depth, mask = row.get("depth") or {}, row.get("mask") or {}
    paths = [row["image"]["path"], mask.get("path"), depth.get("path"), depth.get("mask_path")]
    for path in paths:
        if path and (PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts):
            raise ValueError(f"the path {path!r} leads out of the dataset's folder")
    image, mask_at, depth_at, trusted = (path or "" for path in paths)
    return _Frame(image, mask_at, depth_at, trusted, float(depth.get("scale_adjustment") or 1.0))
