"""Clips made from a pack: a cut-out object or drawing moves, grows and often turns before a panning photograph.

The mask comes from the same coverage as the picture. Letters: F frames; H, W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from openlvm.core.picking import pick
from openlvm.core.records import BadRecord, Record
from openlvm.core.seeds import rng
from openlvm.sources.interface import Part, require_positive, split_into_parts
from openlvm.sources.pack.files import Pack, Split, open_pack
from openlvm.sources.pack.scenes import over, placed

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


def _back_and_forth(start: int, num_frames: int, num_views: int) -> np.ndarray:
    """View numbers 0 1 2 … 7 6 … 1 0 1 …, from place `start` of that cycle on; int64 [F]."""
    cycle = max(2 * (num_views - 1), 1)
    place = (start + np.arange(num_frames)) % cycle
    return np.minimum(place, cycle - place)


def _turning(pack: Pack, entry: dict[str, Any]) -> np.ndarray:
    """An object's views, uint8 [F, H, W, 4]."""
    views = pack.object_views(entry)
    return np.concatenate([views.color, views.coverage[..., None]], axis=-1)


def _flat(pack: Pack, entry: dict[str, Any]) -> np.ndarray:
    """A stamp's only view, uint8 [1, H, W, 4]."""
    return pack.stamp(entry)[None]


THINGS = {"objects": _turning, "stamps": _flat}


@dataclass(frozen=True)
class PackMotion:
    """Clips of a moving cut-out with its exact mask in every frame.

    Label: what it is. Key: "motion-<number>/<object or stamp>".
    """

    split: Split = "train"
    frames: int = 8
    """F, frames of a clip."""
    clips: int = 256
    """How many clips; object and photograph of each are drawn by the seed."""
    seed: int = 0
    things: Literal["objects", "stamps"] = "objects"
    """What moves: objects, half of which turn, or flat drawings."""
    at: Path | None = None
    """Folder of the pack; None is the sample pack."""

    def __post_init__(self):
        pick(THINGS, self.things, "things that move")
        require_positive(frames=self.frames, clips=self.clips)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", "mask")

    def describe(self) -> dict[str, Any]:
        return open_pack(self.at).described("pack_motion", self)

    def parts(self) -> list[Part]:
        things = list(open_pack(self.at).entries(self.things, self.split))
        drawn = rng("pack motion objects", self.seed).integers(len(things), size=self.clips)
        return split_into_parts([f"motion-{n:05d}/{things[at]}" for n, at in enumerate(drawn)], CLIPS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        for key in part.items:
            yield self._clip(open_pack(self.at), key)

    def _clip(self, pack: Pack, key: str) -> Record:
        chance = rng("pack motion", self.seed, key)
        entry = pack.entries(self.things, self.split)[key.split("/")[1]]
        photos = list(pack.entries("photos", self.split).values())
        behind = _panned(pack.photo(photos[chance.integers(len(photos))]), chance, self.frames)
        views = THINGS[self.things](pack, entry)
        size = pack.index["size"]
        order = _back_and_forth(int(chance.integers(len(views))), self.frames, len(views))
        order = order if chance.random() < TURN_SHARE else np.full(self.frames, order[0])
        x = _between(chance, 0.25 * size, 0.75 * size, self.frames, 0.3, 1.0)
        y = _between(chance, 0.32 * size, 0.68 * size, self.frames, 0.0, 0.9)
        side = _between(chance, 0.45 * size, 0.9 * size, self.frames, 0.0, 0.5)
        images, masks = [], []
        for frame, view in enumerate(order):
            cutout = Image.fromarray(views[view]).convert("RGBa")
            image, mask = over(behind[frame], *placed(cutout, x[frame], y[frame], side[frame], size))
            images.append(image)
            masks.append(mask)
        return Record(key=key, slots={"image": images, "mask": masks}, label=entry["label"])
