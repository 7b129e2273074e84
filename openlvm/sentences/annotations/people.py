"""People's joints drawn and read, in two styles: this project's own, and MMPose's OpenPose style, which DeLVM used."""

import numpy as np

from openlvm.core.picking import pick
from openlvm.core.records import JOINTS, Keypoints
from openlvm.sentences.annotations.canvas import LEAST_RADIUS, LINE, canvas, ellipse, stroke
from openlvm.sentences.palettes import (
    LIMBS,
    OPENPOSE_JOINTS,
    OPENPOSE_LIMBS,
    joint_colors,
    nearest_color,
    pieces,
)

OPENPOSE_RADIUS = 8 / 480
"""Radius of a joint as a share of the short side: 8 pixels in pictures of COCO (DeLVM's README), which are 480 high."""
OPENPOSE_HALF_WIDTH = 4 / 480
"""Half the width of a limb in its middle: MMPose 1.3 takes `--thickness 4` as the short half axis of an ellipse."""
OPENPOSE_OPACITY = 0.6
"""Of limbs; MMPose 1.3, mmpose/visualization/local_visualizer.py."""
_LEAST_SHARE = 1 / 4  # of a joint's disc: smaller specks of its color are mixtures where limbs cross


def draw_keypoints(keypoints: Keypoints, photo: np.ndarray | None = None) -> np.ndarray:
    """Skeletons: limbs in half-bright colors, over them each visible joint as a disc of its own full color.

    Limbs are drawn between joints that have the names of `LIMBS`; joints without names are discs alone.

    Args:
        keypoints: any number of people and joints.
        photo: drawn on instead of black, uint8 [H, W, 3].

    Returns:
        uint8 [H, W, 3].
    """
    picture = canvas(keypoints.size, photo)
    names = names_of(keypoints)
    colors = joint_colors(keypoints.points.shape[1])
    width = LINE * min(keypoints.size)
    limbs = [(names.index(first), names.index(second)) for first, second in LIMBS if {first, second} <= set(names)]
    for points, visible in zip(keypoints.points, keypoints.visible, strict=True):
        for first, second in limbs:
            if visible[first] and visible[second]:
                stroke(picture, points[first], points[second], width / 2, colors[second] // 2)
    for points, visible in zip(keypoints.points, keypoints.visible, strict=True):
        for joint in np.flatnonzero(visible):
            stroke(picture, points[joint], points[joint], width, colors[joint])
    return picture


def read_keypoints(image: np.ndarray, *, num_joints: int = 17, joints: str = "coco") -> Keypoints:
    """The joints of ONE person: the center of the largest area of each joint's color, invisible where it has none.

    Args:
        image: a drawing of one person, uint8 [H, W, 3].
        num_joints: J, as drawn.
        joints: their set.
    """
    colors = joint_colors(num_joints)
    nearest = nearest_color(image, np.vstack([colors, colors // 2, np.zeros((1, 3), np.uint8)]))
    points, visible = _centers(nearest, num_joints)
    return Keypoints(points, visible, image.shape[:2], joints)


def draw_openpose(keypoints: Keypoints, photo: np.ndarray | None = None) -> np.ndarray:
    """OpenPose's 18 joints as MMPose 1.3 draws them: limbs half transparent, over them the joints, person by person.

    The neck is the middle of both shoulders where the set has none, and visible if both are.

    Args:
        keypoints: of a set in `JOINTS`; those of its joints that OpenPose knows are drawn.
        photo: drawn on instead of black, uint8 [H, W, 3].

    Returns:
        uint8 [H, W, 3].
    """
    picture = canvas(keypoints.size, photo)
    radius, half_width = OPENPOSE_RADIUS * min(keypoints.size), OPENPOSE_HALF_WIDTH * min(keypoints.size)
    colors = joint_colors(len(OPENPOSE_JOINTS))
    for points, visible in zip(*_of_openpose(keypoints), strict=True):
        for first, second, color in OPENPOSE_LIMBS:
            start, end = OPENPOSE_JOINTS.index(first), OPENPOSE_JOINTS.index(second)
            if visible[start] and visible[end]:
                ellipse(picture, points[start], points[end], half_width, np.array(color), OPENPOSE_OPACITY)
        for joint in np.flatnonzero(visible):
            stroke(picture, points[joint], points[joint], radius, colors[joint])
    return picture


def read_openpose(image: np.ndarray, *, joints: str = "coco") -> Keypoints:
    """The joints of ONE person drawn in OpenPose's style; joints that it does not know are invisible.

    Args:
        image: a drawing of one person on black, uint8 [H, W, 3].
        joints: the set to answer in, a name in `JOINTS`.
    """
    colors = joint_colors(len(OPENPOSE_JOINTS))
    limbs = np.array([color for _, _, color in OPENPOSE_LIMBS]) * OPENPOSE_OPACITY
    nearest = nearest_color(image, np.vstack([colors, limbs, np.zeros((1, 3))]))
    radius = max(OPENPOSE_RADIUS * min(image.shape[:2]), LEAST_RADIUS)
    found, seen = _discs(nearest, len(OPENPOSE_JOINTS), radius)
    names = pick(JOINTS, joints, "set of joints")
    points = np.zeros((1, len(names), 2), dtype=np.float32)
    visible = np.zeros((1, len(names)), dtype=bool)
    for joint, name in enumerate(names):
        if name in OPENPOSE_JOINTS:
            place = OPENPOSE_JOINTS.index(name)
            points[0, joint], visible[0, joint] = found[0, place], seen[0, place]
    return Keypoints(points, visible, image.shape[:2], joints)


def names_of(keypoints: Keypoints) -> tuple[str, ...]:
    """Names of the joints in their order; () where the set is not known or has another number of joints."""
    names = JOINTS.get(keypoints.joints, ())
    return names if len(names) == keypoints.points.shape[1] else ()


def _of_openpose(keypoints: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """Points float32 [P, 18, 2] and visible bool [P, 18] of OpenPose's joints."""
    names = names_of(keypoints)
    if not set(names) & set(OPENPOSE_JOINTS):
        possible = [name for name, joints in JOINTS.items() if set(joints) & set(OPENPOSE_JOINTS)]
        raise ValueError(
            f"{keypoints.points.shape[1]} joints of the set {keypoints.joints!r} cannot be drawn in the style "
            f"'openpose', which knows none of them; it can draw the sets {', '.join(possible)}"
        )
    points = np.zeros((len(keypoints.points), len(OPENPOSE_JOINTS), 2), dtype=np.float32)
    visible = np.zeros(points.shape[:2], dtype=bool)
    for place, name in enumerate(OPENPOSE_JOINTS):
        if name in names:
            points[:, place] = keypoints.points[:, names.index(name)]
            visible[:, place] = keypoints.visible[:, names.index(name)]
    if "neck" not in names:
        neck, *shoulders = (OPENPOSE_JOINTS.index(name) for name in ("neck", "left_shoulder", "right_shoulder"))
        points[:, neck] = points[:, shoulders].mean(axis=1)
        visible[:, neck] = visible[:, shoulders].all(axis=1)
    return points, visible


def _centers(nearest: np.ndarray, num_joints: int) -> tuple[np.ndarray, np.ndarray]:
    """Center of the largest area of each number below `num_joints`: points [1, J, 2], visible [1, J]."""
    points = np.zeros((1, num_joints, 2), dtype=np.float32)
    visible = np.zeros((1, num_joints), dtype=bool)
    for joint in range(num_joints):
        areas = pieces(nearest == joint)
        if areas.any():
            largest = np.bincount(areas[areas > 0]).argmax()
            points[0, joint] = np.argwhere(areas == largest).mean(axis=0)[::-1] + 0.5
            visible[0, joint] = True
    return points, visible


def _discs(nearest: np.ndarray, num_joints: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Center of the area of each number that is most of a disc: points [1, J, 2], visible [1, J].

    Limbs are long and narrow: less of them lies within `radius` of their middle.
    """
    points = np.zeros((1, num_joints, 2), dtype=np.float32)
    most = np.full(num_joints, _LEAST_SHARE * np.pi * radius**2)
    for joint in range(num_joints):
        areas = pieces(nearest == joint)
        for area in np.flatnonzero(np.bincount(areas[areas > 0]) > most[joint]):
            places = np.argwhere(areas == area)[:, ::-1] + 0.5
            inside = places[np.hypot(*(places - places.mean(axis=0)).T) <= radius + 0.5]
            if len(inside) > most[joint]:
                most[joint], points[0, joint] = len(inside), inside.mean(axis=0)
    return points, np.asarray(points.any(axis=-1))
