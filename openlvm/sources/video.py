"""Video files as clips, decoded one record at a time by PyAV (extra `video`)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from openlvm.core.images import MAX_PIXELS
from openlvm.core.records import IMAGE, BadRecord, Record
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import VIDEO_ENDINGS, find_files, folder_of

MISSING_FRAMES = 0.05
"""Share of the frames in the header that may be missing (edit lists hide some); beyond it, a file is cut off."""


@dataclass(frozen=True, kw_only=True)
class VideoFiles:
    """Video files anywhere below a folder; long ones are cut into several records. The label is the folder.

    On disk, and the records it becomes:

        clips/surfing/wave.mp4      Record("surfing/wave.mp4#0000", label="surfing"), ...
    """

    at: Path
    """Folder of the videos; subfolders are searched too."""
    records_per_part: int = 16
    """Files read and written as one unit of work."""
    frames_per_record: int = 480
    """Longer files are cut into records of at most this many frames; 16 images at a stride of 24 need 361."""
    every: int = 1
    """Keep every n-th frame, counted from the start of the file."""
    short_side: int = 256
    """Frames are shrunk to this short side, pixels, as they are read; bounds memory. At least the tokenizer's size."""
    max_pixels: int = MAX_PIXELS
    """A file with larger frames is skipped and reported, before it is decoded."""

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
        return describe_fields("videos", self)

    def parts(self) -> list[Part]:
        """Files in natural order of their paths.

        Raises:
            ImportError: PyAV is not installed.
        """
        _import_av()
        return split_into_parts(find_files(Path(self.at), VIDEO_ENDINGS, "videos"), self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """The records of each file in turn; at most one record's frames are in memory.

        Where a file breaks off, its whole records stand, and the one begun is reported as bad.
        """
        for item in part.items:
            yield from film_records(
                Path(self.at) / item,
                key=item,
                label=folder_of(item),
                frames_per_record=self.frames_per_record,
                every=self.every,
                short_side=self.short_side,
                max_pixels=self.max_pixels,
            )


def film_records(
    path: Path, *, key: str, label: str, frames_per_record: int, every: int, short_side: int, max_pixels: int
) -> Iterator[Record | BadRecord]:
    """The records of one file, keys "KEY#0000", "KEY#0001" ...; the options are those of `VideoFiles`.

    Where the file breaks off, its whole records stand, and the one begun is reported as bad.
    """
    frames: list[np.ndarray] = []
    number = 0
    try:
        for frame in decode(path, every=every, max_pixels=max_pixels):
            if len(frames) == frames_per_record:
                yield Record(key=f"{key}#{number:04d}", slots={IMAGE: frames}, label=label)
                frames, number = [], number + 1
            frames.append(shrink(frame, short_side))
        yield Record(key=f"{key}#{number:04d}", slots={IMAGE: frames}, label=label)
    except (ValueError, OSError) as error:
        yield BadRecord(f"{key}#{number:04d}", str(error))


def _import_av() -> Any:
    try:
        import av
    except ImportError:
        raise ImportError("reading video needs PyAV: pip install openlvm[video]") from None
    return av


def decode(path: Path, *, every: int = 1, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The frames of a video's first stream, upright, decoded as they are asked for.

    Args:
        path: of the file.
        every: keep every n-th frame, the first one included; the others are decoded and not converted.
        max_pixels: refuse larger frames.

    Yields:
        PIL images in RGB.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: not a video, frames too large, damaged, or cut off before the end its header promises.
    """
    with opened_video(path, max_pixels) as (container, stream):
        count = 0
        for frame in container.decode(stream):
            if count % every == 0:
                yield _upright(frame)
            count += 1
        if count < stream.frames * (1 - MISSING_FRAMES) - 1:
            raise ValueError(f"it ends after {count} of {stream.frames} frames")
        if count == 0:
            raise ValueError("it has no frames")


def decode_at(path: Path, seconds: Sequence[float], *, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The frame nearest to each time of a video's first stream, upright; nothing before the first is decoded in vain.

    Args:
        path: of the file.
        seconds: from the start of the stream, ascending.
        max_pixels: refuse larger frames.

    Yields:
        PIL images in RGB, one for each time.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: not a video, frames too large, damaged, or over before the last time.
    """
    with opened_video(path, max_pixels) as (container, stream):
        start = float((stream.start_time or 0) * stream.time_base)
        half = 0.5 / float(stream.average_rate or 25)  # of a frame: the nearest frame may be shown a little earlier
        if seconds:
            container.seek(round((start + seconds[0]) / stream.time_base), stream=stream)  # to the key frame before
        done = 0
        for frame in container.decode(stream):
            while done < len(seconds) and frame.time is not None and frame.time - start >= seconds[done] - half:
                yield _upright(frame)
                done += 1
            if done == len(seconds):
                return
        if done < len(seconds):
            raise ValueError(f"it ends before {seconds[done]:g} s")


def _upright(frame: Any) -> Image.Image:
    picture: Image.Image = frame.to_image().rotate(frame.rotation, expand=True)
    return picture


@contextmanager
def opened_video(path: Path, max_pixels: int) -> Iterator[tuple[Any, Any]]:
    """A file's PyAV container and its first video stream; whatever goes wrong with them is a ValueError that names it.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: no video, frames of more than `max_pixels`, or any error inside the `with`.
    """
    av = _import_av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError("it has no video stream")
            stream = container.streams.video[0]
            if stream.width * stream.height > max_pixels:
                raise ValueError(f"frames of {stream.width} x {stream.height} pixels; the limit is {max_pixels:,}")
            yield container, stream
    except (av.FFmpegError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as video: {error}") from None


def shrink(picture: Image.Image, short_side: int) -> np.ndarray:
    """The picture as RGB uint8 [H, W, 3] with a short side of at most `short_side`; smaller ones stay as they are."""
    scale = short_side / min(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(picture.convert("RGB"))
