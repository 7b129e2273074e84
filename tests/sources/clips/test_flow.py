"""Flow files are read to the last bit, and refused when they are not what they say."""

import struct
import sys

import numpy as np
import pytest
from miniatures.files import save_png, write_wide_png
from miniatures.moving import write_flo

from openlvm.sources.clips.flow import read_flo_file, read_kitti_flow_file


def vectors():
    field = np.random.default_rng(0).normal(0, 20, (5, 7, 2)).astype(np.float32)
    field[1, 2] = np.nan
    return field


def test_flo_files_are_read_bit_for_bit(tmp_path):
    write_flo(tmp_path / "a.flo", vectors())
    flow = read_flo_file(tmp_path / "a.flo").vectors
    np.testing.assert_array_equal(flow, vectors())
    assert flow.dtype == np.float32
    half_unknown = vectors()
    half_unknown[0, 0, 1] = -2e9
    write_flo(tmp_path / "a.flo", half_unknown)
    assert np.isnan(read_flo_file(tmp_path / "a.flo").vectors[0, 0]).all()


def test_flo_files_are_refused_when_damaged(tmp_path):
    path = tmp_path / "a.flo"
    write_flo(path, vectors())
    whole = path.read_bytes()
    for data, words in (
        (whole[:-1], "not of the 7 x 5 pixels its header says"),
        (whole + b"0", "not of the 7 x 5 pixels"),
        (b"PIEX" + whole[4:], "is no .flo file"),
        (whole[:11], "is no .flo file"),
        (b"PIEH" + struct.pack("<ii", 100_000, 100_000), "100000 x 100000 pixels; the limit is"),
        (b"PIEH" + struct.pack("<ii", -1, 5), "-1 x 5 pixels"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=words):
            read_flo_file(path)


def test_kitti_flow_is_read_in_steps_of_a_64th_pixel(tmp_path):
    pytest.importorskip("av", reason="PyAV is the extra `video`")
    wide = np.random.default_rng(0).integers(0, 65536, (6, 9, 3)).astype(np.uint16)
    wide[..., 2] = 1
    wide[2, 3] = 0
    wide[0, 0] = (2**15 + 64, 2**15 - 32, 1)
    write_wide_png(tmp_path / "a.png", wide)
    flow = read_kitti_flow_file(tmp_path / "a.png").vectors
    assert flow[0, 0].tolist() == [1, -0.5]
    assert np.isnan(flow[2, 3]).all()
    expected = (wide[..., :2].astype(np.float64) - 32768) / 64
    expected[2, 3] = np.nan
    np.testing.assert_array_equal(flow, expected.astype(np.float32))


def test_kitti_flow_is_refused_when_it_is_something_else(tmp_path, monkeypatch):
    pytest.importorskip("av", reason="PyAV is the extra `video`")
    save_png(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r"a\.png cannot be read as video: its pixels are rgb24; expected 16-bit"):
        read_kitti_flow_file(tmp_path / "a.png")
    write_wide_png(tmp_path / "b.png", np.zeros((4, 5, 3), np.uint16))
    with pytest.raises(ValueError, match="frames of 5 x 4 pixels; the limit is 19"):
        read_kitti_flow_file(tmp_path / "b.png", 19)
    (tmp_path / "c.png").write_bytes((tmp_path / "b.png").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"c\.png cannot be read"):
        read_kitti_flow_file(tmp_path / "c.png")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install openlvm\[video\]"):
        read_kitti_flow_file(tmp_path / "b.png")
