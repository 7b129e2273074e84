"""Joints: PCK by the figure's size, PCKh by the head's, and average precision by object keypoint similarity (COCO).

Letters: J joints, D detections, G truths.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openlvm.core.records import Keypoints
from openlvm.evaluation.harness.questions import Metric, Question, Sums

COCO_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
"""Deviations of COCO's 17 joints (cocoapi, cocoeval.py)."""
OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)

ReadPoints = Callable[[np.ndarray, Question], Keypoints]
"""An answer picture and its question -> the joints of one figure."""


def pck(read: ReadPoints, *, alpha: float, by: str, name: str) -> Metric:
    """Share of the visible true joints that the answer shows within `alpha` times a length of the truth.

    Args:
        read: joints of the answer; joints it does not show are wrong.
        alpha: 0.1 on PASCAL3D+ and for PCK@0.1; 0.5 for PCKh on MPII.
        by: "box": the longer side of the figure's box (`question.told["size"]`, pixels; without it that of its visible
            joints); "head": the head's length (`question.told["head"]`, pixels); a figure for which it is 0, because
            it is not known, does not count.
        name: as printed.
    """
    if by not in ("box", "head"):
        raise ValueError(f"by={by!r} must be 'box' or 'head'")

    def sums(answer: np.ndarray, question: Question) -> Sums:
        truth = question.payload
        assert isinstance(truth, Keypoints)
        seen = truth.visible[0]
        if not seen.any() or (by == "head" and not question.told["head"]):
            return {"right": 0, "joints": 0}
        given = read(answer, question)
        wanted = truth.points[0, seen]
        extent = float((wanted.max(0) - wanted.min(0)).max())
        length = question.told["head"] if by == "head" else question.told.get("size", extent)
        near = np.linalg.norm(given.points[0, seen] - wanted, axis=-1) <= alpha * length
        return {"right": int((near & given.visible[0, seen]).sum()), "joints": int(seen.sum())}

    return Metric(name, "higher", sums, lambda totals: totals["right"] / totals["joints"])


@dataclass(frozen=True, eq=False)
class Figures:
    """People of one image, detected or true."""

    points: np.ndarray
    """float [P, J, 2], pixels."""
    visible: np.ndarray
    """bool [P, J]; of truths: labelled."""
    scores: np.ndarray | None = None
    """float [P], of detections."""
    areas: np.ndarray | None = None
    """float [P], square pixels, of truths."""


def similarity(detected: np.ndarray, truth: np.ndarray, labelled: np.ndarray, area: float,
               sigmas: np.ndarray = COCO_SIGMAS) -> float:  # fmt: skip
    """Object keypoint similarity of one detection [J, 2] with one truth [J, 2]: the mean over its labelled joints."""
    if not labelled.any():
        raise ValueError("a figure without labelled joints has no similarity")
    squared = ((detected - truth) ** 2).sum(-1) / (2 * sigmas) ** 2 / (area + np.spacing(1)) / 2
    return float(np.exp(-squared[labelled]).mean())


def average_precision(found: Sequence[Figures], truths: Sequence[Figures], *, max_detections: int = 20) -> float:
    """OKS-AP over thresholds .5, .55, ... .95: detections by score, each truth matched once, 101-point interpolation.

    As COCO's person keypoint evaluation for all areas; truths without labelled joints are left out by the caller.

    Args:
        found: per image, with scores.
        truths: per image, with areas, in the same order.
        max_detections: of an image that count, the best ones.

    Returns:
        in 0..1; NaN where there is no truth at all.
    """
    num_truths = sum(len(one.points) for one in truths)
    if not num_truths:
        return float("nan")
    scores, hits = [], []
    for detected, true in zip(found, truths, strict=True):
        assert detected.scores is not None and true.areas is not None
        order = np.argsort(-detected.scores, kind="stable")[:max_detections]
        alike = np.zeros((len(order), len(true.points)))
        for row, d in enumerate(order):
            for g in range(len(true.points)):
                alike[row, g] = similarity(detected.points[d], true.points[g], true.visible[g], float(true.areas[g]))
        scores.append(detected.scores[order])
        hits.append(np.array([_matched(alike, threshold) for threshold in OKS_THRESHOLDS]))  # [thresholds, D]
    ranked = np.argsort(-np.concatenate(scores), kind="stable")
    right = np.concatenate(hits, axis=1)[:, ranked]  # [thresholds, detections]
    return float(np.mean([_interpolated(row, num_truths) for row in right]))


def _matched(alike: np.ndarray, threshold: float) -> np.ndarray:
    """Which detections [D] find a free truth at least so similar, the best one, in order of their scores."""
    taken = np.zeros(alike.shape[1], dtype=bool)
    right = np.zeros(len(alike), dtype=bool)
    for number, row in enumerate(alike):
        free = np.where(taken, -1.0, row)
        if free.size and free.max() >= min(threshold, 1 - 1e-10):
            best = len(free) - 1 - int(free[::-1].argmax())  # of equals the last one, as cocoeval has it
            taken[best] = right[number] = True
    return right


def _interpolated(right: np.ndarray, num_truths: int) -> float:
    true_so_far = np.cumsum(right)
    recall = true_so_far / num_truths
    precision = true_so_far / np.arange(1, len(right) + 1) if len(right) else np.zeros(0)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.where(places < len(precision), np.append(precision, 0)[places.clip(max=len(precision))], 0).mean())


def recall_of_sums(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean over the thresholds of the share of truths found."""
    return np.mean([sums[f"{threshold:.2f}"] / sums["truths"] for threshold in OKS_THRESHOLDS], axis=0)


def oks_recall(read: ReadPoints, name: str = "AR (OKS)") -> Metric:
    """Average recall by OKS of the one figure an answer picture shows; it has no scores, so precision means nothing.

    The truth's area is `question.told["area"]`, square pixels.
    """

    def sums(answer: np.ndarray, question: Question) -> Sums:
        truth = question.payload
        assert isinstance(truth, Keypoints)
        given = read(answer, question)
        shown = np.where(given.visible[0, :, None], given.points[0], np.inf)  # a joint not shown is infinitely far
        alike = similarity(shown, truth.points[0], truth.visible[0], float(question.told["area"]))
        return {"truths": 1, **{f"{threshold:.2f}": int(alike >= threshold) for threshold in OKS_THRESHOLDS}}

    return Metric(name, "higher", sums, recall_of_sums)
