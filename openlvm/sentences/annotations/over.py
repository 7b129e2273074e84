"""Annotations laid over their photo, and taken off it again: outlines of boxes, people, half-transparent masks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from openlvm.core.picking import pick
from openlvm.core.records import Boxes, Keypoints, Payload, Segmentation
from openlvm.sentences.annotations.boxes import draw_boxes
from openlvm.sentences.annotations.canvas import canvas, mixed
from openlvm.sentences.annotations.people import draw_keypoints, draw_openpose
from openlvm.sentences.annotations.planes import draw_segmentation
from openlvm.sentences.annotations.resizing import cut_boxes

MASK_OPACITY = 0.5
"""Of ids over their photo."""


def lay_over(photo: np.ndarray, payload: Payload, style: str = "") -> np.ndarray:
    """The photo with the drawing of its annotation over it, uint8 [H, W, 3] as large as the photo.

    Args:
        photo: uint8 [H, W, 3].
        payload: ids, people or boxes of it; of another size, it is of the whole photo.
        style: one of `OVER` for this kind of annotation; "" is the usual one.

    Raises:
        ValueError: another kind of annotation, which would hide the photo.
    """
    styles = OVER.get(type(payload))
    if styles is None:
        known = ", ".join(kind.__name__ for kind in OVER)
        raise ValueError(f"{type(payload).__name__} cannot be laid over a photo; these can: {known}")
    drawn = pick(styles, style or next(iter(styles)), f"style of {type(payload).__name__} over a photo")
    return drawn(_fitted(payload, (photo.shape[0], photo.shape[1])), photo)


def take_off(image: np.ndarray, photo: np.ndarray, *, opacity: float = 1.0, tolerance: int = 24) -> np.ndarray:
    """What was laid over a photo, on black, for `read_boxes`, `read_keypoints` and `read_segmentation`.

    A drawing that has the photo's own color is lost.

    Args:
        image: the photo with a drawing over it, or a model's idea of it, uint8 [H, W, 3].
        photo: as it was, uint8 [H, W, 3].
        opacity: of the drawing: 1, or `MASK_OPACITY` for ids.
        tolerance: gray levels in every channel by which a pixel may differ and still be the photo.
    """
    difference = image.astype(np.float32) - photo
    drawing = np.rint(photo + difference / opacity).clip(0, 255)
    return np.where((np.abs(difference) > tolerance).any(axis=-1, keepdims=True), drawing, 0).astype(np.uint8)


def _mask_over(segmentation: Segmentation, photo: np.ndarray, **colors: Any) -> np.ndarray:
    """Ids half transparent; background and what is not labelled stay as they are."""
    picture = canvas((segmentation.ids.shape[0], segmentation.ids.shape[1]), photo)
    drawn, named = draw_segmentation(segmentation, **colors), segmentation.ids > 0
    picture[named] = mixed(picture[named], drawn[named], MASK_OPACITY)
    return picture


def _fitted(payload: Payload, size: tuple[int, int]) -> Payload:
    """An annotation of the same picture at another size (H, W); boxes are cut at its borders."""
    height, width = size
    match payload:
        case Segmentation(ids):
            rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
            near = (rows * ids.shape[0] / height).astype(int), (columns * ids.shape[1] / width).astype(int)
            return Segmentation(ids[np.ix_(*near)])
        case Keypoints(points, visible, old, joints):
            scale = np.array([width / old[1], height / old[0]], dtype=np.float32)
            return Keypoints(points * scale, visible, size, joints)
        case Boxes(corners, ids, old):
            scale = np.array([width / old[1], height / old[0]] * 2, dtype=np.float32)
            return cut_boxes(Boxes(corners * scale, ids, size))
    raise AssertionError(type(payload))


OVER: dict[type, dict[str, Callable[[Any, np.ndarray], np.ndarray]]] = {
    Segmentation: {"classes": _mask_over, "binary": partial(_mask_over, colors="binary")},
    Keypoints: {"skeleton": draw_keypoints, "openpose": draw_openpose},
    Boxes: {"outline": partial(draw_boxes, style="outline")},
}
"""What can be laid over a photo, and how; the first style is the usual one."""
