"""Depth of pictures by a network: DPT, Depth Anything, GLPN.

Some networks answer in meters. The others (DPT as LVM used it, Depth Anything) know inverse depth up to a scale and a
shift, and so no meters at all; their nearest point is put at 1 m and their farthest at 10 m, and 1 / meters is linear
in what the network said. Drawn in the style "inverse" this is the network's own picture, near bright and far dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from openlvm.annotators.huggingface.network import Network, load_network
from openlvm.annotators.spec import Spec
from openlvm.core.picking import pick
from openlvm.core.records import Depth, Payload

ARCHITECTURES = {name: "AutoModelForDepthEstimation" for name in ("dpt", "depth_anything", "glpn")}
NEAR, FAR = 1.0, 10.0
"""Meters, by convention, of the nearest and farthest point of a network that knows inverse depth alone."""
UNITS = {
    "meters": "meters",
    "inverse": f"inverse depth of unknown scale and shift; nearest put at {NEAR} m, farthest at {FAR} m",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthNetwork:
    """`depth=hf:NAME[,unit=meters|inverse]`."""

    slot: str
    network: Network
    unit: str
    """Of UNITS."""

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def version(self) -> str:
        return self.network.version

    def describe(self) -> dict[str, Any]:
        return {"slot": self.slot, "kind": "hf", **self.network.describe(), "unit": UNITS[self.unit]}

    def annotate(self, images: Sequence[np.ndarray]) -> list[Payload]:
        depths = self.network.answers(images, self._read)
        return [*depths]

    def _read(self, outputs: Any, sizes: list[tuple[int, int]]) -> list[Depth]:
        return [self._depth(plane, size) for plane, size in zip(outputs.predicted_depth, sizes, strict=True)]

    def _depth(self, plane: torch.Tensor, size: tuple[int, int]) -> Depth:
        """A plane [h, w] of the network as depth of a picture of `size`: bicubic as published, without overshoot."""
        if not plane.isfinite().all():
            raise ValueError("the network answers with NaN or infinity")
        enlarged = F.interpolate(plane[None, None], size=size, mode="bicubic", align_corners=False)[0, 0]
        values = enlarged.clamp(plane.min(), plane.max()).cpu().numpy()
        return Depth(values) if self.unit == "meters" else Depth(meters_of_inverse(values))


def meters_of_inverse(inverse: np.ndarray) -> np.ndarray:
    """Inverse depth of unknown scale and shift as meters between NEAR and FAR, float32 [H, W]; a flat one is NEAR."""
    low, high = float(inverse.min()), float(inverse.max())
    nearness = (inverse - low) / (high - low) if high > low else np.ones_like(inverse)
    return (1 / (1 / FAR + nearness * (1 / NEAR - 1 / FAR))).astype(np.float32)


def load_depth(spec: Spec, device: str, precision: str) -> DepthNetwork:
    """The annotator of `depth=hf:NAME[,unit=...]`; the unit is known of all architectures, and can be corrected."""
    options = spec.read_options({"unit": lambda text: pick({name: name for name in UNITS}, text, "unit of depth")})
    network = load_network(spec.what, ARCHITECTURES, slot=spec.slot, device=device, precision=precision)
    if getattr(network.processor, "do_pad", False):
        raise ValueError(f"{network.name} pads pictures, so that its depth would be shifted; choose another network")
    metric = network.architecture == "glpn" or getattr(network.model.config, "depth_estimation_type", "") == "metric"
    unit = options.get("unit", "meters" if metric else "inverse")
    return DepthNetwork(slot=spec.slot, network=network, unit=unit)
