"""AVA: people in films, boxed once a second in a CSV; the frames at those seconds become clips with boxes."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.images import MAX_PIXELS
from openlvm.core.records import IMAGE, BadRecord, Boxes, Payload, Record
from openlvm.sources.clips.lists import match_clips
from openlvm.sources.clips.shrinking import shrink_payload
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import VIDEO_ENDINGS, find_files
from openlvm.sources.video import decode_at, shrink

NUM_ACTIONS = 80  # ava_action_list_v2.2.pbtxt; 1 to 14 are poses, of which a person has one

_People = dict[str, tuple[tuple[float, float, float, float], int]]
"""Person -> box as (left, top, right, bottom), shares of the frame, and its action's id."""


@dataclass(frozen=True, kw_only=True)
class AVABoxes:
    """The annotated seconds of AVA's films, each as one frame with a box for each person.

    A box's id is the person's pose (1 stand, 2 sit ...): the lowest of the actions it is annotated with. Seconds that
    the publisher excludes are left out.

    On disk, and the record it becomes:

        trainval/abc.mkv, ava_train_v2.2.csv      Record("abc#0000", slots image, boxes): frames at 902 s, 903 s ...
    """

    at: Path
    """Folder of the dataset."""
    annotations: str
    """CSV of boxes: film, second, left, top, right, bottom (shares of the frame), action, person."""
    excluded: str
    """CSV of the seconds that are left out: film, second."""
    films: str = "trainval"
    """Folder of the films, whole: seconds count from their start."""
    records_per_part: int = 1
    """Films read and written as one unit of work."""
    frames_per_record: int = 480
    """Longer films are cut into records of at most this many frames, a second apart."""
    short_side: int = 256
    """Frames are shrunk to this short side, pixels, as they are read; bounds memory. At least the tokenizer's size."""
    max_pixels: int = MAX_PIXELS
    """A film with larger frames is skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(
            records_per_part=self.records_per_part,
            frames_per_record=self.frames_per_record,
            short_side=self.short_side,
            max_pixels=self.max_pixels,
        )

    @property
    def slots(self) -> tuple[str, ...]:
        """The frame and its people."""
        return (IMAGE, "boxes")

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("ava boxes", self)

    def parts(self) -> list[Part]:
        """Films in the order of the annotations; an item is "film//path", the path empty where it is not there.

        Raises:
            FileNotFoundError: no folder of films, or no annotations.
            ValueError: malformed annotations, or two files for one film.
        """
        films = list(self._seconds())
        paths = match_clips(films, find_files(Path(self.at) / self.films, VIDEO_ENDINGS, "films"))
        return split_into_parts([f"{film}//{paths.get(film, '')}" for film in films], self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """The records of each film in turn, "FILM#0000", "FILM#0001" ...; those before a damaged place stand."""
        for item in part.items:
            film, _, path = item.partition("//")
            if not path:
                reason = f"it is in {self.annotations}, but there is no film for it in {Path(self.at) / self.films}"
                yield BadRecord(f"{film}#0000", reason)
                continue
            number = 0
            try:
                seconds = self._seconds()[film]
                times = sorted(seconds)
                frames = decode_at(Path(self.at) / self.films / path, times, max_pixels=self.max_pixels)
                for number, start in enumerate(range(0, len(times), self.frames_per_record)):
                    slots: dict[str, list[Payload]] = {slot: [] for slot in self.slots}
                    for time in times[start : start + self.frames_per_record]:
                        picture = next(frames)
                        boxes = _boxes(seconds[time], (picture.height, picture.width), time)
                        slots[IMAGE].append(shrink(picture, self.short_side))
                        slots["boxes"].append(shrink_payload(boxes, self.short_side))
                    yield Record(key=f"{film}#{number:04d}", slots=slots)
            except (ValueError, OSError) as error:
                yield BadRecord(f"{film}#{number:04d}", str(error))

    def _seconds(self) -> "dict[str, dict[float, _People]]":
        at, excluded = Path(self.at) / self.annotations, Path(self.at) / self.excluded
        for path in (at, excluded):
            if not path.is_file():
                raise FileNotFoundError(f"no file {path}; it is part of ava_v2.2.zip")
        return _parse(at, at.stat().st_mtime_ns, excluded, excluded.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _parse(at: Path, changed_ns: int, excluded: Path, excluded_ns: int) -> "dict[str, dict[float, _People]]":
    """Film -> second -> its people; the file is parsed once a process."""
    left_out = {(row[0], float(row[1])) for row in _rows(excluded, 2)}
    films: dict[str, dict[float, _People]] = {}
    for row in _rows(at, 8):
        try:
            film, second, action, person = row[0], float(row[1]), int(row[6]), row[7]
            left, top, right, bottom = (float(value) for value in row[2:6])
        except ValueError as error:
            raise ValueError(f"{at} has the row {','.join(row)!r}: {error}") from None
        if (film, second) in left_out:
            continue
        people = films.setdefault(film, {}).setdefault(second, {})
        action = min(action, people[person][1]) if person in people else action
        people[person] = ((left, top, right, bottom), action)
    return films


def _rows(path: Path, cells: int) -> Iterator[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if row and len(row) != cells:
                raise ValueError(f"line {number} of {path} has {len(row)} cells; expected {cells}. Is it AVA's file?")
            if row:
                yield row


def _boxes(people: _People, size: tuple[int, int], second: float) -> Boxes:
    shares = np.array([box for box, _ in people.values()], dtype=np.float32).reshape(-1, 4)
    actions = np.array([action for _, action in people.values()], dtype=np.int32)
    strange = actions[(actions < 1) | (actions > NUM_ACTIONS)]
    if strange.size:
        raise ValueError(f"at {second:g} s is the action {strange[0]}; AVA has 1 to {NUM_ACTIONS}")
    if (shares < 0).any() or (shares > 1).any() or (shares[:, 2:] <= shares[:, :2]).any():
        raise ValueError(f"at {second:g} s is a box that is not (left, top, right, bottom) in shares of the frame")
    return Boxes(shares * np.array([size[1], size[0], size[1], size[0]], dtype=np.float32), actions, size)
