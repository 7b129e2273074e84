"""Annotations shrink with their picture and keep their meaning."""

import numpy as np
import pytest

from openlvm.core.records import Boxes, Depth, Edges, Flow, Keypoints, Normals, Segmentation
from openlvm.sources.clips.shrinking import refuse_other_shape, shrink_payload, size_of


def nearest(plane, height, width):
    """The slow loop: the pixel in which the middle of the new one lies."""
    old_height, old_width = plane.shape[:2]
    out = np.zeros((height, width, *plane.shape[2:]), plane.dtype)
    for row in range(height):
        for column in range(width):
            out[row, column] = plane[int((row + 0.5) * old_height / height), int((column + 0.5) * old_width / width)]
    return out


@pytest.mark.parametrize("size", [(30, 47), (47, 30), (64, 64), (31, 33)])
def test_planes_take_the_nearest_pixel(size):
    chance = np.random.default_rng(0)
    picture = shrink_payload(chance.integers(0, 255, (*size, 3)).astype(np.uint8), 12)
    height, width = picture.shape[:2]
    assert min(height, width) == 12
    ids = chance.integers(-1, 9, size).astype(np.int32)
    np.testing.assert_array_equal(shrink_payload(Segmentation(ids), 12).ids, nearest(ids, height, width))
    meters = chance.random(size).astype(np.float32)
    np.testing.assert_array_equal(shrink_payload(Depth(meters), 12).meters, nearest(meters, height, width))
    np.testing.assert_array_equal(shrink_payload(Edges(meters), 12).strength, nearest(meters, height, width))
    vectors = chance.random((*size, 3)).astype(np.float32)
    np.testing.assert_array_equal(shrink_payload(Normals(vectors), 12).vectors, nearest(vectors, height, width))


def test_flow_points_and_boxes_are_in_pixels_of_the_smaller_picture():
    shape, small = (20, 30), (10, 15)
    vectors = np.full((*shape, 2), (6, -4), np.float32)
    vectors[:2, :2] = np.nan
    flow = shrink_payload(Flow(vectors), 10).vectors
    assert flow.shape == (*small, 2)
    assert flow[5, 5].tolist() == [3, -2]
    assert np.isnan(flow[0, 0]).all()
    assert flow.dtype == np.float32
    points = np.array([[[30, 20], [3, 5]]], np.float32)
    joints = shrink_payload(Keypoints(points, np.array([[True, False]]), shape, "jhmdb"), 10)
    assert joints.points.tolist() == [[[15, 10], [1.5, 2.5]]]
    assert joints.visible.tolist() == [[True, False]]
    assert (joints.size, joints.joints, joints.points.dtype) == (small, "jhmdb", np.float32)
    boxes = shrink_payload(Boxes(np.array([[0, 10, 30, 20]], np.float32), np.array([7], np.int32), shape), 10)
    assert boxes.corners.tolist() == [[0, 5, 15, 10]]
    assert (boxes.ids.tolist(), boxes.size) == ([7], small)


def test_columns_and_rows_shrink_by_their_own_factor():
    shape, down, across = (31, 33), 12 / 31, 13 / 33  # a width of 12.77 is rounded
    point = np.array([[[33, 31]]], np.float32)
    joints = shrink_payload(Keypoints(point, np.ones((1, 1), bool), shape), 12)
    np.testing.assert_allclose(joints.points, [[[13, 12]]], rtol=1e-6)
    corners = np.array([[1, 2, 30, 20]], np.float32)
    boxes = shrink_payload(Boxes(corners, np.array([1], np.int32), shape), 12)
    np.testing.assert_allclose(boxes.corners, [[across, 2 * down, 30 * across, 20 * down]], rtol=1e-6)
    flow = shrink_payload(Flow(np.ones((*shape, 2), np.float32)), 12)
    np.testing.assert_allclose(flow.vectors[4, 4], [across, down], rtol=1e-6)


def test_smaller_ones_stay_as_they_are():
    depth = Depth(np.ones((10, 12), np.float32))
    assert shrink_payload(depth, 10) is depth
    with pytest.raises(ValueError, match="must be dense, points or boxes, not str"):
        shrink_payload("text", 10)


def test_annotations_of_another_shape_are_refused():
    picture = np.zeros((20, 30, 3), np.uint8)
    half = Depth(np.zeros((10, 15), np.float32))
    boxes = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), (20, 20))
    assert size_of(boxes) == (20, 20)
    refuse_other_shape([picture], [half], "depth")
    with pytest.raises(ValueError, match="the frame is 30 x 20 but its 'boxes' is 20 x 20"):
        refuse_other_shape([picture, picture], [half, boxes], "boxes")
