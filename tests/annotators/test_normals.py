"""Normals of depth are those of the surface: planes exactly, spheres nearly, edges without leaning surfaces."""

import numpy as np
import pytest

from openlvm.annotators.normals import NormalsOfDepth, normals_of_depth
from openlvm.core.records import Depth

FOV = 50.0


def _rays(height, width, fov=FOV):
    """Directions (u, v, 1) of the pixels, float64 [H, W, 3]."""
    focal = max(height, width) / 2 / np.tan(np.radians(fov / 2))
    rows, columns = np.mgrid[:height, :width]
    return np.stack(
        [(columns + 0.5 - width / 2) / focal, (rows + 0.5 - height / 2) / focal, np.ones((height, width))], axis=-1
    )


@pytest.mark.parametrize("normal", [(0, 0, -1), (0.6, 0, -0.8), (0, -0.9, -0.3), (-0.5, 0.5, -0.6)])
@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
def test_normals_of_a_plane_match_the_plane(normal, shape):
    normal = np.array(normal) / np.linalg.norm(normal)
    along = _rays(*shape) @ normal
    meters = np.where(along < -1e-3, -2.0 / along, 0)  # normal . (z ray) = -2: two meters from the camera
    found = normals_of_depth(Depth(meters.astype(np.float32)), fov=FOV).vectors
    inside = np.zeros(shape, bool)
    inside[1:-1, 1:-1] = (meters > 0)[1:-1, 1:-1]
    assert inside.sum() > 500
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[inside], np.broadcast_to(normal, (inside.sum(), 3)), atol=2e-3)


def test_normals_of_a_sphere_match_the_sphere():
    rays = _rays(120, 120)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    center, radius = np.array([0.1, -0.2, 4.0]), 1.2
    middle = rays @ center
    under = middle**2 - center @ center + radius**2
    hit = under > 0
    points = rays * (middle - np.sqrt(under.clip(0)))[..., None]
    truth = (points - center) / radius
    found = normals_of_depth(Depth(np.where(hit, points[..., 2], 0).astype(np.float32)), fov=FOV).vectors
    seen = hit & (truth[..., 2] < -0.5)  # steeper ones change by degrees from pixel to pixel
    angles = np.degrees(np.arccos((found * truth).sum(axis=-1)[seen].clip(-1, 1)))
    assert seen.sum() > 4000 and angles.mean() < 1.5 and angles.max() < 6
    assert not found[~hit].any()


def test_surfaces_do_not_lean_over_an_edge():
    meters = np.full((20, 40), 2.0, np.float32)
    meters[:, 20:] = 5.0
    found = normals_of_depth(Depth(meters), fov=FOV).vectors
    np.testing.assert_allclose(found, np.broadcast_to([0, 0, -1], found.shape), atol=1e-6)


def test_unknown_depth_has_no_normal_and_spoils_none():
    meters = np.full((12, 12), 3.0, np.float32)
    meters[4, 5], meters[8, 2], meters[2, 9] = 0, np.nan, -1
    found = normals_of_depth(Depth(meters), fov=FOV).vectors
    unknown = ~(meters > 0)
    assert unknown.sum() == 3 and not found[unknown].any()
    np.testing.assert_allclose(found[~unknown], np.broadcast_to([0, 0, -1], (141, 3)), atol=1e-6)


def test_scale_of_depth_does_not_matter():
    meters = np.random.default_rng(0).uniform(2, 4, (16, 24)).astype(np.float32)
    first, second = (normals_of_depth(Depth(meters * scale), fov=FOV).vectors for scale in (1, 100))
    np.testing.assert_allclose(first, second, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(first, axis=-1), 1, atol=1e-5)
    assert (first * _rays(16, 24)).sum(axis=-1).max() < 0  # all face the camera


class Ramp:
    """Depth that grows to the right."""

    slot, name, version = "depth", "ramp", "7"

    def describe(self):
        return {"slot": "depth", "kind": "test", "name": "ramp", "version": "7"}

    def annotate(self, images):
        return [
            Depth(np.tile(np.linspace(1, 2, image.shape[1], dtype=np.float32), (len(image), 1))) for image in images
        ]


def test_annotator_describes_depth_and_field_of_view():
    normals = NormalsOfDepth(slot="normals", depth=Ramp(), fov=70.0)
    images = [np.zeros((4, 6, 3), np.uint8), np.zeros((5, 5, 3), np.uint8)]
    told = normals.annotate(images)
    assert [one.vectors.shape for one in told] == [(4, 6, 3), (5, 5, 3)]
    assert (told[0].vectors[..., 0] > 0).all()  # farther to the right, as a corridor's left wall: it faces right
    np.testing.assert_array_equal(told[1].vectors, normals_of_depth(Ramp().annotate(images)[1], fov=70).vectors)
    assert normals.describe() == {
        "slot": "normals", "kind": "depth", "name": "normals of ramp", "version": "7", "fov": 70.0,
        "depth": Ramp().describe(),
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"fov=180 must lie in 1..170 degrees"):
        NormalsOfDepth(slot="normals", depth=Ramp(), fov=180)
