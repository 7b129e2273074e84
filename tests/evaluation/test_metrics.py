"""Metrics against other libraries, slow loops and known extremes."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from openlvm.core.records import Depth, Edges, Normals, Segmentation
from openlvm.evaluation.metrics import depth_error, edge_f1, mask_iou, normal_angle, pixel_error, psnr
from openlvm.sentences.render import draw_depth, draw_edges, draw_normals, draw_segmentation


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
