"""Tasks made from pictures alone: each function turns a picture into a degraded, moved or recolored one, or its edges.

Pure functions of (picture, generator): uint8 [H, W, 3] in and out, unless said otherwise. One kind of slot needs an
annotation too: "over:pose" is the picture with the drawing of the record's slot "pose" laid over it.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

from openlvm.core.picking import pick
from openlvm.core.records import IMAGE, Edges, Payload, Record
from openlvm.core.seeds import rng
from openlvm.sentences.annotations.over import lay_over

LUMA = np.array([0.2989, 0.5870, 0.1140], dtype=np.float32)  # tokenize_colorization_dataset_muse.py of LVM
ONE_HOLE = 0.3  # chance of one square instead of a grid; tokenize_inpainting_dataset_muse.py of LVM
PATCHES = 8  # the same file: a grid of 8 x 8
GRAIN_SIDE = 256  # noise and rain are as coarse as a pixel of a picture this size (LVM's tokenizer)
OVER = "over:"  # "over:SLOT" or "over:SLOT:STYLE"
EDGE_SIDE = 512  # edges of larger pictures are found at this short side: finer texture is not a contour


def gray(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Luma in three equal channels: the input of colorization."""
    return _to_pixels(np.repeat((image @ LUMA)[..., None], 3, axis=-1))


def holes(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Black holes to be filled: the input of inpainting, as LVM's script draws it, for any size.

    With chance 0.3 one square with a side from size/10 (included) to size/2 (excluded), size being the short side;
    otherwise a grid of 8 x 8 patches, each kept with one chance r for all, r itself even in 0..1.
    """
    height, width = image.shape[:2]
    out = image.copy()
    if chance.random() < ONE_HOLE:
        short = min(height, width)
        side = int(chance.integers(max(1, short // 10), max(2, short // 2)))
        top, left = chance.integers(0, height - side + 1), chance.integers(0, width - side + 1)
        out[top : top + side, left : left + side] = 0
        return out
    kept = chance.random((PATCHES, PATCHES)) < chance.random()
    rows, columns = np.arange(height) * PATCHES // height, np.arange(width) * PATCHES // width
    out[~kept[np.ix_(rows, columns)]] = 0
    return out


def noisy(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Normal noise with a deviation even in 15..50 gray levels, the range of denoising benchmarks."""
    return _to_pixels(image + chance.uniform(15, 50) * _grain(image, chance))


def dark(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Low light: a gamma in 1.5..2.5, a gain in 0.2..0.5, and noise of 2 gray levels."""
    gamma, gain = chance.uniform(1.5, 2.5), chance.uniform(0.2, 0.5)
    return _to_pixels(255 * gain * (image.astype(np.float32) / 255) ** gamma + 2 * _grain(image, chance))


def blurred(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Gaussian blur with a deviation of 1/128 to 1/48 of the short side."""
    deviation = min(image.shape[:2]) * chance.uniform(1 / 128, 1 / 48)
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(deviation)))


