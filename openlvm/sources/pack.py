"""The sample pack as sources: objects, their turns and single views, photographs, clips, and clips made of cut-outs.

Everything is a pure function of (seed, key). Pictures are 128 x 128; the tokenizer's ImagePreparation resizes them.
Train and heldout share no object, no photograph and no shot; an object stands before photographs of its own split.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from openlvm.core.picking import pick
from openlvm.core.records import BadRecord, Payload, Record
from openlvm.core.seeds import rng
from openlvm.sources.interface import Part, require_positive, split_into_parts
from openlvm.sources.pack_files import (
    ObjectViews,
    clip_frame,
    described,
    entries,
    object_views,
    pack_index,
    photo_pixels,
)
from openlvm.sources.pack_motion import PackMotion

RECORDS_PER_PART = 64
ANNOTATIONS = ("mask", "depth", "normals", "parts")

Split = Literal["train", "heldout"]
Background = Literal["photo", "plain", "mixed"]


def _photo_background(split: str, chance: np.random.Generator, size: int) -> np.ndarray:
    """A random window, half to all of a random photograph's crop, mirrored half of the time; uint8 [size, size, 3]."""
    photos = list(entries("photos", split).values())
    pixels = photo_pixels(photos[chance.integers(len(photos))])
    side = chance.uniform(0.5, 1.0) * pixels.shape[0]
    left, top = chance.uniform(0, pixels.shape[1] - side), chance.uniform(0, pixels.shape[0] - side)
    window = Image.fromarray(pixels).resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    return np.asarray(window)[:, ::-1] if chance.random() < 0.5 else np.asarray(window)


def _plain_background(split: str, chance: np.random.Generator, size: int) -> np.ndarray:
    """A gradient between two near colors in a random direction; uint8 [size, size, 3]."""
    first = chance.uniform(30, 245, 3)
    second = np.clip(first + chance.uniform(-70, 70, 3), 0, 255)
    angle = chance.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / size - 0.5
    along = np.clip(0.5 + x * np.cos(angle) + y * np.sin(angle), 0, 1)[..., None]
    return np.rint(first + along * (second - first)).astype(np.uint8)


def _mixed_background(split: str, chance: np.random.Generator, size: int) -> np.ndarray:
    """Three times in four a photograph, else plain."""
    draw = _photo_background if chance.random() < 0.75 else _plain_background
    return draw(split, chance, size)


BACKGROUNDS = {"photo": _photo_background, "plain": _plain_background, "mixed": _mixed_background}


def _scenes(split: str, views: ObjectViews, background: str, seed: int, key: str) -> list[np.ndarray]:
    """The object's F views before one background; uint8 [H, W, 3] each."""
    draw = pick(BACKGROUNDS, background, "background")
    behind = draw(split, rng("pack scene", seed, key), views.color.shape[1])
    share = views.coverage[..., None].astype(np.float32) / 255
    return list(np.rint(views.color * share + behind * (1 - share)).astype(np.uint8))


def _scene_keys(split: str, scenes_per_object: int, objects: int | None = None) -> list[str]:
    chosen = list(entries("objects", split))[:objects]
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

    def __post_init__(self):
        require_positive(scenes_per_object=self.scenes_per_object)
        pick(BACKGROUNDS, self.background, "background")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", *ANNOTATIONS)

    def describe(self) -> dict[str, Any]:
        return described("pack_objects", self)

    def parts(self) -> list[Part]:
        return split_into_parts(_scene_keys(self.split, self.scenes_per_object), RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        objects = entries("objects", self.split)
        chosen = pack_index()["annotated_views"]
        for key in part.items:
            entry = objects[key.split("/")[0]]
            views = object_views(entry)
            images = _scenes(self.split, views, self.background, self.seed, key)
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

    def __post_init__(self):
        require_positive(scenes_per_object=self.scenes_per_object)
        pick(BACKGROUNDS, self.background, "background")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", "mask")

    def describe(self) -> dict[str, Any]:
        return described("pack_turns", self)

    def parts(self) -> list[Part]:
        return split_into_parts(_scene_keys(self.split, self.scenes_per_object, self.objects), RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        objects = entries("objects", self.split)
        for key in part.items:
            entry = objects[key.split("/")[0]]
            views = object_views(entry)
            images = _scenes(self.split, views, self.background, self.seed, key)
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

    def __post_init__(self):
        require_positive(scenes_per_object=self.scenes_per_object)
        pick(BACKGROUNDS, self.background, "background")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", *ANNOTATIONS, "next_view")

    def describe(self) -> dict[str, Any]:
        return described("pack_views", self)

    def parts(self) -> list[Part]:
        chosen = pack_index()["annotated_views"]
        keys = [
            f"{key}/view{view}"
            for key in _scene_keys(self.split, self.scenes_per_object, self.objects)
            for view in chosen
        ]
        return split_into_parts(keys, RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        objects = entries("objects", self.split)
        chosen = pack_index()["annotated_views"]
        for key in part.items:
            entry = objects[key.split("/")[0]]
            views = object_views(entry)
            view = int(key.rsplit("view", 1)[1])
            images = _scenes(self.split, views, self.background, self.seed, key)
            annotated = _annotations(views, chosen)
            place = chosen.index(view)
            slots: dict[str, Sequence[Payload]] = {name: [annotated[name][place]] for name in ANNOTATIONS}
            yield Record(
                key=key,
                slots={"image": [images[view]], **slots, "next_view": [images[view + 1]]},
                label=entry["label"],
            )


@dataclass(frozen=True)
class PackPhotos:
    """Crops of photographs, F = 1. Label: the photograph. Key: "<photograph>-<number>"."""

    split: Split = "train"

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image",)

    def describe(self) -> dict[str, Any]:
        return described("pack_photos", self)

    def parts(self) -> list[Part]:
        return split_into_parts(list(entries("photos", self.split)), RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        photos = entries("photos", self.split)
        for key in part.items:
            yield Record(key=key, slots={"image": [photo_pixels(photos[key])]}, label=photos[key]["photograph"])


@dataclass(frozen=True)
class PackClips:
    """Clips, cut into records of up to `frames_per_record` frames. Label: the clip. Key: "<clip>/<first frame>"."""

    split: Split = "train"
    frames_per_record: int = 16
    """Most frames of a record; the last record of a clip may have fewer."""

    def __post_init__(self):
        require_positive(frames_per_record=self.frames_per_record)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image",)

    def describe(self) -> dict[str, Any]:
        return described("pack_clips", self)

    def parts(self) -> list[Part]:
        clips = entries("clips", self.split).items()
        keys = [f"{name}/{at:04d}" for name, clip in clips for at in range(0, clip["frames"], self.frames_per_record)]
        return split_into_parts(keys, RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        clips = entries("clips", self.split)
        for key in part.items:
            name, first = key.split("/")
            last = min(int(first) + self.frames_per_record, clips[name]["frames"])
            frames = [clip_frame(clips[name], number) for number in range(int(first), last)]
            yield Record(key=key, slots={"image": frames}, label=name)


PACK_SOURCES = {
    "objects": PackObjects,
    "turns": PackTurns,
    "views": PackViews,
    "photos": PackPhotos,
    "clips": PackClips,
    "motion": PackMotion,
}
"""What can be read from the sample pack, by name."""
