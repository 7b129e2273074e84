"""What the renderer draws, against what geometry says: plane, sphere, cuboid, parts, textures, directions."""

from dataclasses import replace

import numpy as np
import pytest
from miniatures.rendered import cuboid, renderer_or_skip, seen_of_cuboid, sphere

from openlvm.sources.rendered import renderer as renderer_module
from openlvm.sources.rendered.camera import Turn, world_to_camera
from openlvm.sources.rendered.pieces import Piece

pytest.importorskip("moderngl", reason="moderngl is of the extra `render`")
SIZE, FOV = 96, 40.0


@pytest.fixture(scope="module")
def renderer():
    return renderer_or_skip(SIZE, FOV)


def piece_of(points, triangles, normals=None, *, color=(200, 120, 60), opacity=255, **options):
    points = np.asarray(points, np.float64)
    looks = {"uv": np.zeros((len(points), 2)), "tints": np.tile(np.uint8([*color, opacity]), (len(points), 1))}
    normals = np.zeros_like(points) if normals is None else np.asarray(normals, np.float64)
    return Piece(points=points, triangles=np.asarray(triangles), normals=normals, **(looks | options))


def box(half, middle=(0, 0, 0), **options):
    points, triangles, normals = cuboid(half)
    return piece_of(points + np.array(middle), triangles, normals, **options)


def square(half=0.5, middle=(0, 0, 0), **options):
    """A square that faces +z."""
    points = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * half + np.array(middle)
    return piece_of(points, [[0, 1, 2], [0, 2, 3]], **options)


def inner(mask, margin=2):
    """Pixels of a mask whose neighbours up to `margin` away are in it too."""
    kept = mask.copy()
    for shift in range(-margin, margin + 1):
        for axis in (0, 1):
            kept &= np.roll(mask, shift, axis)
    return kept


def degrees_between(a, b):
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


@pytest.mark.parametrize("half", [(0.3, 0.3, 0.3), (0.4, 0.1, 0.25)])
def test_cuboid_is_where_rays_meet_it(renderer, half):
    cameras = Turn(20.0, 25.0, 1.6).cameras(4, 100.0)
    views = renderer.draw([box(half)], cameras)
    for view, camera in enumerate(cameras):
        expected = seen_of_cuboid(half, camera, SIZE, FOV)
        solid, seen = expected["depth"] > 0, views.coverage[view] >= 128
        cut = (views.coverage[view] > 0) & (views.coverage[view] < 255)
        assert cut[solid != seen].all() and (solid != seen)[cut].mean() < 0.4  # only pixels that the outline cuts
        face = np.abs(np.roll(expected["normals"], 1, 0) - expected["normals"]).sum(-1)
        face = face + np.abs(np.roll(expected["normals"], 1, 1) - expected["normals"]).sum(-1)
        middle = inner(solid & (face == 0))
        assert middle.sum() > 300
        np.testing.assert_allclose(views.depth_m[view][middle], expected["depth"][middle], rtol=3e-6)
        assert degrees_between(views.normals[view][middle], expected["normals"][middle]).max() < 0.06
        assert not views.depth_m[view][~seen].any() and not views.normals[view][~seen].any()


@pytest.mark.parametrize("given", ["smooth", "flat"])
def test_sphere_has_its_depth_and_normals(renderer, given):
    points, triangles = sphere(96)
    ball = piece_of(points * 0.4, triangles, points if given == "smooth" else None)
    camera = world_to_camera(77, -30, 1.8)
    views = renderer.draw([ball], camera[None])
    place = ((np.arange(SIZE) + 0.5) / SIZE * 2 - 1) * np.tan(np.radians(FOV) / 2)
    rays = np.stack([*np.meshgrid(place, place), np.ones((SIZE, SIZE))], axis=-1)
    a, b, c = (rays**2).sum(-1), rays[..., 2] * 1.8, 1.8**2 - 0.4**2
    hit = b**2 > a * c
    depth = (b - np.sqrt(np.maximum(b**2 - a * c, 0))) / a
    normal = (rays * depth[..., None] - [0, 0, 1.8]) / 0.4
    assert (hit != (views.coverage[0] >= 128)).mean() < 0.003
    steep = inner(hit) & ((normal * rays).sum(-1) / np.sqrt(a) < -0.3)
    assert steep.sum() > 1000
    np.testing.assert_allclose(views.depth_m[0][steep], depth[steep], atol=1e-3)
    limit = 0.5 if given == "smooth" else 2.0  # degrees; 96 rings are 1.9 degrees apart
    assert degrees_between(views.normals[0], normal)[steep].max() < limit


