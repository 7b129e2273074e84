"""People's joints survive being drawn and read back in both styles, and are drawn as the styles say."""

import numpy as np
import pytest
from annotated import HEIGHT, PREPARATIONS, STANDING, WIDTH

from openlvm.core.images import ImagePreparation
from openlvm.core.records import JOINTS, Keypoints
from openlvm.sentences.annotations.people import draw_keypoints, draw_openpose, read_keypoints, read_openpose
from openlvm.sentences.annotations.resizing import resized
from openlvm.sentences.palettes import LIMBS, OPENPOSE_JOINTS, joint_colors
from openlvm.sentences.render import draw


@pytest.fixture
def keypoints():
    visible = np.ones((1, 17), bool)
    visible[0, 9] = False
    return Keypoints(STANDING[None], visible, (HEIGHT, WIDTH))


def test_keypoints_roundtrip_below_one_pixel(keypoints):
    read = read_keypoints(draw_keypoints(keypoints))
    np.testing.assert_array_equal(read.visible, keypoints.visible)
    assert np.abs(read.points - keypoints.points)[keypoints.visible].max() < 1
    assert read.size == (HEIGHT, WIDTH)


@pytest.mark.parametrize("preparation", [*PREPARATIONS, ImagePreparation(size=256)])
def test_keypoints_roundtrip_after_resizing(keypoints, preparation):
    read = read_keypoints(draw(keypoints, preparation))
    left, top, right, bottom = preparation.region(HEIGHT, WIDTH)
    scale = preparation.size / np.array([right - left, bottom - top])
    truth = (STANDING - (left, top)) * scale
    np.testing.assert_array_equal(read.visible, keypoints.visible)
    assert np.abs(read.points[0] - truth)[keypoints.visible[0]].max() < 1


def test_keypoints_outside_the_crop_are_invisible():
    points = np.array([[[10, 40], [20, 40], [90, 40]]], np.float32)
    moved = resized(Keypoints(points, np.ones((1, 3), bool), (HEIGHT, WIDTH)), ImagePreparation(size=48))
    assert moved.visible.tolist() == [[False, True, True]]
    np.testing.assert_allclose(moved.points[0, 1], [2, 20])
    assert read_keypoints(draw_keypoints(moved), num_joints=3).visible.tolist() == [[False, True, True]]


