"""Annotations drawn as pictures, and read back from them: every `draw_x` has its `read_x`. The one door to both."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from openlvm.core.images import ImagePreparation
from openlvm.core.picking import pick
from openlvm.core.records import Boxes, Depth, Disparity, Edges, Flow, Keypoints, Normals, Payload, Segmentation
from openlvm.sentences.annotations.boxes import draw_boxes, read_boxes
from openlvm.sentences.annotations.flow import draw_flow, flow_range, read_flow
from openlvm.sentences.annotations.over import MASK_OPACITY, lay_over, take_off
from openlvm.sentences.annotations.people import draw_keypoints, draw_openpose, read_keypoints, read_openpose
from openlvm.sentences.annotations.planes import (
    depth_range,
    disparity_range,
    draw_depth,
    draw_disparity,
    draw_edges,
    draw_normals,
    draw_segmentation,
    read_depth,
    read_disparity,
    read_edges,
    read_normals,
    read_segmentation,
)
from openlvm.sentences.annotations.resizing import resized

__all__ = [
    "MASK_OPACITY",
    "STYLES",
    "depth_range",
    "disparity_range",
    "draw",
    "draw_boxes",
    "draw_depth",
    "draw_disparity",
    "draw_edges",
    "draw_flow",
    "draw_keypoints",
    "draw_normals",
    "draw_openpose",
    "draw_segmentation",
    "flow_range",
    "lay_over",
    "read_boxes",
    "read_depth",
    "read_disparity",
    "read_edges",
    "read_flow",
    "read_keypoints",
    "read_normals",
    "read_openpose",
    "read_segmentation",
    "resized",
    "take_off",
]

STYLES: dict[type, dict[str, Callable[[Any], np.ndarray]]] = {
    Segmentation: {"classes": draw_segmentation, "binary": partial(draw_segmentation, colors="binary")},
    Depth: {"linear": draw_depth, "inverse": partial(draw_depth, scale="inverse")},
    Disparity: {"linear": draw_disparity},
    Normals: {"axes": draw_normals},
    Edges: {"lines": draw_edges},
    Flow: {"wheel": draw_flow},
    Keypoints: {"skeleton": draw_keypoints, "openpose": draw_openpose},
    Boxes: {"filled": draw_boxes, "outline": partial(draw_boxes, style="outline")},
}
"""How each kind of annotation can be drawn; the first style is the usual one. Pictures have no styles."""


def draw(payload: Payload, preparation: ImagePreparation, style: str = "") -> np.ndarray:
    """A payload as the picture a tokenizer expects, uint8 [size, size, 3]: resized, and drawn if it is an annotation.

    Args:
        payload: a picture or an annotation of any size.
        preparation: of the tokenizer.
        style: one of `STYLES` for this kind of annotation; "" is the usual one.

    Raises:
        ValueError: the annotation cannot be drawn (an id beyond the palette, a style it does not have).
    """
    if isinstance(payload, np.ndarray) and style:
        raise ValueError(f"a picture is shown as it is; the style {style!r} is for annotations")
    if style and type(payload) in STYLES:
        pick(STYLES[type(payload)], style, f"style of {type(payload).__name__}")  # before the work of resizing
    fitted = resized(payload, preparation)
    if isinstance(fitted, np.ndarray):
        return fitted
    styles = STYLES[type(fitted)]
    return styles[style or next(iter(styles))](fitted)
