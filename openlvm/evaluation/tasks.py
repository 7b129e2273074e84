"""Tasks given by prompting alone, and the metric each answer is judged by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from openlvm.core.records import IMAGE, Depth, Payload
from openlvm.evaluation.metrics import (
    depth_abs_rel,
    depth_error,
    edge_f1,
    keypoint_recovery,
    mask_iou,
    normal_angle,
    pixels_right,
    psnr,
)
from openlvm.sentences.render import depth_range


@dataclass(frozen=True, eq=False)
class Asked:
    """What an answer is judged against."""

    truth: np.ndarray
    """uint8 [H, W, 3]."""
    query: np.ndarray
    """The picture that was to be answered, uint8 [H, W, 3]."""
    payload: Payload | None = None
    """The truth in its physical unit, resized as it was drawn; for metrics that need meters."""


Metric = Callable[[np.ndarray, Asked], float]
"""(answer uint8 [H, W, 3], what was asked) -> value."""


def _of_truth(compare: Callable[[np.ndarray, np.ndarray], float]) -> Metric:
    """A metric that needs the true picture alone."""
    return lambda answer, asked: compare(answer, asked.truth)


def _abs_rel(answer: np.ndarray, asked: Asked) -> float:
    """AbsRel in meters, the ends of the depth range being told: only relative depth can be read from a picture."""
    if not isinstance(asked.payload, Depth):
        raise ValueError(f"abs_rel needs the true depth in meters, given {type(asked.payload).__name__}")
    near, far = depth_range(asked.payload)
    return depth_abs_rel(answer, asked.truth, near=near, far=far)


def _changed_right(answer: np.ndarray, asked: Asked) -> float:
    """Share of right pixels where query and truth differ, where copying is wrong; everywhere, if they are equal."""
    differs = (asked.query != asked.truth).any(-1)
    return pixels_right(answer, asked.truth, differs if differs.any() else None)


METRICS: dict[str, Metric] = {
    "iou": _of_truth(mask_iou),
    "depth_error": _of_truth(depth_error),
    "abs_rel": _abs_rel,
    "normal_degrees": _of_truth(normal_angle),
    "edge_f1": _of_truth(edge_f1),
    "keypoints": _of_truth(keypoint_recovery),
    "pixels_right": _of_truth(pixels_right),
    "changed_right": _changed_right,
    "psnr": _of_truth(psnr),
}
"""What an answer's own metric may be, beside the pixel error that every answer has."""


@dataclass(frozen=True, kw_only=True)
class PromptTask:
    """One task: analogy (pairs of `source` and `target`, then a query) or the continuation of a sequence."""

    name: str
    """Names the task in reports."""
    style: Literal["analogy", "sequence"] = "analogy"
    """analogy: source, target, source, target, query -> answer. sequence: frames -> the next frame."""
    source: str = IMAGE
    """Slot of the given pictures; of the frames, in a sequence."""
    target: str = ""
    """Slot of the answers; analogy only."""
    metric: str = "psnr"
    """Name in `METRICS`."""
    region: Literal["all", "changed"] = "all"
    """Where the pixel error is taken: everywhere, or only where query and truth differ (holes, things that move)."""

    def __post_init__(self):
        if (self.style == "analogy") != bool(self.target):
            raise ValueError(f"task {self.name!r}: an analogy has a target slot and a sequence has none, given {self}")
        if self.metric not in METRICS:
            raise ValueError(f"task {self.name!r}: no metric {self.metric!r}; known: {', '.join(METRICS)}")
