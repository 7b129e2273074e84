"""Metrics against other libraries, slow loops and known extremes."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from openlvm.core.records import Depth, Edges, Keypoints, Normals, Segmentation
from openlvm.evaluation.metrics import (
    depth_abs_rel,
    depth_error,
    edge_f1,
    hue_error,
    keypoint_recovery,
    mask_iou,
    normal_angle,
    pixel_error,
    pixels_right,
    psnr,
    saturation_kept,
    sharpness_kept,
    ssim,
)
from openlvm.sentences.render import draw_depth, draw_edges, draw_keypoints, draw_normals, draw_segmentation


def mask(rows: slice) -> np.ndarray:
    ids = np.zeros((8, 8), dtype=np.int32)
    ids[rows] = 1
    return draw_segmentation(Segmentation(ids))


def test_pixel_error_limits():
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert (pixel_error(black, black), pixel_error(black, white)) == (0, 1)
    region = np.zeros((4, 4), bool)
    region[0] = True
    half = black.copy()
    half[0] = 255
    assert pixel_error(half, black, region) == 1 and pixel_error(half, black, ~region) == 0


def test_psnr_matches_scikit_image():
    first, second = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    assert psnr(first, second) == pytest.approx(peak_signal_noise_ratio(first, second))
    assert psnr(first, first) == float("inf")


def test_mask_iou_matches_counting():
    assert mask_iou(mask(slice(0, 4)), mask(slice(2, 6))) == pytest.approx(2 / 6)
    assert mask_iou(mask(slice(0, 0)), mask(slice(0, 0))) == 1
    assert mask_iou(mask(slice(0, 4)), mask(slice(4, 8))) == 0


def test_depth_error_is_zero_for_truth_and_grows_with_the_shift():
    meters = np.linspace(1, 3, 64, dtype=np.float32).reshape(8, 8)
    truth = draw_depth(Depth(meters))
    assert depth_error(truth, truth) == 0
    assert depth_error(truth[::-1], truth) == pytest.approx(0.5, abs=0.02)  # mean |x - (1 - x)| over 0..1
    unknown = draw_depth(Depth(np.zeros_like(meters)))
    assert depth_error(unknown, truth) == pytest.approx(0.5, abs=0.02)  # counts as far: mean 1 - x


def test_normal_angle_matches_a_rotation():
    facing = np.zeros((4, 4, 3), dtype=np.float32)
    facing[..., 2] = -1
    turned = np.zeros_like(facing)
    turned[..., 0], turned[..., 2] = np.sin(np.radians(30)), -np.cos(np.radians(30))
    truth = draw_normals(Normals(facing))
    assert normal_angle(draw_normals(Normals(turned)), truth) == pytest.approx(30, abs=0.7)  # 8 bits
    assert normal_angle(np.zeros_like(truth), truth) == 90


def test_edge_f1_forgives_one_pixel_only():
    def line(column: int) -> np.ndarray:
        strength = np.zeros((9, 9), dtype=np.float32)
        strength[:, column] = 1
        return draw_edges(Edges(strength))

    assert edge_f1(line(4), line(4)) == 1
    assert edge_f1(line(5), line(4)) == 1
    assert edge_f1(line(6), line(4)) == 0
    nothing = np.full((9, 9, 3), 255, np.uint8)
    assert edge_f1(nothing, line(4)) == 0 and edge_f1(nothing, nothing) == 1
    both = np.minimum(line(1), line(7))
    assert edge_f1(both, line(1)) == pytest.approx(2 * 0.5 * 1 / 1.5)  # half of the precision, all of the recall


@pytest.mark.parametrize("noise", [0, 8, 60])
def test_ssim_matches_scikit_image(noise):
    chance = np.random.default_rng(noise)
    truth = np.repeat(np.repeat(chance.integers(0, 256, (5, 7, 3)), 6, 0), 5, 1)
    answer = np.clip(truth + chance.normal(0, 1, truth.shape) * noise, 0, 255).astype(np.uint8)
    theirs = structural_similarity(
        answer,
        truth.astype(np.uint8),
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    assert ssim(answer, truth.astype(np.uint8)) == pytest.approx(theirs, abs=1e-9)
    with pytest.raises(ValueError, match="11 pixels a side"):
        ssim(answer[:10], truth[:10])


def test_color_measures_see_gray_and_turned_hues():
    truth = np.zeros((4, 4, 3), np.uint8)
    truth[:2], truth[2:] = (200, 50, 50), (120, 120, 130)  # the lower half has no hue to speak of
    assert saturation_kept(truth, truth) == pytest.approx(1) and hue_error(truth, truth) == pytest.approx(0, abs=1e-4)
    gray = np.full_like(truth, 100)
    assert saturation_kept(gray, truth) == 0 and hue_error(gray, truth) == 90
    pale = np.zeros_like(truth)
    pale[:2] = (150, 75, 75)  # half of (150, -75, -75) from gray, the same hue
    assert saturation_kept(pale, truth) == pytest.approx(0.5) and hue_error(pale, truth) == pytest.approx(0, abs=1e-4)
    green = np.zeros_like(truth)
    green[:2] = (50, 200, 50)
    assert hue_error(green, truth) == pytest.approx(120)
    assert np.isnan(saturation_kept(truth, gray)) and np.isnan(hue_error(truth, gray))


def test_depth_abs_rel_matches_a_known_ratio():
    meters = np.linspace(2, 4, 64, dtype=np.float32).reshape(8, 8)
    truth = draw_depth(Depth(meters))
    assert depth_abs_rel(truth, truth, near=2, far=4) == 0
    black = np.zeros_like(truth)
    assert depth_abs_rel(black, truth, near=2, far=4) == pytest.approx(((4 - meters) / meters).mean(), abs=0.01)
    assert depth_abs_rel(truth[::-1], truth, near=2, far=4) == pytest.approx(
        (np.abs(meters[::-1] - meters) / meters).mean(), abs=0.01
    )


def figure(shift: float = 0.0, *, joints: int = 17) -> np.ndarray:
    """A drawing of 17 joints on a grid in 128 x 128, those from `joints` on hidden, the last shown one moved."""
    points = np.array([[20 + 25 * (j % 4), 10 + 25 * (j // 4)] for j in range(17)], dtype=np.float32)[None]
    points[0, joints - 1, 0] += shift
    return draw_keypoints(Keypoints(points, np.arange(17)[None] < joints, (128, 128)))


def test_keypoint_recovery_counts_joints_within_a_tenth():
    truth = figure()  # 100 pixels high, so that a joint may be off by 10
    assert keypoint_recovery(truth, truth) == 1
    assert keypoint_recovery(figure(8), truth) == 1
    assert keypoint_recovery(figure(15), truth) == pytest.approx(16 / 17)
    assert keypoint_recovery(figure(joints=16), truth) == pytest.approx(16 / 17)  # one is missing
    assert keypoint_recovery(np.zeros_like(truth), truth) == 0
    with pytest.raises(ValueError, match="shows no joint"):
        keypoint_recovery(truth, np.zeros_like(truth))


def test_sharpness_falls_with_blur_and_is_one_of_the_same():
    from scipy.ndimage import gaussian_filter

    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    kept = [sharpness_kept(gaussian_filter(picture, (s, s, 0)), picture) for s in (0.5, 1.0, 2.0)]
    assert sharpness_kept(picture, picture) == 1 and 1 > kept[0] > 1.5 * kept[1] > 1.5 * 1.5 * kept[2]
    assert np.isnan(sharpness_kept(picture, np.full_like(picture, 9)))


def test_pixels_right_needs_every_channel():
    truth = np.full((2, 2, 3), 100, np.uint8)
    answer = truth.copy()
    answer[0, 0] = (132, 68, 100)  # both 32 off: right
    answer[0, 1, 2] = 133
    assert pixels_right(answer, truth) == 0.75
    region = np.array([[False, True], [False, True]])
    assert pixels_right(answer, truth, region) == 0.5
    assert pixels_right(np.zeros_like(truth), np.full_like(truth, 255)) == 0  # no wrapping around
