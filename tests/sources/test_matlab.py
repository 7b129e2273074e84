"""MATLAB files as dicts and lists; what is not one is refused."""

import builtins

import numpy as np
import pytest

from openlvm.sources.matlab import read_mat, structs

savemat = pytest.importorskip("scipy.io").savemat


def table(*rows):
    found = np.empty((1, len(rows)), [("x", object)])
    for place, row in enumerate(rows):
        found[0, place] = (row,)
    return found


def test_structs_are_lists_however_many_there_are(tmp_path):
    savemat(tmp_path / "a.mat", {"none": np.zeros((0, 0)), "one": table(5.0), "two": table(1.0, table(2.0, 3.0))})
    content = read_mat(tmp_path / "a.mat")
    assert structs(content["none"]) == [] and structs(None) == [] and structs(3) == []
    assert structs(content["one"]) == [{"x": 5}]
    assert structs(content["two"])[0] == {"x": 1} and structs(structs(content["two"])[1]["x"]) == [{"x": 2}, {"x": 3}]


@pytest.mark.parametrize("content", [b"", b"no mat file at all" * 20, b"\x89HDF\r\n\x1a\n" + bytes(600)])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mat cannot be read as a MATLAB file"):
        read_mat(tmp_path / "a.mat")


def test_damaged_missing_and_large_files_are_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"x": np.random.default_rng(0).random((50, 50))}, do_compression=True)
    whole = (tmp_path / "a.mat").read_bytes()
    with pytest.raises(ValueError, match="bytes; the limit is 100"):
        read_mat(tmp_path / "a.mat", max_bytes=100)
    (tmp_path / "a.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        read_mat(tmp_path / "a.mat")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_mat(tmp_path / "b.mat")


def test_missing_extra_is_named(tmp_path, monkeypatch):
    original = builtins.__import__

    def without_scipy(name, *rest):
        if name.startswith("scipy"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(ImportError, match=r"pip install openlvm\[catalog\]"):
        read_mat(tmp_path / "a.mat")
