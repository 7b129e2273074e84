"""How far an answer picture is from the truth: in pixels, and in the unit of each annotation after reading it back.

Every function compares one answer with one truth, both uint8 [H, W, 3] of one size, drawn as `sentences.render` draws.
"""

import numpy as np

from openlvm.core.records import Depth
from openlvm.sentences.render import read_depth, read_edges, read_keypoints, read_normals, read_segmentation

EDGE_TOLERANCE = 1  # pixels by which a drawn edge may be off and still count
JOINT_TOLERANCE = 0.1  # of the figure's longer side, by which a joint may be off: PCK@0.1
COLORFUL = 40  # distance from gray, in gray levels, from which a pixel has a hue to lose
PIXEL_TOLERANCE = 32  # gray levels by which each channel of a pixel may be off and still count as right
SSIM_REACH, SSIM_DEVIATION = 5, 1.5  # a Gaussian window of 11 x 11 pixels
SSIM_FLOORS = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)  # C1 and C2


def pixel_error(answer: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """Mean absolute error in 0..1 over all pixels, or over the bool `region` [H, W]."""
    error = np.abs(answer.astype(np.float64) - truth.astype(np.float64)).mean(-1) / 255
    return float(error.mean() if region is None else error[region].mean())


def pixels_right(answer: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """Share of the pixels, or of those in the bool `region` [H, W], within `PIXEL_TOLERANCE` in every channel."""
    right = (np.abs(answer.astype(np.int16) - truth) <= PIXEL_TOLERANCE).all(-1)
    return float(right.mean() if region is None else right[region].mean())


def psnr(answer: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    squared = ((answer.astype(np.float64) - truth.astype(np.float64)) ** 2).mean()
    return float(10 * np.log10(255**2 / squared)) if squared else float("inf")


def ssim(answer: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity, at most 1 (Wang et al. 2004, eq. 13), of R, G and B apart, averaged.

    Gaussian window of 11 x 11 with deviation 1.5, K1 = 0.01, K2 = 0.03, population covariances, and only windows that
    lie inside the picture.
    """
    if min(truth.shape[:2]) < 2 * SSIM_REACH + 1:
        raise ValueError(f"SSIM needs {2 * SSIM_REACH + 1} pixels a side, given {truth.shape[0]} x {truth.shape[1]}")
    first, second = answer.astype(np.float64), truth.astype(np.float64)
    products = np.concatenate([first, second, first * first, second * second, first * second], axis=-1)
    mean_1, mean_2, square_1, square_2, product = np.split(_windowed(products), 5, axis=-1)
    variances = square_1 - mean_1**2 + square_2 - mean_2**2
    covariance = product - mean_1 * mean_2
    c1, c2 = SSIM_FLOORS
    likeness = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    return float((likeness / ((mean_1**2 + mean_2**2 + c1) * (variances + c2))).mean())


def _windowed(planes: np.ndarray) -> np.ndarray:
    """Gaussian averages of [H, W, C] around each pixel that is far enough from the border."""
    weights = np.exp(-0.5 * (np.arange(-SSIM_REACH, SSIM_REACH + 1) / SSIM_DEVIATION) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        inner = planes.shape[axis] - 2 * SSIM_REACH
        shifted = (planes.take(range(start, start + inner), axis=axis) for start in range(len(weights)))
        planes = np.sum([weight * part for weight, part in zip(weights, shifted, strict=True)], axis=0)
    return planes


def saturation_kept(answer: np.ndarray, truth: np.ndarray) -> float:
    """Share of the truth's color that is left, along its own hue, where it is colorful: 0 if gray, NaN if none is.

    Both uint8 [..., 3]. PSNR hides a tokenizer that went blind to color; this and `hue_error` do not.
    """
    given, wanted, size = _colors(answer, truth)
    return float(((given * wanted).sum(-1) / size**2).mean()) if size.size else float("nan")


def hue_error(answer: np.ndarray, truth: np.ndarray) -> float:
    """Mean angle in degrees between the hues, where the truth is colorful; gray counts as 90, NaN if none is."""
    given, wanted, size = _colors(answer, truth)
    length = np.linalg.norm(given, axis=-1)
    cosine = (given * wanted).sum(-1) / np.maximum(length * size, 1e-9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()) if size.size else float("nan")


def sharpness_kept(answer: np.ndarray, truth: np.ndarray) -> float:
    """Mean slope of luminance of the answer over the truth's: below 1 if blurred, above if oversharp, NaN if flat.

    It says nothing of where the edges are; a sharp answer that is wrong has much of it. Both uint8 [H, W, 3].
    """
    slopes = [np.hypot(*np.gradient(picture.astype(np.float64).mean(-1))).mean() for picture in (answer, truth)]
    return float(slopes[0] / slopes[1]) if slopes[1] else float("nan")


def _colors(answer: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances from gray [P, 3] of both at the P colorful pixels of the truth, and the lengths of the truth's [P]."""
    wanted = truth.reshape(-1, 3).astype(np.float64)
    wanted -= wanted.mean(-1, keepdims=True)
    size = np.linalg.norm(wanted, axis=-1)
    colorful = size > COLORFUL
    given = answer.reshape(-1, 3)[colorful].astype(np.float64)
    return given - given.mean(-1, keepdims=True), wanted[colorful], size[colorful]


def mask_iou(answer: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two binary masks drawn white on black; 1 when both are empty."""
    given, wanted = (_foreground(picture) for picture in (answer, truth))
    union = (given | wanted).sum()
    return float((given & wanted).sum() / union) if union else 1.0


def _foreground(picture: np.ndarray) -> np.ndarray:
    return read_segmentation(picture, ids=(0, 1)).ids == 1


def depth_error(answer: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute error of relative depth where the truth knows depth; near is 0, far is 1, unknown counts as far."""
    given, wanted = (read_depth(picture, near=0.0, far=1.0) for picture in (answer, truth))
    known = _known(wanted)
    far_when_unknown = np.where(_known(given), given.meters, 1.0)
    return float(np.abs(far_when_unknown - wanted.meters)[known].mean())


def depth_abs_rel(answer: np.ndarray, truth: np.ndarray, *, near: float, far: float) -> float:
    """AbsRel: mean of |d - d*| / d* in meters where the truth knows depth; an unknown answer counts as far.

    Args:
        near, far: meters at white and at the darkest gray of the truth (`render.depth_range`).
    """
    given, wanted = (read_depth(picture, near=near, far=far) for picture in (answer, truth))
    known = _known(wanted)
    meters = np.where(_known(given), given.meters, far)
    return float((np.abs(meters - wanted.meters)[known] / wanted.meters[known]).mean())


def _known(depth: Depth) -> np.ndarray:
    return np.isfinite(depth.meters) & (depth.meters > 0)


def normal_angle(answer: np.ndarray, truth: np.ndarray) -> float:
    """Mean angle in degrees where the truth knows a normal; an unknown answer counts as 90."""
    given, wanted = read_normals(answer).vectors, read_normals(truth).vectors
    known = np.linalg.norm(wanted, axis=-1) > 0
    cosine = np.clip((given * wanted).sum(-1), -1, 1)
    angle = np.where(np.linalg.norm(given, axis=-1) > 0, np.degrees(np.arccos(cosine)), 90.0)
    return float(angle[known].mean())


def edge_f1(answer: np.ndarray, truth: np.ndarray) -> float:
    """Harmonic mean of precision and recall of edge pixels, each allowed to be off by `EDGE_TOLERANCE`."""
    given, wanted = (read_edges(picture).strength > 0.5 for picture in (answer, truth))
    if not given.any() or not wanted.any():
        return float(given.any() == wanted.any())
    precision = (given & _grow(wanted)).sum() / given.sum()
    recall = (wanted & _grow(given)).sum() / wanted.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _grow(mask: np.ndarray) -> np.ndarray:
    """True wherever a True lies within EDGE_TOLERANCE in x and y."""
    padded = np.pad(mask, EDGE_TOLERANCE)
    offsets = range(2 * EDGE_TOLERANCE + 1)
    height, width = mask.shape
    return np.any([padded[y : y + height, x : x + width] for y in offsets for x in offsets], axis=0)


def keypoint_recovery(answer: np.ndarray, truth: np.ndarray) -> float:
    """PCK@0.1: share of the joints read from the truth that are read from the answer within 0.1 of the figure's size.

    Size is the longer side of the box around the truth's joints. Both pictures show one figure of 17 joints.
    """
    given, wanted = (read_keypoints(picture) for picture in (answer, truth))
    seen = wanted.visible[0]
    if not seen.any():
        raise ValueError("the true picture shows no joint")
    points = wanted.points[0, seen]
    size = (points.max(0) - points.min(0)).max()
    near = np.linalg.norm(given.points[0, seen] - points, axis=-1) <= JOINT_TOLERANCE * size
    return float((near & given.visible[0, seen]).mean())
