"""Objects of a pack: views of a turn with depth, normals and parts, whole turns, and single views with the next one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.picking import pick
from openlvm.core.records import BadRecord, Payload, Record
from openlvm.sources.interface import Part, require_positive, split_into_parts
from openlvm.sources.pack.files import ObjectViews, Pack, Split, open_pack
from openlvm.sources.pack.scenes import BACKGROUNDS, RECORDS_PER_PART, Background, background_of, before

ANNOTATIONS = ("mask", "depth", "normals", "parts")


def _scenes(pack: Pack, split: str, views: ObjectViews, background: str, seed: int, key: str) -> list[np.ndarray]:
    """The object's F views before one background; uint8 [H, W, 3] each."""
    return before(background_of(pack, split, background, seed=seed, key=key), views.color, views.coverage)


def _scene_keys(pack: Pack, split: str, scenes_per_object: int, objects: int | None = None) -> list[str]:
    chosen = list(pack.entries("objects", split))[:objects]
    return [f"{key}/scene{scene}" for key in chosen for scene in range(scenes_per_object)]


def _annotations(views: ObjectViews, chosen: Sequence[int]) -> dict[str, Sequence[Payload]]:
    """The slots of ANNOTATIONS for the annotated views of an object; `chosen` are their places among all views."""
    masks = [views.masks[view] for view in chosen]
    return {"mask": masks, "depth": views.depths, "normals": views.normals, "parts": views.parts}


@dataclass(frozen=True)
class PackObjects:
    """Objects before a background, every frame annotated: F = 4 views of one turn, 30 degrees apart, one background.

    Label: what the object is ("chair"). Key: "<object>/scene<n>".
    """

    split: Split = "train"
    background: Background = "photo"
    """What stands behind: crops of the split's photographs, color gradients, or both, three to one."""
    scenes_per_object: int = 1
    """Records of each object, with different backgrounds."""
    seed: int = 0
    at: Path | None = None
    """Folder of the pack; None is the sample pack."""

    def __post_init__(self):
        require_positive(scenes_per_object=self.scenes_per_object)
        pick(BACKGROUNDS, self.background, "background")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", *ANNOTATIONS)

    def describe(self) -> dict[str, Any]:
        return open_pack(self.at).described("pack_objects", self)

    def parts(self) -> list[Part]:
        return split_into_parts(_scene_keys(open_pack(self.at), self.split, self.scenes_per_object), RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        pack = open_pack(self.at)
        objects, chosen = pack.entries("objects", self.split), pack.index["annotated_views"]
        for key in part.items:
            entry = objects[key.split("/")[0]]
            views = pack.object_views(entry)
            images = _scenes(pack, self.split, views, self.background, self.seed, key)
            slots: Mapping[str, Sequence[Payload]] = {
                "image": [images[v] for v in chosen],
                **_annotations(views, chosen),
            }
            yield Record(key=key, slots=slots, label=entry["label"])


@dataclass(frozen=True)
class PackTurns:
    """Turns of objects before a background: F = 8 views, 15 degrees apart, each with its foreground mask.

    Label: what the object is. Key: "<object>/scene<n>".
    """

    split: Split = "train"
    background: Background = "photo"
    """As in `PackObjects`; the same seed and key give the same background there."""
    scenes_per_object: int = 1
    """Records of each object, with different backgrounds."""
    objects: int | None = None
    """Only the first so many objects; None is all of the split."""
    seed: int = 0
    at: Path | None = None
    """Folder of the pack; None is the sample pack."""

    def __post_init__(self):
        require_positive(scenes_per_object=self.scenes_per_object)
        pick(BACKGROUNDS, self.background, "background")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", "mask")

    def describe(self) -> dict[str, Any]:
        return open_pack(self.at).described("pack_turns", self)

    def parts(self) -> list[Part]:
        keys = _scene_keys(open_pack(self.at), self.split, self.scenes_per_object, self.objects)
        return split_into_parts(keys, RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        pack = open_pack(self.at)
        objects = pack.entries("objects", self.split)
        for key in part.items:
            entry = objects[key.split("/")[0]]
            views = pack.object_views(entry)
            images = _scenes(pack, self.split, views, self.background, self.seed, key)
            yield Record(key=key, slots={"image": images, "mask": views.masks}, label=entry["label"])


@dataclass(frozen=True)
class PackViews:
    """Single views of objects with all annotations and the next view (15 degrees further): F = 1, for pairs of images.

    Every view has a background of its own. Label: what the object is. Key: "<object>/scene<n>/view<v>".
    """

    split: Split = "train"
    background: Background = "photo"
    """As in `PackObjects`; a view and its next view always share one."""
    scenes_per_object: int = 1
    """Times that each view of an object is shown, with different backgrounds."""
    objects: int | None = None
    """Only the first so many objects; None is all of the split."""
    seed: int = 0
    at: Path | None = None
    """Folder of the pack; None is the sample pack."""

    def __post_init__(self):
        require_positive(scenes_per_object=self.scenes_per_object)
        pick(BACKGROUNDS, self.background, "background")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", *ANNOTATIONS, "next_view")

    def describe(self) -> dict[str, Any]:
        return open_pack(self.at).described("pack_views", self)

    def parts(self) -> list[Part]:
        pack = open_pack(self.at)
        keys = [
            f"{key}/view{view}"
            for key in _scene_keys(pack, self.split, self.scenes_per_object, self.objects)
            for view in pack.index["annotated_views"]
        ]
        return split_into_parts(keys, RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        pack = open_pack(self.at)
        objects, chosen = pack.entries("objects", self.split), pack.index["annotated_views"]
        for key in part.items:
            entry = objects[key.split("/")[0]]
            views = pack.object_views(entry)
            view = int(key.rsplit("view", 1)[1])
            images = _scenes(pack, self.split, views, self.background, self.seed, key)
            annotated = _annotations(views, chosen)
            place = chosen.index(view)
            slots: dict[str, Sequence[Payload]] = {name: [annotated[name][place]] for name in ANNOTATIONS}
            yield Record(
                key=key,
                slots={"image": [images[view]], **slots, "next_view": [images[view + 1]]},
                label=entry["label"],
            )
