"""Views of stages: analytic depth, normals in the camera's axes, and cameras that turn around the middle."""

import numpy as np
import pytest

from openlvm.core.seeds import rng
from openlvm.sources.worlds.drawing import COLORS
from openlvm.sources.worlds.raycast import stage
from openlvm.sources.worlds.raycast.solids import SOLIDS
from openlvm.sources.worlds.raycast.stage import (
    AMBIENT,
    DISTANCE,
    FOV_DEGREES,
    TARGET,
    Solid,
    Stage,
    camera_at,
    cast,
    is_heldout_solid,
    random_stage,
    rays,
    render,
)

SIZE = 65  # odd, so that a pixel's center is on the axis
SKY = (20.0, 40.0, 60.0)
UP = (0.0, -1.0, 0.0)


def one(kind: str, radius: float = 0.45, *, ground=None, x: float = 0.0, z: float = 0.0, light=UP) -> Stage:
    heights = {"sphere": 2 * radius, "torus": 2 * radius / 3}
    return Stage((Solid(kind, (200.0, 100.0, 50.0), x, z, radius, heights.get(kind, 0.9), 30.0),), ground, SKY, light)


def test_depth_of_a_sphere_matches_the_analytic_value():
    """A sphere in the middle of the view: its depth at each pixel, from the camera's own coordinates alone."""
    view = render(one("sphere"), camera_at(40, 30), SIZE)
    directions = rays(SIZE)
    center = np.array([0, 0, DISTANCE])  # TARGET is the sphere's center
    a, b = (directions**2).sum(axis=1), directions @ center
    inside = b**2 - a * (center @ center - 0.45**2)
    expected = np.where(inside >= 0, (b - np.sqrt(np.maximum(inside, 0))) / a, 0).reshape(SIZE, SIZE)
    assert TARGET == (0.0, -0.45, 0.0)
    np.testing.assert_allclose(view["depth"].meters, expected, atol=1e-5)
    assert view["depth"].meters[32, 32] == pytest.approx(DISTANCE - 0.45)
    assert ((view["mask"].ids == 1) == (expected > 0)).all()
    outward = (directions * expected.reshape(-1, 1) - center) / 0.45
    known = expected.ravel() > 0
    np.testing.assert_allclose(view["normals"].vectors.reshape(-1, 3)[known], outward[known], atol=1e-5)
    np.testing.assert_allclose(view["normals"].vectors[32, 32], (0, 0, -1), atol=1e-6)


def test_depth_of_the_ground_matches_the_plane():
    stage = one("sphere", ground=(100.0, 100.0, 100.0))
    camera = camera_at(0, 35)
    view = render(stage, camera, SIZE)
    ground = view["mask"].ids == 0
    directions = rays(SIZE).reshape(SIZE, SIZE, 3)[ground]
    phi = np.radians(35)
    drop = directions @ [0, np.cos(phi), np.sin(phi)]  # how far each ray goes down
    np.testing.assert_allclose(view["depth"].meters[ground], (0.45 + DISTANCE * np.sin(phi)) / drop, rtol=1e-5)
    np.testing.assert_allclose(
        view["normals"].vectors[ground], np.tile([0, -np.cos(phi), -np.sin(phi)], (ground.sum(), 1)), atol=1e-6
    )
    assert (view["image"][0, 0] == 100).all()  # lit from straight above


@pytest.mark.parametrize("heldout", [False, True])
def test_annotations_of_random_stages_agree(heldout):
    for number in range(12):
        stage = random_stage(rng("stage", number, int(heldout)), heldout=heldout)
        view = render(stage, camera_at(15 * number, 33), 48)
        known, mask = view["depth"].meters > 0, view["mask"].ids == 1
        assert 0.02 < mask.mean() < 0.8 and (known | ~mask).all()
        assert known.all() == (stage.ground is not None)
        vectors = view["normals"].vectors.reshape(-1, 3)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), known.ravel(), atol=1e-5)
        assert ((vectors * rays(48)).sum(axis=1) <= 1e-5).all()  # facing the camera
        assert view["depth"].meters[mask].min() > 2 and view["depth"].meters[mask].max() < 8