def test_plane_at_a_slant_has_the_depth_of_each_pixels_middle(renderer):
    slanted = piece_of([[-9, -9, -9], [9, -9, 9], [9, 9, 9], [-9, 9, -9]], [[0, 1, 2], [0, 2, 3]])  # z = x
    views = renderer.draw([slanted], world_to_camera(-45 + 30, 0, 2.0)[None])
    place = ((np.arange(SIZE) + 0.5) / SIZE * 2 - 1) * np.tan(np.radians(FOV) / 2)
    camera = world_to_camera(-15, 0, 2.0)
    normal = camera[:3, :3] @ np.array([1, 0, -1]) / np.sqrt(2)
    rays = np.stack([*np.meshgrid(place, place), np.ones((SIZE, SIZE))], axis=-1)
    np.testing.assert_allclose(views.depth_m[0], 2.0 * normal[2] / (rays @ normal), rtol=3e-5)  # so large an object
    assert (views.coverage == 255).all()


def test_normals_face_the_camera_whatever_the_winding_and_the_files_normals(renderer):
    camera = world_to_camera(0, 0, 2)[None]
    for piece in (square(), replace(square(), triangles=square().triangles[:, ::-1])):
        for normals in (np.zeros((4, 3)), np.tile([0, 0, 5.0], (4, 1)), np.tile([0, 0, -1.0], (4, 1))):
            views = renderer.draw([replace(piece, normals=normals)], camera)
            np.testing.assert_allclose(views.normals[0, SIZE // 2, SIZE // 2], [0, 0, -1], atol=1e-6)


def test_camera_that_turns_left_sees_the_object_turn(renderer):
    """The same picture when the object is turned one way or the camera goes the other."""
    piece = box((0.4, 0.1, 0.2), (0.1, 0.05, 0))
    for angle in (15.0, 90.0, 200.0):
        c, s = np.cos(np.radians(-angle)), np.sin(np.radians(-angle))
        turned = piece.moved(np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1.0]]))
        one = renderer.draw([piece], world_to_camera(angle, 20, 2)[None])
        other = renderer.draw([turned], world_to_camera(0, 20, 2)[None])
        same = inner((one.coverage[0] >= 128) & (other.coverage[0] >= 128))
        np.testing.assert_allclose(one.depth_m[0][same], other.depth_m[0][same], atol=1e-4)
        assert np.abs(one.color[0][same].astype(int) - other.color[0][same]).max() <= 3
        assert ((one.coverage >= 128) != (other.coverage >= 128)).mean() < 0.002
    left = renderer.draw(
        [box((0.05, 0.05, 0.05), (0, 0, 0.4)), box((0.02, 0.02, 0.02))], world_to_camera(15, 0, 2)[None]
    )
    columns = np.nonzero(left.parts[0] == 1)[1]
    assert columns.max() < SIZE / 2  # the camera went to the right, so that what is in front moves left


def test_texture_and_object_stand_upright(renderer):
    corners = np.uint8([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]])
    texture = np.dstack([corners.repeat(8, 0).repeat(8, 1), np.full((16, 16), 255, np.uint8)])
    uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float64)
    views = renderer.draw([square(texture=texture, uv=uv, color=(255, 255, 255))], world_to_camera(0, 0, 1.5)[None])
    rows, columns = np.nonzero(views.coverage[0] >= 128)
    low, high = rows.min(), rows.max()
    assert (low, high) == (columns.min(), columns.max())
    quarter = (high - low) // 4
    strongest = views.color[0][[[low + quarter], [high - quarter]], [[low + quarter, high - quarter]]].argmax(-1)
    assert strongest[0].tolist() == [0, 1] and strongest[1, 0] == 2
    white = views.color[0, high - quarter, high - quarter]
    assert np.ptp(white.astype(int)) < 25 and white.min() > 150


