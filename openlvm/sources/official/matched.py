"""Files of several slots, found by templates of their paths and matched by the names in them.

    image   gtTrain/{city}/{frame}_left.png    gtTrain/bonn/000019_left.png     key "bonn/000019"
    clean   truth/{city}.png                   truth/bonn.png                   shared by all pictures of "bonn"

In a template `{name}` stands for any text without a slash, and is part of the key; `*` too, and is not. A slot whose
template has fewer names than the picture's is shared by all pictures that agree in those. A name `label` is the label.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.images import MAX_PIXELS
from openlvm.core.picking import pick
from openlvm.core.records import IMAGE, BadRecord, Boxes, Keypoints, Payload, Record
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import PICTURE_ENDINGS, find_files, natural_order
from openlvm.sources.official.planes import OFFICIAL_KINDS

LABEL = "label"
_BETWEEN = "//"  # of the pieces of an item; paths have single slashes
MAX_LIST_BYTES = 64 * 2**20
"""Largest list of keys that is read."""


@dataclass(frozen=True, kw_only=True)
class MatchedFiles:
    """Pictures and annotations in a dataset's own folders, matched by the names in their paths."""

    at: Path
    """Folder of the dataset."""
    files: Mapping[str, str]
    """Slot -> template of its files' paths, relative to `at`. "image" must be there."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Slot -> what its files hold (planes.OFFICIAL_KINDS); slots not named hold pictures."""
    columns: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Slot -> (left, right) as shares of the width: the part of its file that it is, where one file holds several."""
    keys_file: str = ""
    """List of the keys that are wanted, one a line, relative to `at`; "" takes all."""
    tile: int = 0
    """Pictures are cut into squares of this side, pixels, each a record; 0 keeps them whole. For tasks of single
    pixels (noise), which shrinking a large picture to a tokenizer's size would wipe out."""
    records_per_part: int = 1000
    """Keys read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Records with a larger file are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)
        if IMAGE not in self.files:
            raise ValueError(f"files must name {IMAGE!r}, not {sorted(self.files)}")
        for option in ("kinds", "columns"):
            strangers = sorted(set(getattr(self, option)) - set(self.files))
            if strangers:
                raise ValueError(f"{option} names {strangers}, which files does not have: {sorted(self.files)}")
        for kind in self.kinds.values():
            pick(OFFICIAL_KINDS, kind, "kind of annotation")
        for slot, template in self.files.items():
            extra = sorted(set(names_in(template)) - set(names_in(self.files[IMAGE])))
            if extra:
                raise ValueError(
                    f"{slot}={template!r} has the names {extra}, which {self.files[IMAGE]!r} does not have"
                )
        if self.tile < 0 or (self.tile and self.kinds):
            raise ValueError(f"tile={self.tile} must be at least 0, and cuts pictures alone, not {sorted(self.kinds)}")

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture's slot first, the others in the order of `files`."""
        return (IMAGE, *(slot for slot in self.files if slot != IMAGE))

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("matched", self)

    def parts(self) -> list[Part]:
        """Keys in natural order.

        Raises:
            FileNotFoundError: a folder or the list of keys is missing.
            ValueError: no file fits a template, two claim one key, or files lack a partner.
        """
        listed: dict[str, list[str]] = {}  # folder -> paths below it, for templates that share one
        found = {slot: self._find(slot, listed) for slot in self.slots}
        pictures = found[IMAGE]
        if self.keys_file:
            pictures = _wanted(pictures, read_keys(Path(self.at) / self.keys_file), self.files[IMAGE])
        partners = {slot: self._partners(slot, pictures) for slot in self.slots}
        self._refuse_lonely(found, partners)
        items = []
        for names in sorted(pictures, key=lambda names: natural_order("/".join(names))):
            label = dict(zip(names_in(self.files[IMAGE]), names, strict=True)).get(LABEL, "")
            items.append(item_of("/".join(names), label, [found[slot][partners[slot][names]] for slot in self.slots]))
        return split_into_parts(items, self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each key, or for each of its tiles."""
        for record in read_items(
            part.items, Path(self.at), self.slots, kinds=self.kinds, columns=self.columns, max_pixels=self.max_pixels
        ):
            if self.tile and isinstance(record, Record):
                yield from _tiles(record, self.tile)
            else:
                yield record

    def _find(self, slot: str, listed: dict[str, list[str]]) -> dict[tuple[str, ...], str]:
        """The names in its path -> the path, of every file that fits a slot's template."""
        template = self.files[slot]
        folder, pattern, names = folder_of_template(template), pattern_of(template), names_in(template)
        if folder not in listed:
            listed[folder] = find_files(Path(self.at) / folder, PICTURE_ENDINGS, "pictures")
        found: dict[tuple[str, ...], str] = {}
        for below in listed[folder]:
            path = f"{folder}/{below}" if folder else below
            match = pattern.fullmatch(path)
            if not match:
                continue
            key = tuple(match[name] for name in names)
            if key in found:
                raise ValueError(f"two files claim the key {'/'.join(key)!r}: {found[key]} and {path}. Remove one")
            found[key] = path
        if not found:
            raise ValueError(f"no picture in {Path(self.at) / folder} fits {template!r}")
        return found

    def _partners(self, slot: str, pictures: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, ...]]:
        """The names of each picture -> the names its partner in a slot must have."""
        of_picture = names_in(self.files[IMAGE])
        places = [of_picture.index(name) for name in names_in(self.files[slot])]
        return {names: tuple(names[place] for place in places) for names in pictures}

    def _refuse_lonely(
        self,
        found: Mapping[str, Mapping[tuple[str, ...], str]],
        partners: Mapping[str, Mapping[tuple[str, ...], tuple[str, ...]]],
    ) -> None:
        """Raise a ValueError that counts and names pictures without a partner, and partners without a picture."""
        complaints = []
        for slot in self.slots[1:]:
            lost = sorted(("/".join(key) for key, names in partners[slot].items() if names not in found[slot]),
                          key=natural_order)  # fmt: skip
            if lost:
                complaints.append(
                    f"{len(lost)} of {len(partners[slot])} keys have no {slot!r} ({self.files[slot]}), {_first(lost)}"
                )
            unused = set(found[slot]) - set(partners[slot].values())
            if unused and not self.keys_file:
                paths = sorted((found[slot][names] for names in unused), key=natural_order)
                complaints.append(f"{len(paths)} files of {slot!r} belong to no picture, {_first(paths)}")
        if complaints:
            raise ValueError(
                "; ".join(complaints) + f". Partners must have the same names; pictures: {self.files[IMAGE]}"
            )


