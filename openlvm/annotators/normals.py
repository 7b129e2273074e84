"""Surface normals from any annotator of depth, seen through a pinhole of a stated field of view.

Of a plane, 1 / depth is linear over the picture: with w = 1 / z and rays (u, v, 1), n . (z u, z v, z) = D is
n . (u, v, 1) = D w, so that n is along (dw/du, dw/dv, w - u dw/du - v dw/dv). Slopes of w therefore give exact
normals of planes, at any angle. Depth of unknown scale and shift gives normals that are only plausible.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openlvm.annotators.interface import Annotator
from openlvm.core.records import Depth, Normals, Payload

FIELD_OF_VIEW = 60.0
"""Degrees across the longer side where none is given: between a phone's main camera (65) and a normal lens (40)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NormalsOfDepth:
    """`normals=depth:ANNOTATOR_OF_DEPTH[,fov=DEGREES]`."""

    slot: str
    depth: Annotator
    fov: float = FIELD_OF_VIEW
    """Degrees across the longer side of a picture."""

    def __post_init__(self) -> None:
        if not 1 <= self.fov <= 170:
            raise ValueError(f"fov={self.fov} must lie in 1..170 degrees")

    @property
    def name(self) -> str:
        return f"normals of {self.depth.name}"

    @property
    def version(self) -> str:
        return self.depth.version

    def describe(self) -> dict[str, Any]:
        return {
            "slot": self.slot, "kind": "depth", "name": self.name, "version": self.version,
            "fov": self.fov, "depth": self.depth.describe(),
        }  # fmt: skip

    def annotate(self, images: Sequence[np.ndarray]) -> list[Payload]:
        normals: list[Payload] = []
        for depth in self.depth.annotate(images):
            assert isinstance(depth, Depth), type(depth)
            normals.append(normals_of_depth(depth, fov=self.fov))
        return normals


def normals_of_depth(depth: Depth, *, fov: float) -> Normals:
    """Unit vectors towards the camera, in camera axes; zero where depth is unknown or nothing known is next to it.

    Args:
        depth: meters [H, W].
        fov: degrees across the longer side; the optical axis goes through the middle of the picture.
    """
    height, width = depth.meters.shape
    focal = max(height, width) / 2 / np.tan(np.radians(fov) / 2)  # pixels
    u = ((np.arange(width) + 0.5 - width / 2) / focal)[None, :]
    v = ((np.arange(height) + 0.5 - height / 2) / focal)[:, None]
    meters = depth.meters.astype(np.float64)
    known = np.isfinite(meters) & (meters > 0)
    w = np.where(known, 1 / np.where(known, meters, 1), np.nan)
    right, down = _slopes(w, axis=1) * focal, _slopes(w, axis=0) * focal
    towards = -np.stack([right, down, w - u * right - v * down], axis=-1)  # n . ray has the sign of w before, < 0 now
    length = np.linalg.norm(towards, axis=-1, keepdims=True)
    return Normals(np.where(np.isfinite(length), towards / length, 0).astype(np.float32))


def _slopes(w: np.ndarray, *, axis: int) -> np.ndarray:
    """Change a pixel along an axis, float64 [H, W]: the gentler of both sides, so that no surface leans over an edge.

    NaN where neither neighbor is known.
    """
    steps = np.diff(w, axis=axis)
    missing = np.full_like(np.take(w, [0], axis=axis), np.nan)
    before, after = np.concatenate([missing, steps], axis=axis), np.concatenate([steps, missing], axis=axis)
    return np.where(np.isnan(before) | (np.abs(before) > np.abs(after)), after, before)
