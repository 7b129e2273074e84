"""Annotations with a value for each pixel, drawn and read: ids, depth, disparity, normals, edges.

Gray pictures of depth and disparity keep a distance from black, which means unknown.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from openlvm.core.records import Depth, Disparity, Edges, Normals, Segmentation
from openlvm.sentences.annotations.resizing import is_positive
from openlvm.sentences.palettes import NUM_IDS, colors_of, nearest_color

UNKNOWN = 0.02
"""Share of the gray range below the farthest depth: there, black means unknown."""
_TO_PICTURE = np.array([1, -1, -1], dtype=np.float32)  # camera axes (y down, z forward) to those of normal maps

Scale = Literal["linear", "inverse"]
"""What of a depth the gray is linear in: the meters, or one over them, as networks such as DPT give it."""


def draw_segmentation(segmentation: Segmentation, *, colors: Literal["classes", "binary"] = "classes") -> np.ndarray:
    """Ids in the colors of `palette()`, not labelled in `VOID_COLOR`; uint8 [H, W, 3].

    Args:
        segmentation: ids from 0 to 255, or VOID.
        colors: "classes", or "binary" for black background and everything else white.
    """
    ids = segmentation.ids
    if ids.min() < Segmentation.VOID or ids.max() >= NUM_IDS:
        raise ValueError(f"ids from {ids.min()} to {ids.max()} cannot be drawn; the palette has 0 to {NUM_IDS - 1}")
    if colors == "binary":
        ids = np.minimum(ids, 1)
    return colors_of(ids)


def read_segmentation(image: np.ndarray, ids: Sequence[int]) -> Segmentation:
    """The id whose color is nearest, at each pixel of uint8 [H, W, 3].

    Args:
        image: a drawing, or a model's idea of one.
        ids: the ids allowed; VOID among them only if it may be answered.
    """
    allowed = np.array(ids, dtype=np.int32)
    return Segmentation(allowed[nearest_color(image, colors_of(allowed))])


def depth_range(depth: Depth) -> tuple[float, float]:
    """The nearest and the farthest known depth, meters; (0, 0) when nothing is known."""
    return _range(depth.meters)


def draw_depth(depth: Depth, *, scale: Scale = "linear") -> np.ndarray:
    """Near is white, far dark, unknown black, between the nearest and the farthest known; uint8 [H, W, 3].

    Args:
        depth: in meters.
        scale: "linear": gray falls evenly with the meters; "inverse": evenly with one over them.
    """
    near, far = depth_range(depth)
    known = is_positive(depth.meters)
    if far == near:
        nearness = np.ones_like(depth.meters)
    elif scale == "linear":
        nearness = (far - depth.meters) / (far - near)
    else:
        nearness = (1 / np.where(known, depth.meters, far) - 1 / far) / (1 / near - 1 / far)
    return _gray_where_known(nearness, known)


def read_depth(image: np.ndarray, near: float, far: float, *, scale: Scale = "linear") -> Depth:
    """Depth between two known ends, from uint8 [H, W, 3]; 0 where the picture is black.

    Args:
        image: a drawing, or a model's idea of one.
        near: meters at white.
        far: meters at the darkest gray; both as given by `depth_range` of the truth, resized.
        scale: as it was drawn.
    """
    nearness, known = _read_gray(image)
    if scale == "linear":
        return Depth(np.where(known, np.maximum(far - nearness * (far - near), min(near, far)), 0).astype(np.float32))
    if not 0 < near <= far:
        raise ValueError(f"near={near} and far={far} must be above 0 and in this order for an inverse scale, in meters")
    return Depth(np.where(known, 1 / (1 / far + nearness * (1 / near - 1 / far)), 0).astype(np.float32))


def disparity_range(disparity: Disparity) -> tuple[float, float]:
    """The least and the largest known disparity, pixels; (0, 0) when nothing is known."""
    return _range(disparity.pixels)


def draw_disparity(disparity: Disparity) -> np.ndarray:
    """The largest (the nearest) is white, the least dark, unknown black; linear between them; uint8 [H, W, 3]."""
    least, most = disparity_range(disparity)
    pixels = disparity.pixels
    nearness = (pixels - least) / (most - least) if most > least else np.ones_like(pixels)
    return _gray_where_known(nearness, is_positive(pixels))


def read_disparity(image: np.ndarray, least: float, most: float) -> Disparity:
    """Disparity between two known ends in pixels, from uint8 [H, W, 3]; 0 where the picture is black.

    Args:
        image: a drawing, or a model's idea of one.
        least: at the darkest gray.
        most: at white; both as given by `disparity_range` of the truth, resized.
    """
    nearness, known = _read_gray(image)
    return Disparity(np.where(known, least + nearness * (most - least), 0).astype(np.float32))


def draw_normals(normals: Normals) -> np.ndarray:
    """The usual encoding: red right, green up, blue to the viewer; facing the camera is lavender; unknown is black."""
    pixels = np.rint(127.5 * (normals.vectors * _TO_PICTURE + 1)).clip(0, 255)
    return np.where(normals.vectors.any(axis=-1, keepdims=True), pixels, 0).astype(np.uint8)


def read_normals(image: np.ndarray) -> Normals:
    """Unit vectors in camera axes from uint8 [H, W, 3]; zero where the picture is black (no unit vector is)."""
    vectors = (image.astype(np.float32) / 127.5 - 1) * _TO_PICTURE
    vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
    darkest = 127.5 * (1 - 3**-0.5)  # the brightest channel of a unit vector is at least 54
    return Normals(np.where(image.max(axis=-1, keepdims=True) < darkest / 2, 0, vectors).astype(np.float32))


def draw_edges(edges: Edges) -> np.ndarray:
    """Black lines on white; uint8 [H, W, 3]."""
    return _gray_to_rgb(1 - edges.strength)


def read_edges(image: np.ndarray) -> Edges:
    """Darkness of uint8 [H, W, 3] as strength of edges."""
    return Edges(1 - image.mean(axis=-1, dtype=np.float32) / 255)


def _range(plane: np.ndarray) -> tuple[float, float]:
    known = plane[is_positive(plane)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def _gray_where_known(nearness: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Nearness [H, W] in 0..1 as gray above `UNKNOWN`, black where it is not known."""
    return _gray_to_rgb(np.where(known, UNKNOWN + (1 - UNKNOWN) * nearness, 0))


def _read_gray(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearness float32 [H, W] in 0..1, and where it is known."""
    gray = image.mean(axis=-1, dtype=np.float32) / 255
    return ((gray - UNKNOWN) / (1 - UNKNOWN)).clip(0, 1), gray >= UNKNOWN / 2


def _gray_to_rgb(gray: np.ndarray) -> np.ndarray:
    """Gray [H, W] in 0..1 as uint8 [H, W, 3]."""
    return np.repeat(np.rint(255 * np.clip(gray, 0, 1)).astype(np.uint8)[..., None], 3, axis=-1)
