"""Pieces of an object: moved, normalized, numbered, and what their normals become."""

from dataclasses import replace

import numpy as np
import pytest
from miniatures.rendered import cuboid, sphere

from openlvm.sources.rendered.pieces import (
    Piece,
    bounds,
    normalized,
    opaque,
    part_ids,
    smooth_normals,
    turning,
    with_hard_edges,
)


def piece_of(points, triangles, normals=None, **options):
    points = np.asarray(points, np.float64)
    normals = np.zeros_like(points) if normals is None else normals
    looks = {"uv": np.zeros((len(points), 2)), "tints": np.full((len(points), 4), 255, np.uint8)}
    return Piece(points=points, triangles=np.asarray(triangles), normals=normals, **looks, **options)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("mirror", [1, -1])
def test_normals_stay_upright_under_stretching_turning_and_mirroring(mirror):
    chance = np.random.default_rng(0)
    points, triangles = sphere(64)
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(chance.normal(size=(3, 3)))[0] @ np.diag([3, 0.5, 1.5 * mirror])
    matrix[:3, 3] = chance.normal(size=3)
    moved = piece_of(points, triangles, points.astype(np.float64)).moved(matrix)
    a, b, c = moved.points[moved.triangles].swapaxes(0, 1)
    across = np.cross(b - a, c - a) * np.sign(np.linalg.det(matrix[:3, :3]))
    large = np.linalg.norm(across, axis=1) > 1e-4
    cosine = (unit(across[large])[:, None] * unit(moved.normals)[moved.triangles[large]]).sum(-1)
    assert cosine.min() > 0.98  # the triangles of an ellipsoid lie within some degrees of its normals


def test_turning_of_what_is_flattened_keeps_its_normal():
    np.testing.assert_allclose(unit(np.array([[0.3, 0.2, 1.0]]) @ turning(np.diag([1, 1, 0, 1.0]))), [[0, 0, 1]])
    assert not turning(np.diag([1, 0, 0, 1.0])).any()


def test_normalized_object_fills_a_sphere_of_diameter_one_and_ignores_unused_points():
    points, triangles, _ = cuboid((1, 2, 3))
    points = np.concatenate([points + 5, [[100, 0, 0]]])
    (piece,) = normalized([piece_of(points, triangles)])
    box, radius = bounds([piece])
    np.testing.assert_allclose(box[0], -box[1], atol=1e-7)
    np.testing.assert_allclose(radius, 0.5)
    np.testing.assert_allclose(np.ptp(piece.points[:24], axis=0) * np.sqrt(14), [1, 2, 3], rtol=1e-6)
    with pytest.raises(ValueError, match="radius of 0"):
        normalized([piece_of(np.zeros((3, 3)), [[0, 1, 2]])])


def test_parts_are_numbered_by_surface_and_the_largest_255_kept():
    triangle = piece_of([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    sizes = np.random.default_rng(0).permutation(300) + 1.0
    pieces = [replace(triangle, points=triangle.points * size) for size in sizes]
    assert pieces[0].area == pytest.approx(sizes[0] ** 2 / 2)
    expected = 301 - sizes
    assert part_ids(pieces) == np.where(expected > 255, 0, expected).tolist()


def test_see_through_pieces_are_left_out_unless_all_are():
    solid = piece_of(np.eye(3), [[0, 1, 2]])
    glass = replace(solid, opacity=0.2)
    assert opaque([glass, solid]) == [solid]
    assert opaque([glass]) == [glass]


def test_smooth_normals_of_a_sphere_point_outwards():
    points, triangles = sphere(48)
    normals = smooth_normals(points.astype(np.float64), triangles)
    middle = np.abs(points[:, 1]) < 0.99  # poles and seam have their points several times
    assert np.abs((unit(normals[middle]) * points[middle]).sum(-1)).min() > 0.999


def test_hard_edges_of_a_cube_come_back_and_a_sphere_stays_round():
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    triangles = np.array([[a, face[i], face[i + 1]] for face in faces for a in face[:1] for i in (1, 2)])
    cube = piece_of(corners, triangles, smooth_normals(corners, triangles))
    hard = with_hard_edges(cube)
    a, b, c = hard.points[hard.triangles].swapaxes(0, 1)
    np.testing.assert_array_equal(hard.points[hard.triangles], cube.points[cube.triangles])
    flat = unit(np.cross(b - a, c - a))
    np.testing.assert_allclose(unit(hard.normals)[hard.triangles], np.repeat(flat[:, None], 3, 1), atol=1e-12)
    assert len(hard.uv) == len(hard.tints) == len(hard.points) == 8 + 36

    points, triangles = sphere(32)
    ball = piece_of(points, triangles, points.astype(np.float64))
    assert len(with_hard_edges(ball).points) == len(points)
