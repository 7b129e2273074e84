"""Flat scenes as values, and how they are drawn: a few shapes in clear colors before a plain or shaded background.

Lengths are shares of the picture's side, x to the right and y down; angles are degrees, clockwise as one sees them.
Every form is its own mirror image about its upright axis, so that reflections of scenes are scenes again.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, cos, floor, pi, radians, sin

import numpy as np
from PIL import Image, ImageDraw

COLORS = {
    "red": (214, 39, 40),
    "orange": (255, 140, 0),
    "yellow": (250, 220, 50),
    "lime": (150, 225, 50),
    "green": (40, 150, 60),
    "cyan": (60, 210, 220),
    "blue": (35, 80, 215),
    "purple": (130, 50, 180),
    "pink": (245, 130, 190),
    "brown": (130, 80, 40),
}
"""The palette of shapes; any two are at least 80 of 255 apart (Euclidean RGB), so that 8 x 8 codes keep them apart."""
NEUTRALS = {"white": (245, 245, 245), "gray": (128, 128, 128), "black": (15, 15, 15)}
"""Colors of papers, lines and dots besides the palette."""
INKS = COLORS | NEUTRALS
LIGHT = ((245, 245, 245), (205, 205, 210), (235, 220, 195), (205, 225, 240))
DARK = ((15, 15, 15), (60, 60, 64), (25, 30, 70))
"""Colors of backgrounds: unsaturated, so that every color of the palette stands out."""
SUPERSAMPLING = 4  # a pixel's coverage is the mean of 4 x 4
LINE = 5 / 128  # width of an outline: 2.5 pixels at 64

Point = tuple[float, float]
RGB = tuple[int, int, int]


def _regular(corners: int, start: float = -90.0) -> tuple[Point, ...]:
    angles = [radians(start + 360 * corner / corners) for corner in range(corners)]
    return tuple((cos(angle), sin(angle)) for angle in angles)


def _star() -> tuple[Point, ...]:
    tips, notches = _regular(5), _regular(5, -90 + 36)
    return tuple(point for tip, notch in zip(tips, notches, strict=True) for point in (tip, (*_scaled(notch, 0.42),)))


def _scaled(point: Point, factor: float) -> Point:
    return point[0] * factor, point[1] * factor


def _heart() -> tuple[Point, ...]:
    """The curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, fitted into the unit circle."""
    steps = [2 * pi * step / 48 for step in range(48)]
    return tuple(
        (sin(t) ** 3 * 0.95, -(13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)) / 17) for t in steps
    )


_ARM, _TIP = 0.32, 0.947  # a cross whose corners lie on the unit circle
_CROSS_QUARTER = ((_ARM, -_TIP), (_ARM, -_ARM), (_TIP, -_ARM))

FORMS: dict[str, tuple[Point, ...]] = {
    "circle": _regular(48),
    "ring": _regular(48),  # with a hole, see HOLES
    "square": ((-0.71, -0.71), (0.71, -0.71), (0.71, 0.71), (-0.71, 0.71)),
    "bar": ((-0.4, -0.92), (0.4, -0.92), (0.4, 0.92), (-0.4, 0.92)),
    "triangle": _regular(3),
    "hexagon": _regular(6),
    "star": _star(),
    "cross": tuple(
        (x * cos(turn) - y * sin(turn), x * sin(turn) + y * cos(turn))
        for turn in (0, pi / 2, pi, 3 * pi / 2)
        for x, y in _CROSS_QUARTER
    ),
    "half": tuple((cos(pi + pi * step / 24), sin(pi + pi * step / 24) + 0.4) for step in range(25)),
    "heart": _heart(),
    "arrow": ((0, -1), (0.8, -0.1), (0.3, -0.1), (0.3, 0.95), (-0.3, 0.95), (-0.3, -0.1), (-0.8, -0.1)),
}
"""Each form's corners within the unit circle, upright."""
UNSEEN_FORMS = ("heart", "arrow")
"""Forms that no training picture shows."""
SEEN_FORMS = tuple(form for form in FORMS if form not in UNSEEN_FORMS)
HOLES = {"ring": 0.55}
"""Radius of the hole in a form."""


@dataclass(frozen=True)
class Shape:
    """One form at a place."""

    form: str
    color: str
    x: float
    y: float
    radius: float
    angle: float = 0.0
    filled: bool = True


@dataclass(frozen=True)
class Background:
    """A color, or the passage from `first` to `second` in the direction `angle` (0: to the right, 90: down)."""

    first: RGB
    second: RGB
    angle: float = 0.0


@dataclass(frozen=True)
class Scene:
    """Shapes before a background, the last one in front."""

    shapes: tuple[Shape, ...]
    background: Background


def paper(color: str) -> Background:
    """A plain background in a color of INKS."""
    return Background(INKS[color], INKS[color])


def random_background(chance: np.random.Generator) -> Background:
    """Plain half of the time, else a passage between two light or two dark colors."""
    tones = LIGHT if chance.random() < 0.6 else DARK
    first, second = (tones[place] for place in chance.permutation(len(tones))[:2])
    direction = 45.0 * int(chance.integers(8))
    return Background(first, first) if chance.random() < 0.5 else Background(first, second, direction)


def draw_scene(scene: Scene, size: int) -> np.ndarray:
    """The picture of a scene, uint8 [size, size, 3], antialiased."""
    picture = Image.fromarray(_background_pixels(scene.background, size))
    for shape in scene.shapes:
        mask, corner = _coverage(shape, size)
        picture.paste(INKS[shape.color], corner, mask)
    return np.asarray(picture)


@lru_cache(maxsize=192)  # all that `random_background` gives, 9 MB at 128 pixels
def _background_pixels(background: Background, size: int) -> np.ndarray:
    direction = radians(background.angle)
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    along = np.clip(0.5 + x * cos(direction) + y * sin(direction), 0, 1)[..., None]
    first, second = np.array(background.first), np.array(background.second)
    return np.rint(first + along * (second - first)).astype(np.uint8)


def _coverage(shape: Shape, size: int) -> tuple[Image.Image, tuple[int, int]]:
    """A shape's coverage as an image of 8 bits, and the pixel (left, top) where it belongs."""
    reach = shape.radius + (0 if shape.filled else LINE)
    left, top = floor((shape.x - reach) * size), floor((shape.y - reach) * size)
    right, bottom = ceil((shape.x + reach) * size) + 1, ceil((shape.y + reach) * size) + 1
    mask = Image.new("L", ((right - left) * SUPERSAMPLING, (bottom - top) * SUPERSAMPLING))
    pen = ImageDraw.Draw(mask)

    def on_mask(points: list[Point]) -> list[Point]:
        scale = SUPERSAMPLING
        return [((x * size - left) * scale - 0.5, (y * size - top) * scale - 0.5) for x, y in points]

    border = on_mask(corners(shape))
    if shape.filled:
        pen.polygon(border, fill=255)
        if shape.form in HOLES:
            pen.polygon(on_mask(corners(shape, HOLES[shape.form])), fill=0)
    else:
        pen.line([*border, *border[:2]], fill=255, width=round(LINE * size * SUPERSAMPLING), joint="curve")
    return mask.reduce(SUPERSAMPLING), (left, top)


def corners(shape: Shape, scale: float = 1.0) -> list[Point]:
    """Where a shape's corners are, (x, y) as shares of the side."""
    cosine, sine = cos(radians(shape.angle)), sin(radians(shape.angle))
    reach = shape.radius * scale
    return [
        (shape.x + reach * (x * cosine - y * sine), shape.y + reach * (x * sine + y * cosine))
        for x, y in FORMS[shape.form]
    ]
