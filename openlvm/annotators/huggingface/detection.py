"""Boxes around objects by a network: RT-DETR, YOLOS, DETR and its kin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from openlvm.annotators.huggingface.classes import Classes, classes_of, read_names, read_share
from openlvm.annotators.huggingface.network import Network, load_network
from openlvm.annotators.spec import Spec
from openlvm.core.records import Boxes, Payload

ARCHITECTURES = {
    name: "AutoModelForObjectDetection"
    for name in ("conditional_detr", "deformable_detr", "detr", "rt_detr", "rt_detr_v2", "yolos")
}
THRESHOLD = 0.5
"""Confidence that a box needs, where none is given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxNetwork:
    """`boxes=hf:NAME[,classes=person+dog][,threshold=0.5]`: class ids from 1, the most confident box first."""

    slot: str
    network: Network
    classes: Classes
    threshold: float

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def version(self) -> str:
        return self.network.version

    def describe(self) -> dict[str, Any]:
        told = {"slot": self.slot, "kind": "hf", **self.network.describe(), "threshold": self.threshold}
        return told | {"classes": self.classes.describe()}

    def annotate(self, images: Sequence[np.ndarray]) -> list[Payload]:
        return [*self.boxes(images)]

    def boxes(self, images: Sequence[np.ndarray]) -> list[Boxes]:
        """Boxes within each picture, uint8 [H, W, 3]; those without area are left out."""
        return self.network.answers(images, self._read)

    def _read(self, outputs: Any, sizes: list[tuple[int, int]]) -> list[Boxes]:
        found = self.network.processor.post_process_object_detection(
            outputs, threshold=self.threshold, target_sizes=torch.tensor(sizes, device=outputs.logits.device)
        )
        return [self._kept(one, size) for one, size in zip(found, sizes, strict=True)]

    def _kept(self, found: dict[str, torch.Tensor], size: tuple[int, int]) -> Boxes:
        corners = found["boxes"].cpu().numpy().astype(np.float32).reshape(-1, 4)
        corners = corners.clip(0, np.array([size[1], size[0]] * 2, dtype=np.float32))
        ids = self.classes.ids[found["labels"].cpu().numpy()]
        has_area = (corners[:, 2:] > corners[:, :2]).all(axis=1)
        order = np.argsort(-found["scores"].cpu().numpy(), kind="stable")
        order = order[((ids > 0) & has_area)[order]]
        return Boxes(corners[order], ids[order], size)


def load_boxes(spec: Spec, device: str, precision: str) -> BoxNetwork:
    """The annotator of `boxes=hf:NAME`."""
    options = spec.read_options({"classes": read_names, "threshold": read_share})
    network = load_network(spec.what, ARCHITECTURES, slot=spec.slot, device=device, precision=precision)
    classes = classes_of(network, options.get("classes", ()))
    return BoxNetwork(slot=spec.slot, network=network, classes=classes, threshold=options.get("threshold", THRESHOLD))
