"""Lit solids of random shapes and colors on a ground or before nothing, and exact views of them.

World and camera axes are x right, y down, z forward; lengths are meters. Letters: N rays, S side of a picture.
"""

from dataclasses import dataclass
from math import cos, hypot, radians, sin, tan

import numpy as np

from openlvm.core.records import Depth, Normals, Payload, Segmentation
from openlvm.sources.worlds.drawing import COLORS
from openlvm.sources.worlds.raycast.solids import FIXED_HEIGHTS, SOLIDS, Hit

FOV_DEGREES = 38
DISTANCE = 5.0  # from the camera to the middle of the stage
TARGET = (0.0, -0.45, 0.0)  # the middle of the stage, which the camera looks at
AMBIENT = 0.4  # share of the light that comes from everywhere
SAMPLES = 2  # rays a pixel and axis, for the picture alone; annotations hold at the pixel's center

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Solid:
    """A solid that stands on the ground at (x, z), turned by `yaw` degrees."""

    kind: str
    color: Color
    x: float
    z: float
    radius: float
    """Of its foot, at most."""
    height: float
    yaw: float


@dataclass(frozen=True)
class Stage:
    """What is before the camera, and the light."""

    solids: tuple[Solid, ...]
    ground: Color | None
    """Color of an endless ground; None: the solids stand before `sky`."""
    sky: Color
    light: tuple[float, float, float]
    """Unit vector towards the light."""


def is_heldout_solid(kind: str, color: str) -> bool:
    """Whether training never shows a solid of this kind in this color: two colors of each kind, all ten in turn."""
    return (list(COLORS).index(color) - list(SOLIDS).index(kind)) % len(SOLIDS) == 0


def random_stage(chance: np.random.Generator, *, heldout: bool) -> Stage:
    """One to three solids of the split's kinds and colors that do not touch; lit from above and the camera's side."""
    pairs = [(kind, color) for kind in SOLIDS for color in COLORS if is_heldout_solid(kind, color) == heldout]
    solids: list[Solid] = []
    count = int(chance.integers(1, 4))
    while len(solids) < count:
        solid = _random_solid(*pairs[chance.integers(len(pairs))], chance, alone=count == 1)
        if all(hypot(solid.x - one.x, solid.z - one.z) > solid.radius + one.radius + 0.02 for one in solids):
            solids.append(solid)
        elif chance.random() < 0.05:
            solids.clear()  # no room left
    ground, sky = (_near(chance.uniform(70, 235, 1), 35, chance) for _ in range(2))
    towards = np.array([chance.uniform(-1, 1), -1.2, chance.uniform(-1.2, -0.3)])
    x, y, z = towards / np.linalg.norm(towards)
    return Stage(tuple(solids), ground if chance.random() < 0.5 else None, sky, (float(x), float(y), float(z)))


def _random_solid(kind: str, color: str, chance: np.random.Generator, *, alone: bool) -> Solid:
    radius = float(chance.uniform(0.4, 0.75)) * (1.25 if alone else 1.0)
    x, z = (float(value) for value in chance.uniform(-0.9, 0.9, 2) * (0.3 if alone else 1.0))
    height, yaw = float(chance.uniform(0.7, 1.5)), float(chance.uniform(0, 360))
    if kind in FIXED_HEIGHTS:
        height = FIXED_HEIGHTS[kind] * radius
    return Solid(kind, _near(np.array(COLORS[color]), 25, chance), x, z, radius, height, yaw)


def _near(color: np.ndarray, spread: float, chance: np.random.Generator) -> Color:
    """A color within `spread` of one, each channel by itself."""
    red, green, blue = np.clip(color + chance.uniform(-spread, spread, 3), 0, 255)
    return float(red), float(green), float(blue)


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole; `axes` [3, 3] has its right, down and forward in the world's axes as rows."""

    place: np.ndarray
    axes: np.ndarray


