"""Cameras that stand around an object: where they are, what they see, and the turn that is drawn for a key.

World axes: y up; the front of an object looks along +z (glTF). Camera axes: x right, y down, z forward. Angles are in
degrees.
"""

import math
from dataclasses import dataclass

import numpy as np

from openlvm.core.seeds import rng

FOV_DEGREES = math.degrees(2 * math.atan(16 / 35))
"""49.1: a lens of 35 mm before a sensor of 32 mm, as public Objaverse renders have it (cvlab-columbia/zero123)."""
ELEVATION = (-45.0, 45.0)
"""Range of a turn's constant elevation (LVM, section 3.1)."""
DISTANCE = (1.5, 2.2)
"""Range of a turn's distance, in diameters of the object (LVM, section 3.1)."""


@dataclass(frozen=True)
class Turn:
    """One turn around an object, at constant elevation and distance."""

    azimuth: float
    """Of the first camera: 0 stands before the object, 90 at its left (our right); counter-clockwise from above."""
    elevation: float
    """Above the horizon; below it when negative."""
    distance: float
    """From the middle of the object to the camera, in the object's unit."""

    def cameras(self, num_views: int, step_degrees: float) -> np.ndarray:
        """World to camera, float64 [F, 4, 4]: each camera stands `step_degrees` further on than the one before."""
        azimuths = self.azimuth + step_degrees * np.arange(num_views)
        return np.stack([world_to_camera(a, self.elevation, self.distance) for a in azimuths])


def drawn_turn(
    seed: int, key: str, *, elevation: tuple[float, float] = ELEVATION, distance: tuple[float, float] = DISTANCE
) -> Turn:
    """The turn of an object, a function of (seed, key) alone: all three numbers uniform, azimuth over the circle."""
    chance = rng("turn", seed, key)
    return Turn(chance.uniform(0, 360), chance.uniform(*elevation), chance.uniform(*distance))


def world_to_camera(azimuth: float, elevation: float, distance: float, lift: float = 0.0) -> np.ndarray:
    """float64 [4, 4]: a camera that looks at (0, lift, 0) from `distance`."""
    a, e = np.radians(azimuth), np.radians(elevation)
    back = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    down = np.cross(-back, right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, down, -back])
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array([0, lift, 0]) + distance * back)
    return matrix


def projection(fov_degrees: float, near: float, far: float) -> np.ndarray:
    """float64 [4, 4]: camera axes to clip space, y down there too, so that the rows read are those of the picture."""
    f = 1 / np.tan(np.radians(fov_degrees) / 2)
    a, b = (far + near) / (far - near), -2 * far * near / (far - near)
    return np.array([[f, 0, 0, 0], [0, f, 0, 0], [0, 0, a, b], [0, 0, 1, 0]])
