"""Pairs of flat scenes, before and after a task: the same task throughout a label, so that examples tell what to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from openlvm.core.picking import pick
from openlvm.core.records import BadRecord, Record
from openlvm.core.seeds import rng
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.worlds.arrangements import with_unseen_form
from openlvm.sources.worlds.drawing import draw_scene
from openlvm.sources.worlds.families import FAMILIES, HELDOUT_FAMILIES, instance_of, instances

RECORDS_PER_PART = 256
TRAINING_FAMILIES = tuple(name for name in FAMILIES if name not in HELDOUT_FAMILIES)

Split = Literal["train", "heldout"]


@dataclass(frozen=True)
class ShapesWorld:
    """A scene of shapes and what a task makes of it: F = 1, slots image and answer.

    Label: the task's instance ("recoloring/17"). Key: "<label>/<number>". Splits share no label; `families.py` says
    what else a held-out instance does not share with training.
    """

    split: Split = "train"
    tasks: tuple[str, ...] = TRAINING_FAMILIES
    """Families of tasks, names of `FAMILIES`; those of `HELDOUT_FAMILIES` exist in the split "heldout" alone."""
    instances: int = 64
    """Instances of each family."""
    records_per_instance: int = 8
    """Records of each instance."""
    size: int = 128
    """Side of the pictures, pixels."""
    seed: int = 0

    def __post_init__(self):
        require_positive(
            tasks=len(self.tasks),
            instances=self.instances,
            records_per_instance=self.records_per_instance,
            size=self.size,
        )
        pick({"train": 0, "heldout": 0}, self.split, "split")
        for name in self.tasks:
            pick(FAMILIES, name, "task family")
            instances(name, heldout=self.split == "heldout", count=0)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", "answer")

    def describe(self) -> dict[str, Any]:
        return describe_fields("shapes_world", self) | {"tasks": list(self.tasks)}

    def parts(self) -> list[Part]:
        keys = [
            f"{name}/{instance.number}/{record}"
            for name in self.tasks
            for instance in instances(name, heldout=self.split == "heldout", count=self.instances)
            for record in range(self.records_per_instance)
        ]
        return split_into_parts(keys, RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        for key in part.items:
            name, number, _ = key.split("/")
            instance, chance = instance_of(name, int(number)), rng("shapes world", self.seed, key)
            scene = with_unseen_form(instance, FAMILIES[name].scene(instance, chance), chance)
            pictures = (draw_scene(one, self.size) for one in (scene, FAMILIES[name].answer(instance, scene)))
            image, answer = pictures
            yield Record(key=key, slots={"image": [image], "answer": [answer]}, label=f"{name}/{number}")
