"""Clips that are folders of frames, with annotations that have the frames' names."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from openlvm.core.images import MAX_PIXELS, read_image
from openlvm.core.picking import pick
from openlvm.core.records import IMAGE, BadRecord, Payload, Record, Segmentation
from openlvm.sources.clips.lists import ClipList, Listed, match_clips, read_list
from openlvm.sources.clips.marks import CLIP_MARKS, FRAME_MARKS, Numbering
from openlvm.sources.clips.shrinking import refuse_other_shape, shrink_payload, size_of
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import PICTURE_ENDINGS, by_folder, find_files, folder_of, natural_order
from openlvm.sources.video import shrink

log = logging.getLogger(__name__)

INSTANCES = "instances"
"""The slot whose ids are numbered 1..n in each record, the same object the same over the frames."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Where the annotations of one slot lie."""

    folder: str
    """Folder below the dataset's; those of a clip are in its folder of the clip's name."""
    kind: str
    """What its files hold: a name in `FRAME_MARKS`, or in `CLIP_MARKS`."""
    file: str = ""
    """Name of a clip's file, for kinds of `CLIP_MARKS`."""

    def __post_init__(self) -> None:
        pick({**FRAME_MARKS, **CLIP_MARKS}, self.kind, "kind of annotation")
        if bool(self.file) != (self.kind in CLIP_MARKS):
            raise ValueError(f"file={self.file!r} must be given for {sorted(CLIP_MARKS)} alone, not for {self.kind!r}")


@dataclass(frozen=True, kw_only=True)
class AnnotatedFrames:
    """Clips as folders of frames, each annotation in a file of its frame's name, or all of a clip's in one file.

    On disk, and the record it becomes:

        JPEGImages/bear/00000.jpg, 00001.jpg
        Annotations/bear/00000.png, 00001.png       Record("bear#0000", slots image, instances)
    """

    at: Path
    """Folder of the dataset."""
    frames: str
    """Folder below it that holds a folder of frames for each clip."""
    marks: Mapping[str, Marks]
    """Slot -> where its annotations lie."""
    listing: ClipList | None = None
    """Which clips belong to the split; None takes every folder of frames."""
    unmarked: Literal["refused", "last", "left out"] = "refused"
    """Frames without annotation: their clip is reported; or the last one of a clip is left out (flow has no next
    frame); or all of them are left out, and counted in the log."""
    records_per_part: int = 16
    """Clips read and written as one unit of work."""
    frames_per_record: int = 480
    """Longer clips are cut into records of at most this many frames; 16 images at a stride of 24 need 361."""
    short_side: int = 256
    """Frames and annotations are shrunk to this short side, pixels, as they are read; bounds memory."""
    max_pixels: int = MAX_PIXELS
    """A clip with a larger frame or annotation is reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(
            records_per_part=self.records_per_part,
            frames_per_record=self.frames_per_record,
            short_side=self.short_side,
            max_pixels=self.max_pixels,
        )
        if not self.marks or IMAGE in self.marks:
            raise ValueError(f"marks must name at least one slot beside {IMAGE!r}, not {sorted(self.marks)}")

    @property
    def slots(self) -> tuple[str, ...]:
        """The frame first, its annotations in the order of `marks`."""
        return (IMAGE, *self.marks)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("annotated frames", self)

    def parts(self) -> list[Part]:
        """Clips in the order of the list, or in natural order; an item is name, folder and label, joined by "//".

        Raises:
            FileNotFoundError: the list, or the folder of the frames or of the annotations is missing.
            ValueError: a malformed list, or two folders for one clip.
        """
        root = Path(self.at) / self.frames
        for marks in self.marks.values():
            if not (Path(self.at) / marks.folder).is_dir():
                raise FileNotFoundError(f"no folder {Path(self.at) / marks.folder}; expected annotations there")
        if self.listing:
            listed = read_list(Path(self.at), self.listing)
        else:
            listed = [Listed(clip, "") for clip in by_folder(find_files(root, PICTURE_ENDINGS, "folders of frames"))]
            if not listed[0].clip:
                raise ValueError(f"frames lie in {root} itself; each clip must have a folder there")
        found = find_clip_folders(root, listed)
        folders = {entry: found.get(entry.clip, "") for entry in listed}
        return split_into_parts(
            [f"{entry.clip}//{folder}//{entry.label or folder_of(folder)}" for entry, folder in folders.items()],
            self.records_per_part,
        )

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """The records of each clip in turn, "CLIP#0000", "CLIP#0001" ...; a damaged file spoils its record alone."""
        for item in part.items:
            clip, folder, label = item.split("//", 2)
            try:
                rows = self._rows(clip, folder)
            except (ValueError, OSError) as error:
                yield BadRecord(f"{clip}#0000", str(error))
                continue
            yield from cut_into_records(clip, label, rows, self._slots, self.frames_per_record)

    def _rows(self, clip: str, folder: str) -> list[dict[str, "Path | Payload"]]:
        """For each frame that is used, slot -> the path of its file, or its annotation where a clip has one file."""
        if not folder:
            raise ValueError(f"it is listed, but there is no folder of frames for it in {Path(self.at) / self.frames}")
        at = Path(self.at) / self.frames / folder
        frames = files_by_stem(at, PICTURE_ENDINGS)
        rows: dict[str, dict[str, Path | Payload]] = {stem: {IMAGE: at / name} for stem, name in frames.items()}
        for slot, marks in self.marks.items():
            place = Path(self.at) / marks.folder / folder
            if marks.kind in CLIP_MARKS:
                size = size_of(read_image(at / next(iter(frames.values())), max_pixels=self.max_pixels))
                payloads = CLIP_MARKS[marks.kind](place / marks.file, size)
                if not 0 <= len(rows) - len(payloads) <= (self.unmarked == "last"):
                    raise ValueError(f"{place / marks.file} is of {len(payloads)} frames; {at} has {len(rows)}")
                for row, payload in zip(rows.values(), payloads, strict=False):
                    row[slot] = payload
                continue
            names = files_by_stem(place, FRAME_MARKS[marks.kind][0])
            strangers = [name for stem, name in names.items() if stem not in rows]
            if strangers:
                raise ValueError(f"{len(strangers)} files of {place} have no frame in {at}, first {strangers[0]!r}")
            for stem, name in names.items():
                rows[stem][slot] = place / name
        return self._marked(clip, rows)

    def _marked(self, clip: str, rows: Mapping[str, dict[str, "Path | Payload"]]) -> list[dict[str, "Path | Payload"]]:
        """The frames that have every slot; refuses the others unless `unmarked` allows them."""
        marked = [row for row in rows.values() if len(row) == len(self.slots)]
        bare = [stem for stem, row in rows.items() if len(row) < len(self.slots)]
        allowed = {"refused": [], "last": list(rows)[-1:], "left out": list(rows)}[self.unmarked]
        refused = [stem for stem in bare if stem not in allowed]
        if refused or not marked:
            lacking = sorted({slot for stem in refused or bare for slot in self.slots if slot not in rows[stem]})
            raise ValueError(
                f"{len(refused or bare)} of {len(rows)} frames have no {', '.join(lacking)}, "
                f"first {(refused or bare)[0]!r}"
            )
        if bare and self.unmarked == "left out":
            log.info("clip %s: %d of %d frames have no annotation and are left out", clip, len(bare), len(rows))
        return marked

    def _slots(self, rows: Sequence[Mapping[str, "Path | Payload"]]) -> dict[str, list[Payload]]:
        """One record's payloads, shrunk as they are read."""
        pictures = read_frames([row[IMAGE] for row in rows], self.short_side, self.max_pixels)
        slots: dict[str, list[Payload]] = {IMAGE: pictures}
        for slot, marks in self.marks.items():
            slots[slot] = []
            for row in rows:
                given = row[slot]
                payload = FRAME_MARKS[marks.kind][1](given, self.max_pixels) if isinstance(given, Path) else given
                slots[slot].append(shrink_payload(payload, self.short_side))
            refuse_other_shape(pictures, slots[slot], slot)
        if INSTANCES in slots:
            frames = [frame for frame in slots[INSTANCES] if isinstance(frame, Segmentation)]
            slots[INSTANCES] = list(map(Numbering.of(frames), frames))
        return slots


