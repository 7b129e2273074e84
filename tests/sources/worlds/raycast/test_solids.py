"""Rays meet each solid where its equation says, and normals are those of its implicit surface."""

import numpy as np
import pytest

from openlvm.core.seeds import rng
from openlvm.sources.worlds.raycast.solids import FIXED_HEIGHTS, SOLIDS

RADIUS = 0.7


def height_of(kind: str) -> float:
    return FIXED_HEIGHTS.get(kind, 1.2 / RADIUS) * RADIUS


def inside(kind: str, points: np.ndarray) -> np.ndarray:
    """Negative within the solid, zero on its surface: the other way to say what each solid is."""
    x, y, z = points.T
    height, across = height_of(kind), np.hypot(x, z)
    level = np.maximum(y, -height - y)
    match kind:
        case "sphere":
            return np.linalg.norm(points + (0, RADIUS, 0), axis=1) - RADIUS
        case "box":
            return np.maximum(level, np.maximum(abs(x), abs(z)) - RADIUS / np.sqrt(2))
        case "cylinder":
            return np.maximum(level, across - RADIUS)
        case "cone":
            return np.maximum(level, across - RADIUS / height * (y + height))
        case "torus":
            return np.hypot(across - RADIUS * 2 / 3, y + RADIUS / 3) - RADIUS / 3
    raise AssertionError(kind)


def some_rays(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    chance = rng("rays")
    origin = np.array([0.8, -3.0, -3.5])
    targets = chance.uniform((-0.9, -1.5, -0.9), (0.9, 0.2, 0.9), (count, 3))
    return origin, (targets - origin) * chance.uniform(0.3, 2, (count, 1))  # lengths differ


@pytest.mark.parametrize("kind", SOLIDS)
def test_depth_matches_marching_through_the_implicit_surface(kind):
    origin, directions = some_rays()
    hit = SOLIDS[kind](origin, directions, RADIUS, height_of(kind))
    found = np.isfinite(hit.depth)
    assert 0.1 < found.mean() < 0.95
    lengths = np.linalg.norm(directions, axis=1)
    steps = np.linspace(2, 8, 3001)  # meters, 2 mm apart
    points = origin + steps[:, None, None] * (directions / lengths[:, None])  # [steps, N, 3]
    within = inside(kind, points.reshape(-1, 3)).reshape(points.shape[:2]) < 0
    marched = np.where(within.any(axis=0), steps[within.argmax(axis=0)], np.inf)
    agree = np.isfinite(marched) == found
    assert agree.mean() > 0.985  # rays that graze it pass between two steps
    both = np.isfinite(marched) & found
    apart = np.abs(marched[both] - hit.depth[both] * lengths[both])
    assert np.quantile(apart, 0.98) < 0.0021


@pytest.mark.parametrize("kind", SOLIDS)
def test_hits_lie_on_the_surface_and_normals_match_its_gradient(kind):
    origin, directions = some_rays()
    hit = SOLIDS[kind](origin, directions, RADIUS, height_of(kind))
    found = np.isfinite(hit.depth)
    points = origin + hit.depth[found, None] * directions[found]
    assert np.abs(inside(kind, points)).max() < 3e-4
    steps = 1e-5 * np.eye(3)
    gradient = np.stack([inside(kind, points + step) - inside(kind, points - step) for step in steps], axis=1)
    gradient /= np.linalg.norm(gradient, axis=1, keepdims=True)
    cosines = (gradient * hit.normals[found]).sum(axis=1)
    assert (cosines > 0.999).mean() > 0.98  # at an edge the gradient is of either side
    np.testing.assert_allclose(np.linalg.norm(hit.normals[found], axis=1), 1)
    assert ((hit.normals[found] * directions[found]).sum(axis=1) < 1e-6).all()


@pytest.mark.parametrize("kind", SOLIDS)
def test_rays_that_pass_beside_hit_nothing(kind):
    origin = np.array([0.0, -1.0, -5.0])
    directions = np.array([[1.0, 0, 1], [0, -1, 1], [-1, 0, 1], [0, 0, -1]])
    assert np.isinf(SOLIDS[kind](origin, directions, RADIUS, height_of(kind)).depth).all()