def test_keypoints_draw_limbs_half_bright_between_visible_joints(keypoints):
    drawn, colors = draw_keypoints(keypoints), joint_colors(17)
    halfway = ((STANDING[13] + STANDING[15]) / 2).astype(int)  # left shin
    np.testing.assert_array_equal(drawn[halfway[1], halfway[0]], colors[15] // 2)
    hidden = ((STANDING[7] + STANDING[9]) / 2).astype(int)
    assert not drawn[hidden[1], hidden[0]].any()


def test_keypoints_in_tiny_pictures_are_a_few_pixels():
    drawn = draw_keypoints(Keypoints(np.array([[[3.0, 4.0]]]), np.ones((1, 1), bool), (8, 8)))
    assert 1 <= drawn.any(axis=-1).sum() <= 4


def test_keypoints_of_other_sets_have_the_limbs_that_they_name():
    """A head over a neck is a limb of Leeds Sports Pose; sets without names are discs alone."""
    names = JOINTS["lsp"]
    points = np.random.default_rng(0).uniform(10, 80, (1, len(names), 2)).astype(np.float32)
    points[0, names.index("neck")], points[0, names.index("head_top")] = (100, 70), (100, 30)
    visible = np.isin(names, ("neck", "head_top"))[None]
    neck = draw_keypoints(Keypoints(points, visible, (HEIGHT, WIDTH), "lsp"))[50, 100]
    np.testing.assert_array_equal(neck, joint_colors(len(names))[names.index("head_top")] // 2)
    assert not draw_keypoints(Keypoints(points, visible, (HEIGHT, WIDTH), ""))[50, 100].any()
    of_coco = [limb for limb in LIMBS if set(limb) <= set(JOINTS["coco"])]
    assert len(of_coco) == 18


# OpenPose's style


@pytest.mark.parametrize("size", [128, 256])
def test_openpose_roundtrips_below_one_pixel(keypoints, size):
    preparation = ImagePreparation(size=size, fit="squash")
    read = read_openpose(draw(keypoints, preparation, "openpose"))
    target = resized(keypoints, preparation)
    np.testing.assert_array_equal(read.visible, keypoints.visible)
    assert np.abs(read.points - target.points)[keypoints.visible].max() < 1
    assert read.joints == "coco"


def test_openpose_is_as_large_as_published():
    """Radius 8, half axis 4 in a picture 480 pixels high; limbs have 0.6 of their color."""
    points = np.zeros((1, 17, 2), np.float32)
    names = JOINTS["coco"]
    points[0, names.index("left_hip")], points[0, names.index("left_knee")] = (100, 100), (300, 100)
    visible = np.isin(names, ("left_hip", "left_knee"))[None]
    drawn = draw_openpose(Keypoints(points, visible, (480, 640)))
    hip = (drawn == joint_colors(18)[OPENPOSE_JOINTS.index("left_hip")]).all(axis=-1)
    assert abs(hip.sum() - np.pi * 8**2) < 8
    assert np.ptp(np.flatnonzero(hip.any(axis=0))) == np.ptp(np.flatnonzero(hip.any(axis=1))) == 15
    limb = (drawn == (0, 102, 153)).all(axis=-1)  # 0.6 of (0, 170, 255)
    assert limb[:, 200].sum() == 8
    assert limb[:, 120].sum() < 8  # an ellipse, not a bar
    assert (hip | limb | (drawn == joint_colors(18)[12]).all(axis=-1) | ~drawn.any(axis=-1)).all()


def test_openpose_puts_the_neck_between_the_shoulders():
    points = STANDING[None].copy()
    names = JOINTS["coco"]
    color = joint_colors(18)[OPENPOSE_JOINTS.index("neck")]
    both = Keypoints(points, np.isin(names, ("left_shoulder", "right_shoulder"))[None], (HEIGHT, WIDTH))
    np.testing.assert_array_equal(draw_openpose(both)[32, 64], color)  # between (76, 32) and (52, 32)
    one = Keypoints(points, np.isin(names, ("left_shoulder",))[None], (HEIGHT, WIDTH))
    assert not (draw_openpose(one) == color).all(axis=-1).any()
    lsp = np.isin(JOINTS["lsp"], ("neck",))[None]
    own = Keypoints(np.full((1, 14, 2), 20.5, np.float32), lsp, (HEIGHT, WIDTH), "lsp")
    np.testing.assert_array_equal(draw_openpose(own)[20, 20], color)
    assert read_openpose(draw_openpose(own), joints="lsp").visible.tolist() == lsp.tolist()


def test_openpose_limbs_are_not_joints():
    """Mixtures where limbs cross are too small to be read as joints."""
    chance = np.random.default_rng(0)
    names = JOINTS["coco"]
    for _ in range(20):
        points = chance.uniform((10, 10), (WIDTH - 10, HEIGHT - 10), (1, 17, 2)).astype(np.float32)
        visible = chance.random((1, 17)) < 0.6
        read = read_openpose(draw_openpose(Keypoints(points, visible, (HEIGHT, WIDTH))))
        assert not (read.visible & ~visible)[0, names.index("nose")]
        assert (read.visible & ~visible).sum() <= 1


def test_people_are_drawn_on_their_photo():
    photo = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    two = Keypoints(STANDING[None, :2] + 0 * STANDING[None, :2], np.ones((1, 2), bool), (HEIGHT, WIDTH), "")
    over = draw_keypoints(two, photo)
    on_black = draw_keypoints(two)
    drawn = on_black.any(axis=-1)
    np.testing.assert_array_equal(over[drawn], on_black[drawn])
    assert (over[~drawn] == 90).all() and (photo == 90).all()
    with pytest.raises(ValueError, match=r"an annotation of \(96, 128\) \(H, W\) pixels does not lie on a photo"):
        draw_keypoints(two, photo[:50])


def test_openpose_rejects_joints_without_names():
    nameless = Keypoints(np.zeros((1, 3, 2), np.float32), np.ones((1, 3), bool), (HEIGHT, WIDTH), "")
    with pytest.raises(ValueError, match="3 joints of the set '' cannot be drawn in the style 'openpose'.*coco, mpii"):
        draw_openpose(nameless)
