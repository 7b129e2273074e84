"""Frames and their annotations shrunk together as they are read, so that a long clip fits in memory."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from openlvm.core.records import Boxes, Depth, Edges, Flow, Keypoints, Normals, Payload, Segmentation
from openlvm.sources.pairs import SHAPE_TOLERANCE
from openlvm.sources.video import shrink


def shrink_payload(payload: Payload, short_side: int) -> Payload:
    """A picture or an annotation with a short side of at most `short_side` pixels; smaller ones stay as they are.

    Planes of numbers take the nearest pixel: ids, depths and vectors of two surfaces are never mixed. Points, boxes
    and flow are in pixels, so they shrink too.
    """
    if isinstance(payload, np.ndarray):
        return shrink(Image.fromarray(payload), short_side)
    height, width = size_of(payload)
    scale = short_side / min(height, width)
    if scale >= 1:
        return payload
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    factors = np.array([size[1] / width, size[0] / height], dtype=np.float32)  # of x and y
    match payload:
        case Keypoints(points, visible, _, joints):
            return Keypoints(points * factors, visible, size, joints)
        case Boxes(corners, ids, _):
            return Boxes(corners * np.tile(factors, 2), ids, size)
        case Flow(vectors):
            return Flow(_nearest(vectors, size) * factors)
    return type(payload)(_nearest(_plane(payload), size))


def size_of(payload: Payload) -> tuple[int, int]:
    """(H, W) of a picture, or of the picture that an annotation belongs to."""
    if isinstance(payload, Keypoints | Boxes):
        return payload.size
    height, width = (payload if isinstance(payload, np.ndarray) else _plane(payload)).shape[:2]
    return height, width


def refuse_other_shape(pictures: Sequence[Payload], payloads: Sequence[Payload], slot: str) -> None:
    """A ValueError if an annotation has another aspect ratio than its picture: it would not lie on it."""
    for picture, payload in zip(pictures, payloads, strict=True):
        (height, width), (other_height, other_width) = size_of(picture), size_of(payload)
        if abs(width * other_height / (height * other_width) - 1) > SHAPE_TOLERANCE:
            raise ValueError(
                f"the frame is {width} x {height} but its {slot!r} is {other_width} x {other_height}: not one shape"
            )


def _plane(payload: Payload) -> np.ndarray:
    """The array [H, W, ...] of an annotation that has one value for each pixel."""
    match payload:
        case Segmentation(plane) | Depth(plane) | Normals(plane) | Edges(plane) | Flow(plane):
            return plane
    raise ValueError(f"a frame's annotation must be dense, points or boxes, not {type(payload).__name__}")


def _nearest(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip(size, plane.shape[:2], strict=True)
    )
    return np.ascontiguousarray(plane[rows][:, columns])
