"""Cameras around an object: where they stand, which way they go, and that chance is a function of seed and key."""

import numpy as np

from openlvm.sources.rendered.camera import Turn, drawn_turn, projection, world_to_camera


def test_camera_looks_at_the_origin_with_the_world_upright():
    for azimuth, elevation, distance in ((0, 0, 2.0), (75, 30, 1.5), (290, -45, 2.2)):
        camera = world_to_camera(azimuth, elevation, distance)
        np.testing.assert_allclose(camera[:3, :3] @ camera[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.isclose(np.linalg.det(camera[:3, :3]), 1)
        np.testing.assert_allclose(camera @ [0, 0, 0, 1], [0, 0, distance, 1], atol=1e-12)
        up = camera[:3, :3] @ [0, 1, 0]
        assert up[1] < 0 and abs(up[0]) < 1e-12  # y is down in the camera, and the horizon is level


def test_camera_stands_before_the_object_then_at_its_left_and_above():
    np.testing.assert_allclose(np.linalg.inv(world_to_camera(0, 0, 2))[:3, 3], [0, 0, 2], atol=1e-12)
    np.testing.assert_allclose(np.linalg.inv(world_to_camera(90, 0, 2))[:3, 3], [2, 0, 0], atol=1e-12)
    np.testing.assert_allclose(np.linalg.inv(world_to_camera(0, 90, 2))[:3, 3], [0, 2, 0], atol=1e-12)
    right_of_object = world_to_camera(0, 0, 2) @ [-1, 0, 0, 1]  # its left is our right
    assert right_of_object[0] < 0


def test_turn_goes_round_once_in_24_steps_at_constant_elevation_and_distance():
    cameras = Turn(37.0, -20.0, 1.7).cameras(24, 15.0)
    places = np.linalg.inv(cameras)[:, :3, 3]
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1.7)
    np.testing.assert_allclose(places[:, 1], -1.7 * np.sin(np.radians(20)))
    steps = np.diff(np.unwrap(np.arctan2(places[:, 0], places[:, 2])))
    np.testing.assert_allclose(np.degrees(steps), 15)


def test_turn_is_a_function_of_seed_and_key_within_its_ranges():
    assert drawn_turn(0, "chair") == drawn_turn(0, "chair")
    assert len({drawn_turn(0, "chair"), drawn_turn(1, "chair"), drawn_turn(0, "table")}) == 3
    turns = [drawn_turn(3, str(number)) for number in range(2000)]
    columns = {"azimuth": (0, 360), "elevation": (-45, 45), "distance": (1.5, 2.2)}
    for name, (low, high) in columns.items():
        values = np.array([getattr(turn, name) for turn in turns])
        assert low <= values.min() < low + 0.01 * (high - low) and high - 0.01 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low)  # uniform: 3 deviations are 0.019


def test_projection_puts_the_field_of_view_on_the_border():
    matrix = projection(60, 0.5, 4)
    edge = matrix @ [3 * np.tan(np.radians(30)), 0, 3, 1]
    np.testing.assert_allclose(edge[0] / edge[3], 1)
    for depth, expected in ((0.5, -1), (4, 1)):
        clip = matrix @ [0, 0, depth, 1]
        np.testing.assert_allclose(clip[2] / clip[3], expected)
