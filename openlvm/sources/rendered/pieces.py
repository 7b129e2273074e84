"""What an object is made of once its file has been read: pieces, each a part of one material, and moving them about.

Letters: P points, M triangles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

MAX_PARTS = 255
SEE_THROUGH = 0.45
"""Pieces less opaque than this are not drawn: window panes, drinking glasses."""
SMOOTH_COSINE = 0.8
"""Corners whose normal is further than 37 degrees from their triangle's get the triangle's: edges stay edges."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Triangles of one part of an object, with one material."""

    points: np.ndarray
    """float64 [P, 3], y up."""
    triangles: np.ndarray
    """int64 [M, 3]: places in `points`."""
    normals: np.ndarray
    """float64 [P, 3] of any length; zero where the triangles' own direction is meant."""
    uv: np.ndarray
    """float64 [P, 2] in the texture, (0, 0) its top left corner; textures repeat."""
    tints: np.ndarray
    """uint8 [P, 4], what the texture is multiplied by: color (sRGB) and opacity."""
    texture: np.ndarray | None = None
    """uint8 [h, w, 4] (sRGB, opacity), one array for all pieces that share it; None is white."""
    opacity: float = 1.0
    """Of the material as a whole."""

    def __post_init__(self) -> None:
        """What is drawn must not lead the driver out of its buffers."""
        lengths = {len(column) for column in (self.points, self.normals, self.uv, self.tints)}
        if len(lengths) != 1:
            raise ValueError(f"damaged model: points, normals, coordinates and colors are {sorted(lengths)} in number")
        low, high = self.triangles.min(initial=0), self.triangles.max(initial=-1)
        if low < 0 or high >= len(self.points):
            wrong = low if low < 0 else high
            raise ValueError(f"damaged model: a triangle has corner {wrong} of {len(self.points)} points")

    def moved(self, matrix: np.ndarray) -> "Piece":
        """The piece under a float64 [4, 4] transform."""
        return replace(
            self, points=self.points @ matrix[:3, :3].T + matrix[:3, 3], normals=self.normals @ turning(matrix)
        )

    @property
    def area(self) -> float:
        """Of all triangles, in the square of the points' unit."""
        a, b, c = self.points[self.triangles].swapaxes(0, 1)
        return float(np.linalg.norm(np.cross(b - a, c - a), axis=-1).sum() / 2)


def turning(matrix: np.ndarray) -> np.ndarray:
    """float64 [3, 3] that row vectors of normals are multiplied by: the inverse, up to a positive factor.

    Made of cofactors, so that a transform that flattens has one too; all zero where it leaves less than a plane.
    """
    x, y, z = matrix[:3, :3]
    cofactors = np.stack([np.cross(y, z), np.cross(z, x), np.cross(x, y)])
    return cofactors.T * (-1 if np.linalg.det(matrix[:3, :3]) < 0 else 1)


def bounds(pieces: Sequence[Piece]) -> tuple[np.ndarray, float]:
    """The box around all triangles, float64 [2, 3] (lowest, highest), and the furthest distance from its middle."""
    points = np.concatenate([piece.points[_used(piece)] for piece in pieces])
    box = np.stack([points.min(0), points.max(0)])
    return box, float(np.linalg.norm(points - box.mean(0), axis=1).max())


def _used(piece: Piece) -> np.ndarray:
    used = np.zeros(len(piece.points), bool)
    used[piece.triangles] = True
    return used


def normalized(pieces: Sequence[Piece]) -> list[Piece]:
    """The object inside a sphere of diameter 1 around the origin.

    Raises:
        ValueError: it has no extent.
    """
    box, radius = bounds(pieces)
    if not 0 < radius < np.inf:
        raise ValueError(f"the object has a radius of {radius:g}; nothing can be seen of it")
    matrix = np.diag([0.5 / radius] * 3 + [1.0])
    matrix[:3, 3] = -box.mean(0) * 0.5 / radius
    return [piece.moved(matrix) for piece in pieces]


def opaque(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces that are drawn: those that are not see-through, or all where every one is."""
    return [piece for piece in pieces if piece.opacity >= SEE_THROUGH] or list(pieces)


def part_ids(pieces: Sequence[Piece]) -> list[int]:
    """A part id for each piece: 1 for the largest surface, and so on; 0 (background) beyond `MAX_PARTS`."""
    largest_first = np.argsort([-piece.area for piece in pieces], kind="stable")
    ids = np.zeros(len(pieces), int)
    ids[largest_first[:MAX_PARTS]] = np.arange(1, 1 + min(len(pieces), MAX_PARTS))
    return ids.tolist()


def smooth_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """float64 [P, 3]: at each point the sum of its triangles' unit normals, weighted by their angles there.

    So weighted it does not depend on how a flat face was cut into triangles.
    """
    corners = points[triangles]  # [M, 3, 3]
    to_next, to_last = (_unit(np.roll(corners, shift, axis=1) - corners) for shift in (-1, 1))
    angles = np.arccos(np.clip((to_next * to_last).sum(-1), -1, 1))  # [M, 3]
    across = _unit(np.cross(to_next[:, 0], to_last[:, 0]))  # [M, 3]
    weighted = (angles[..., None] * across[:, None]).reshape(-1, 3)
    places = triangles.reshape(-1)
    return np.stack([np.bincount(places, weighted[:, axis], len(points)) for axis in range(3)], axis=1)


def with_hard_edges(piece: Piece) -> Piece:
    """The piece with the triangle's normal at corners that lean too far from it; those corners get points of their own.

    Files without normals get smoothed ones, and some exporters write such, which would round the edges of a box.
    """
    a, b, c = piece.points[piece.triangles].swapaxes(0, 1)
    flat = _unit(np.cross(b - a, c - a))
    lean = (_unit(piece.normals)[piece.triangles] * flat[:, None]).sum(-1)  # [M, 3]
    leaning = (np.abs(lean) <= SMOOTH_COSINE) & flat.any(-1, keepdims=True)
    triangle, corner = np.nonzero(leaning)
    copied = piece.triangles[triangle, corner]
    triangles = piece.triangles.copy()
    triangles[triangle, corner] = len(piece.points) + np.arange(len(copied))
    return replace(
        piece,
        points=np.concatenate([piece.points, piece.points[copied]]),
        triangles=triangles,
        normals=np.concatenate([piece.normals, flat[triangle]]),
        uv=np.concatenate([piece.uv, piece.uv[copied]]),
        tints=np.concatenate([piece.tints, piece.tints[copied]]),
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-300)
