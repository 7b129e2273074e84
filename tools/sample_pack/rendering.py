"""Objects on a turntable: color, coverage, metric depth, normals and part ids of 8 views, by the package's renderer.

The camera orbits; the lights stay with it, so that it is the object that seems to turn. Rendered at 4 times the size.
Camera axes: x right, y down, z forward (away from the viewer).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openlvm.sources.rendered.camera import world_to_camera
from openlvm.sources.rendered.folder import Accepted
from openlvm.sources.rendered.meshes import read_model
from openlvm.sources.rendered.pieces import Piece
from openlvm.sources.rendered.renderer import Renderer as PackageRenderer
from sample_pack.furniture import Furniture

SIZE, OVERSAMPLING, NUM_VIEWS, STEP_DEGREES, FOV_DEGREES = 128, 4, 8, 15.0, 32.0
MIN_FILL, MIN_SIDE, MIN_LUMA = 0.08, 20, 24.0  # share of the frame; narrowest extent in pixels; mean gray of the object


@dataclass(frozen=True, eq=False)
class Views:
    """The views of one object; arrays have a leading axis of NUM_VIEWS and are SIZE x SIZE."""

    color: np.ndarray  # uint8 [F, H, W, 3], not premultiplied
    coverage: np.ndarray  # uint8 [F, H, W]; at least 128 is the object
    depth_m: np.ndarray  # float32 [F, H, W]; 0 outside
    normals: np.ndarray  # float32 [F, H, W, 3]; 0 outside
    parts: np.ndarray  # uint8 [F, H, W]; 0 outside
    camera: dict[str, float]


def is_good(views: Views) -> bool:
    """Whether the object fills the frame, is no sliver and is not black, in every view."""
    solid = views.coverage >= 128
    if solid.mean((1, 2)).min() < MIN_FILL or views.color[solid].mean() < MIN_LUMA:
        return False
    extents = [np.ptp(np.flatnonzero(view.any(axis))) + 1 for view in solid for axis in (0, 1)]
    return min(extents) >= MIN_SIDE


def load_meshes(item: Furniture) -> list[Piece]:
    """The object's pieces, one a material, in meters, centered on the origin, y up."""
    turned = np.eye(4)
    turned[:3, :3] = item.rotation
    pieces = [piece.moved(turned) for piece in read_model(item.model, Accepted(lost_textures="gray"))]
    points = np.concatenate([piece.points for piece in pieces])
    low, high = points.min(0), points.max(0)
    sized = np.diag([*(np.array(item.size) / np.maximum(high - low, 1e-9)), 1.0])
    sized[:3, 3] = -(low + high) / 2 * np.diag(sized)[:3]
    return [piece.moved(sized) for piece in pieces]


def shape_of(pieces: Sequence[Piece]) -> tuple[int, int]:
    """Triangles and points: tells one mesh from another, whatever they are called."""
    return sum(len(piece.triangles) for piece in pieces), sum(len(piece.points) for piece in pieces)


def fit_camera(points: np.ndarray, azimuths: np.ndarray, elevation: float) -> tuple[float, float]:
    """(distance, lift) at which the object just fits (93 % of the half side) in every view and stands in the middle."""
    points = points[:: max(1, len(points) // 4000)]
    reach = 0.93 * np.tan(np.radians(FOV_DEGREES) / 2)
    distance, lift = 2.5 * np.ptp(points, axis=0).max(), 0.0
    for _ in range(12):
        seen = np.stack(
            [
                world_to_camera(a, elevation, distance, lift)[:3] @ np.c_[points, np.ones(len(points))].T
                for a in azimuths
            ]
        )
        z = np.maximum(seen[:, 2], 1e-3 * distance)
        x, y = seen[:, 0] / z, seen[:, 1] / z
        lift -= 0.5 * (y.max() + y.min()) * distance / np.cos(np.radians(elevation))
        half = max(np.abs(x).max(), (y.max() - y.min()) / 2)
        distance = max(distance * half / reach, 0.6 * np.linalg.norm(points, axis=1).max())
    return float(distance), float(lift)


class Renderer:
    """Draws the 8 views of an object, `oversampling` samples along each side of a pixel."""

    def __init__(self, oversampling: int = OVERSAMPLING):
        self.renderer = PackageRenderer(SIZE, fov_degrees=FOV_DEGREES, oversampling=oversampling)

    def views(self, pieces: list[Piece], *, azimuth: float, elevation: float, light: np.ndarray) -> Views:
        """Draw 8 views, 15 degrees apart; `light` is the direction the key light travels, in camera axes."""
        azimuths = azimuth + STEP_DEGREES * np.arange(NUM_VIEWS)
        distance, lift = fit_camera(np.concatenate([piece.points for piece in pieces]), azimuths, elevation)
        cameras = np.stack([world_to_camera(one, elevation, distance, lift) for one in azimuths])
        views = self.renderer.draw(pieces, cameras, light=light)
        camera = {"azimuth": round(azimuth, 2), "elevation": round(elevation, 2), "distance": round(distance, 4)}
        return Views(
            color=_exposed(views.color, views.coverage),
            coverage=views.coverage,
            depth_m=views.depth_m,
            normals=views.normals,
            parts=_by_area(views.parts),
            camera=camera,
        )


def _exposed(color: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """One gain for all views that brings a dark or glaring object nearer to middle gray."""
    luma = color[coverage >= 128].mean() if (coverage >= 128).any() else 128.0
    gain = np.clip((118 / max(luma, 1.0)) ** 0.5, 0.85, 1.7)
    return np.clip(color * gain, 0, 255).astype(np.uint8)


def _by_area(parts: np.ndarray) -> np.ndarray:
    """Part ids 1, 2, … from the largest visible part to the smallest; the 15th and smaller share one id."""
    ids, areas = np.unique(parts[parts > 0], return_counts=True)
    rank = np.zeros(256, np.uint8)
    rank[ids[np.argsort(-areas, kind="stable")]] = np.minimum(np.arange(1, len(ids) + 1), 15)
    return rank[parts]
