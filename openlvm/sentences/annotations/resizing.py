"""Annotations brought to a tokenizer's square in their units, before they are drawn: no color is a mixture of two ids.

A pixel (row i, column j) covers [i, i + 1) x [j, j + 1); points and corners are (x, y) in these coordinates.
"""

import numpy as np
from PIL import Image

from openlvm.core.images import ImagePreparation
from openlvm.core.records import (
    Boxes,
    Depth,
    Disparity,
    Edges,
    Flow,
    Keypoints,
    Normals,
    Payload,
    Segmentation,
)


def resized(payload: Payload, preparation: ImagePreparation) -> Payload:
    """The same annotation of the image after its preparation, still in physical units (the target to compare with).

    Ids take the nearest pixel; depth, normals, disparity and flow average what is known; edges keep their strongest
    pixel (thin lines survive); points and boxes are moved; points outside the square become invisible, boxes are cut.
    Disparity and flow count pixels of the square: they shrink and grow with it.
    """
    match payload:
        case np.ndarray():
            return preparation(payload)
        case Segmentation(ids):
            rows, columns = _cells(ids.shape, preparation, 0.5)
            return Segmentation(ids[np.ix_(rows, columns)])
        case Edges(strength):
            rows, columns = _cells(strength.shape, preparation, 0.0)
            return Edges(np.maximum.reduceat(np.maximum.reduceat(strength, rows, axis=0), columns, axis=1))
        case Depth(meters):
            return Depth(_average_positive(meters, preparation))
        case Disparity(pixels):
            right, _ = _scales((pixels.shape[0], pixels.shape[1]), preparation)
            return Disparity(_average_positive(pixels, preparation) * np.float32(right))
        case Normals(vectors):
            averages, share = _average_known(vectors, np.asarray(vectors.any(axis=-1)), preparation)
            return Normals(np.where(share[..., None] >= 0.5, _unit(averages), 0).astype(np.float32))
        case Flow(vectors):
            known = np.isfinite(vectors).all(axis=-1)
            averages, share = _average_known(np.where(known[..., None], vectors, 0), known, preparation)
            scales = _scales((vectors.shape[0], vectors.shape[1]), preparation)
            return Flow(np.where(share[..., None] >= 0.5, averages * scales, np.nan).astype(np.float32))
        case Keypoints(points, visible, size, joints):
            moved = _moved(points, size, preparation)
            inside = ((moved >= 0) & (moved < preparation.size)).all(axis=-1)
            return Keypoints(moved, visible & inside, (preparation.size, preparation.size), joints)
        case Boxes(corners, ids, size):
            moved = _moved(corners.reshape(-1, 2, 2), size, preparation).reshape(-1, 4)
            return cut_boxes(Boxes(moved, ids, (preparation.size, preparation.size)))
    raise ValueError(f"a payload is a picture uint8 [H, W, 3] or an annotation, not {type(payload).__name__}")


def cut_boxes(boxes: Boxes) -> Boxes:
    """The boxes cut at the borders of their picture; those outside are left out."""
    height, width = boxes.size
    corners = boxes.corners.reshape(-1, 2, 2).clip(0, (width, height)).reshape(-1, 4).astype(np.float32)
    inside = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    return Boxes(corners[inside], boxes.ids[inside], boxes.size)


def is_positive(plane: np.ndarray) -> np.ndarray:
    """Where depth or disparity is known: finite and above 0; bool [H, W]."""
    return np.asarray(np.isfinite(plane) & (plane > 0))


def _cells(shape: tuple[int, ...], preparation: ImagePreparation, place: float) -> tuple[np.ndarray, np.ndarray]:
    """The source row and column at a place (0 start, 0.5 center) of each row and column of the square."""
    left, top, right, bottom = preparation.region(shape[0], shape[1])
    steps = (np.arange(preparation.size) + place) / preparation.size
    return (top + steps * (bottom - top)).astype(np.int64), (left + steps * (right - left)).astype(np.int64)


def _average_positive(plane: np.ndarray, preparation: ImagePreparation) -> np.ndarray:
    """Averages of a plane's known values, float32 [size, size]; 0 where less than half is known."""
    known = is_positive(plane)
    averages, share = _average_known(np.where(known, plane, 0)[..., None], known, preparation)
    return np.where(share >= 0.5, averages[..., 0], 0).astype(np.float32)


def _average_known(
    values: np.ndarray, known: np.ndarray, preparation: ImagePreparation
) -> tuple[np.ndarray, np.ndarray]:
    """Averages of known pixels alone, float32 [size, size, C], and the share of known ones, float32 [size, size].

    Args:
        values: [H, W, C], 0 where unknown.
        known: bool [H, W].
        preparation: its region counts; the filter is bilinear (no overshoot at edges) whatever it says.
    """
    box = preparation.region(*known.shape)
    side = (preparation.size, preparation.size)
    planes = [*np.moveaxis(values, -1, 0), known]
    shrunk = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize(side, Image.Resampling.BILINEAR, box=box))
        for plane in planes
    ]
    share = shrunk.pop()
    return np.stack(shrunk, axis=-1) / np.maximum(share, 1e-6)[..., None], share


def _scales(size: tuple[int, int], preparation: ImagePreparation) -> np.ndarray:
    """Pixels of the square for one pixel of an image of `size` (H, W): (to the right, down)."""
    left, top, right, bottom = preparation.region(*size)
    return preparation.size / np.array([right - left, bottom - top])


def _moved(points: np.ndarray, size: tuple[int, int], preparation: ImagePreparation) -> np.ndarray:
    """Points [..., 2] of an image of `size`, where they lie in the square."""
    left, top, _, _ = preparation.region(*size)
    return ((points - np.array([left, top])) * _scales(size, preparation)).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
