"""What annotators of poses have in common: joints of the people of one picture, put together."""

from collections.abc import Sequence

import numpy as np

from openlvm.core.records import JOINTS, Keypoints


def keypoints_of(people: Sequence[tuple[np.ndarray, np.ndarray]], size: tuple[int, int]) -> Keypoints:
    """COCO's 17 joints of people in a picture of `size` (H, W); those outside of it are not visible.

    Args:
        people: of each its points float [17, 2] as (x, y) in pixels, and bool [17], whether they are visible.
        size: of the picture; there may be nobody in it.
    """
    num_joints = len(JOINTS["coco"])
    points = np.array([place for place, _ in people], dtype=np.float32).reshape(-1, num_joints, 2)
    visible = np.array([seen for _, seen in people], dtype=bool).reshape(-1, num_joints)
    inside = ((points >= 0) & (points < np.array([size[1], size[0]]))).all(axis=-1)
    return Keypoints(points, visible & inside, (int(size[0]), int(size[1])), "coco")