def camera_at(turn: float, pitch: float) -> Camera:
    """A camera DISTANCE from the middle of the stage, `turn` degrees around it, looking down by `pitch` degrees."""
    theta, phi = radians(turn), radians(pitch)
    forward = np.array([sin(theta) * cos(phi), sin(phi), cos(theta) * cos(phi)])
    right = np.array([cos(theta), 0.0, -sin(theta)])
    return Camera(TARGET - DISTANCE * forward, np.stack([right, np.cross(forward, right), forward]))


def rays(size: int) -> np.ndarray:
    """A ray through each pixel's center in camera axes, float64 [S * S, 3], with z = 1: its length is the depth."""
    reach = tan(radians(FOV_DEGREES) / 2)
    y, x = ((np.mgrid[:size, :size] + 0.5) / size * 2 - 1) * reach
    return np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)


def cast(stage: Stage, camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first hit of every pixel's ray.

    Returns:
        depth float64 [S * S], inf where nothing is hit; normals [S * S, 3] in camera axes; and what is hit, int
        [S * S]: solids from 1, 0 the ground, -1 nothing.
    """
    directions = rays(size) @ camera.axes  # [N, 3] in the world
    depth = np.full(len(directions), np.inf)
    normals = np.zeros_like(directions)
    hit = np.full(len(directions), -1)
    if stage.ground is not None:
        below = directions[:, 1] > 1e-6
        depth[below] = -camera.place[1] / directions[below, 1]
        normals[below] = (0, -1, 0)
        hit[below] = 0
    for number, solid in enumerate(stage.solids, 1):
        near = _in_bounds(solid, camera.place, directions)
        found = _hit_solid(solid, camera.place, directions[near])
        nearer = found.depth < depth[near]
        places = near[nearer]
        depth[places], normals[places], hit[places] = found.depth[nearer], found.normals[nearer], number
    return depth, normals @ camera.axes.T, hit


def _in_bounds(solid: Solid, place: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Rays that meet the sphere around a solid, as indices."""
    center = np.array([solid.x, -solid.height / 2, solid.z]) - place
    along = directions @ center
    missed_by = center @ center - along**2 / (directions**2).sum(axis=1)  # squared distance from the center
    return np.flatnonzero(missed_by <= solid.radius**2 + (solid.height / 2) ** 2)


def _hit_solid(solid: Solid, place: np.ndarray, directions: np.ndarray) -> Hit:
    """The hit in the solid's own axes, in which its foot's middle is the origin, brought back to the world."""
    cosine, sine = cos(radians(solid.yaw)), sin(radians(solid.yaw))
    turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])  # own axes as rows
    origin = turn @ (place - np.array([solid.x, 0, solid.z]))
    found = SOLIDS[solid.kind](origin, directions @ turn.T, solid.radius, solid.height)
    return Hit(found.depth, found.normals @ turn)


def render(stage: Stage, camera: Camera, size: int) -> dict[str, Payload]:
    """A view with its annotations: image uint8 [S, S, 3], mask, depth and normals."""
    depth, normals, hit = cast(stage, camera, size)
    known = hit >= 0
    square = (size, size)
    return {
        "image": _picture(stage, camera, size),
        "mask": Segmentation((hit > 0).astype(np.int32).reshape(square)),
        "depth": Depth(np.where(known, depth, 0).astype(np.float32).reshape(square)),
        "normals": Normals(np.where(known[:, None], normals, 0).astype(np.float32).reshape(*square, 3)),
    }


def _picture(stage: Stage, camera: Camera, size: int) -> np.ndarray:
    """Lambert's law and ambient light, without shadows; the mean of SAMPLES x SAMPLES rays a pixel."""
    fine = size * SAMPLES
    _, normals, hit = cast(stage, camera, fine)
    colors = np.array([stage.sky, stage.ground or stage.sky, *(solid.color for solid in stage.solids)])
    lit = AMBIENT + (1 - AMBIENT) * np.maximum(normals @ (camera.axes @ np.array(stage.light)), 0)
    shaded = colors[hit + 1] * np.where(hit >= 0, lit, 1)[:, None]  # [N, 3]
    return np.rint(shaded.reshape(size, SAMPLES, size, SAMPLES, 3).mean(axis=(1, 3))).astype(np.uint8)
