"""Objects cut out of their pictures, with keypoints by name."""

import numpy as np
import pytest
from miniatures.pascal import ANCHORS, OURS, pascal3d, struct

from openlvm.core.records import JOINTS, BadRecord
from openlvm.sources.official.pascal3d import CATEGORIES, Pascal3D, cut_out, side_first

savemat = pytest.importorskip("scipy.io").savemat
PIXELS = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)


def test_sides_come_first():
    for category in CATEGORIES:
        assert tuple(map(side_first, ANCHORS[category])) == OURS[category]
        names = JOINTS[f"pascal3d_{category}"]
        assert tuple(map(side_first, names)) == names


def test_pixel_one_of_matlab_is_the_first():
    one = {"bbox": np.array([3, 5, 10, 9]), "anchors": {"upper_left_windshield": {"location": [3, 5], "status": 1}}}
    cut, pose = cut_out(one, "car", PIXELS)
    np.testing.assert_array_equal(cut, PIXELS[2:10, 2:10])
    joint = JOINTS["pascal3d_car"].index("left_upper_windshield")
    assert pose.points[0, joint].tolist() == [0.5, 2.5] and pose.size == (8, 8) and pose.joints == "pascal3d_car"
    assert np.flatnonzero(pose.visible[0]).tolist() == [joint]


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        ((1, 1, 8, 2), (0, 0, 8, 8)),  # moved into the picture at the top
        ((30, 4, 32, 23), (12, 3, 32, 23)),  # at the right
        ((1, 10, 30, 11), (0, 0, 30, 24)),  # as high as the picture
        ((11, 5, 13, 8), (9, 4, 13, 8)),  # odd remainders go to the left
    ],
)
def test_square_around_a_box_lies_in_the_picture(box, cut):
    left, top, right, bottom = cut
    np.testing.assert_array_equal(cut_out({"bbox": box}, "car", PIXELS)[0], PIXELS[top:bottom, left:right])


@pytest.mark.parametrize(
    "anchor", [{"status": 2}, {"location": [4, 6], "status": 3}, {"location": [90, 6], "status": 1}, {}]
)
def test_hidden_and_outside_keypoints_are_invisible(anchor):
    one = {"bbox": [3, 5, 10, 9], "anchors": {"left_back_trunk": anchor}}
    assert not cut_out(one, "car", PIXELS)[1].visible.any()


@pytest.mark.parametrize(
    ("one", "told"),
    [
        ({"anchors": {}}, "no box of four numbers"),
        ({"bbox": [1, 2, np.nan, 4]}, "no box of four numbers"),
        ({"bbox": [40, 2, 50, 4]}, "lies outside its picture of 32 x 24 pixels"),
        ({"bbox": [9, 9, 4, 4]}, "lies outside its picture"),
        ({"bbox": [1, 1, 9, 9], "anchors": {"left_ear": {}}}, "keypoint 'left_ear' is none of a car's"),
    ],
)
def test_strange_objects_are_refused(one, told):
    with pytest.raises(ValueError, match=told):
        cut_out(one, "car", PIXELS)


def test_annotation_of_another_picture_is_reported_by_key(tmp_path):
    pascal3d(tmp_path)
    root = tmp_path / "PASCAL3D+_release1.1"
    file = root / "Annotations/boat_pascal/2008_000002_val.mat"
    source = Pascal3D(at=root, split="val")
    savemat(file, {"record": struct("filename objects", ("2008_000003.jpg", np.zeros((0, 0))))})
    found = [one for part in source.parts() for one in source.read(part)]
    reason = "its annotation is that of another picture, 2008_000003.jpg"
    assert BadRecord("boat_pascal/2008_000002_val", reason) in found
    savemat(file, {"other": 1})
    (bad,) = [one for part in source.parts() for one in source.read(part) if isinstance(one, BadRecord)]
    assert "has no struct `record`" in bad.reason
    with pytest.raises(ValueError, match="must be pascal or imagenet, train or val"):
        Pascal3D(at=root, split="test")
