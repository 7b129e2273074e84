"""Data sets that are folders of pictures: images, classes, frames of clips, views of objects; the table of layouts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from openlvm.core.images import MAX_PIXELS, read_image
from openlvm.core.records import IMAGE, BadRecord, Record
from openlvm.sources.interface import Part, Source, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import PICTURE_ENDINGS, by_folder, find_files, folder_of
from openlvm.sources.official.matched import MatchedFiles
from openlvm.sources.official.tars import Tars
from openlvm.sources.pairs import PairedFolders
from openlvm.sources.rendered.meshes import RenderedMeshes
from openlvm.sources.video import VideoFiles, shrink


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Pictures anywhere below a folder, each a record without a label.

    On disk, and the record it becomes:

        photos/beach.jpg         Record("beach.jpg")
        photos/2019/dunes.png    Record("2019/dunes.png")
    """

    at: Path
    """Folder of the pictures; subfolders are searched too."""
    records_per_part: int = 1000
    """Pictures read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Larger pictures are skipped and reported, before they are decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture alone."""
        return (IMAGE,)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("images", self)

    def parts(self) -> list[Part]:
        """Pictures in natural order of their paths."""
        return split_into_parts(find_files(Path(self.at), PICTURE_ENDINGS, "pictures"), self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each picture."""
        for item in part.items:
            yield _picture_record(Path(self.at), item, "", self.max_pixels)


@dataclass(frozen=True, kw_only=True)
class ClassFolders:
    """Pictures sorted into one folder for each class, which is their label.

    On disk, and the record it becomes:

        animals/cat/1.jpg          Record("cat/1.jpg", label="cat")
        animals/dog/red/2.jpg      Record("dog/red/2.jpg", label="dog")
    """

    at: Path
    """Folder of the class folders."""
    records_per_part: int = 1000
    """Pictures read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Larger pictures are skipped and reported, before they are decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture alone."""
        return (IMAGE,)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("classes", self)

    def parts(self) -> list[Part]:
        """Pictures in natural order of their paths, so class by class.

        Raises:
            ValueError: a picture lies outside the class folders.
        """
        items = find_files(Path(self.at), PICTURE_ENDINGS, "class folders of pictures")
        homeless = [item for item in items if not folder_of(item)]
        if homeless:
            raise ValueError(
                f"{len(homeless)} of {len(items)} pictures lie in {self.at} itself, first {homeless[0]!r}; each must "
                f"lie in the folder of its class. For pictures without classes use the layout 'images'"
            )
        return split_into_parts(items, self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each picture, labelled by its class."""
        for item in part.items:
            yield _picture_record(Path(self.at), item, item.partition("/")[0], self.max_pixels)


@dataclass(frozen=True, kw_only=True)
class FrameFolders:
    """Clips, each a folder of frames; frame 2 comes before frame 10.

    On disk, and the record it becomes:

        clips/surfing/wave/frame1.jpg, frame2.jpg, ..., frame10.jpg      Record("surfing/wave#0000", label="surfing")
    """

    at: Path
    """Folder of the clips; any folder below it that holds pictures is a clip."""
    records_per_part: int = 16
    """Clips read and written as one unit of work."""
    frames_per_record: int = 480
    """Longer clips are cut into records of at most this many frames; 16 images at a stride of 24 need 361."""
    short_side: int = 256
    """Frames are shrunk to this short side, pixels, as they are read; bounds memory. At least the tokenizer's size."""
    max_pixels: int = MAX_PIXELS
    """A clip with a larger frame is skipped and reported, before the frame is decoded."""

    def __post_init__(self) -> None:
        require_positive(
            records_per_part=self.records_per_part,
            frames_per_record=self.frames_per_record,
            short_side=self.short_side,
            max_pixels=self.max_pixels,
        )

    @property
    def slots(self) -> tuple[str, ...]:
        """The frame alone."""
        return (IMAGE,)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("frames", self)

    def parts(self) -> list[Part]:
        """Folders in natural order."""
        folders = by_folder(find_files(Path(self.at), PICTURE_ENDINGS, "folders of frames"))
        return split_into_parts(list(folders), self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """The records of each clip in turn; one bad frame spoils its record and no other."""
        for clip in part.items:
            frames = _pictures_in(Path(self.at), clip)
            for number, start in enumerate(range(0, len(frames) or 1, self.frames_per_record)):
                some = frames[start : start + self.frames_per_record]
                key = f"{clip or Path(self.at).name}#{number:04d}"
                yield _folder_record(Path(self.at), some, key, folder_of(clip), self.short_side, self.max_pixels)


@dataclass(frozen=True, kw_only=True)
class ViewFolders:
    """Objects, each a folder with its views in turning order; the class is the folder above.

    On disk, and the record it becomes:

        objects/chair/armchair-7/000.png, 015.png, 030.png, ...      Record("chair/armchair-7", label="chair")
    """

    at: Path
    """Folder of the objects; any folder below it that holds pictures is an object."""
    records_per_part: int = 100
    """Objects read and written as one unit of work."""
    short_side: int = 256
    """Views are shrunk to this short side, pixels, as they are read; bounds memory. At least the tokenizer's size."""
    max_pixels: int = MAX_PIXELS
    """An object with a larger view is skipped and reported, before the view is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, short_side=self.short_side, max_pixels=self.max_pixels)

    @property
    def slots(self) -> tuple[str, ...]:
        """The view alone."""
        return (IMAGE,)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("views", self)

    def parts(self) -> list[Part]:
        """Folders in natural order."""
        folders = by_folder(find_files(Path(self.at), PICTURE_ENDINGS, "folders of views"))
        return split_into_parts(list(folders), self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each object: a turn is never cut, and one bad view spoils it."""
        for thing in part.items:
            views = _pictures_in(Path(self.at), thing)
            key = thing or Path(self.at).name
            yield _folder_record(Path(self.at), views, key, folder_of(thing), self.short_side, self.max_pixels)


LAYOUTS: dict[str, type[Source]] = {
    "images": ImageFolder,
    "classes": ClassFolders,
    "pairs": PairedFolders,
    "frames": FrameFolders,
    "videos": VideoFiles,
    "views": ViewFolders,
    "matched": MatchedFiles,
    "tars": Tars,
    "meshes": RenderedMeshes,
}
"""Name -> layout, for the command line and the catalog."""


def _picture_record(root: Path, item: str, label: str, max_pixels: int) -> Record | BadRecord:
    try:
        return Record(key=item, slots={IMAGE: [read_image(root / item, max_pixels=max_pixels)]}, label=label)
    except (ValueError, OSError) as error:
        return BadRecord(item, str(error))


def _pictures_in(root: Path, folder: str) -> list[str]:
    """Pictures that lie directly in one folder, in natural order.

    Empty when the folder went away after it was listed: a record without frames is then refused, hence reported.
    """
    try:
        found = find_files(root / folder, PICTURE_ENDINGS, "pictures")
    except (ValueError, OSError):
        return []
    return [f"{folder}/{name}" if folder else name for name in found if not folder_of(name)]


def _folder_record(
    root: Path, paths: list[str], key: str, label: str, short_side: int, max_pixels: int
) -> Record | BadRecord:
    frames: list[np.ndarray] = []
    try:
        for path in paths:
            picture = read_image(root / path, max_pixels=max_pixels)
            frames.append(shrink(Image.fromarray(picture), short_side))
        return Record(key=key, slots={IMAGE: frames}, label=label)
    except (ValueError, OSError) as error:
        return BadRecord(key, str(error))
