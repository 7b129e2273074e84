"""Where people are, by the detector of MediaPipe's BlazePose (Bazarevsky et al. 2020, arXiv 2006.10204).

It finds a box for each person, the middle of the hips and a point on the circle around the body; the last two give a
turned square in which the person stands upright. Letters: A anchors.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from openlvm.annotators.mediapipe.models import Model

DETECTOR = "pose_detection.tflite"
SIDE = 224
GRIDS = ((28, 2), (14, 2), (7, 6))  # cells a side, and anchors a cell, of its five layers
SURE = 0.5  # of a person; the default of mediapipe 0.10
OVERLAP = 0.3  # intersection over union above which two detections are one person; pose_detection_cpu.pbtxt
LARGER = 1.25  # the square around a person, over the circle of its two points; pose_detection_to_roi.pbtxt


class Square(NamedTuple):
    """A turned square of a picture: middle and side in pixels, angle in radians, clockwise as seen."""

    x: float
    y: float
    side: float
    angle: float

    def in_picture(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 2] in 0..1 of the square, as pixels of the picture."""
        across, down = np.moveaxis((points - 0.5) * self.side, -1, 0)
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        return np.stack([self.x + cosine * across - sine * down, self.y + sine * across + cosine * down], axis=-1)

    def cut(self, image: np.ndarray, side: int) -> np.ndarray:
        """The square as a picture float32 [side, side, 3] in 0..1; black outside of the picture."""
        shrink = max(1, int(self.side / side))  # of many pixels one sample would be noise
        picture = Image.fromarray(image).reduce(shrink)
        cosine, sine = (np.array([np.cos(self.angle), np.sin(self.angle)]) * self.side / side / shrink).tolist()
        left, top = (self.in_picture(np.zeros(2)) / shrink).tolist()
        cut = picture.transform(
            (side, side), Image.Transform.AFFINE, (cosine, -sine, left, sine, cosine, top), Image.Resampling.BILINEAR
        )
        return np.asarray(cut, dtype=np.float32) / 255


def square_of(center: np.ndarray, above: np.ndarray) -> Square:
    """The square around a person upright in it, of the middle of the hips and a point on the circle around the body."""
    right, up = above[0] - center[0], center[1] - above[1]
    angle = np.pi / 2 - np.arctan2(up, right)
    return Square(float(center[0]), float(center[1]), float(2 * LARGER * np.hypot(right, up)), float(angle))


def find_people(detector: Model, image: np.ndarray) -> list[Square]:
    """A square for each person that the detector is sure of, the surest first.

    Args:
        detector: of DETECTOR.
        image: uint8 [H, W, 3].
    """
    height, width = image.shape[:2]
    whole = Square(width / 2, height / 2, max(height, width), 0.0)
    raw, scores = detector(whole.cut(image, SIDE) * 2 - 1)  # [A, 12], [A, 1]
    told = raw.reshape(-1, 6, 2) / SIDE  # middle, size, then four points; all but the size count from the anchor
    told[:, [0, 2, 3, 4, 5]] += anchors()[:, None]
    likely = (1 + np.tanh(scores[:, 0] / 2)) / 2  # a sigmoid that cannot overflow
    kept: list[int] = []
    for place in np.argsort(-likely, kind="stable"):
        if likely[place] < SURE:
            break
        if all(_overlap(told[place], told[other]) < OVERLAP for other in kept):
            kept.append(int(place))
    return [square_of(*whole.in_picture(told[place, 2:4])) for place in kept]


def anchors() -> np.ndarray:
    """Middles of the detector's anchors in 0..1 of its picture, float [A, 2] as (x, y)."""
    rows = []
    for cells, count in GRIDS:
        middles = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
        rows.append(grid.repeat(count, axis=0))
    return np.concatenate(rows)


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes, each [6, 2] with middle and size in its first rows."""
    low = np.maximum(first[0] - first[1] / 2, second[0] - second[1] / 2)
    high = np.minimum(first[0] + first[1] / 2, second[0] + second[1] / 2)
    shared = float(np.prod((high - low).clip(0)))
    return shared / (float(np.prod(first[1])) + float(np.prod(second[1])) - shared)
