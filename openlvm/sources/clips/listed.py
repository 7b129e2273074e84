"""Clips that a list names and labels: films or folders of frames; what is listed and not there is reported."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openlvm.core.images import MAX_PIXELS
from openlvm.core.records import IMAGE, BadRecord, Payload, Record
from openlvm.sources.clips.frames import cut_into_records, files_by_stem, find_clip_folders, read_frames
from openlvm.sources.clips.lists import ClipList, Listed, match_clips, read_list
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import PICTURE_ENDINGS, VIDEO_ENDINGS, find_files, folder_of
from openlvm.sources.video import film_records


@dataclass(frozen=True, kw_only=True)
class ListedClips:
    """Films, or folders of frames, of a split that a list names; long ones are cut into several records.

    On disk, and the records they become:

        UCF-101/Run/v_Run_g01.avi, trainlist01.txt        Record("Run/v_Run_g01#0000", label="Run"), ...
        jester/7/00001.jpg ..., train.csv ("7;Swipe")     Record("7#0000", label="Swipe")
    """

    at: Path
    """Folder of the dataset."""
    folder: str
    """Folder below it that holds the clips, subfolders included; "" is the dataset's folder itself."""
    listing: ClipList
    """Which clips belong to the split."""
    kind: Literal["films", "frames"] = "films"
    """Whether a clip is a film, or a folder of frames."""
    records_per_part: int = 16
    """Clips read and written as one unit of work."""
    frames_per_record: int = 480
    """Longer clips are cut into records of at most this many frames; 16 images at a stride of 24 need 361."""
    every: int = 1
    """Keep every n-th frame, counted from the start of the clip."""
    short_side: int = 256
    """Frames are shrunk to this short side, pixels, as they are read; bounds memory. At least the tokenizer's size."""
    max_pixels: int = MAX_PIXELS
    """A clip with larger frames is skipped and reported, before they are decoded."""

    def __post_init__(self) -> None:
        require_positive(
            records_per_part=self.records_per_part,
            frames_per_record=self.frames_per_record,
            every=self.every,
            short_side=self.short_side,
            max_pixels=self.max_pixels,
        )

    @property
    def slots(self) -> tuple[str, ...]:
        """The frame alone."""
        return (IMAGE,)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("listed clips", self)

    def parts(self) -> list[Part]:
        """Clips in the order of the list; an item is the clip's name, its path and its label, joined by "//".

        A clip that is listed and not there has an empty path: reading it reports it.

        Raises:
            FileNotFoundError: the list or the folder of the clips is missing.
            ValueError: a malformed list, or two files for one clip.
        """
        listed = read_list(Path(self.at), self.listing)
        root = Path(self.at) / self.folder
        paths = find_clip_folders(root, listed) if self.kind == "frames" else _find_films(root, listed)
        items = [
            f"{entry.clip}//{paths.get(entry.clip, '')}//{entry.label or folder_of(paths.get(entry.clip, ''))}"
            for entry in listed
        ]
        return split_into_parts(items, self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """The records of each clip in turn, "CLIP#0000", "CLIP#0001" ...; a damaged film ends with a bad one."""
        for item in part.items:
            clip, path, label = item.split("//", 2)
            root = Path(self.at) / self.folder
            if not path:
                thing = "film" if self.kind == "films" else "folder of frames"
                yield BadRecord(
                    f"{clip}#0000", f"it is in {self.listing.files}, but there is no {thing} for it in {root}"
                )
            elif self.kind == "films":
                yield from film_records(
                    root / path,
                    key=clip,
                    label=label,
                    frames_per_record=self.frames_per_record,
                    every=self.every,
                    short_side=self.short_side,
                    max_pixels=self.max_pixels,
                )
            else:
                yield from self._read_frames(clip, root / path, label)

    def _read_frames(self, clip: str, folder: Path, label: str) -> Iterator[Record | BadRecord]:
        try:
            names = list(files_by_stem(folder, PICTURE_ENDINGS).values())[:: self.every]
        except (ValueError, OSError) as error:
            yield BadRecord(f"{clip}#0000", str(error))
            return
        yield from cut_into_records(clip, label, [folder / name for name in names], self._slots, self.frames_per_record)

    def _slots(self, paths: Sequence[Path]) -> dict[str, list[Payload]]:
        return {IMAGE: read_frames(paths, self.short_side, self.max_pixels)}


def _find_films(root: Path, listed: list[Listed]) -> dict[str, str]:
    return match_clips((entry.clip for entry in listed), find_files(root, VIDEO_ENDINGS, "films"))
