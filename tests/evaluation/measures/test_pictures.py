"""Pixel metrics equal scikit-image and torchmetrics, on random and on extreme pictures, whole or in ragged pieces."""

import numpy as np
import pytest
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from openlvm.evaluation.harness.questions import Column, Question, sums_of, value_of
from openlvm.evaluation.measures.pictures import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    MAE,
    MSE,
    MSE_NORMALIZED,
    PSNR,
    PSNR_LUMA,
    PSNR_OF_MEAN,
    SSIM,
    SSIM_LUMA,
    luma,
)

ALL = (MSE, MSE_NORMALIZED, MAE, PSNR, PSNR_OF_MEAN, SSIM)


def pairs(kind, count=7, seed=0):
    chance = np.random.default_rng(seed)
    truth = [chance.integers(0, 256, (20 + 3 * n, 31 - n, 3), dtype=np.uint8) for n in range(count)]
    if kind == "random":
        return [(chance.integers(0, 256, one.shape, dtype=np.uint8), one) for one in truth]
    if kind == "near":
        return [
            (np.clip(one.astype(int) + chance.integers(-3, 4, one.shape), 0, 255).astype(np.uint8), one)
            for one in truth
        ]
    return [(np.full(one.shape, 255, np.uint8), np.zeros(one.shape, np.uint8)) for one in truth]


def measured(some, metrics=ALL):
    column = Column(name="c", metrics=metrics, episodes=list, question=lambda episode: None)
    rows = [sums_of(column, answer, Question(truth=truth)) for answer, truth in some]
    return {metric.name: float(value_of(metric, totals(rows))[0]) for metric in metrics}


def totals(rows):
    return {name: np.array([sum(row[name] for row in rows)]) for name in rows[0]}


@pytest.mark.parametrize("kind", ["random", "near", "opposite"])
def test_pixel_metrics_equal_scikit_image(kind):
    some = pairs(kind)
    found = measured(some)
    floats = [(answer / 255, truth / 255) for answer, truth in some]
    assert found["MSE"] == pytest.approx(np.mean([mean_squared_error(*pair) for pair in floats]))
    assert found["PSNR (dB)"] == pytest.approx(
        np.mean([peak_signal_noise_ratio(t, a, data_range=255) for a, t in some])
    )
    normal = [[(one - IMAGENET_MEAN) / IMAGENET_DEVIATION for one in pair] for pair in floats]
    assert found["MSE (normalized)"] == pytest.approx(np.mean([((a - t) ** 2).mean() for a, t in normal]))
    assert found["SSIM"] == pytest.approx(np.mean([
        structural_similarity(t, a, channel_axis=-1, data_range=255, gaussian_weights=True, sigma=1.5,
                              use_sample_covariance=False) for a, t in some]), abs=0.02)  # fmt: skip


def test_pixel_metrics_equal_torchmetrics():
    from torchmetrics.functional.image import peak_signal_noise_ratio as psnr
    from torchmetrics.functional.regression import mean_absolute_error

    some = pairs("near")
    found = measured(some)
    flat = [torch.cat([torch.from_numpy(pair[side].astype(np.float64)).flatten() for pair in some]) for side in (0, 1)]
    assert found["PSNR of the mean (dB)"] == pytest.approx(float(psnr(*flat, data_range=255.0)))
    each = [float(mean_absolute_error(*(torch.from_numpy(one / 255.0) for one in pair))) for pair in some]
    assert found["MAE"] == pytest.approx(np.mean(each))


def test_sums_of_pieces_add_up_to_the_whole():
    some = pairs("near", count=9)
    column = Column(name="c", metrics=ALL, episodes=list, question=lambda episode: None)
    rows = [sums_of(column, answer, Question(truth=truth)) for answer, truth in some]
    whole = totals(rows)
    pieces = [totals(rows[start:end]) for start, end in ((0, 1), (1, 5), (5, 9))]
    for metric in ALL:
        added = {name: sum(piece[name] for piece in pieces) for name in whole}
        assert value_of(metric, added) == pytest.approx(value_of(metric, whole))


def test_perfect_answers_have_perfect_values():
    same = [(truth, truth) for _, truth in pairs("random")]
    with np.errstate(divide="ignore"):
        found = measured(same)
    assert found["MSE"] == found["MSE (normalized)"] == found["MAE"] == 0
    assert found["PSNR (dB)"] == found["PSNR of the mean (dB)"] == np.inf
    assert found["SSIM"] == pytest.approx(1)


def test_answers_of_another_size_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        MSE.sums(np.zeros((4, 4, 3), np.uint8), Question(truth=np.zeros((4, 5, 3), np.uint8)))


def test_luma_is_that_of_broadcasts():
    from skimage.color import rgb2ycbcr

    picture = pairs("random")[0][0]
    assert (luma(picture) == np.rint(rgb2ycbcr(picture))[..., :1]).all() and luma(picture).shape == picture.shape
    assert luma(np.full((1, 1, 3), 255, np.uint8)).tolist() == [[[235] * 3]] and not (luma(picture * 0) != 16).any()


@pytest.mark.parametrize("kind", ["random", "near", "opposite"])
def test_luma_metrics_are_those_of_gray_pictures(kind):
    some = pairs(kind)
    found = measured(some, (PSNR_LUMA, SSIM_LUMA))
    gray = measured([(luma(answer), luma(truth)) for answer, truth in some], (PSNR, SSIM))
    assert found == {"PSNR of luma (dB)": gray["PSNR (dB)"], "SSIM of luma": gray["SSIM"]}
    assert found["PSNR of luma (dB)"] != measured(some, (PSNR,))["PSNR (dB)"]
