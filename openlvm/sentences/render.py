"""Annotations drawn as pictures, and read back from them: every `draw_x` has its `read_x`.

Annotations are resized before they are drawn, so that no color is ever a mixture of two ids. A pixel (row i, column j)
covers [i, i + 1) x [j, j + 1); points and corners are (x, y) in these coordinates.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from openlvm.core.images import ImagePreparation
from openlvm.core.records import Boxes, Depth, Edges, Keypoints, Normals, Payload, Segmentation
from openlvm.sentences.palettes import LIMBS, NUM_IDS, colors_of, joint_colors, nearest_color, pieces

UNKNOWN = 0.02
"""Share of the gray range below the farthest depth: there, black means unknown."""
LINE = 1 / 64
"""Width of a limb or an outline, radius of a joint, as a share of the short side: 4 pixels of 256 (DeLVM: 4 and 8)."""
MIN_BOX_PIXELS = 4
"""Smaller specks of a color are not read as boxes."""
_TO_PICTURE = np.array([1, -1, -1], dtype=np.float32)  # camera axes (y down, z forward) to those of normal maps


def draw(payload: Payload, preparation: ImagePreparation) -> np.ndarray:
    """A payload as the picture a tokenizer expects, uint8 [size, size, 3]: resized, and drawn if it is an annotation.

    Raises:
        ValueError: the annotation cannot be drawn (an id beyond the palette).
    """
    fitted = resized(payload, preparation)
    return fitted if isinstance(fitted, np.ndarray) else _DRAW[type(fitted)](fitted)


# ---------------------------------------------------------------------------------------------------------- resizing


def resized(payload: Payload, preparation: ImagePreparation) -> Payload:
    """The same annotation of the image after its preparation, still in physical units (the target to compare with).

    Ids take the nearest pixel, depth and normals average what is known, edges keep their strongest pixel (thin lines
    survive), points and boxes are moved; points outside the square become invisible, boxes are cut.
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
            known = _is_known(meters)
            averages, share = _average_known(np.where(known, meters, 0)[..., None], known, preparation)
            return Depth(np.where(share >= 0.5, averages[..., 0], 0).astype(np.float32))
        case Normals(vectors):
            averages, share = _average_known(vectors, np.asarray(vectors.any(axis=-1)), preparation)
            return Normals(np.where(share[..., None] >= 0.5, _unit(averages), 0).astype(np.float32))
        case Keypoints(points, visible, size):
            moved = _moved(points, size, preparation)
            inside = ((moved >= 0) & (moved < preparation.size)).all(axis=-1)
            return Keypoints(moved, visible & inside, (preparation.size, preparation.size))
        case Boxes(corners, ids, size):
            moved = _moved(corners.reshape(-1, 2, 2), size, preparation).clip(0, preparation.size).reshape(-1, 4)
            left_over = (moved[:, 2:] > moved[:, :2]).all(axis=1)
            return Boxes(moved[left_over], ids[left_over], (preparation.size, preparation.size))
    raise ValueError(f"a payload is a picture uint8 [H, W, 3] or an annotation, not {type(payload).__name__}")


def _cells(shape: tuple[int, ...], preparation: ImagePreparation, place: float) -> tuple[np.ndarray, np.ndarray]:
    """The source row and column at a place (0 start, 0.5 center) of each row and column of the square."""
    left, top, right, bottom = preparation.region(shape[0], shape[1])
    steps = (np.arange(preparation.size) + place) / preparation.size
    return (top + steps * (bottom - top)).astype(np.int64), (left + steps * (right - left)).astype(np.int64)


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


def _moved(points: np.ndarray, size: tuple[int, int], preparation: ImagePreparation) -> np.ndarray:
    """Points [..., 2] of an image of `size`, where they lie in the square."""
    left, top, right, bottom = preparation.region(*size)
    scale = preparation.size / np.array([right - left, bottom - top])
    return ((points - np.array([left, top])) * scale).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def _is_known(meters: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(meters) & (meters > 0))


