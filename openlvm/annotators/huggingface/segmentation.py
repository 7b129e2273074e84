"""Classes, instances and foreground of pictures by a network: SegFormer, BEiT, MobileViT, UPerNet, Mask2Former, ...

Class ids are the network's, moved so that 0 is background (classes.py); the passport names them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from openlvm.annotators.huggingface.classes import Classes, classes_of, read_names, read_share
from openlvm.annotators.huggingface.network import Network, load_network
from openlvm.annotators.spec import Spec
from openlvm.core.records import MAX_INSTANCES, Payload, Segmentation

UNIVERSAL = {name: "AutoModelForUniversalSegmentation" for name in ("mask2former", "maskformer")}
SEMANTIC = {
    name: "AutoModelForSemanticSegmentation"
    for name in ("beit", "data2vec-vision", "dpt", "mobilevit", "mobilevitv2", "segformer", "upernet")
}
THRESHOLD = 0.5
"""Confidence that an instance needs, where none is given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentationNetwork:
    """`segmentation=hf:NAME`, `mask=hf:NAME` or `instances=hf:NAME[,threshold=0.5]`, each with `,classes=person+dog`.

    segmentation  class ids          instances  1 is the largest, 2 the next (frames of a clip are numbered apart)
    mask          1 where a class is, 0 where there is none
    """

    slot: str
    network: Network
    classes: Classes
    threshold: float
    """Confidence that an instance needs."""

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def version(self) -> str:
        return self.network.version

    def describe(self) -> dict[str, Any]:
        told = {"slot": self.slot, "kind": "hf", **self.network.describe()}
        told |= {"threshold": self.threshold} if self.slot == "instances" else {}
        return told | {"classes": self.classes.describe()}

    def annotate(self, images: Sequence[np.ndarray]) -> list[Payload]:
        found = self.network.answers(images, self._instances if self.slot == "instances" else self._classes)
        return [*found]

    def _classes(self, outputs: Any, sizes: list[tuple[int, int]]) -> list[Segmentation]:
        maps = self.network.processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)
        ids = [self.classes.ids[found.cpu().numpy()] for found in maps]
        return [Segmentation(np.minimum(one, 1) if self.slot == "mask" else one) for one in ids]

    def _instances(self, outputs: Any, sizes: list[tuple[int, int]]) -> list[Segmentation]:
        found = self.network.processor.post_process_panoptic_segmentation(
            outputs, threshold=self.threshold, label_ids_to_fuse=set(), target_sizes=sizes
        )
        return [self._numbered(one["segmentation"], one["segments_info"]) for one in found]

    def _numbered(self, segments: torch.Tensor, told: list[dict[str, Any]]) -> Segmentation:
        """Segments of the kept classes, numbered from the largest down."""
        places = segments.cpu().numpy().astype(np.int32)
        kept = [segment["id"] for segment in told if self.classes.ids[segment["label_id"]]]
        areas = {number: int((places == number).sum()) for number in kept}
        ordered = sorted((number for number in kept if areas[number]), key=lambda number: (-areas[number], number))
        ids = np.zeros(places.shape, dtype=np.int32)
        for new, number in enumerate(ordered[:MAX_INSTANCES], start=1):
            ids[places == number] = new
        return Segmentation(ids)


def load_segmentation(spec: Spec, device: str, precision: str) -> SegmentationNetwork:
    """The annotator of classes, instances or foreground, by the slot's name.

    Raises:
        ValueError: a mask of all classes of a network without background would be 1 everywhere.
    """
    known = {"classes": read_names} | ({"threshold": read_share} if spec.slot == "instances" else {})
    options = spec.read_options(known)
    architectures = UNIVERSAL if spec.slot == "instances" else {**UNIVERSAL, **SEMANTIC}
    network = load_network(spec.what, architectures, slot=spec.slot, device=device, precision=precision)
    classes = classes_of(network, options.get("classes", ()))
    if spec.slot == "mask" and classes.ids.all():
        raise ValueError(f"every class of {network.name} is something; say which the mask is of: classes=person+dog")
    threshold = options.get("threshold", THRESHOLD)
    return SegmentationNetwork(slot=spec.slot, network=network, classes=classes, threshold=threshold)
