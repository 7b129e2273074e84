"""How far an answer picture is from the truth: in pixels, and in the unit of each annotation after reading it back.

Every function compares one answer with one truth, both uint8 [H, W, 3] of one size, drawn as `sentences.render` draws.
"""

import numpy as np

from openlvm.core.records import Depth
from openlvm.sentences.render import read_depth, read_edges, read_normals, read_segmentation

EDGE_TOLERANCE = 1  # pixels by which a drawn edge may be off and still count


def pixel_error(answer: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """Mean absolute error in 0..1 over all pixels, or over the bool `region` [H, W]."""
    error = np.abs(answer.astype(np.float64) - truth.astype(np.float64)).mean(-1) / 255
    return float(error.mean() if region is None else error[region].mean())


def psnr(answer: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    squared = ((answer.astype(np.float64) - truth.astype(np.float64)) ** 2).mean()
    return float(10 * np.log10(255**2 / squared)) if squared else float("inf")


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
