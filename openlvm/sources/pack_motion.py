"""Clips made from the sample pack: a cut-out object moves, grows and often turns before a panning photograph.

Drawn at twice the size and shrunk, so that motion of less than a pixel shows; the mask comes from the same coverage.
Everything is a pure function of (seed, key). Letters: F frames; H, W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from openlvm.core.records import BadRecord, Record, Segmentation
from openlvm.core.seeds import rng
from openlvm.sources.interface import Part, require_positive, split_into_parts
from openlvm.sources.pack_files import MASK_FROM, described, entries, object_views, pack_index, photo_pixels

CLIPS_PER_PART = 16  # of 8 frames: as many images as 128 pairs
TURN_SHARE = 0.5  # of the clips show the object's next view in every frame


def _between(
    chance: np.random.Generator, low: float, high: float, num_frames: int, least: float, most: float
) -> np.ndarray:
    """float64 [F]: an even way from one value to another in [low, high], `least` to `most` of the range apart."""
    length = chance.uniform(least, most) * (high - low)
    start = chance.uniform(low, high - length)
    way = np.linspace(start, start + length, num_frames)
    return way if chance.random() < 0.5 else way[::-1]


def _panned(pixels: np.ndarray, chance: np.random.Generator, num_frames: int) -> list[np.ndarray]:
    """F windows of a photograph, two thirds to nine tenths of its side, that move evenly; uint8 [H, W, 3]."""
    size = pixels.shape[0]
    side = chance.uniform(0.66, 0.9) * size
    left = _between(chance, 0, size - side, num_frames, 0.2, 1.0)
    top = _between(chance, 0, size - side, num_frames, 0.0, 0.8)
    image = Image.fromarray(pixels)
    bicubic = Image.Resampling.BICUBIC
    return [
        np.asarray(image.resize((size, size), bicubic, box=(x, y, x + side, y + side)))
        for x, y in zip(left, top, strict=True)
    ]


def _placed(cutout: Image.Image, x: float, y: float, side: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A square cut-out (mode RGBa) centered at (x, y) with `side` pixels, on an empty frame.

    Returns:
        color float32 [H, W, 3], premultiplied, and coverage float32 [H, W, 1], both in 0..1.
    """
    step = cutout.height / (2 * side)  # cut-out pixels for one pixel of the doubled frame
    left, top = cutout.width / 2 - 2 * x * step, cutout.height / 2 - 2 * y * step
    double = (2 * size, 2 * size)
    drawn = cutout.transform(double, Image.Transform.AFFINE, (step, 0, left, 0, step, top), Image.Resampling.BICUBIC)
    layer = np.asarray(drawn.resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255
    return layer[..., :3], layer[..., 3:]


def _back_and_forth(start: int, num_frames: int, num_views: int) -> np.ndarray:
    """View numbers 0 1 2 … 7 6 … 1 0 1 …, from place `start` of that cycle on; int64 [F]."""
    cycle = 2 * (num_views - 1)
    place = (start + np.arange(num_frames)) % cycle
    return np.minimum(place, cycle - place)


@dataclass(frozen=True)
class PackMotion:
    """Clips of a moving cut-out with its exact mask in every frame.

    Label: what the object is. Key: "motion-<number>/<object>".
    """

    split: Literal["train", "heldout"] = "train"
    frames: int = 8
    """F, frames of a clip."""
    clips: int = 256
    """How many clips; object and photograph of each are drawn by the seed."""
    seed: int = 0

    def __post_init__(self):
        require_positive(frames=self.frames, clips=self.clips)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", "mask")

    def describe(self) -> dict[str, Any]:
        return described("pack_motion", self)

    def parts(self) -> list[Part]:
        objects = list(entries("objects", self.split))
        drawn = rng("pack motion objects", self.seed).integers(len(objects), size=self.clips)
        return split_into_parts([f"motion-{n:05d}/{objects[at]}" for n, at in enumerate(drawn)], CLIPS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        for key in part.items:
            yield self._clip(key)

    def _clip(self, key: str) -> Record:
        chance = rng("pack motion", self.seed, key)
        entry = entries("objects", self.split)[key.split("/")[1]]
        photos = list(entries("photos", self.split).values())
        behind = _panned(photo_pixels(photos[chance.integers(len(photos))]), chance, self.frames)
        views = object_views(entry)
        size, num_views = views.color.shape[1], pack_index()["num_views"]
        order = _back_and_forth(int(chance.integers(num_views)), self.frames, num_views)
        order = order if chance.random() < TURN_SHARE else np.full(self.frames, order[0])
        x = _between(chance, 0.25 * size, 0.75 * size, self.frames, 0.3, 1.0)
        y = _between(chance, 0.32 * size, 0.68 * size, self.frames, 0.0, 0.9)
        side = _between(chance, 0.45 * size, 0.9 * size, self.frames, 0.0, 0.5)
        images, masks = [], []
        for frame, view in enumerate(order):
            pixels = np.dstack([views.color[view], views.coverage[view]])
            color, coverage = _placed(Image.fromarray(pixels).convert("RGBa"), x[frame], y[frame], side[frame], size)
            image = 255 * color + behind[frame] * (1 - coverage)
            images.append(np.clip(np.rint(image), 0, 255).astype(np.uint8))
            masks.append(Segmentation((255 * coverage[..., 0] >= MASK_FROM).astype(np.int32)))
        return Record(key=key, slots={"image": images, "mask": masks}, label=entry["label"])
