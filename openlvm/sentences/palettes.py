"""Colors that annotations are drawn in, and finding the nearest of them again."""

from functools import lru_cache

import numpy as np

NUM_IDS = 256
VOID_COLOR = (128, 128, 128)
"""What is not labelled; no id has this color or one near it."""
_STEPS = np.rint(np.linspace(0, 255, 17)).astype(np.int64)  # a 17 x 17 x 17 grid of candidates

LIMBS = (
    *(("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist")),
    *(("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist")),
    *(("left_hip", "left_knee"), ("left_knee", "left_ankle")),
    *(("right_hip", "right_knee"), ("right_knee", "right_ankle")),
    *(("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")),
    *(("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")),
    *(("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear")),
    *(("left_ear", "left_shoulder"), ("right_ear", "right_shoulder")),
    *(("pelvis", "thorax"), ("thorax", "upper_neck"), ("upper_neck", "head_top"), ("neck", "head_top")),
    *(("neck", "belly"), ("neck", "face")),
)
"""Joints joined by a line, parent first: those of COCO, and the trunks of other sets.

A limb has the color of its second joint at half brightness.
"""

OPENPOSE_JOINTS = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)
"""OpenPose's joints for COCO in its order; their published colors are `joint_colors(18)`."""
OPENPOSE_LIMBS = (
    ("neck", "right_shoulder", (255, 0, 0)),
    ("neck", "left_shoulder", (255, 85, 0)),
    ("right_shoulder", "right_elbow", (255, 170, 0)),
    ("right_elbow", "right_wrist", (255, 255, 0)),
    ("left_shoulder", "left_elbow", (170, 255, 0)),
    ("left_elbow", "left_wrist", (85, 255, 0)),
    ("neck", "right_hip", (0, 255, 0)),
    ("right_hip", "right_knee", (0, 255, 85)),
    ("right_knee", "right_ankle", (0, 255, 170)),
    ("neck", "left_hip", (0, 255, 225)),  # 225 as published, though the others are multiples of 85
    ("left_hip", "left_knee", (0, 170, 255)),
    ("left_knee", "left_ankle", (0, 85, 255)),
    ("neck", "nose", (0, 0, 255)),
    ("nose", "right_eye", (255, 0, 170)),
    ("right_eye", "right_ear", (170, 0, 255)),
    ("nose", "left_eye", (255, 0, 255)),
    ("left_eye", "left_ear", (255, 0, 170)),
)
"""Its limbs in drawing order, with their colors; MMPose 1.3, configs/_base_/datasets/coco_openpose.py."""


@lru_cache(maxsize=1)
def palette() -> np.ndarray:
    """The color of each id: 0 black, 1 white, then each as far as possible from all before and from `VOID_COLOR`.

    Few classes get colors far apart; all 256 are at least 35 apart (Euclidean), so that a decoder's error of some
    gray levels does not change an id. 1 is white, so that a binary mask is white on black.

    Returns:
        uint8 [256, 3].
    """
    grid = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS, indexing="ij"), axis=-1).reshape(-1, 3)
    colors = [(0, 0, 0), (255, 255, 255)]
    distance = np.min([((grid - color) ** 2).sum(axis=1) for color in (*colors, VOID_COLOR)], axis=0)
    while len(colors) < NUM_IDS:
        farthest = grid[distance.argmax()]
        colors.append(tuple(farthest))
        distance = np.minimum(distance, ((grid - farthest) ** 2).sum(axis=1))
    return np.array(colors, dtype=np.uint8)


def colors_of(ids: np.ndarray) -> np.ndarray:
    """The color of each id, -1 (not labelled) being `VOID_COLOR`; uint8 [..., 3] for ids of any shape."""
    table = np.concatenate([palette(), np.array([VOID_COLOR], dtype=np.uint8)])  # -1 is the last row
    return table[ids]


def joint_colors(num_joints: int) -> np.ndarray:
    """Full colors around the color circle, red first; uint8 [J, 3]. For COCO's 17 joints:

    nose (255, 0, 0), left eye (255, 90, 0), right eye (255, 180, 0), left ear (240, 255, 0), right ear (150, 255, 0),
    ..., right ankle (255, 0, 90).
    """
    sextant = np.arange(num_joints)[:, None] * 6 / num_joints + np.array([0, 4, 2])
    return np.rint(255 * np.clip(np.abs(sextant % 6 - 3) - 1, 0, 1)).astype(np.uint8)


def nearest_color(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Which of the colors each pixel is nearest to (Euclidean in RGB; the first one of equals).

    Args:
        image: uint8 [H, W, 3].
        colors: uint8 [C, 3].

    Returns:
        int64 [H, W], positions in `colors`.
    """
    table = colors.astype(np.float32)
    nearest = np.empty(image.shape[:2], dtype=np.int64)
    for row, pixels in enumerate(image.astype(np.float32)):  # row by row: W x C distances at a time
        # |p - c|^2 without |p|^2, which is the same for all colors; whole numbers below 2^24, so exact in float32
        nearest[row] = ((table**2).sum(axis=1) - 2 * pixels @ table.T).argmin(axis=1)
    return nearest


def pieces(mask: np.ndarray) -> np.ndarray:
    """Number the connected areas of a mask (4 neighbors), in reading order.

    Args:
        mask: bool [H, W].

    Returns:
        int64 [H, W]: 0 outside, 1, 2, ... inside.
    """
    height, width = mask.shape
    outside = height * width
    names = np.full((height + 2, width + 2), outside)  # a border of nothing
    inner = names[1:-1, 1:-1]
    inner[mask] = np.flatnonzero(mask)
    while True:
        near = [names[:-2, 1:-1], names[2:, 1:-1], names[1:-1, :-2], names[1:-1, 2:]]
        lowest = np.where(mask, np.minimum(inner, np.minimum.reduce(near)), outside)
        flat = np.append(lowest.ravel(), outside)
        flat = flat[flat]  # jump to the name of the pixel that gave the name
        lowest = flat[flat][:-1].reshape(height, width)
        if np.array_equal(lowest, inner):
            break
        inner[:] = lowest
    _, numbers = np.unique(np.append(inner.ravel()[mask.ravel()], outside), return_inverse=True)
    found = np.zeros((height, width), dtype=np.int64)
    found[mask] = numbers[:-1] + 1
    return found
