"""Tasks given by prompting alone, and the metric each answer is judged by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from openlvm.core.records import IMAGE
from openlvm.evaluation.metrics import depth_error, edge_f1, mask_iou, normal_angle, psnr

Metric = Callable[[np.ndarray, np.ndarray], float]
"""(answer, truth), uint8 [H, W, 3] each -> value."""

METRICS: dict[str, Metric] = {
    "iou": mask_iou,
    "depth_error": depth_error,
    "normal_degrees": normal_angle,
    "edge_f1": edge_f1,
    "psnr": psnr,
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
