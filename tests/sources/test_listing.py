"""Files are found in the same order everywhere."""

import os

import pytest

from openlvm.sources.listing import by_folder, find_files, folder_of, natural_order


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def test_natural_order_puts_2_before_10():
    names = ["f10.png", "f2.png", "f1.png", "a", "f02.png", "10", "9", "f2b1.png"]
    assert sorted(names, key=natural_order) == ["9", "10", "a", "f1.png", "f02.png", "f2.png", "f2b1.png", "f10.png"]


def test_find_files_lists_in_natural_order_and_leaves_out_the_rest(tmp_path):
    touch(tmp_path, "b/10.png", "b/9.PNG", "a.png", "b/notes.txt", ".hidden.png", ".cache/x.png", "b/c/1.png")
    assert find_files(tmp_path, (".png",), "pictures") == ["a.png", "b/9.PNG", "b/10.png", "b/c/1.png"]


def test_find_files_follows_links_once_around_a_loop(tmp_path):
    touch(tmp_path, "set/a/1.png", "elsewhere/2.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "set/b")
    os.symlink(tmp_path / "set", tmp_path / "set/a/again")
    os.symlink(tmp_path / "nowhere.png", tmp_path / "set/dead.png")
    assert find_files(tmp_path / "set", (".png",), "pictures") == ["a/1.png", "b/2.png", "dead.png"]


def test_find_files_rejects_missing_empty_and_file(tmp_path):
    touch(tmp_path, "empty/readme.txt", "a.png")
    with pytest.raises(FileNotFoundError, match=r"no folder .*lost; expected pictures there"):
        find_files(tmp_path / "lost", (".png",), "pictures")
    with pytest.raises(ValueError, match=r"no pictures in .*empty or its subfolders; looked for \.png"):
        find_files(tmp_path / "empty", (".png",), "pictures")
    with pytest.raises(ValueError, match=r"a\.png is a file; expected a folder of pictures"):
        find_files(tmp_path / "a.png", (".png",), "pictures")


def test_by_folder_keeps_natural_order():
    assert folder_of("a/b/1.png") == "a/b"
    assert folder_of("1.png") == ""
    groups = by_folder(["c10/1.png", "c2/1.png", "c2/2.png", "c2/d/3.png", "0.png"])
    assert list(groups.items()) == [
        ("", ["0.png"]),
        ("c2", ["c2/1.png", "c2/2.png"]),
        ("c2/d", ["c2/d/3.png"]),
        ("c10", ["c10/1.png"]),
    ]