def cut_into_records(
    clip: str,
    label: str,
    frames: Sequence[Any],
    slots_of: Callable[[Sequence[Any]], Mapping[str, Sequence[Payload]]],
    frames_per_record: int,
) -> Iterator[Record | BadRecord]:
    """One record for every `frames_per_record` frames, "CLIP#0000", "CLIP#0001" ...; each is read when it is its turn.

    Args:
        clip: its name.
        label: of every record.
        frames: whatever `slots_of` reads.
        slots_of: gives the slots of some frames; what cannot be read is a ValueError or an OSError.
        frames_per_record: the last record may have fewer.
    """
    for number, start in enumerate(range(0, len(frames), frames_per_record)):
        key = f"{clip}#{number:04d}"
        try:
            record: Record | BadRecord = Record(
                key=key, slots=slots_of(frames[start : start + frames_per_record]), label=label
            )
        except (ValueError, OSError) as error:
            record = BadRecord(key, str(error))
        yield record


def files_by_stem(folder: Path, endings: tuple[str, ...]) -> dict[str, str]:
    """Name without its ending -> name, of the files that lie directly in a folder, in natural order.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no such file, or two that differ in their ending alone.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; expected files {', '.join(endings)} there")
    names = [name for name in os.listdir(folder) if name.lower().endswith(endings) and not name.startswith(".")]
    stems: dict[str, str] = {}
    for name in sorted(names, key=natural_order):
        stem = name.rpartition(".")[0]
        if stem in stems:
            raise ValueError(f"{stems[stem]} and {name} in {folder} are files of one name. Remove one")
        stems[stem] = name
    if not stems:
        raise ValueError(f"no file in {folder}; looked for {', '.join(endings)}")
    return stems


def read_frames(paths: Sequence[Any], short_side: int, max_pixels: int) -> list[Payload]:
    """Pictures, each shrunk to a short side of at most `short_side` pixels as it is read; uint8 [H, W, 3]."""
    return [shrink(Image.fromarray(read_image(path, max_pixels=max_pixels)), short_side) for path in paths]


def find_clip_folders(root: Path, listed: Sequence[Listed]) -> dict[str, str]:
    """Clip -> its folder of pictures below `root`; a list may name its last part alone. Missing ones are left out.

    Raises:
        FileNotFoundError: no folder `root`.
        ValueError: two folders fit one name.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}; expected folders of frames there")
    there = {entry.clip: entry.clip for entry in listed if (root / entry.clip).is_dir()}
    if len(there) == len(listed):  # the usual case, without looking at millions of frames
        return there
    elsewhere = by_folder(find_files(root, PICTURE_ENDINGS, "folders of frames"))
    return match_clips((entry.clip for entry in listed), elsewhere) | there