# ---------------------------------------------------------------------------------------------------------- templates


def names_in(template: str) -> tuple[str, ...]:
    """The names of a template, each once, in their order: "a/{x}/{y}_{x}.png" -> ("x", "y")."""
    return tuple(dict.fromkeys(re.findall(r"\{(\w+)\}", template)))


def folder_of_template(template: str) -> str:
    """The folder that all paths of a template lie below: "gt/train/{city}/*.png" -> "gt/train"."""
    return re.split(r"[{*]", template, maxsplit=1)[0].rpartition("/")[0]


def pattern_of(template: str) -> re.Pattern[str]:
    """The regular expression of a template's paths; a name that comes again must be the same text again."""
    pattern, seen = "", set()
    for piece in re.split(r"(\{\w+\}|\*)", template):
        name = piece[1:-1] if piece.startswith("{") else ""
        if name:
            pattern += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
            seen.add(name)
        else:
            pattern += "[^/]*" if piece == "*" else re.escape(piece)
    return re.compile(pattern)


def read_keys(path: Path) -> list[str]:
    """The lines of a list file, blank ones left out.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is empty or too large, or a line comes twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no list of keys {path}")
    if path.stat().st_size > MAX_LIST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; the limit of a list is {MAX_LIST_BYTES:,}")
    keys = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    again = len(keys) - len(set(keys))
    if not keys or again:
        raise ValueError(f"{path} has {len(keys)} keys, {again} of them a second time; expected each once, one a line")
    return keys


def _wanted(pictures: Mapping[tuple[str, ...], str], keys: list[str], template: str) -> dict[tuple[str, ...], str]:
    by_key = {"/".join(names): names for names in pictures}
    lost = [key for key in keys if key not in by_key]
    if lost:
        raise ValueError(f"{len(lost)} of {len(keys)} listed keys have no picture ({template}), {_first(lost)}")
    return {by_key[key]: pictures[by_key[key]] for key in keys}


def _first(names: list[str]) -> str:
    return "first " + ", ".join(map(repr, names[:3]))


# -------------------------------------------------------------------------------------------------------------- items


def item_of(key: str, label: str, paths: Iterable[str]) -> str:
    """A key, its label and its files' paths as the text of one item of a part."""
    return _BETWEEN.join([key, label, *paths])