def test_textures_repeat_and_holes_are_holes(renderer):
    texture = np.zeros((8, 8, 4), np.uint8)
    texture[..., 0] = 255
    texture[:, :4, 3] = 255  # the right half is a hole
    uv = np.array([[0, 1], [2, 1], [2, 0], [0, 0]], np.float64)
    views = renderer.draw([square(texture=texture, uv=uv, color=(255, 255, 255))], world_to_camera(0, 0, 1.5)[None])
    row = views.coverage[0, SIZE // 2] >= 128
    assert np.diff(row.astype(int)).tolist().count(1) == 2  # two stripes
    assert 0.2 < views.coverage[0].mean() / 255 / (0.5 / 1.5 / np.tan(np.radians(FOV / 2))) ** 2 / 0.5 / 2 < 0.8


def test_parts_are_numbered_by_surface_and_keep_their_place(renderer):
    small, large = square(0.1, (-0.3, 0, 0)), square(0.2, (0.2, 0, 0))
    hidden = square(0.15, (0.2, 0, -0.3))
    views = renderer.draw([small, hidden, large], world_to_camera(0, 0, 2)[None])
    assert views.parts[0, SIZE // 2, SIZE // 2 + 10] == 1
    assert set(np.unique(views.parts[0][:, : SIZE // 2 - 2])) == {0, 3}
    assert set(np.unique(views.parts)) == {0, 1, 3}
    assert ((views.parts > 0) == (views.coverage >= 128)).all()


def test_more_than_255_parts_count_as_background_but_are_drawn(renderer):
    pieces = [square(0.02 + 1e-5 * (299 - n), (0.05 * (n % 20) - 0.5, 0.05 * (n // 20) - 0.4, 0)) for n in range(300)]
    views = renderer.draw(pieces, world_to_camera(0, 0, 2)[None])
    solid = views.coverage >= 128
    assert (views.parts[solid] == 0).sum() > 50 and views.parts.max() == 255
    assert (views.depth_m[solid] > 0).all()


def test_pixels_on_an_edge_belong_to_the_part_that_covers_most_of_them(renderer):
    left, right = square(2, (-2.003, 0, 0), color=(20, 90, 220)), square(4, (0, 0, -0.5))
    views = renderer_or_skip(SIZE, FOV, oversampling=4).draw([left, right], world_to_camera(0, 0, 2)[None])
    assert views.coverage.min() == 255
    row, border = views.depth_m[0, 40], SIZE // 2 - 0.003 / 2 / np.tan(np.radians(FOV / 2)) * SIZE / 2
    np.testing.assert_allclose(row, np.where(np.arange(SIZE) + 0.5 < border, 2, 2.5), atol=2e-4)  # never in between
    mixed = np.unique(views.color[0, 40, SIZE // 2 - 4 : SIZE // 2 + 4], axis=0)
    assert len(mixed) > 2  # the color is


def test_panes_are_not_drawn_and_an_object_that_leaves_the_frame_is_cut_there(renderer):
    camera = world_to_camera(0, 0, 2)[None]
    views = renderer.draw([square(0.2), replace(square(0.5, (0, 0, 0.1)), opacity=0.2)], camera)
    assert views.depth_m[0, SIZE // 2, SIZE // 2] == pytest.approx(2)
    beside = renderer.draw([square(0.5, (0.9, 0, 0))], camera)
    columns = np.nonzero((beside.coverage[0] >= 128).any(0))[0]
    left = (1 + 0.4 / 2 / np.tan(np.radians(FOV / 2))) / 2 * SIZE
    assert abs(columns.min() - left) <= 1 and columns.max() == SIZE - 1
    assert not renderer.draw([square(0.1, (5, 0, 0))], camera).coverage.any()
    passing = renderer.draw([box((0.05, 0.05, 3), (0.15, 0, 2))], camera)  # from before the camera to behind it
    assert (passing.coverage[0, SIZE // 2, -10:] == 255).all()


def test_coverage_is_the_share_of_samples_and_color_is_the_objects_own(renderer):
    views = renderer.draw([square(0.3)], world_to_camera(0, 0, 2.0371)[None])
    outline = (views.coverage[0] > 0) & (views.coverage[0] < 255)
    assert set(np.unique(views.coverage)) <= {0, 64, 128, 191, 255} and outline.any()
    middle = views.color[0, SIZE // 2, SIZE // 2].astype(int)
    assert np.abs(views.color[0][outline] - middle).max() <= 12  # the light changes a little over the square, no black
    whitened = views.over(255)
    share = views.coverage[0][outline][:, None] / 255
    np.testing.assert_allclose(whitened[0][outline], views.color[0][outline] * share + 255 * (1 - share), atol=1)
    assert (whitened[0][views.coverage[0] == 0] == 255).all() and (views.over(7)[0][views.coverage[0] == 0] == 7).all()


def test_the_side_towards_the_light_is_brighter_and_the_light_stays_with_the_camera(renderer):
    points, triangles = sphere(32)
    ball = piece_of(points * 0.4, triangles, points, color=(150, 150, 150))
    light = (1.0, 0.0, 0.3)  # goes to the right, away from the viewer
    views = renderer.draw([ball], Turn(0, 0, 2).cameras(2, 180), light=light)
    for picture in views.color.astype(int):
        assert picture[SIZE // 2, SIZE // 2 - 15].sum() > 1.3 * picture[SIZE // 2, SIZE // 2 + 15].sum()


def test_views_repeat_to_the_byte_and_do_not_depend_on_their_neighbours(renderer, monkeypatch):
    pieces = [box((0.3, 0.2, 0.25)), box((0.1, 0.4, 0.1), color=(20, 90, 220))]
    cameras = Turn(3, 33, 1.9).cameras(7, 15)
    whole = renderer.draw(pieces, cameras)
    monkeypatch.setattr(renderer_module, "MAX_HEIGHT", 3 * 2 * SIZE)
    in_threes = renderer_or_skip(SIZE, FOV)
    assert in_threes.at_once == 3
    for name, array in vars(renderer.draw(pieces, cameras)).items():
        np.testing.assert_array_equal(array, getattr(whole, name))
    for name, array in vars(in_threes.draw(pieces, cameras)).items():  # rounded elsewhere in a frame of another height
        np.testing.assert_allclose(
            array.astype(float), getattr(whole, name), atol=1 if array.dtype == np.uint8 else 1e-5
        )


def test_a_wider_field_of_view_shows_the_object_smaller(renderer):
    camera = world_to_camera(0, 0, 2)[None]
    wide = renderer_or_skip(SIZE, 80.0)
    for one in (renderer, wide):
        rows = np.nonzero((one.draw([square(0.3)], camera).coverage[0] >= 128).any(1))[0]
        expected = 0.3 / 2 / np.tan(np.radians(one.fov_degrees) / 2) * SIZE
        assert abs(len(rows) - expected) <= 1.01


def test_a_forked_process_is_told_instead_of_waiting_for_ever(renderer, monkeypatch):
    camera = world_to_camera(0, 0, 2)[None]
    first = renderer_module.shared_renderer(16, FOV)
    assert renderer_module.shared_renderer(16, FOV) is first and first.draw([square()], camera).coverage.any()
    monkeypatch.setattr(renderer_module.os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="spawn"):
        renderer_module.shared_renderer(16, FOV)


def test_missing_egl_is_an_error_that_says_what_to_install(renderer, monkeypatch):
    moderngl = renderer_module._import_moderngl()

    def refuse(**_):
        raise Exception("cannot load library libEGL.so")

    monkeypatch.setattr(moderngl, "create_context", refuse)
    with pytest.raises(ImportError, match=r"libEGL\.so.*apt-get install libegl1 libgl1-mesa-dri"):
        renderer_module.Renderer(8, fov_degrees=FOV)


def test_renderers_live_side_by_side(renderer):
    other = renderer_or_skip(32, 60.0)
    camera = world_to_camera(0, 0, 2)[None]
    first = renderer.draw([square()], camera).color
    assert other.draw([square()], camera).color.shape == (1, 32, 32, 3)
    np.testing.assert_array_equal(renderer.draw([square()], camera).color, first)
