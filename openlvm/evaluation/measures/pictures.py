"""Metrics between two pictures: squared and absolute error in stated spaces, PSNR, SSIM, and those of networks.

Answer and truth are uint8 [H, W, 3] of one size.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from openlvm.evaluation.harness.questions import Metric, Question, Sums
from openlvm.evaluation.metrics import ssim as ssim_of_pair

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225])


def _error(answer: np.ndarray, question: Question) -> np.ndarray:
    """Answer minus truth in 0..1, float64 [H, W, 3]."""
    assert question.truth is not None
    if answer.shape != question.truth.shape:
        raise ValueError(f"an answer of {list(answer.shape)} cannot be compared with a truth of {question.truth.shape}")
    return (answer.astype(np.float64) - question.truth.astype(np.float64)) / 255


def _mean_of(name: str, better: str, measure: Callable[[np.ndarray, Question], float]) -> Metric:
    """The mean over answers of a number each."""

    def sums(answer: np.ndarray, question: Question) -> Sums:
        return {"sum": measure(answer, question), "answers": 1}

    return Metric(name, "higher" if better == "higher" else "lower", sums, mean_value)


def mean_value(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """A mean of "sum" over "answers"."""
    return sums["sum"] / sums["answers"]


MSE = _mean_of("MSE", "lower", lambda answer, question: float((_error(answer, question) ** 2).mean()))
"""Mean over answers of the mean squared error of values in 0..1."""

MSE_NORMALIZED = _mean_of(
    "MSE (normalized)",
    "lower",
    lambda answer, question: float(((_error(answer, question) / IMAGENET_DEVIATION) ** 2).mean()),
)
"""The same after dividing by ImageNet's deviations: the space of Bar et al. (amirbar/visual_prompting), whose 0.67 is
no error in 0..1."""

MAE = _mean_of("MAE", "lower", lambda answer, question: float(np.abs(_error(answer, question)).mean()))
"""Mean over answers of the mean absolute error of values in 0..1."""


def _psnr_of_each(answer: np.ndarray, question: Question) -> float:
    squared = float((_error(answer, question) ** 2).mean())
    return float("inf") if squared == 0 else float(-10 * np.log10(squared))


PSNR = _mean_of("PSNR (dB)", "higher", _psnr_of_each)
"""Mean over answers of each one's peak signal-to-noise ratio, as restoration papers report it; infinite as soon as one
answer is perfect."""


def _squared_sums(answer: np.ndarray, question: Question) -> Sums:
    error = _error(answer, question)
    return {"squared": float((error**2).sum()), "values": error.size}


def _psnr_of_sums(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    return -10 * np.log10(sums["squared"] / sums["values"])


PSNR_OF_MEAN = Metric("PSNR of the mean (dB)", "higher", _squared_sums, _psnr_of_sums)
"""Of the mean squared error of all values together; pictures weigh by their pixels."""

SSIM = _mean_of("SSIM", "higher", lambda answer, question: ssim_of_pair(answer, _truth(question)))
"""Mean over answers of structural similarity (evaluation/metrics.py: 11 x 11 Gaussian, RGB apart)."""


def _truth(question: Question) -> np.ndarray:
    assert question.truth is not None
    return question.truth


LUMA = np.array([65.481, 128.553, 24.966]) / 255
"""Of R, G and B in 0..255 to luma above 16 (ITU-R BT.601; MATLAB's rgb2ycbcr)."""


def luma(picture: np.ndarray) -> np.ndarray:
    """The luma of uint8 [H, W, 3] in 16..235, rounded as MATLAB's rgb2ycbcr does, in three equal channels."""
    plane = np.floor(16 + picture.astype(np.float64) @ LUMA + 0.5).astype(np.uint8)
    return np.repeat(plane[..., None], 3, axis=-1)


def on_luma(metric: Metric, name: str) -> Metric:
    """A metric of the pictures' luma instead of their colors, as deraining is scored (MPRNet, evaluate_PSNR_SSIM.m)."""

    def sums(answer: np.ndarray, question: Question) -> Sums:
        return metric.sums(luma(answer), replace(question, truth=luma(_truth(question))))

    return replace(metric, name=name, sums=sums)


PSNR_LUMA = on_luma(PSNR, "PSNR of luma (dB)")
SSIM_LUMA = on_luma(SSIM, "SSIM of luma")


def distance_metric(name: str, distance: Callable[[np.ndarray, np.ndarray], float]) -> Metric:
    """A metric of a distance between two pictures, such as LPIPS with weights from a file (perceptual/distance.py).

    Args:
        name: as printed; names the weights, since distances of different networks do not compare.
        distance: of answer and truth, uint8 [H, W, 3] each.
    """
    return _mean_of(name, "lower", lambda answer, question: distance(answer, _truth(question)))