def read_items(
    items: Iterable[str],
    root: Path,
    slots: tuple[str, ...],
    *,
    kinds: Mapping[str, str] | None = None,
    columns: Mapping[str, tuple[float, float]] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Record | BadRecord]:
    """The record of each item that `item_of` made, with a path for every slot.

    Args:
        items: of a part.
        root: folder that the paths are relative to.
        slots: of the records, in the order of the paths.
        kinds, columns: as in `MatchedFiles`.
        max_pixels: a record with a larger file is a bad one.
    """
    kinds, columns = kinds or {}, columns or {}
    for item in items:
        key, label, *paths = item.split(_BETWEEN)
        read: dict[tuple[str, str], Payload] = {}  # a file that holds several slots is decoded once
        payloads: dict[str, Payload] = {}
        try:
            for slot, path in zip(slots, paths, strict=True):
                kind = kinds.get(slot, "picture")
                if (kind, path) not in read:
                    read[kind, path] = OFFICIAL_KINDS[kind](root / path, max_pixels)
                payloads[slot] = _part_of(read[kind, path], *columns.get(slot, (0.0, 1.0)))
            refuse_other_size(payloads)
            yield Record(key=key, slots={slot: [payload] for slot, payload in payloads.items()}, label=label)
        except (ValueError, OSError) as error:
            yield BadRecord(key, str(error))


def size_of(payload: Payload) -> tuple[int, int]:
    """(H, W) of the picture that a payload is, or belongs to."""
    if isinstance(payload, Keypoints | Boxes):
        return payload.size
    plane = payload if isinstance(payload, np.ndarray) else next(iter(vars(payload).values()))
    return plane.shape[0], plane.shape[1]


def refuse_other_size(payloads: Mapping[str, Payload]) -> None:
    """A ValueError unless all slots have the size of the first one: official annotations lie on their picture."""
    (first, picture), *others = payloads.items()
    height, width = size_of(picture)
    for slot, payload in others:
        if size_of(payload) != (height, width):
            raise ValueError(f"its {first!r} is {width} x {height} but its {slot!r} is "
                             f"{size_of(payload)[1]} x {size_of(payload)[0]}: they do not belong together")  # fmt: skip


def _part_of(payload: Payload, left: float, right: float) -> Payload:
    """The columns of a picture between two shares of its width."""
    if (left, right) == (0.0, 1.0):
        return payload
    if not isinstance(payload, np.ndarray):
        raise ValueError(f"columns can be taken of pictures, not of {type(payload).__name__}")
    width = payload.shape[1]
    return np.ascontiguousarray(payload[:, round(left * width) : round(right * width)])


def _tiles(record: Record, side: int) -> Iterator[Record | BadRecord]:
    """Whole squares of a record's pictures, row by row; what is left at the right and below is not used."""
    height, width = size_of(record.slots[IMAGE][0])
    if min(height, width) < side:
        yield BadRecord(record.key, f"its pictures of {width} x {height} are smaller than a tile of {side}")
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            slots = {
                slot: [np.ascontiguousarray(np.asarray(payload)[top : top + side, left : left + side])]
                for slot, (payload,) in record.slots.items()
            }
            yield Record(key=f"{record.key}#{top // side}-{left // side}", slots=slots, label=record.label)
