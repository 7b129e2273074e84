"""Lit solids, ray-cast: pictures with exact masks, depth and normals, and turns of a camera around them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from openlvm.core.picking import pick
from openlvm.core.records import BadRecord, Record
from openlvm.core.seeds import rng
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.worlds.raycast.stage import camera_at, random_stage, render

RECORDS_PER_PART = 64
TURN_DEGREES = 15  # between views, as in the sample pack

Split = Literal["train", "heldout"]


@dataclass(frozen=True)
class PrimitivesWorld:
    """Stages of solids: F = `views` views, 15 degrees apart, slots image, mask, depth and normals.

    Key: "stage/<number>". Splits share no (kind, color) of a solid. No label.
    """

    split: Split = "train"
    count: int = 1000
    """Records."""
    views: int = 1
    """Frames of a record: 1, or a turn of the camera around the stage."""
    size: int = 128
    """Side of the pictures, pixels."""
    seed: int = 0

    def __post_init__(self):
        require_positive(count=self.count, views=self.views, size=self.size)
        pick({"train": 0, "heldout": 0}, self.split, "split")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", "mask", "depth", "normals")

    def describe(self) -> dict[str, Any]:
        return describe_fields("primitives_world", self)

    def parts(self) -> list[Part]:
        return split_into_parts([f"stage/{number}" for number in range(self.count)], RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        for key in part.items:
            chance = rng("primitives world", self.seed, key)
            stage = random_stage(chance, heldout=self.split == "heldout")
            pitch = float(chance.uniform(28, 40))
            views = [render(stage, camera_at(TURN_DEGREES * view, pitch), self.size) for view in range(self.views)]
            yield Record(key=key, slots={slot: [view[slot] for view in views] for slot in self.slots})
