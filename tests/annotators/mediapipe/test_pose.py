"""Landmarks in a turned square become COCO's joints in the picture."""

import json

import numpy as np
import pytest
from miniatures.people import detector_of

from openlvm.annotators.mediapipe.pose import ABOVE, CENTER, COCO, SIDE, PeoplePose
from openlvm.core.records import JOINTS

PERSON = (100, 3.0, (112, 112, 80, 160), (112, 112), (152, 112))  # lying: hips in the middle, head to the right


class Landmarks:
    """Finds the one white spot of its picture and puts every landmark there, but those of the next square."""

    def __init__(self, person=1.0, hidden=()):
        self.person, self.hidden, self.squares = person, hidden, []

    def __call__(self, pixels):
        assert pixels.shape == (SIDE, SIDE, 3) and 0 <= pixels.min() <= pixels.max() <= 1
        self.squares.append(pixels)
        rows, columns = np.nonzero(pixels[..., 0] > 0.5)
        table = np.zeros((39, 5), np.float32)
        table[:, :2] = (columns.mean() + 0.5, rows.mean() + 0.5) if rows.size else (-999, -999)
        table[:, 3] = 2.0
        table[list(self.hidden), 3] = -2.0
        table[CENTER, :2], table[ABOVE, :2] = (128, 128), (128, 78)
        return [table.reshape(-1), np.array([self.person], np.float32), None, None, None]


def _spotted(x, y):
    """A black picture of 200 x 300 with a white spot of 5 x 5 pixels around (x, y)."""
    image = np.zeros((200, 300, 3), np.uint8)
    image[y - 2 : y + 3, x - 2 : x + 3] = 255
    return image


def test_joints_lie_where_landmarks_are_in_the_picture():
    landmarks = Landmarks()
    pose = PeoplePose(slot="pose", detector=detector_of(PERSON), landmarks=landmarks, people=4)
    (keypoints,) = pose.annotate([_spotted(170, 90)])
    assert keypoints.points.shape == (1, 17, 2) and keypoints.points.dtype == np.float32
    np.testing.assert_allclose(keypoints.points[0], np.tile([170.5, 90.5], (17, 1)), atol=0.6)
    assert keypoints.visible.all() and keypoints.size == (200, 300) and keypoints.joints == "coco"
    assert len(landmarks.squares) == 2  # and once more in the square that the landmarks give


def test_hidden_joints_are_those_of_coco():
    hidden = (COCO[9], COCO[15], 20)  # left wrist, left ankle, and a finger that COCO does not have
    pose = PeoplePose(slot="pose", detector=detector_of(PERSON), landmarks=Landmarks(hidden=hidden), people=4)
    (keypoints,) = pose.annotate([_spotted(150, 100)])
    assert np.flatnonzero(~keypoints.visible[0]).tolist() == [9, 15]


def test_joints_are_those_of_coco_among_the_published_landmarks():
    face = ("eye_inner", "eye", "eye_outer")
    pairs = (
        *("ear", "mouth", "shoulder", "elbow", "wrist", "pinky", "index", "thumb"),
        *("hip", "knee", "ankle", "heel", "foot_index"),
    )
    landmarks = ["nose", *(f"left_{name}" for name in face), *(f"right_{name}" for name in face)]
    landmarks += [f"{side}_{name}" for name in pairs for side in ("left", "right")]
    assert len(landmarks) == CENTER == 33
    assert tuple(landmarks[place] for place in COCO) == JOINTS["coco"]


def test_joints_outside_of_the_picture_are_not_visible():
    pose = PeoplePose(slot="pose", detector=detector_of(PERSON), landmarks=Landmarks(), people=4)
    (keypoints,) = pose.annotate([np.zeros((200, 300, 3), np.uint8)])
    assert not keypoints.visible.any() and len(keypoints.points) == 1


def test_squares_without_a_person_are_left_out():
    pose = PeoplePose(slot="pose", detector=detector_of(PERSON), landmarks=Landmarks(person=0.4), people=4)
    (keypoints,) = pose.annotate([_spotted(150, 100)])
    assert keypoints.points.shape == (0, 17, 2) and keypoints.visible.shape == (0, 17)


def test_people_are_limited_and_each_picture_has_its_own():
    other = (500, 2.0, (30, 112, 20, 40), (30, 112), (30, 92))
    pose = PeoplePose(slot="pose", detector=detector_of(PERSON, other), landmarks=Landmarks(), people=4)
    assert [len(one.points) for one in pose.annotate([_spotted(150, 100), _spotted(60, 90)])] == [2, 2]
    alone = PeoplePose(slot="pose", detector=detector_of(PERSON, other), landmarks=Landmarks(), people=1)
    assert [len(one.points) for one in alone.annotate([_spotted(150, 100)])] == [1]
    with pytest.raises(ValueError, match="people=0 must be at least 1"):
        PeoplePose(slot="pose", detector=detector_of(), landmarks=Landmarks(), people=0)


def test_description_names_both_files():
    told = PeoplePose(slot="pose", detector=detector_of(), landmarks=Landmarks(), people=2).describe()
    assert json.loads(json.dumps(told)) == told
    assert set(told["files"]) == {"pose_detection.tflite", "pose_landmark_full.tflite"} and told["people"] == 2