# ------------------------------------------------------------------------------------------------------ dense kinds


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
    known = depth.meters[_is_known(depth.meters)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def draw_depth(depth: Depth) -> np.ndarray:
    """Near is white, far dark, unknown black; linear between the nearest and the farthest known; uint8 [H, W, 3]."""
    near, far = depth_range(depth)
    nearness = (far - depth.meters) / (far - near) if far > near else np.ones_like(depth.meters)
    gray = np.where(_is_known(depth.meters), UNKNOWN + (1 - UNKNOWN) * nearness, 0)
    return _gray_to_rgb(gray)


def read_depth(image: np.ndarray, near: float, far: float) -> Depth:
    """Depth between two known ends, from uint8 [H, W, 3]; 0 where the picture is black.

    Args:
        image: a drawing, or a model's idea of one.
        near: meters at white.
        far: meters at the darkest gray; both as given by `depth_range` of the truth, resized.
    """
    gray = image.mean(axis=-1, dtype=np.float32) / 255
    nearness = ((gray - UNKNOWN) / (1 - UNKNOWN)).clip(0, 1)
    return Depth(np.where(gray < UNKNOWN / 2, 0, far - nearness * (far - near)).astype(np.float32))


def draw_normals(normals: Normals) -> np.ndarray:
    """The usual encoding: red right, green up, blue to the viewer; facing the camera is lavender; unknown is black."""
    pixels = np.rint(127.5 * (normals.vectors * _TO_PICTURE + 1)).clip(0, 255)
    return np.where(normals.vectors.any(axis=-1, keepdims=True), pixels, 0).astype(np.uint8)


def read_normals(image: np.ndarray) -> Normals:
    """Unit vectors in camera axes from uint8 [H, W, 3]; zero where the picture is black (no unit vector is)."""
    vectors = _unit((image.astype(np.float32) / 127.5 - 1) * _TO_PICTURE)
    darkest = 127.5 * (1 - 3**-0.5)  # the brightest channel of a unit vector is at least 54
    return Normals(np.where(image.max(axis=-1, keepdims=True) < darkest / 2, 0, vectors).astype(np.float32))


def draw_edges(edges: Edges) -> np.ndarray:
    """Black lines on white; uint8 [H, W, 3]."""
    return _gray_to_rgb(1 - edges.strength)


def read_edges(image: np.ndarray) -> Edges:
    """Darkness of uint8 [H, W, 3] as strength of edges."""
    return Edges(1 - image.mean(axis=-1, dtype=np.float32) / 255)


def _gray_to_rgb(gray: np.ndarray) -> np.ndarray:
    """Gray [H, W] in 0..1 as uint8 [H, W, 3]."""
    return np.repeat(np.rint(255 * np.clip(gray, 0, 1)).astype(np.uint8)[..., None], 3, axis=-1)


# ---------------------------------------------------------------------------------------------------- sparse kinds


def draw_keypoints(keypoints: Keypoints) -> np.ndarray:
    """Skeletons on black: limbs in half-bright colors, over them each visible joint as a disc of its own full color.

    Limbs are drawn for the 17 joints of COCO; other sets of joints are drawn as discs. Uint8 [H, W, 3].
    """
    picture = np.zeros((*keypoints.size, 3), dtype=np.uint8)
    num_joints = keypoints.points.shape[1]
    colors = joint_colors(num_joints)
    width = LINE * min(keypoints.size)
    for points, visible in zip(keypoints.points, keypoints.visible, strict=True):
        for first, second in LIMBS if num_joints == 17 else ():
            if visible[first] and visible[second]:
                _stroke(picture, points[first], points[second], width / 2, colors[second] // 2)
    for points, visible in zip(keypoints.points, keypoints.visible, strict=True):
        for joint in np.flatnonzero(visible):
            _stroke(picture, points[joint], points[joint], width, colors[joint])
    return picture


def read_keypoints(image: np.ndarray, *, num_joints: int = 17) -> Keypoints:
    """The joints of ONE person: the center of the largest area of each joint's color, invisible where it has none.

    Args:
        image: a drawing of one person, uint8 [H, W, 3].
        num_joints: J, as drawn.
    """
    colors = joint_colors(num_joints)
    nearest = nearest_color(image, np.vstack([colors, colors // 2, np.zeros((1, 3), np.uint8)]))
    points = np.zeros((1, num_joints, 2), dtype=np.float32)
    visible = np.zeros((1, num_joints), dtype=bool)
    for joint in range(num_joints):
        areas = pieces(nearest == joint)
        if areas.any():
            largest = np.bincount(areas[areas > 0]).argmax()
            points[0, joint] = np.argwhere(areas == largest).mean(axis=0)[::-1] + 0.5
            visible[0, joint] = True
    return Keypoints(points, visible, image.shape[:2])


def _stroke(picture: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float, color: np.ndarray) -> None:
    """Color the pixels whose centers are within `radius` of the line from start to end, both (x, y); at least one."""
    height, width = picture.shape[:2]
    radius = max(radius, 0.75)  # any point is within 0.71 of a pixel's center
    left, top = np.maximum(np.floor(np.minimum(start, end) - radius), 0).astype(int)
    right, bottom = np.minimum(np.ceil(np.maximum(start, end) + radius), (width, height)).astype(int)
    if left >= right or top >= bottom:
        return
    rows, columns = np.mgrid[top:bottom, left:right] + 0.5
    along = end - start
    length = max(float(along @ along), 1e-12)
    place = (((columns - start[0]) * along[0] + (rows - start[1]) * along[1]) / length).clip(0, 1)
    distance = np.hypot(columns - start[0] - place * along[0], rows - start[1] - place * along[1])
    picture[top:bottom, left:right][distance <= radius] = color


def draw_boxes(boxes: Boxes, *, style: Literal["filled", "outline"] = "filled") -> np.ndarray:
    """Boxes on black in the colors of `palette()`, large ones first; id 1 is white; uint8 [H, W, 3].

    Args:
        boxes: ids from 1 to 255.
        style: "filled" (the detection task of visual prompting), or "outline".
    """
    if boxes.ids.size and not 1 <= boxes.ids.min() <= boxes.ids.max() < NUM_IDS:
        raise ValueError(
            f"boxes with ids {boxes.ids.min()} to {boxes.ids.max()} cannot be drawn; use 1 to {NUM_IDS - 1}"
        )
    picture = np.zeros((*boxes.size, 3), dtype=np.uint8)
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


_DRAW: dict[type, Callable[[Any], np.ndarray]] = {
    Segmentation: draw_segmentation,
    Depth: draw_depth,
    Normals: draw_normals,
    Edges: draw_edges,
    Keypoints: draw_keypoints,
    Boxes: draw_boxes,
}
