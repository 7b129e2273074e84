"""What a cut-out stands before: photographs and plain gradients; and how a cut-out is drawn at any size and place."""

from typing import Literal

import numpy as np
from PIL import Image

from openlvm.core.picking import pick
from openlvm.core.records import Segmentation
from openlvm.core.seeds import rng
from openlvm.sources.pack.files import MASK_FROM, Pack

RECORDS_PER_PART = 64
Background = Literal["photo", "plain", "mixed"]


def _photo_background(pack: Pack, split: str, chance: np.random.Generator, size: int) -> np.ndarray:
    """A random window, half to all of a random photograph's crop, mirrored half of the time; uint8 [size, size, 3]."""
    photos = list(pack.entries("photos", split).values())
    pixels = pack.photo(photos[chance.integers(len(photos))])
    side = chance.uniform(0.5, 1.0) * pixels.shape[0]
    left, top = chance.uniform(0, pixels.shape[1] - side), chance.uniform(0, pixels.shape[0] - side)
    window = Image.fromarray(pixels).resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    return np.asarray(window)[:, ::-1] if chance.random() < 0.5 else np.asarray(window)


def _plain_background(pack: Pack, split: str, chance: np.random.Generator, size: int) -> np.ndarray:
    """A gradient between two near colors in a random direction; uint8 [size, size, 3]."""
    first = chance.uniform(30, 245, 3)
    second = np.clip(first + chance.uniform(-70, 70, 3), 0, 255)
    angle = chance.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / size - 0.5
    along = np.clip(0.5 + x * np.cos(angle) + y * np.sin(angle), 0, 1)[..., None]
    return np.rint(first + along * (second - first)).astype(np.uint8)


def _mixed_background(pack: Pack, split: str, chance: np.random.Generator, size: int) -> np.ndarray:
    """Three times in four a photograph, else plain."""
    draw = _photo_background if chance.random() < 0.75 else _plain_background
    return draw(pack, split, chance, size)


BACKGROUNDS = {"photo": _photo_background, "plain": _plain_background, "mixed": _mixed_background}


def background_of(pack: Pack, split: str, kind: str, *, seed: int, key: str) -> np.ndarray:
    """What stands behind the record `key`; uint8 [H, W, 3]."""
    draw = pick(BACKGROUNDS, kind, "background")
    return draw(pack, split, rng("pack scene", seed, key), pack.index["size"])


def before(behind: np.ndarray, color: np.ndarray, coverage: np.ndarray) -> list[np.ndarray]:
    """Cut-outs [F, H, W, 3] with coverage [F, H, W] of 255, drawn over one background; F uint8 [H, W, 3]."""
    share = coverage[..., None].astype(np.float32) / 255
    return list(np.rint(color * share + behind * (1 - share)).astype(np.uint8))


def placed(cutout: Image.Image, x: float, y: float, side: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A square cut-out (mode RGBa) centered at (x, y) with `side` pixels, on an empty frame.

    Drawn at twice the size and shrunk, so that motion of less than a pixel shows.

    Returns:
        color float32 [H, W, 3], premultiplied, and coverage float32 [H, W, 1], both in 0..1.
    """
    step = cutout.height / (2 * side)  # cut-out pixels for one pixel of the doubled frame
    left, top = cutout.width / 2 - 2 * x * step, cutout.height / 2 - 2 * y * step
    double = (2 * size, 2 * size)
    drawn = cutout.transform(double, Image.Transform.AFFINE, (step, 0, left, 0, step, top), Image.Resampling.BICUBIC)
    layer = np.asarray(drawn.resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255
    return layer[..., :3], layer[..., 3:]


def over(behind: np.ndarray, color: np.ndarray, coverage: np.ndarray) -> tuple[np.ndarray, Segmentation]:
    """What `placed` returned over a background uint8 [H, W, 3]: the picture, and the mask of the cut-out."""
    image = 255 * color + behind * (1 - coverage)
    mask = (255 * coverage[..., 0] >= MASK_FROM).astype(np.int32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), Segmentation(mask)
