"""Wavefront models: points, colors and textures as the file says, and what is missing is reported."""

import numpy as np
import pytest
from miniatures.rendered import cuboid, write_obj

from openlvm.sources.rendered.folder import Accepted
from openlvm.sources.rendered.obj import read_obj

pytest.importorskip("trimesh", reason="trimesh is of the extra `render`")


def write(tmp_path, text, **others):
    for name, content in others.items():
        (tmp_path / f"{name}.mtl").write_text(content)
    path = tmp_path / "model.obj"
    path.write_text(text)
    return path


TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
USES_A = f"mtllib m.mtl\n{TRIANGLE}usemtl a\nf 1 2 3\n"


def test_square_with_a_texture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    (piece,) = read_obj(write_obj(tmp_path / "a b/model.obj", texture=pixels), Accepted())
    np.testing.assert_array_equal(piece.texture[..., :3], pixels)
    corners = piece.points[piece.triangles]
    assert np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])).sum() / 2 == 4
    top = piece.uv[piece.points[:, 1] == 1]
    np.testing.assert_array_equal(top[:, 1], 0)  # (0, 1) of the file is the picture's top left corner
    np.testing.assert_array_equal(piece.tints, 255)


def test_square_without_a_texture_has_its_materials_color(tmp_path):
    (piece,) = read_obj(write_obj(tmp_path / "model.obj"), Accepted())
    assert piece.texture is None
    np.testing.assert_array_equal(piece.tints, [[255, 0, 0, 255]] * len(piece.points))


def test_each_material_is_a_piece_with_its_opacity(tmp_path):
    materials = "newmtl wood\nKd 0.5 0.25 0\nnewmtl glass\nd 0.2\n"
    path = write(
        tmp_path,
        f"mtllib m.mtl\n{TRIANGLE}usemtl wood\nf 1 2 3\nusemtl glass\nf 3 2 1\nusemtl wood\nf 2 3 1\n",
        m=materials,
    )
    pieces = sorted(read_obj(path, Accepted()), key=lambda piece: -len(piece.triangles))
    assert [(len(piece.triangles), piece.opacity) for piece in pieces] == [(2, 1.0), (1, 0.2)]
    np.testing.assert_allclose(pieces[0].tints[0], [127, 64, 0, 255], atol=1)
    np.testing.assert_array_equal(pieces[1].tints[0], [180, 180, 180, 255])


def test_colors_of_points(tmp_path):
    (piece,) = read_obj(write(tmp_path, "v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 0 1 0 0 0 0.5\nf 1 2 3\n"), Accepted())
    order = np.lexsort(piece.points.T[::-1])
    np.testing.assert_allclose(piece.tints[order], [[255, 0, 0, 255], [0, 0, 127, 255], [0, 255, 0, 255]], atol=1)


@pytest.mark.parametrize("corners", [3, 4, 6])
def test_polygons_are_cut_into_triangles(tmp_path, corners):
    angle = 2 * np.pi * np.arange(corners) / corners
    text = "".join(f"v {np.cos(a)} {np.sin(a)} 0\n" for a in angle)
    (piece,) = read_obj(write(tmp_path, text + "f " + " ".join(str(1 + i) for i in range(corners)) + "\n"), Accepted())
    assert piece.area == pytest.approx(corners / 2 * np.sin(2 * np.pi / corners))


def test_normals_are_the_files_or_those_of_the_surface_with_hard_edges(tmp_path):
    points, triangles, normals = cuboid()
    text = "".join(f"v {x} {y} {z}\n" for x, y, z in points)
    faces = "".join("f " + " ".join(str(1 + i) for i in corners) + "\n" for corners in triangles)
    (piece,) = read_obj(write(tmp_path, text + faces), Accepted())
    across = np.cross(*(piece.points[piece.triangles[:, i]] - piece.points[piece.triangles[:, 0]] for i in (1, 2)))
    found = piece.normals[piece.triangles]
    cosine = (
        (found * across[:, None]).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(across, axis=-1)[:, None]
    )
    np.testing.assert_allclose(cosine, 1)

    tilted = TRIANGLE + "vn 0.3 0 1\nf 1//1 2//1 3//1\n"
    (piece,) = read_obj(write(tmp_path, tilted), Accepted())
    np.testing.assert_allclose(piece.normals, [[0.3, 0, 1]] * 3)


@pytest.mark.parametrize(
    ("text", "materials", "error", "message"),
    [
        ("mtllib gone.mtl\n" + TRIANGLE + "f 1 2 3\n", "", FileNotFoundError, "gone.mtl"),
        (USES_A.replace("usemtl a", "usemtl oak"), "newmtl wood\n", ValueError, "material 'oak'"),
        (USES_A, "newmtl a\nmap_Kd gone.jpg\n", FileNotFoundError, "gone.jpg"),
        (USES_A, "newmtl a\nmap_Kd ../s.jpg\n", ValueError, "not in its folder"),
        (USES_A, "newmtl a\nmap_Kd m.mtl\n", ValueError, "not a picture"),
    ],
)  # fmt: skip
def test_lost_looks_are_refused_or_drawn_plain(tmp_path, text, materials, error, message):
    path = write(tmp_path, text, m=materials)
    with pytest.raises(error, match=message):
        read_obj(path, Accepted())
    (piece,) = read_obj(path, Accepted(lost_textures="gray"))
    assert len(piece.triangles) == 1 and piece.texture is None


def test_textures_may_be_named_by_options_and_by_the_path_on_another_machine(tmp_path):
    pixels = np.full((2, 2, 3), 7, np.uint8)
    path = write_obj(tmp_path / "model.obj", texture=pixels)
    for name in (r"C:\Users\me\model.png", "-s 1 1 1 model.png"):
        path.with_suffix(".mtl").write_text(f"newmtl paint\nmap_Kd {name}\n")
        (piece,) = read_obj(path, Accepted())
        np.testing.assert_array_equal(piece.texture[..., :3], pixels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TRIANGLE + "f -3 -2 -1\n", "negative"),
        (TRIANGLE + "f 1 2 9\n", "damaged|9"),
        (TRIANGLE.replace("1 0 0", "nan 0 0") + "f 1 2 3\n", "finite"),
        (TRIANGLE + "f 1 2 3\n" * 6, "6 triangles or more; the limit is 5"),
        (TRIANGLE + "f 1 2 3 1 2 3 1 2\n", "6 triangles or more; the limit is 5"),
    ],
)
def test_damaged_models_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_obj(write(tmp_path, text), Accepted(triangles=5))


def test_points_without_triangles_are_no_pieces(tmp_path):
    assert read_obj(write(tmp_path, TRIANGLE), Accepted()) == []
    assert read_obj(write(tmp_path, "hello\n"), Accepted()) == []
