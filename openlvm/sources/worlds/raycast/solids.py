"""Where rays first meet a solid, and the solid's outward normal there.

A solid stands with the middle of its foot at the origin, y down: it reaches from y = -height to 0. Rays start outside
of it. Letters: N rays.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TORUS_STEPS = 48  # of sphere tracing; rays that graze the ring need the most
TORUS_TOLERANCE = 1e-4  # meters


@dataclass(frozen=True, eq=False)
class Hit:
    """depth float64 [N] in lengths of each ray's direction, inf where it misses; normals float64 [N, 3], unit."""

    depth: np.ndarray
    normals: np.ndarray


def _roots(a: np.ndarray, half_b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both solutions of a t^2 + 2 half_b t + c = 0, the lesser first; inf where there is none."""
    inside = half_b**2 - a * c
    root = np.sqrt(np.where(inside >= 0, inside, 0))
    a = np.where(np.abs(a) < 1e-12, 1e-12, a)
    one, two = (-half_b - root) / a, (-half_b + root) / a
    lost = inside < 0
    return np.where(lost, np.inf, np.minimum(one, two)), np.where(lost, np.inf, np.maximum(one, two))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _points(origin: np.ndarray, directions: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Where the rays are at a depth, [N, 3]; the origin for infinite depths."""
    return origin + np.where(np.isfinite(depth), depth, 0)[:, None] * directions


def _nearest(hits: list[Hit]) -> Hit:
    """The first of several surfaces that each ray meets."""
    depths = np.stack([hit.depth for hit in hits])  # [surfaces, N]
    first = depths.argmin(axis=0)
    rays = np.arange(depths.shape[1])
    return Hit(depths[first, rays], np.stack([hit.normals for hit in hits])[first, rays])


def _disc(origin: np.ndarray, directions: np.ndarray, y: float, radius: float, up: float) -> Hit:
    """A level disc about the axis at height y, whose normal is (0, up, 0)."""
    slope = np.where(np.abs(directions[:, 1]) < 1e-12, 1e-12, directions[:, 1])
    depth = (y - origin[1]) / slope
    points = _points(origin, directions, depth)
    met = (depth > 0) & (points[:, 0] ** 2 + points[:, 2] ** 2 <= radius**2)
    return Hit(np.where(met, depth, np.inf), np.tile([0.0, up, 0.0], (len(directions), 1)))


def hit_sphere(origin: np.ndarray, directions: np.ndarray, radius: float, height: float) -> Hit:
    """A sphere of the radius; its height is twice that."""
    center = np.array([0.0, -radius, 0.0])
    start = origin - center
    depth, _ = _roots(
        (directions**2).sum(axis=1), directions @ start, np.full(len(directions), start @ start - radius**2)
    )
    return Hit(np.where(depth > 0, depth, np.inf), _unit(_points(origin, directions, depth) - center))


def hit_box(origin: np.ndarray, directions: np.ndarray, radius: float, height: float) -> Hit:
    """A box with a square foot whose corners are at the radius, by slabs."""
    half = np.array([radius / np.sqrt(2), height / 2, radius / np.sqrt(2)])
    start = origin + np.array([0.0, height / 2, 0.0])
    slopes = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
    one, two = (-half - start) / slopes, (half - start) / slopes
    enters, leaves = np.minimum(one, two), np.maximum(one, two)
    axis = enters.argmax(axis=1)
    depth = enters.max(axis=1)
    met = (depth > 0) & (depth <= leaves.min(axis=1))
    normals = np.zeros_like(directions)
    rays = np.arange(len(directions))
    normals[rays, axis] = -np.sign(directions[rays, axis])
    return Hit(np.where(met, depth, np.inf), normals)


def hit_cylinder(origin: np.ndarray, directions: np.ndarray, radius: float, height: float) -> Hit:
    """An upright cylinder with its lid."""
    x, z = directions[:, 0], directions[:, 2]
    beside = np.full(len(directions), origin[0] ** 2 + origin[2] ** 2 - radius**2)
    depth, _ = _roots(x**2 + z**2, x * origin[0] + z * origin[2], beside)
    points = _points(origin, directions, depth)
    met = (depth > 0) & (points[:, 1] >= -height) & (points[:, 1] <= 0)
    side = Hit(np.where(met, depth, np.inf), _unit(points * (1, 0, 1)))
    return _nearest([side, _disc(origin, directions, -height, radius, -1.0)])


def hit_cone(origin: np.ndarray, directions: np.ndarray, radius: float, height: float) -> Hit:
    """An upright cone: x^2 + z^2 = (slope (y + height))^2 between its apex at y = -height and its foot."""
    slope = radius / height
    start = origin + np.array([0.0, height, 0.0])
    signs = np.array([1.0, -(slope**2), 1.0])
    depths = _roots((directions**2) @ signs, (directions * start) @ signs, np.full(len(directions), start**2 @ signs))
    hits = []
    for depth in depths:
        points = _points(origin, directions, depth)
        met = (depth > 0) & (points[:, 1] >= -height) & (points[:, 1] <= 0)
        outward = points * (1, 0, 1)
        outward[:, 1] = -slope * np.hypot(points[:, 0], points[:, 2])
        hits.append(Hit(np.where(met, depth, np.inf), _unit(outward)))
    return _nearest(hits)


def hit_torus(origin: np.ndarray, directions: np.ndarray, radius: float, height: float) -> Hit:
    """A ring that lies on the ground, its tube a third of the radius thick; by sphere tracing (Hart, 1996)."""
    tube = radius / 3
    ring = radius - tube
    lengths = np.linalg.norm(directions, axis=1)
    unit = directions / lengths[:, None]
    center = np.array([0.0, -tube, 0.0])
    nearest = np.maximum((center - origin) @ unit.T - radius, 0)  # no part of the ring is nearer along the ray
    travelled, met = nearest.copy(), np.zeros(len(directions), dtype=bool)
    active = np.arange(len(directions))
    for _ in range(TORUS_STEPS):
        points = origin - center + travelled[active, None] * unit[active]
        gap = np.hypot(np.hypot(points[:, 0], points[:, 2]) - ring, points[:, 1]) - tube
        travelled[active] += gap
        met[active[gap < TORUS_TOLERANCE]] = True
        active = active[(gap >= TORUS_TOLERANCE) & (travelled[active] < nearest[active] + 2 * radius + tube)]
        if not len(active):
            break
    points = origin - center + travelled[:, None] * unit
    across = np.maximum(np.hypot(points[:, 0], points[:, 2]), 1e-12)[:, None]
    return Hit(np.where(met, travelled / lengths, np.inf), _unit(points - points * (1, 0, 1) / across * ring))


Solve = Callable[[np.ndarray, np.ndarray, float, float], Hit]
SOLIDS: dict[str, Solve] = {
    "sphere": hit_sphere,
    "box": hit_box,
    "cylinder": hit_cylinder,
    "cone": hit_cone,
    "torus": hit_torus,
}
"""Solids by name: (origin [3], directions [N, 3], radius, height) -> Hit."""
FIXED_HEIGHTS = {"sphere": 2.0, "torus": 2 / 3}
"""Heights of the solids that have no other, in radii."""
