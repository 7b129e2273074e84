"""Annotations of frames are read as their publishers store them."""

import numpy as np
import pytest
from miniatures.files import save_png
from miniatures.moving import write_mat

from openlvm.core.records import JOINTS, Segmentation
from openlvm.sources.clips.marks import (
    Numbering,
    read_jhmdb_flow_file,
    read_jhmdb_joints_file,
    read_vipseg_classes_file,
    read_vipseg_things_file,
)


def test_vipseg_numbers_are_classes_and_things(tmp_path):
    numbers = np.array([[0, 1, 124, 6100, 6101, 12499]], np.uint16)
    save_png(tmp_path / "a.png", numbers)
    assert read_vipseg_classes_file(tmp_path / "a.png", 10**6).ids.tolist() == [[-1, 1, 124, 61, 61, 124]]
    assert read_vipseg_things_file(tmp_path / "a.png", 10**6).ids.tolist() == [[-1, 0, 0, 6100, 6101, 12499]]
    save_png(tmp_path / "a.png", np.array([[3, 0]], np.uint8))  # stuff alone fits 8 bits
    assert read_vipseg_classes_file(tmp_path / "a.png", 10**6).ids.tolist() == [[3, -1]]
    with pytest.raises(ValueError, match="the limit is 1"):
        read_vipseg_classes_file(tmp_path / "a.png", 1)


def test_numbering_keeps_the_largest_255_of_a_clip():
    ids = np.arange(1, 301)[None].repeat(2, axis=0)  # 300 objects of 2 pixels
    ids[:, :45] = 0  # 45 of them appear in the second frame alone, and small
    other = np.zeros_like(ids)
    other[0, :46] = np.arange(1, 47)
    frames = [Segmentation(ids), Segmentation(other)]
    numbering = Numbering.of(frames)
    assert sorted(numbering.new.values()) == list(range(1, 256))
    first, second = (numbering(frame).ids for frame in frames)
    assert first.max() == 255
    assert first[0, 45:].tolist() == list(range(1, 256))
    assert second[0, :46].tolist() == [0] * 45 + [1]  # 46 is the same object in both frames


def test_numbering_leaves_void_and_background():
    frame = Segmentation(np.array([[-1, 0, 50, 6]]))
    numbered = Numbering.of([frame])(frame)
    assert numbered.ids.tolist() == [[-1, 0, 2, 1]]
    assert numbered.ids.dtype == np.int32


def test_jhmdb_joints_count_from_the_corner_of_the_picture(tmp_path):
    pytest.importorskip("scipy", reason="scipy is the extra `catalog`")
    positions = np.full((2, 15), 1.0)
    positions[:, 3] = (321, 5)  # right of a picture of 320 columns
    write_mat(tmp_path / "a.mat", pos_img=positions)  # one frame: MATLAB drops the last dimension
    (joints,) = read_jhmdb_joints_file(tmp_path / "a.mat", (240, 320))
    assert joints.points[0, 0].tolist() == [0.5, 0.5]
    assert joints.visible[0].tolist() == [place != 3 for place in range(15)]
    assert (joints.size, joints.joints) == ((240, 320), "jhmdb")
    assert JOINTS["jhmdb"][3] == "right_shoulder"


def test_jhmdb_flow_is_unknown_without_a_puppet(tmp_path):
    pytest.importorskip("scipy", reason="scipy is the extra `catalog`")
    right, down = np.zeros((2, 3, 4)), np.zeros((2, 3, 4))
    right[0, 1, 2], down[1, 2, 2] = 5, -1
    write_mat(tmp_path / "a.mat", u=right, v=down)
    flow = read_jhmdb_flow_file(tmp_path / "a.mat", (2, 3))
    assert len(flow) == 4
    assert flow[2].vectors[0, 1].tolist() == [5, 0]
    assert flow[2].vectors[1, 2].tolist() == [0, -1]
    assert np.isnan(flow[2].vectors).sum() == 8
    assert np.isnan(flow[0].vectors).all()
    with pytest.raises(ValueError, match=r"u \[2, 3, 4\] .*; expected \[3, 2, frames\]"):
        read_jhmdb_flow_file(tmp_path / "a.mat", (3, 2))
    write_mat(tmp_path / "a.mat", u=right, note="text")
    with pytest.raises(ValueError, match="has no array 'v'; it has note, u"):
        read_jhmdb_flow_file(tmp_path / "a.mat", (2, 3))
