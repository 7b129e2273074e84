"""Joints of people by MediaPipe's BlazePose: landmarks in the square of each person that its detector finds.

They are found once more in the better square that they give. Letters: P people, J = 17 joints of COCO.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.annotators.mediapipe.detector import DETECTOR, Square, find_people, square_of
from openlvm.annotators.mediapipe.models import FILES, VERSION, Model, open_model
from openlvm.annotators.people import keypoints_of
from openlvm.annotators.spec import Spec
from openlvm.core.records import Keypoints, Payload

LANDMARKS = "pose_landmark_full.tflite"
SIDE = 256
SURE = 0.5  # that there is a person in the square, and that a joint is visible; the default of mediapipe 0.10
MAX_PEOPLE = 4
COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)  # its joints among MediaPipe's landmarks
CENTER, ABOVE = 33, 34  # landmarks that give the square


@dataclass(frozen=True, kw_only=True, eq=False)
class PeoplePose:
    """`pose=mediapipe:FOLDER[,people=4]`: joints of COCO of the surest people."""

    slot: str
    detector: Model
    landmarks: Model
    people: int
    """At most as many are looked at."""
    name: str = "MediaPipe BlazePose full"
    version: str = VERSION

    def __post_init__(self) -> None:
        if self.people < 1:
            raise ValueError(f"people={self.people} must be at least 1")

    def describe(self) -> dict[str, Any]:
        told = {"slot": self.slot, "kind": "mediapipe", "name": self.name, "version": self.version}
        return {**told, "people": self.people, "files": {name: FILES[name] for name in (DETECTOR, LANDMARKS)}}

    def annotate(self, images: Sequence[np.ndarray]) -> list[Payload]:
        return [self._keypoints(image) for image in images]

    def _keypoints(self, image: np.ndarray) -> Keypoints:
        squares = find_people(self.detector, image)[: self.people]
        found = [joints for square in squares if (joints := self._joints(image, square)) is not None]
        return keypoints_of(found, image.shape[:2])

    def _joints(self, image: np.ndarray, square: Square) -> tuple[np.ndarray, np.ndarray] | None:
        """Points float [J, 2] in pixels and visible bool [J] of the person in a square; None if there is none."""
        for _ in range(2):
            values, person, *_ = self.landmarks(square.cut(image, SIDE))
            if person[0] < SURE:
                return None
            table = values.reshape(-1, 5)  # x, y, z in pixels of the square, then visible and inside, before a sigmoid
            points = square.in_picture(table[:, :2] / SIDE)
            square = square_of(points[CENTER], points[ABOVE])
        return points[list(COCO)], table[list(COCO), 3] > 0  # sigmoid(0) = SURE


def load_pose(spec: Spec) -> PeoplePose:
    """The annotator of `pose=mediapipe:FOLDER`."""
    options = spec.read_options({"people": int})
    folder = Path(spec.what)
    return PeoplePose(
        slot=spec.slot,
        detector=open_model(folder, DETECTOR),
        landmarks=open_model(folder, LANDMARKS),
        people=options.get("people", MAX_PEOPLE),
    )
