"""First-person films of a pack, drawn by a game's engine, with depth and classes of what is seen in every frame."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openlvm.core.records import BadRecord, Record
from openlvm.sources.interface import Part, require_positive, split_into_parts
from openlvm.sources.pack.files import Split, open_pack

CLIPS_PER_PART = 8  # of 16 frames: as many images as 128 pairs
GAME_CLASSES = ("scenery", "monster", "weapon or ammunition", "health or armor", "other thing")
"""Names of the ids in the slot "parts"; scenery is walls, floor and ceiling."""


@dataclass(frozen=True)
class PackGame:
    """Films cut into records of up to `frames_per_record` frames. Label: the scenario. Key: "<film>/<first frame>"."""

    split: Split = "train"
    frames_per_record: int = 16
    """Most frames of a record; the last record of a film may have fewer."""
    at: Path | None = None
    """Folder of the pack; None is the sample pack."""

    def __post_init__(self):
        require_positive(frames_per_record=self.frames_per_record)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", "depth", "parts")

    def describe(self) -> dict[str, Any]:
        return open_pack(self.at).described("pack_game", self)

    def parts(self) -> list[Part]:
        films = open_pack(self.at).entries("game", self.split).items()
        keys = [f"{name}/{at:04d}" for name, film in films for at in range(0, film["frames"], self.frames_per_record)]
        return split_into_parts(keys, CLIPS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        pack = open_pack(self.at)
        films = pack.entries("game", self.split)
        for key in part.items:
            name, first = key.split("/")
            window = slice(int(first), int(first) + self.frames_per_record)
            images, depths, ids = pack.game_frames(films[name])
            slots = {"image": list(images[window]), "depth": depths[window], "parts": ids[window]}
            yield Record(key=key, slots=slots, label=films[name]["scenario"])
