"""Records to prompt with: pictures are generated and drawn at the tokenizer's size when a prompt first shows them.

Letters beside the project's own: F frames or views of a scene.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from openlvm.core.images import ImagePreparation
from openlvm.core.picking import pick
from openlvm.core.records import IMAGE, BadRecord, Payload, Record
from openlvm.core.seeds import rng
from openlvm.sentences.generated import GENERATED, hue_turned
from openlvm.sentences.render import draw, resized
from openlvm.sources.interface import Part, Source

Make = Callable[[np.ndarray, np.random.Generator], Payload]

MAPPINGS: dict[str, Make] = {f"hue:{degrees}": partial(hue_turned, degrees=degrees) for degrees in range(30, 360, 30)}
"""Recolorings that an evaluation may ask for, whether or not stores are made with them."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A record and what it looks like to a tokenizer."""

    record: Record
    preparation: ImagePreparation
    subject: str
    """What it shows; no example shows what its query shows."""
    group: str = ""
    """Examples and query of a prompt share it: the task instance; "" where all scenes go together."""
    _drawn: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    @property
    def num_frames(self) -> int:
        """F."""
        return self.record.num_frames

    @property
    def cluster(self) -> str:
        """What two queries of it share, so that they are not independent."""
        return self.group or self.subject

    def payload(self, slot: str, frame: int) -> Payload:
        """A slot of the record, or one made from its picture as `sentences.generated.add_generated` does (seed 0)."""
        if slot in self.record.slots:
            return self.record.slots[slot][frame]
        make = pick({**MAPPINGS, **GENERATED}, slot, "slot")
        image = self.record.slots[IMAGE][frame]
        assert isinstance(image, np.ndarray), self.record.key
        return make(image, rng("generated", 0, self.record.key, slot))

    def truth(self, slot: str, frame: int) -> Payload:
        """The payload after the tokenizer's preparation, in its physical unit."""
        return resized(self.payload(slot, frame), self.preparation)

    def picture(self, slot: str, frame: int) -> np.ndarray:
        """The payload drawn, uint8 [size, size, 3]: the same array object on every call."""
        if (slot, frame) not in self._drawn:
            self._drawn[slot, frame] = draw(self.payload(slot, frame), self.preparation)
        return self._drawn[slot, frame]

    def frames(self, slot: str) -> list[np.ndarray]:
        """All F pictures of a slot."""
        return [self.picture(slot, frame) for frame in range(self.num_frames)]


def object_of(record: Record) -> str:
    """The subject of most records: the key up to its first slash ("chair-7/scene0" -> "chair-7")."""
    return record.key.split("/")[0]


def scenes_of(
    source: Source,
    preparation: ImagePreparation,
    *,
    subject: Callable[[Record], str] = object_of,
    grouped: bool = False,
    limit: int | None = None,
) -> list[Scene]:
    """The scenes of a source.

    Args:
        subject: what a record shows.
        grouped: a prompt's examples come from records of the query's label (its task instance).
        limit: at most so many items, taken evenly; None is all.

    Raises:
        ValueError: a record cannot be read.
    """
    items = [item for part in source.parts() for item in part.items]
    if limit is not None and len(items) > limit:
        items = [items[number * len(items) // limit] for number in range(limit)]
    scenes = []
    for record in source.read(Part("00000", tuple(items))):
        if isinstance(record, BadRecord):
            raise ValueError(f"{record.key}: {record.reason}. A report of the rest would be of other pictures")
        scenes.append(Scene(record, preparation, subject(record), record.label if grouped else ""))
    return scenes


def mean_answers(scenes: Sequence[Scene], slots: Sequence[str]) -> Mapping[str, np.ndarray]:
    """Per slot the mean picture over the first frame of each scene, uint8 [size, size, 3]."""
    return {
        slot: np.rint(np.mean([scene.picture(slot, 0) for scene in scenes], axis=0)).astype(np.uint8) for slot in slots
    }
