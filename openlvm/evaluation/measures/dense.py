"""Depth, normals and edges: each pixel that the truth knows, in the annotation's unit, after reading the answer back.

Pixels add up over all pictures or, where papers do so, pictures count equally; each metric says which.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from openlvm.core.records import Depth, Normals
from openlvm.evaluation.harness.questions import Metric, Question, Sums
from openlvm.evaluation.metrics import edge_f1
from openlvm.sentences.render import depth_range, read_depth, read_normals

DELTA = 1.25  # Eigen et al. 2014: a pixel is right when depth and truth differ by less than this factor
MIN_DEPTH = 1e-3  # meters; answers below are set to it, as in BTS' eval_with_pngs.py

DepthRead = Callable[[np.ndarray, Question], np.ndarray]
"""An answer picture and its question -> meters, float [H, W]."""


def relative_to_truth(answer: np.ndarray, question: Question) -> np.ndarray:
    """Meters between the true nearest and farthest, which are told: an LVM's gray knows no unit."""
    near, far = depth_range(_depth(question))
    meters = read_depth(answer, near, far).meters
    return np.where(meters > 0, meters, far)


def aligned(answer: np.ndarray, question: Question) -> np.ndarray:
    """Meters by the scale and shift of the answer's nearness that fit the true inverse depth best (MiDaS, DPT).

    Least squares over the known pixels of one picture; for answers of unknown scale.
    """
    truth = _depth(question).meters
    known = _known(truth)
    nearness = answer.mean(axis=-1, dtype=np.float64) / 255
    design = np.stack([nearness[known], np.ones(int(known.sum()))], axis=1)
    scale, shift = np.linalg.lstsq(design, 1 / truth[known], rcond=None)[0]
    return 1 / np.clip(scale * nearness + shift, 1 / max(float(truth[known].max()), MIN_DEPTH), 1 / MIN_DEPTH)


def metric_depth(far: float = 10.0) -> DepthRead:
    """Meters of an answer whose gray is depth / `far`, as Painter draws NYUv2 (its RGB mean times 10 meters)."""
    return lambda answer, question: answer.mean(axis=-1, dtype=np.float64) / 255 * far


def _depth(question: Question) -> Depth:
    if not isinstance(question.payload, Depth):
        raise ValueError(f"a depth metric needs the true depth in meters, given {type(question.payload).__name__}")
    return question.payload


def _known(meters: np.ndarray) -> np.ndarray:
    return np.isfinite(meters) & (meters > 0)


def depth_metrics(
    read: DepthRead = relative_to_truth, *, over: Literal["pictures", "pixels"] = "pictures", far: float | None = None
) -> tuple[Metric, Metric, Metric]:
    """AbsRel, delta_1 and RMSE in meters (Eigen et al. 2014).

    Args:
        read: how the answer becomes meters.
        over: "pictures": the mean over pictures of each one's value (BTS, Painter); "pixels": all pixels together.
        far: answers above are set to it (Painter: 10); None leaves them.
    """

    def pixels(answer: np.ndarray, question: Question) -> tuple[np.ndarray, np.ndarray]:
        truth = _depth(question).meters
        known = _known(truth)
        given = read(answer, question)[known].astype(np.float64).clip(MIN_DEPTH, far)
        return given, truth[known].astype(np.float64)

    def metric(name: str, better: str, of_pixels: Callable[[np.ndarray, np.ndarray], np.ndarray], root: bool) -> Metric:
        def sums(answer: np.ndarray, question: Question) -> Sums:
            errors = of_pixels(*pixels(answer, question))
            if not errors.size:
                return {"sum": 0.0, "count": 0}
            if over == "pixels":
                return {"sum": float(errors.sum()), "count": errors.size}
            mean = float(errors.mean())
            return {"sum": float(np.sqrt(mean)) if root else mean, "count": 1}

        def value(totals: Mapping[str, np.ndarray]) -> np.ndarray:
            mean = totals["sum"] / totals["count"]
            return np.sqrt(mean) if root and over == "pixels" else mean

        return Metric(name, "higher" if better == "higher" else "lower", sums, value)

    return (
        metric("AbsRel", "lower", lambda d, truth: np.abs(d - truth) / truth, False),
        metric("delta1", "higher", lambda d, truth: np.maximum(d / truth, truth / d) < DELTA, False),
        metric("RMSE (m)", "lower", lambda d, truth: (d - truth) ** 2, True),
    )


def _angles(answer: np.ndarray, question: Question) -> np.ndarray:
    """Degrees at each pixel whose normal is known, float64 [pixels]; an unknown answer counts as 90."""
    if not isinstance(question.payload, Normals):
        raise ValueError(f"a metric of normals needs the true normals, given {type(question.payload).__name__}")
    wanted, given = question.payload.vectors.astype(np.float64), read_normals(answer).vectors.astype(np.float64)
    known = np.linalg.norm(wanted, axis=-1) > 0
    cosine = np.clip((given * wanted).sum(-1) / np.maximum(np.linalg.norm(wanted, axis=-1), 1e-9), -1, 1)
    return np.where(np.linalg.norm(given, axis=-1) > 0, np.degrees(np.arccos(cosine)), 90.0)[known]


def _angle_sums(answer: np.ndarray, question: Question) -> Sums:
    angles = _angles(answer, question)
    return {"sum": float(angles.sum()), "pixels": angles.size}


def _within_sums(answer: np.ndarray, question: Question) -> Sums:
    angles = _angles(answer, question)
    return {"sum": int((angles < 11.25).sum()), "pixels": angles.size}


NORMAL_ANGLE = Metric("angle (degrees)", "lower", _angle_sums, lambda totals: totals["sum"] / totals["pixels"])
"""Mean angle between unit vectors over all known pixels."""
NORMAL_WITHIN = Metric("within 11.25 degrees", "higher", _within_sums, lambda totals: totals["sum"] / totals["pixels"])
"""Share of the known pixels whose angle is below 11.25 degrees (Fouhey et al. 2013)."""


def _edge_sums(answer: np.ndarray, question: Question) -> Sums:
    assert question.truth is not None
    return {"sum": edge_f1(answer, question.truth), "answers": 1}


EDGE_F1 = Metric("edge F1", "higher", _edge_sums, lambda totals: totals["sum"] / totals["answers"])
"""Mean over answers of F1 of edge pixels, each allowed to be one pixel off (evaluation/metrics.py)."""
