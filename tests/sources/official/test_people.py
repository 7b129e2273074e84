"""Joints of MPII, LV-MHP and Unite the People: places, flags, and what is refused."""

import json

import numpy as np
import pytest
from miniatures.labelled import mpii, mpii_delvm

from openlvm.core.records import BadRecord
from openlvm.sources.official.people import LvMhp, Mpii, UniteThePeople, people_of_mhp, person_of_up, placed

savemat = pytest.importorskip("scipy.io").savemat


def test_middle_of_matlabs_first_pixel_is_half_a_pixel():
    points, visible = placed(np.array([[0, 3, 1, 1], [1, 15, 2.5, 7]]))
    assert points.shape == (2, 16, 2) and points.dtype == np.float32
    np.testing.assert_array_equal(points[0, 3], [0.5, 0.5])
    np.testing.assert_array_equal(points[1, 15], [2, 6.5])
    assert np.argwhere(visible).tolist() == [[0, 3], [1, 15]]


@pytest.mark.parametrize("row", [[0, 16, 1, 1], [0, -1, 1, 1], [0, 0.5, 1, 1], [0, np.nan, 1, 1], [0, 1, np.inf, 1]])
def test_strange_joints_are_refused(row):
    with pytest.raises(ValueError, match="joint"):
        placed(np.array([row]))


def test_strange_joint_of_mpii_is_reported_by_key(tmp_path):
    mpii_delvm(tmp_path)
    file = tmp_path / "annotations/mpii_val.json"
    people = json.loads(file.read_text())
    people[1]["joints"][3][0] = float("inf")
    file.write_text(json.dumps(people))
    source = Mpii(at=tmp_path, annotations="annotations/mpii_val.json")
    assert list(source.read(source.parts()[0])) == [BadRecord("005808361", "a joint's place is not a number")]
    people[1]["image"] = "/etc/picture.jpg"
    file.write_text(json.dumps(people))
    with pytest.raises(ValueError, match="lists '/etc/picture.jpg', which leads out of the dataset's folder"):
        source.parts()
    people[1]["joints"].pop()
    file.write_text(json.dumps(people))
    with pytest.raises(ValueError, match=r"mpii_val\.json is not an annotation file of MPII: ValueError zip"):
        source.parts()


def test_mpii_files_of_other_content_are_refused(tmp_path):
    mpii(tmp_path)
    at = tmp_path / "mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat"
    savemat(at, {"OTHER": 1})
    with pytest.raises(ValueError, match="is not an annotation file of MPII: KeyError 'RELEASE'"):
        Mpii(at=tmp_path).parts()
    at.unlink()
    with pytest.raises(FileNotFoundError, match="no annotation file"):
        Mpii(at=tmp_path).parts()
    with pytest.raises(ValueError, match=r"annotations='a\.h5' must be a \.mat or a \.json file"):
        Mpii(at=tmp_path, annotations="a.h5")


def test_person_of_lv_mhp_has_sixteen_joints_of_twenty_rows(tmp_path):
    rows = np.full((20, 3), (4, 6, 0))
    rows[2], rows[3], rows[4], rows[5] = (7, 0, 1), (-1, -1, 2), (9, 9, 2), (-1, 5, 0)
    savemat(tmp_path / "1.mat", {"person_10": rows, "person_2": rows + (100, 0, 0)})
    points, visible = people_of_mhp(tmp_path / "1.mat")
    assert points.shape == (2, 16, 2)
    assert points[0, 0].tolist() == [104.5, 6.5] and points[1, 0].tolist() == [4.5, 6.5]  # 2 before 10
    assert points[1, 2].tolist() == [7.5, 0.5] and visible[1, 2]
    assert not points[1, 3:6].any() and np.flatnonzero(~visible[1]).tolist() == [3, 4, 5]


def test_picture_without_a_known_joint_is_reported_by_key(tmp_path):
    (tmp_path / "train.txt").write_text("00007_image.png\n")
    np.save(tmp_path / "00007_joints.npy", np.zeros((3, 14)))
    source = UniteThePeople(at=tmp_path)
    assert list(source.read(source.parts()[0])) == [BadRecord("00007", "it has no joint whose place is known")]


@pytest.mark.parametrize("content", [{}, {"person_0": np.zeros((19, 3))}, {"person_0": "text"}, {"people": 1}], ids=str)
def test_other_files_are_not_lv_mhps(content, tmp_path):
    savemat(tmp_path / "1.mat", content or {"a": 1})
    with pytest.raises(ValueError, match="must have person_0, person_1"):
        people_of_mhp(tmp_path / "1.mat")


def test_unmarked_joints_of_up_are_invisible(tmp_path):
    joints = np.stack([np.arange(14), np.full(14, 5), np.arange(14) != 9]).astype(np.float32)
    joints[1, 7] = np.nan
    np.save(tmp_path / "a.npy", joints)
    points, visible = person_of_up(tmp_path / "a.npy")
    assert np.flatnonzero(~visible[0]).tolist() == [0, 7, 9]
    assert np.isfinite(points).all() and points[0, 13].tolist() == [13, 5]


@pytest.mark.parametrize(
    "array", [np.zeros((14, 3)), np.zeros((3, 14), "U3"), np.zeros(3), np.array([None, 1])], ids=repr
)
def test_other_arrays_are_not_ups(array, tmp_path):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy (must be|cannot be read)"):
        person_of_up(tmp_path / "a.npy")


def test_array_that_promises_more_than_its_file_has_takes_no_memory(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 14)))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(3, 14), }      ", b"(3, 2147483647)}"))
    with pytest.raises(ValueError, match=r"a\.npy cannot be read as an array"):
        person_of_up(tmp_path / "a.npy")


def test_lists_of_other_names_are_refused(tmp_path):
    (tmp_path / "train.txt").write_text("/00001_image.png\n/00002.png\n")
    with pytest.raises(ValueError, match="lists '00002.png'; expected names such as 00001_image.png"):
        UniteThePeople(at=tmp_path).parts()
    with pytest.raises(FileNotFoundError, match="no list of names"):
        LvMhp(at=tmp_path).parts()
