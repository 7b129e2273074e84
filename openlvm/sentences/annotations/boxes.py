"""Boxes drawn and read: filled (the detection task of visual prompting) or as outlines, on black or on the photo."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from openlvm.core.records import Boxes
from openlvm.sentences.annotations.canvas import LINE, canvas
from openlvm.sentences.palettes import NUM_IDS, colors_of, nearest_color, pieces

MIN_BOX_PIXELS = 4
"""Smaller specks of a color are not read as boxes."""


def draw_boxes(
    boxes: Boxes, photo: np.ndarray | None = None, *, style: Literal["filled", "outline"] = "filled"
) -> np.ndarray:
    """Boxes in the colors of `palette()`, large ones first; id 1 is white; uint8 [H, W, 3].

    Args:
        boxes: ids from 1 to 255.
        photo: drawn on instead of black, uint8 [H, W, 3].
        style: "filled" (the detection task of visual prompting), or "outline".
    """
    if boxes.ids.size and not 1 <= boxes.ids.min() <= boxes.ids.max() < NUM_IDS:
        raise ValueError(
            f"boxes with ids {boxes.ids.min()} to {boxes.ids.max()} cannot be drawn; use 1 to {NUM_IDS - 1}"
        )
    picture = canvas(boxes.size, photo)
    line = max(1, round(LINE * min(boxes.size)))
    sides = boxes.corners[:, 2:] - boxes.corners[:, :2]
    for box in np.argsort(-sides.prod(axis=1), kind="stable"):
        left, top, right, bottom = np.rint(boxes.corners[box]).astype(int)
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        inside = picture[top:bottom, left:right]
        hole = inside[line:-line, line:-line].copy()
        inside[:] = colors_of(boxes.ids[box])
        if style == "outline":
            inside[line:-line, line:-line] = hole
    return picture


def read_boxes(image: np.ndarray, ids: Sequence[int]) -> Boxes:
    """The extent of each connected area of each id's color: filled boxes and outlines alike, by id, in reading order.

    Boxes of one id that touch are read as one; an outline broken by another box is read in pieces.

    Args:
        image: a drawing, uint8 [H, W, 3].
        ids: the ids allowed, from 1 to 255.
    """
    nearest = nearest_color(image, colors_of(np.array([0, *ids])))
    corners, found = [], []
    for position, name in enumerate(ids, start=1):
        areas = pieces(nearest == position)
        for piece in range(1, int(areas.max()) + 1):
            places = np.argwhere(areas == piece)
            if len(places) >= MIN_BOX_PIXELS:
                (top, left), (bottom, right) = places.min(axis=0), places.max(axis=0) + 1
                corners.append((left, top, right, bottom))
                found.append(name)
    return Boxes(np.array(corners, np.float32).reshape(-1, 4), np.array(found, np.int32), image.shape[:2])