def coarse(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Detail lost: brought to a short side of at most 256 pixels, shrunk 2 to 4 times, and enlarged again."""
    shrink = chance.uniform(2, 4) * max(1, min(image.shape[:2]) / GRAIN_SIDE)
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize(
        (max(1, round(width / shrink)), max(1, round(height / shrink))), Image.Resampling.BOX
    )
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def rainy(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Bright streaks in one direction, up to 25 degrees from vertical."""
    coarse = _grain_size(image)
    height, width = -(-image.shape[0] // coarse), -(-image.shape[1] // coarse)
    slope = np.tan(np.radians(chance.uniform(-25, 25)))
    length, count = max(3, round(min(height, width) * chance.uniform(0.06, 0.14))), int(chance.integers(150, 500))
    tops, lefts = chance.uniform(-length, height, count), chance.uniform(-length, width + length, count)
    brightness = chance.uniform(60, 160, count)
    steps = np.arange(length)
    rows = (tops[:, None] + steps).astype(int)
    columns = (lefts[:, None] + steps * slope).astype(int)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rain = np.zeros((height, width), dtype=np.float32)
    streaks = np.broadcast_to(brightness[:, None], rows.shape)
    np.maximum.at(rain, (rows[inside], columns[inside]), streaks[inside])
    return _to_pixels(image + _enlarged(rain[..., None], image))


def flipped(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Left and right exchanged."""
    return image[:, ::-1].copy()


def upended(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Top and bottom exchanged."""
    return image[::-1].copy()


def rotated(image: np.ndarray, chance: np.random.Generator, *, degrees: int = 90) -> np.ndarray:
    """Turned counterclockwise by 90, 180 or 270 degrees; by 90 and 270 uint8 [W, H, 3]."""
    return np.rot90(image, degrees // 90).copy()


def inverted(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """The negative."""
    return 255 - image


def recolored(image: np.ndarray, chance: np.random.Generator, *, order: str) -> np.ndarray:
    """Channels exchanged: "brg" puts blue into red's place, red into green's, green into blue's."""
    return image[..., ["rgb".index(channel) for channel in order]]


def hue_turned(image: np.ndarray, chance: np.random.Generator, *, degrees: int) -> np.ndarray:
    """Hues turned around the color circle, saturation and value kept (to Pillow's 8-bit HSV)."""
    hsv = np.array(Image.fromarray(image).convert("HSV"))
    hsv[..., 0] += np.uint8(round(degrees / 360 * 256) % 256)  # hue is a byte that wraps around
    return np.asarray(Image.fromarray(hsv, mode="HSV").convert("RGB"))


def edges(image: np.ndarray, chance: np.random.Generator) -> Edges:
    """Contours: Gaussian smoothing, Sobel gradient, thinned across the gradient (Canny's steps, with soft strength).

    Returns:
        Edges of the picture, at a short side of at most 512 pixels.
    """
    short = min(image.shape[:2])
    if short > EDGE_SIDE:
        size = (round(image.shape[1] * EDGE_SIDE / short), round(image.shape[0] * EDGE_SIDE / short))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    luma = _smoothed(image @ LUMA, deviation=max(1.0, min(image.shape[:2]) / 180))
    padded = np.pad(luma, 1, mode="edge")
    across = padded[:, 2:] - padded[:, :-2]  # [H+2, W]
    down = padded[2:] - padded[:-2]  # [H, W+2]
    right = (across[:-2] + 2 * across[1:-1] + across[2:]) / 8  # gray levels a pixel
    below = (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 8
    strength = np.hypot(right, below)
    ridge = strength * _is_ridge(strength, right, below)
    low, high = 1.5, max(6.0, float(np.percentile(strength, 98)))  # flat pictures have no edges
    return Edges(((ridge - low) / (high - low)).clip(0, 1).astype(np.float32))


def _is_ridge(strength: np.ndarray, right: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Where a gradient is not weaker than both neighbors along its direction (rounded to 45 degrees); bool [H, W]."""
    sector = np.rint(np.arctan2(below, right) / (np.pi / 4)).astype(int) % 4
    padded = np.pad(strength, 1)
    height, width = strength.shape
    ridge = np.zeros(strength.shape, dtype=bool)
    for number, (row, column) in enumerate([(0, 1), (1, 1), (1, 0), (1, -1)]):
        ahead = padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]
        behind = padded[1 - row : 1 - row + height, 1 - column : 1 - column + width]
        ridge |= (sector == number) & (strength >= ahead) & (strength > behind)
    return ridge


def _smoothed(plane: np.ndarray, *, deviation: float) -> np.ndarray:
    """Gaussian smoothing of float32 [H, W], edges repeated."""
    reach = int(np.ceil(3 * deviation))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        padded = np.pad(plane, [(reach, reach) if axis == other else (0, 0) for other in (0, 1)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=axis)
        plane = windows @ weights
    return plane


def _grain_size(image: np.ndarray) -> int:
    """Side of a speck of noise or rain, so that it outlives shrinking the picture to a short side of `GRAIN_SIDE`."""
    return max(1, min(image.shape[:2]) // GRAIN_SIDE)


def _grain(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Normal noise of deviation 1 in specks, float32 [H, W, 3]."""
    height, width = (-(-length // _grain_size(image)) for length in image.shape[:2])
    return _enlarged(chance.standard_normal((height, width, 3), dtype=np.float32), image)


def _enlarged(coarse: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Values of specks [h, w, C] as values of pixels [H, W, C]."""
    size = _grain_size(image)
    return coarse.repeat(size, axis=0).repeat(size, axis=1)[: image.shape[0], : image.shape[1]]


def _to_pixels(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)


GENERATED: dict[str, Callable[[np.ndarray, np.random.Generator], Payload]] = {
    "gray": gray,
    "holes": holes,
    "noisy": noisy,
    "dark": dark,
    "blurred": blurred,
    "coarse": coarse,
    "rainy": rainy,
    "flipped": flipped,
    "upended": upended,
    "rotated": rotated,
    "rotated:180": partial(rotated, degrees=180),
    "rotated:270": partial(rotated, degrees=270),
    "inverted": inverted,
    "edges": edges,
    **{f"recolored:{order}": partial(recolored, order=order) for order in ("rbg", "grb", "gbr", "brg", "bgr")},
    **{f"hue:{degrees}": partial(hue_turned, degrees=degrees) for degrees in range(30, 360, 30)},
}
"""Slots that can be made from a record's pictures: name -> function. Each recoloring is a task of its own."""


def check_generated(names: Sequence[str], slots: Sequence[str]) -> None:
    """Refuse names that no record could be given, before any is read.

    Args:
        names: of GENERATED, or "over:SLOT" or "over:SLOT:STYLE".
        slots: of the source.

    Raises:
        ValueError: an unknown name, or a slot to lay over that is neither the source's nor generated before.
    """
    there = list(slots)
    for name in names:
        if not name.startswith(OVER):
            pick(GENERATED, name, "generated slot")
        elif _under(name)[0] not in there:
            raise ValueError(f"{name!r} needs the slot {_under(name)[0]!r}; there are {', '.join(there)}")
        there.append(name)


def add_generated(record: Record, names: Sequence[str], seed: int) -> Record:
    """The record with a slot more for each name, made from its pictures.

    Chance is drawn once for a record: all its frames have the same holes, the same noise, the same rain.

    Args:
        record: has pictures in the slot "image".
        names: of GENERATED, or "over:SLOT" for the drawing of a slot laid over the picture, in its usual style or in
            that of "over:SLOT:STYLE" (`annotations.over.OVER`).
        seed: of the data set; the draw depends on it, the record's key and the name.
    """
    slots = dict(record.slots)
    for name in names:
        if name in slots:
            raise ValueError(f"record {record.key!r} already has a slot {name!r}; do not generate it")
        if name.startswith(OVER):
            slot, style = _under(name)
            if slot not in slots:
                raise ValueError(f"record {record.key!r} has no slot {slot!r} to lay over; it has {sorted(slots)}")
            both = zip(_pictures(record), slots[slot], strict=True)
            slots[name] = [lay_over(photo, payload, style) for photo, payload in both]
        else:
            make = pick(GENERATED, name, "generated slot")
            slots[name] = [make(frame, rng("generated", seed, record.key, name)) for frame in _pictures(record)]
    return Record(key=record.key, slots=slots, label=record.label)


def _under(name: str) -> tuple[str, str]:
    """The slot and the style ("" for the usual one) of "over:SLOT:STYLE"."""
    slot, _, style = name.removeprefix(OVER).partition(":")
    return slot, style


def _pictures(record: Record) -> list[np.ndarray]:
    frames = [frame for frame in record.slots.get(IMAGE, ()) if isinstance(frame, np.ndarray)]
    if len(frames) != record.num_frames:
        raise ValueError(f"record {record.key!r} needs pictures in slot {IMAGE!r}; it has {sorted(record.slots)}")
    return frames
