"""Joints of people by ViTPose: in the boxes of a detector of people, or in the whole picture.

Letters: P people, J = 17 joints of COCO.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from openlvm.annotators.huggingface.classes import read_share
from openlvm.annotators.huggingface.detection import BoxNetwork, load_boxes
from openlvm.annotators.huggingface.network import TRIAL_SIDE, Network, load_network
from openlvm.annotators.people import keypoints_of
from openlvm.annotators.spec import Spec
from openlvm.core.records import JOINTS, Payload

ARCHITECTURES = {"vitpose": "VitPoseForPoseEstimation"}
THRESHOLD = 0.3
"""Confidence that a visible joint needs, where none is given; as ViTPose's own drawings."""
MAX_TOGETHER = 64
"""People whose joints are found at once: a crowd must not fill the memory."""
COCO_EXPERT = 0
"""Of the experts of ViTPose+, the one of COCO."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseNetwork:
    """`pose=hf:NAME[,detector=NAME][,threshold=0.3]`; without a detector the picture is taken to show one person."""

    slot: str
    network: Network
    detector: BoxNetwork | None
    threshold: float
    """Confidence that a visible joint needs."""

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def version(self) -> str:
        return self.network.version

    def describe(self) -> dict[str, Any]:
        told = {"slot": self.slot, "kind": "hf", **self.network.describe(), "threshold": self.threshold}
        return told | ({"detector": self.detector.describe()} if self.detector else {})

    def annotate(self, images: Sequence[np.ndarray]) -> list[Payload]:
        sizes = [image.shape[:2] for image in images]
        if self.detector:
            corners = [boxes.corners for boxes in self.detector.boxes(images)]
        else:
            corners = [np.array([[0, 0, width, height]], dtype=np.float32) for height, width in sizes]
        people = [(place, box) for place, found in enumerate(corners) for box in found]
        found: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in images]
        for start in range(0, len(people), MAX_TOGETHER):
            some = people[start : start + MAX_TOGETHER]
            joints = self._joints([images[place] for place, _ in some], [box for _, box in some])
            for (place, _), person in zip(some, joints, strict=True):
                found[place].append(person)
        return [keypoints_of(persons, size) for persons, size in zip(found, sizes, strict=True)]

    def _joints(self, images: list[np.ndarray], corners: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of the person in each box: points float32 [J, 2] in pixels of the picture, visible bool [J]."""
        boxes = [[[float(x), float(y), float(right - x), float(bottom - y)]] for x, y, right, bottom in corners]
        raw = self.network.answers(images, lambda outputs, sizes: list(outputs.heatmaps), prepare={"boxes": boxes})
        outputs = _Heatmaps(torch.stack(raw).cpu())
        found = self.network.processor.post_process_pose_estimation(outputs, boxes=boxes)
        return [(one["keypoints"].numpy(), one["scores"].numpy() >= self.threshold) for (one,) in found]


@dataclass
class _Heatmaps:
    """What the processor reads of a network's outputs: float32 [P, J, h, w]."""

    heatmaps: torch.Tensor


def load_pose(spec: Spec, device: str, precision: str) -> PoseNetwork:
    """The annotator of `pose=hf:NAME`.

    Raises:
        ValueError: its joints are not COCO's 17.
        ImportError: scipy is not installed, by which transformers cuts people out.
    """
    if find_spec("scipy") is None:
        raise ImportError("ViTPose needs scipy: pip install openlvm[annotators]")
    options = spec.read_options({"detector": str, "threshold": read_share})
    network = load_network(
        spec.what,
        ARCHITECTURES,
        slot=spec.slot,
        device=device,
        precision=precision,
        settings=lambda config: {"dataset_index": COCO_EXPERT} if config.backbone_config.num_experts > 1 else {},
        prepare={"boxes": [[[0.0, 0.0, float(TRIAL_SIDE), float(TRIAL_SIDE)]]]},
    )
    if network.model.config.num_labels != len(JOINTS["coco"]):
        raise ValueError(f"{network.name} finds {network.model.config.num_labels} joints; expected COCO's 17")
    detector = None
    if "detector" in options:
        words = Spec("boxes", "hf", options["detector"], {"classes": "person"})
        detector = load_boxes(words, device, precision)
    return PoseNetwork(
        slot=spec.slot, network=network, detector=detector, threshold=options.get("threshold", THRESHOLD)
    )
