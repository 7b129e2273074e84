"""Photographs and films of a pack: crops, and clips cut into records."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openlvm.core.records import BadRecord, Record
from openlvm.sources.interface import Part, require_positive, split_into_parts
from openlvm.sources.pack.files import Split, open_pack
from openlvm.sources.pack.scenes import RECORDS_PER_PART


@dataclass(frozen=True)
class PackPhotos:
    """Crops of photographs, F = 1. Label: the photograph. Key: "<photograph>-<number>"."""

    split: Split = "train"
    at: Path | None = None
    """Folder of the pack; None is the sample pack."""

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image",)

    def describe(self) -> dict[str, Any]:
        return open_pack(self.at).described("pack_photos", self)

    def parts(self) -> list[Part]:
        return split_into_parts(list(open_pack(self.at).entries("photos", self.split)), RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        pack = open_pack(self.at)
        photos = pack.entries("photos", self.split)
        for key in part.items:
            yield Record(key=key, slots={"image": [pack.photo(photos[key])]}, label=photos[key]["photograph"])


@dataclass(frozen=True)
class PackClips:
    """Clips, cut into records of up to `frames_per_record` frames. Label: the clip. Key: "<clip>/<first frame>"."""

    split: Split = "train"
    frames_per_record: int = 16
    """Most frames of a record; the last record of a clip may have fewer."""
    at: Path | None = None
    """Folder of the pack; None is the sample pack."""

    def __post_init__(self):
        require_positive(frames_per_record=self.frames_per_record)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image",)

    def describe(self) -> dict[str, Any]:
        return open_pack(self.at).described("pack_clips", self)

    def parts(self) -> list[Part]:
        clips = open_pack(self.at).entries("clips", self.split).items()
        keys = [f"{name}/{at:04d}" for name, clip in clips for at in range(0, clip["frames"], self.frames_per_record)]
        return split_into_parts(keys, RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        pack = open_pack(self.at)
        clips = pack.entries("clips", self.split)
        for key in part.items:
            name, first = key.split("/")
            last = min(int(first) + self.frames_per_record, clips[name]["frames"])
            frames = [pack.clip_frame(clips[name], number) for number in range(int(first), last)]
            yield Record(key=key, slots={"image": frames}, label=name)
