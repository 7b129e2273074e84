"""What lines and discs are painted on, black or a photo, and how: pixels whose centers lie inside a shape.

Points are (x, y); a pixel (row i, column j) has its center at (j + 0.5, i + 0.5).
"""

import numpy as np

LINE = 1 / 64
"""Width of a limb or an outline, radius of a joint, as a share of the short side: 4 pixels of 256."""
LEAST_RADIUS = 0.75
"""Pixels; any point is within 0.71 of a pixel's center, so that nothing is too thin to be seen."""


def canvas(size: tuple[int, int], photo: np.ndarray | None) -> np.ndarray:
    """Black, or a copy of the photo: uint8 [H, W, 3] of `size` (H, W)."""
    if photo is None:
        return np.zeros((*size, 3), dtype=np.uint8)
    if photo.shape[:2] != size:
        raise ValueError(f"an annotation of {size} (H, W) pixels does not lie on a photo of {photo.shape[:2]}")
    return photo.copy()


def stroke(picture: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float, color: np.ndarray) -> None:
    """Color the pixels whose centers are within `radius` of the line from start to end; at least one."""
    radius = max(radius, LEAST_RADIUS)
    left, top, right, bottom = _around(picture, np.minimum(start, end) - radius, np.maximum(start, end) + radius)
    if left >= right or top >= bottom:
        return
    rows, columns = np.mgrid[top:bottom, left:right] + 0.5
    along = end - start
    length = max(float(along @ along), 1e-12)
    place = (((columns - start[0]) * along[0] + (rows - start[1]) * along[1]) / length).clip(0, 1)
    distance = np.hypot(columns - start[0] - place * along[0], rows - start[1] - place * along[1])
    picture[top:bottom, left:right][distance <= radius] = color


def ellipse(
    picture: np.ndarray, start: np.ndarray, end: np.ndarray, half_width: float, color: np.ndarray, opacity: float
) -> None:
    """Mix a color into the pixels whose centers lie in the ellipse that has its long axis from start to end.

    It is a circle where they are nearer to each other than it is wide.
    """
    half_width = max(half_width, LEAST_RADIUS)
    middle, along = (start + end) / 2, (end - start) / 2
    reach = float(np.hypot(*along))
    x, y = along / reach if reach else (1.0, 0.0)
    half_length = max(reach, half_width)
    left, top, right, bottom = _around(picture, middle - half_length, middle + half_length)
    if left >= right or top >= bottom:
        return
    right_of, below = (np.mgrid[top:bottom, left:right] + 0.5)[::-1] - middle[:, None, None]
    inside = ((right_of * x + below * y) / half_length) ** 2 + ((below * x - right_of * y) / half_width) ** 2 <= 1
    covered = picture[top:bottom, left:right]
    covered[inside] = mixed(covered[inside], color, opacity)


def mixed(below: np.ndarray, above: np.ndarray, opacity: float) -> np.ndarray:
    """The color seen through one of `opacity` (0..1) that lies over it; uint8."""
    return np.rint((1 - opacity) * below.astype(np.float32) + opacity * above).astype(np.uint8)


def _around(picture: np.ndarray, least: np.ndarray, most: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels between two corners that lie in the picture."""
    height, width = picture.shape[:2]
    left, top = np.maximum(np.floor(least), 0).astype(int)
    right, bottom = np.minimum(np.ceil(most), (width, height)).astype(int)
    return left, top, right, bottom
