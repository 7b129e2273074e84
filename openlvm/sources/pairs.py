"""Pictures with annotations in folders of their own, matched by key; and how annotation files are read."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from openlvm.core.images import MAX_PIXELS, open_image, read_image
from openlvm.core.picking import pick
from openlvm.core.records import IMAGE, BadRecord, Depth, Edges, Normals, Payload, Record, Segmentation
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import PICTURE_ENDINGS, find_files, natural_order

VOID_ID = 255  # "not labelled" in 8-bit id pictures: Pascal VOC, Cityscapes' trainIds
SHAPE_TOLERANCE = 0.02
"""Largest relative difference between the aspect ratios of a picture and its annotation; more means they do not fit."""


@dataclass(frozen=True, kw_only=True)
class PairedFolders:
    """Pictures and their annotations, a folder for each slot; partners have the same key, whatever their places.

    The key of a file is its path below the slot's folder without the ending. Where names carry a tail, a folder is
    followed by a pattern whose `*` is the key's last part:

        image=images, depth=depth                images/a/1.jpg + depth/a/1.png   key "a/1"
        image=rgb/*_rgb.png, mask=gt/*_ids.png   rgb/7_rgb.png + gt/7_ids.png     key "7"
    """

    at: Path
    """Folder that the slots' folders are relative to."""
    folders: Mapping[str, str]
    """Slot name -> folder, or folder/pattern with one `*` in its last part. "image" must be there."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Slot name -> what its files hold: mask, segmentation, depth, normals, edges; slots not named hold pictures."""
    records_per_part: int = 1000
    """Records read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Records with a larger picture are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)
        if IMAGE not in self.folders or len(self.folders) < 2:
            raise ValueError(f"folders must name {IMAGE!r} and at least one slot more, not {sorted(self.folders)}")
        strangers = sorted(set(self.kinds) - set(self.folders))
        if strangers:
            raise ValueError(f"kinds names {strangers}, which folders does not have; slots are {sorted(self.folders)}")
        for kind in self.kinds.values():
            pick(KINDS, kind, "kind of annotation")
        for where in self.folders.values():
            _folder_and_pattern(where)

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture's slot first, the others in the order of `folders`."""
        return (IMAGE, *(slot for slot in self.folders if slot != IMAGE))

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("pairs", self)

    def parts(self) -> list[Part]:
        """Keys in natural order.

        An item is a key and the path of each slot's file, joined by "//", so that reading lists nothing again.

        Raises:
            FileNotFoundError: a folder is missing.
            ValueError: a folder is empty, two files claim one key, or files lack a partner.
        """
        files = {slot: files_by_key(Path(self.at), self.folders[slot]) for slot in self.slots}
        _refuse_lonely(files, {slot: str(Path(self.at) / self.folders[slot]) for slot in self.slots})
        keys = sorted(files[IMAGE], key=natural_order)
        return split_into_parts(
            ["//".join([key, *(files[slot][key] for slot in self.slots)]) for key in keys], self.records_per_part
        )

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each key."""
        for item in part.items:
            key, *paths = item.split("//")
            try:
                payloads = [
                    KINDS[self.kinds.get(slot, "picture")](Path(self.at) / path, self.max_pixels)
                    for slot, path in zip(self.slots, paths, strict=True)
                ]
                _refuse_other_shape(dict(zip(self.slots, payloads, strict=True)))
                yield Record(key=key, slots={s: [p] for s, p in zip(self.slots, payloads, strict=True)})
            except (ValueError, OSError) as error:
                yield BadRecord(key, str(error))


def _folder_and_pattern(where: str) -> tuple[str, str]:
    """Split "gt/*_labels.png" into ("gt", "*_labels.png"), and "gt" into ("gt", "")."""
    folder, _, pattern = where.rpartition("/") if "*" in where else (where, "", "")
    folder = PurePosixPath(folder).as_posix()
    if "*" in folder or pattern.count("*") > 1:
        raise ValueError(f"{where!r} must be a folder, or a folder and a pattern with one '*' in its last part")
    return folder, pattern


def files_by_key(root: Path, where: str) -> dict[str, str]:
    """Key -> path relative to `root`, of the pictures in a slot's folder.

    Args:
        root: the folder that `where` is relative to.
        where: "folder", or "folder/*_tail.png".
    """
    folder, pattern = _folder_and_pattern(where)
    head, _, tail = pattern.partition("*")
    found: dict[str, str] = {}
    for path in find_files(root / folder, PICTURE_ENDINGS, "pictures"):
        above, _, name = path.rpartition("/")
        if pattern:
            match = re.fullmatch(f"{re.escape(head)}(.*){re.escape(tail)}", name)
            if not match:
                continue
            stem = match[1]
        else:
            stem = name.rpartition(".")[0]
        key = f"{above}/{stem}" if above else stem
        if key in found:
            raise ValueError(f"two files claim the key {key!r}: {found[key]} and {folder}/{path}. Remove or rename one")
        found[key] = (PurePosixPath(folder) / path).as_posix()
    if not found:
        raise ValueError(f"no picture in {root / folder} fits the pattern {pattern!r}")
    return found


def _refuse_lonely(files: Mapping[str, Mapping[str, str]], places: Mapping[str, str]) -> None:
    """Raise a ValueError that counts, for each slot, the files other slots have and it lacks."""
    everything = set().union(*files.values())
    complaints = []
    for slot, found in files.items():
        lost = sorted(everything - set(found), key=natural_order)
        if lost:
            names = ", ".join(repr(key) for key in lost[:3])
            complaints.append(
                f"{len(lost)} of {len(everything)} keys have no {slot!r} in {places[slot]}, first {names}"
            )
    if complaints:
        raise ValueError("; ".join(complaints) + ". Partners must have the same path up to the ending, or up to a '*'")


def _refuse_other_shape(payloads: Mapping[str, Payload]) -> None:
    """Annotations may be smaller than their picture, but not of another shape: they would not lie on it."""
    picture = payloads[IMAGE]
    assert isinstance(picture, np.ndarray)
    for slot, payload in payloads.items():
        if isinstance(payload, np.ndarray):
            continue
        array = next(value for value in vars(payload).values() if isinstance(value, np.ndarray))
        (height, width), (other_height, other_width) = picture.shape[:2], array.shape[:2]
        if abs(width * other_height / (height * other_width) - 1) > SHAPE_TOLERANCE:
            raise ValueError(
                f"the picture is {width} x {height} but its {slot!r} is {other_width} x {other_height}: not one shape"
            )


def read_plane(path: Path, max_pixels: int, modes: tuple[str, ...], expected: str) -> np.ndarray:
    """The numbers in a single-channel picture as stored: uint8 (gray, palette indices), uint16 or int32 [H, W]."""
    with open_image(path.read_bytes(), str(path)) as opened:
        if opened.mode not in modes:
            raise ValueError(f"{path} is a picture of mode {opened.mode}; expected {expected}")
        if opened.width * opened.height > max_pixels:
            raise ValueError(f"{path} has {opened.width} x {opened.height} pixels; the limit is {max_pixels:,}")
        try:
            return np.asarray(opened)
        except (OSError, SyntaxError) as error:
            raise ValueError(f"{path} cannot be read: {error}. It may be truncated or damaged") from None


def read_mask_file(path: Path, max_pixels: int = MAX_PIXELS) -> Segmentation:
    """A picture whose bright pixels (luma of 128 and more) are foreground: ids 0 and 1."""
    luma = read_image(path, max_pixels=max_pixels).astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return Segmentation((luma >= 127.5).astype(np.int32))


def read_segmentation_file(path: Path, max_pixels: int = MAX_PIXELS) -> Segmentation:
    """A picture whose gray values or palette indices are ids; in 8 bits, `VOID_ID` means not labelled."""
    ids = read_plane(path, max_pixels, ("L", "P", "1", "I", "I;16"), "ids as gray or palette values, one channel")
    is_void = (ids == VOID_ID) & (ids.dtype == np.uint8)
    return Segmentation(np.where(is_void, Segmentation.VOID, ids.astype(np.int32)).astype(np.int32))


def read_depth_file(path: Path, max_pixels: int = MAX_PIXELS) -> Depth:
    """A 16-bit gray picture in millimeters, 0 where unknown (as in NYUv2, ScanNet, RealSense)."""
    return Depth((read_plane(path, max_pixels, ("I", "I;16"), "16-bit gray, millimeters") / 1000).astype(np.float32))


def read_normals_file(path: Path, max_pixels: int = MAX_PIXELS) -> Normals:
    """An RGB picture in the usual encoding (x right, y up, z to the viewer; facing the camera is lavender).

    Black is unknown. The vectors returned are in camera axes: x right, y down, z forward.
    """
    pixels = read_image(path, max_pixels=max_pixels).astype(np.float32)
    vectors = (pixels / 127.5 - 1) * np.array([1, -1, -1], np.float32)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    known = pixels.any(axis=-1, keepdims=True)
    return Normals(np.where(known, vectors / np.maximum(length, 1e-6), 0).astype(np.float32))


def read_edges_file(path: Path, max_pixels: int = MAX_PIXELS) -> Edges:
    """A gray picture with dark lines on white."""
    return Edges(1 - read_image(path, max_pixels=max_pixels).mean(axis=-1, dtype=np.float32) / 255)


def _read_picture(path: Path, max_pixels: int) -> np.ndarray:
    return read_image(path, max_pixels=max_pixels)


KINDS: dict[str, Callable[[Path, int], Payload]] = {
    "picture": _read_picture,
    "mask": read_mask_file,
    "segmentation": read_segmentation_file,
    "depth": read_depth_file,
    "normals": read_normals_file,
    "edges": read_edges_file,
}
"""What the files of a slot hold: kind -> its reader."""