@pytest.mark.parametrize("kind", SOLIDS)
def test_normals_match_differences_of_depth(kind):
    """Where the surface is smooth, the cross product of neighboring points is its normal."""
    depth, normals, hit = cast(one(kind, 0.9), camera_at(10, 33), 128)
    points = (rays(128) * np.where(hit > 0, depth, np.nan)[:, None]).reshape(128, 128, 3)
    along, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    crossed = np.cross(down, along)
    crossed /= np.linalg.norm(crossed, axis=-1, keepdims=True)
    cosines = (crossed * normals.reshape(128, 128, 3)[1:-1, 1:-1]).sum(axis=-1)
    cosines = cosines[np.isfinite(cosines)]  # neighbors on the solid
    assert len(cosines) > 500 and np.median(cosines) > 0.999 and np.mean(cosines > 0.98) > 0.75


def test_shading_is_lamberts():
    """Lit along the viewing axis, the middle of a sphere has its full color and its rim the ambient share."""
    axis = camera_at(0, 30).axes[2]
    image = render(one("sphere", light=tuple(-axis)), camera_at(0, 30), SIZE)["image"]
    np.testing.assert_allclose(image[32, 32], (200, 100, 50), atol=1)
    dark = render(one("sphere", light=tuple(axis)), camera_at(0, 30), SIZE)["image"]
    np.testing.assert_allclose(dark[32, 32], np.array((200, 100, 50)) * AMBIENT, atol=1)
    assert (image[0, 0] == SKY).all()


def test_the_camera_turns_around_the_middle():
    """A quarter turn to the right shows what stood on the far side on the left; the middle stays in the middle."""
    far = one("sphere", 0.3, z=1.0)
    columns = [
        np.flatnonzero(render(far, camera_at(turn, 30), SIZE)["mask"].ids.any(axis=0)).mean() for turn in (0, 90)
    ]
    reach = np.tan(np.radians(FOV_DEGREES) / 2)
    assert columns[0] == pytest.approx(32)
    assert columns[1] == pytest.approx(32.5 * (1 - 1 / DISTANCE / reach) - 0.5, abs=1)
    for turn in (0, 77):
        camera = camera_at(turn, 30)
        np.testing.assert_allclose(camera.axes @ (TARGET - camera.place), (0, 0, DISTANCE), atol=1e-12)
        np.testing.assert_allclose(camera.axes @ camera.axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera.axes) == pytest.approx(1) and camera.axes[1, 1] > 0


def test_nearer_solids_hide_farther_ones():
    near, far = (one("sphere", 0.3, z=z).solids[0] for z in (-1.0, 1.0))
    camera = camera_at(0, 0)
    for solids in ((near, far), (far, near)):
        depth, _, hit = cast(Stage(solids, None, SKY, UP), camera, SIZE)
        middle = hit.reshape(SIZE, SIZE)[34, 32]
        assert solids[middle - 1] is near and np.nanmin(depth) < DISTANCE - 1


def test_bounds_of_solids_leave_no_hit_out(monkeypatch):
    stages = [random_stage(rng("bounds", number), heldout=False) for number in range(10)]
    bounded = [cast(one, camera_at(0, 33), 48)[0] for one in stages]
    monkeypatch.setattr(stage, "_in_bounds", lambda solid, place, directions: np.arange(len(directions)))
    assert all((cast(one, camera_at(0, 33), 48)[0] == known).all() for one, known in zip(stages, bounded, strict=True))


def test_every_solid_has_two_heldout_colors():
    held = [(kind, color) for kind in SOLIDS for color in COLORS if is_heldout_solid(kind, color)]
    assert len(held) == 10 == len({color for _, color in held}) and {kind for kind, _ in held} == set(SOLIDS)
