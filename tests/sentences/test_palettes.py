"""Colors stay what they are (pictures in stores are drawn in them) and can be told apart."""

import hashlib

import numpy as np
import pytest

from openlvm.core.records import JOINTS
from openlvm.sentences.palettes import (
    LIMBS,
    OPENPOSE_JOINTS,
    OPENPOSE_LIMBS,
    VOID_COLOR,
    colors_of,
    joint_colors,
    nearest_color,
    palette,
    pieces,
)


def closest(colors):
    distances = np.linalg.norm(colors[:, None].astype(float) - colors[None], axis=-1)
    return distances[~np.eye(len(colors), dtype=bool)].min()


def test_palette_matches_golden_digest():
    assert (
        hashlib.sha256(palette().tobytes()).hexdigest()
        == "f95fd1a0fd389ab74818794f9eb70b87937878aa703b590b2ea769ae206ab67f"
    )
    assert palette()[:5].tolist() == [[0, 0, 0], [255, 255, 255], [0, 0, 255], [0, 255, 0], [255, 0, 0]]


def test_palette_colors_are_far_apart():
    assert closest(palette()) > 35
    assert closest(palette()[:21]) > 100  # Pascal VOC
    assert np.linalg.norm(palette().astype(int) - VOID_COLOR, axis=1).min() > 38


def test_colors_of_takes_void_and_any_shape():
    ids = np.array([[0, 1], [255, -1]])
    np.testing.assert_array_equal(colors_of(ids)[1], [palette()[255], VOID_COLOR])
    assert colors_of(ids).dtype == np.uint8


def test_joint_colors_match_table():
    colors = joint_colors(17)
    assert dict(zip(JOINTS["coco"], colors.tolist(), strict=True))["left_eye"] == [255, 90, 0]
    assert colors[[0, 2, 3, 4, 16]].tolist() == [[255, 0, 0], [255, 180, 0], [240, 255, 0], [150, 255, 0], [255, 0, 90]]
    others = np.vstack([colors, colors // 2, [[0, 0, 0]]]).astype(int)  # limbs among themselves may be alike
    for joint in range(17):
        assert np.linalg.norm(np.delete(others, joint, axis=0) - colors[joint], axis=1).min() > 60
    assert {joint for limb in LIMBS for joint in limb} >= set(JOINTS["coco"])
    assert {joint for limb in LIMBS for joint in limb} <= {joint for joints in JOINTS.values() for joint in joints}


def test_openpose_colors_match_published_table():
    """The rainbow of OpenPose's `POSE_COCO_COLORS_RENDER`, in MMPose's order of joints; its limbs are as bright."""
    rainbow = [
        *([255, 0, 0], [255, 85, 0], [255, 170, 0], [255, 255, 0], [170, 255, 0], [85, 255, 0]),
        *([0, 255, 0], [0, 255, 85], [0, 255, 170], [0, 255, 255], [0, 170, 255], [0, 85, 255]),
        *([0, 0, 255], [85, 0, 255], [170, 0, 255], [255, 0, 255], [255, 0, 170], [255, 0, 85]),
    ]
    assert joint_colors(len(OPENPOSE_JOINTS)).tolist() == rainbow
    published = rainbow[:9] + [[0, 255, 225]] + rainbow[10:13] + [rainbow[16], *rainbow[14:17]]
    assert [list(color) for _, _, color in OPENPOSE_LIMBS] == published
    assert set(OPENPOSE_JOINTS) - set(JOINTS["coco"]) == {"neck"}
    assert {joint for first, second, _ in OPENPOSE_LIMBS for joint in (first, second)} == set(OPENPOSE_JOINTS)


def test_nearest_color_matches_slow_loop():
    chance = np.random.default_rng(0)
    image = chance.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    colors = palette()[chance.permutation(256)[:50]]
    nearest = nearest_color(image, colors)
    for row in range(7):
        for column in range(9):
            distances = ((colors.astype(int) - image[row, column].astype(int)) ** 2).sum(axis=1)
            assert nearest[row, column] == distances.argmin()


def flood(mask):
    """Connected areas by filling one after the other."""
    numbers = np.zeros(mask.shape, int)
    for start in zip(*np.nonzero(mask), strict=True):
        if numbers[start]:
            continue
        numbers[start], open_places = numbers.max() + 1, [start]
        while open_places:
            row, column = open_places.pop()
            for place in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                inside = 0 <= place[0] < mask.shape[0] and 0 <= place[1] < mask.shape[1]
                if inside and mask[place] and not numbers[place]:
                    numbers[place] = numbers[start]
                    open_places.append(place)
    return numbers


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_pieces_matches_flood(share):
    mask = np.random.default_rng(3).random((23, 31)) < share
    np.testing.assert_array_equal(pieces(mask), flood(mask))


def test_pieces_follows_a_snake():
    mask = np.zeros((20, 20), bool)
    mask[::4] = True
    for turn, top in enumerate(range(0, 16, 4)):
        mask[top : top + 4, -1 if turn % 2 == 0 else 0] = True
    np.testing.assert_array_equal(pieces(mask), mask.astype(int))
