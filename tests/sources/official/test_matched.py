"""Files of several slots meet by the names in their paths, never by position."""

import json
import pickle

import numpy as np
import pytest
from miniatures.files import picture, save_jpeg, save_png

from openlvm.core.records import BadRecord, Segmentation
from openlvm.sources.official.matched import MatchedFiles, folder_of_template, names_in, pattern_of


def read_all(source):
    return [record for part in source.parts() for record in source.read(part)]


@pytest.mark.parametrize(
    ("template", "path", "names"),
    [
        ("a/{x}.png", "a/1.png", {"x": "1"}),
        ("a/{x}.png", "a/b/1.png", None),  # a name has no slash
        ("a/{x}.png", "a/1.png.png", {"x": "1.png"}),
        ("a/{x}.png", "a/1_png", None),  # a dot is a dot
        ("{scene}_{rain}.jpg", "big_tree_14.jpg", {"scene": "big_tree", "rain": "14"}),
        ("{x}/{x}_gt.png", "7/7_gt.png", {"x": "7"}),
        ("{x}/{x}_gt.png", "7/8_gt.png", None),  # a name that comes again is the same text
        ("in/{x}.*", "in/norain-5.png", {"x": "norain-5"}),
        ("in/*_{x}.png", "in/0001_2.png", {"x": "2"}),
    ],
)
def test_template_matches_paths(template, path, names):
    match = pattern_of(template).fullmatch(path)
    assert (match and match.groupdict()) == names


def test_template_names_and_folder():
    assert names_in("a/{x}/{y}_{x}.png") == ("x", "y")
    assert folder_of_template("gt/train/{city}/*.png") == "gt/train"
    assert folder_of_template("gt/train/im_{n}.png") == "gt/train"
    assert folder_of_template("{n}.png") == ""


@pytest.fixture
def two_folders(tmp_path):
    for number in (10, 2, 1):
        save_png(tmp_path / f"left/s{number}_10.png", picture(number))
        save_png(tmp_path / f"left/s{number}_11.png", picture(77))
        save_jpeg(tmp_path / f"gt/{number}.jpg", picture(100 + number))
    return MatchedFiles(at=tmp_path, files={"gt": "gt/{n}.jpg", "image": "left/s{n}_10.png"}, records_per_part=2)


def test_matched_reads_partners_in_natural_order(two_folders):
    assert [len(part.items) for part in two_folders.parts()] == [2, 1]
    found = read_all(two_folders)
    assert [record.key for record in found] == ["1", "2", "10"]
    assert two_folders.slots == ("image", "gt")
    for record in found:
        np.testing.assert_array_equal(record.slots["image"][0], picture(int(record.key)))
        assert np.abs(record.slots["gt"][0].astype(int) - picture(100 + int(record.key))).mean() < 3


def test_matched_travels_and_describes_itself(two_folders, tmp_path):
    assert pickle.loads(pickle.dumps(two_folders)).parts() == two_folders.parts()
    told = json.dumps(two_folders.describe())
    assert str(tmp_path) not in told
    assert json.loads(told)["layout"] == "matched"


def test_matched_rejects_lonely_files_on_both_sides(two_folders, tmp_path):
    (tmp_path / "gt/2.jpg").rename(tmp_path / "gt/3.jpg")
    words = (
        r"1 of 3 keys have no 'gt' \(gt/\{n\}\.jpg\), first '2'; "
        r"1 files of 'gt' belong to no picture, first 'gt/3\.jpg'\. Partners must have the same names"
    )
    with pytest.raises(ValueError, match=words):
        two_folders.parts()


def test_matched_shares_a_partner_of_fewer_names_and_takes_the_label_from_the_path(tmp_path):
    for label, scene, take in (("day", "a", 1), ("day", "a", 2), ("night", "a", 1)):
        save_png(tmp_path / f"in/{label}/{scene}_{take}.png", picture(take))
    save_png(tmp_path / "out/a.png", picture(9))
    source = MatchedFiles(at=tmp_path, files={"image": "in/{label}/{scene}_{take}.png", "clean": "out/{scene}.png"})
    found = read_all(source)
    assert [(record.key, record.label) for record in found] == [
        ("day/a/1", "day"),
        ("day/a/2", "day"),
        ("night/a/1", "night"),
    ]
    assert all(np.array_equal(record.slots["clean"][0], picture(9)) for record in found)


def test_matched_takes_the_listed_keys_alone(two_folders, tmp_path):
    (tmp_path / "list.txt").write_text("10\n\n1\n")
    options = {"at": tmp_path, "files": two_folders.files, "keys_file": "list.txt"}
    assert [record.key for record in read_all(MatchedFiles(**options))] == ["1", "10"]
    (tmp_path / "list.txt").write_text("10\n4\n")
    with pytest.raises(ValueError, match=r"1 of 2 listed keys have no picture \(left/s\{n\}_10\.png\), first '4'"):
        MatchedFiles(**options).parts()
    (tmp_path / "list.txt").write_text("10\n10\n")
    with pytest.raises(ValueError, match="has 2 keys, 1 of them a second time"):
        MatchedFiles(**options).parts()
    (tmp_path / "list.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no list of keys .*list.txt"):
        MatchedFiles(**options).parts()


def test_matched_rejects_two_files_of_one_key_and_templates_that_fit_nothing(tmp_path):
    save_png(tmp_path / "a/1.png", picture(1))
    save_jpeg(tmp_path / "a/1.jpg", picture(1))
    with pytest.raises(ValueError, match=r"two files claim the key '1': a/1\.jpg and a/1\.png"):
        MatchedFiles(at=tmp_path, files={"image": "a/{n}.*"}).parts()
    with pytest.raises(ValueError, match=r"no picture in .*a fits 'a/\{n\}_gt\.png'"):
        MatchedFiles(at=tmp_path, files={"image": "a/{n}_gt.png"}).parts()
    with pytest.raises(FileNotFoundError, match="no folder .*b; expected pictures"):
        MatchedFiles(at=tmp_path, files={"image": "b/{n}.png"}).parts()


def test_matched_reads_each_slot_as_its_kind(tmp_path):
    ids = np.full((24, 32), 2, np.uint8)
    save_png(tmp_path / "rgb/1.png", picture(1))
    save_png(tmp_path / "ids/1.png", ids)
    source = MatchedFiles(
        at=tmp_path,
        files={"image": "rgb/{n}.png", "classes": "ids/{n}.png", "look": "ids/{n}.png"},
        kinds={"classes": "ade20k"},
    )
    (record,) = read_all(source)
    assert isinstance(record.slots["classes"][0], Segmentation)  # one file as two kinds
    np.testing.assert_array_equal(record.slots["look"][0], np.repeat(ids[..., None], 3, axis=-1))


def test_matched_reports_large_files_and_odd_halves(tmp_path):
    save_png(tmp_path / "1.png", picture(1, 10, 21))
    halves = {"image": (0.0, 0.5), "clean": (0.5, 1.0)}
    files = {"image": "{n}.png", "clean": "{n}.png"}
    (bad,) = read_all(MatchedFiles(at=tmp_path, files=files, columns=halves))
    assert bad == BadRecord("1", "its 'image' is 10 x 10 but its 'clean' is 11 x 10: they do not belong together")
    (bad,) = read_all(MatchedFiles(at=tmp_path, files=files, max_pixels=209))
    assert "has 21 x 10 pixels; the limit is 209" in bad.reason


def test_matched_cuts_tiles_row_by_row(tmp_path):
    save_png(tmp_path / "1.png", picture(1, 20, 27))
    found = read_all(MatchedFiles(at=tmp_path, files={"image": "{n}.png"}, tile=9))
    assert [record.key for record in found] == ["1#0-0", "1#0-1", "1#0-2", "1#1-0", "1#1-1", "1#1-2"]
    np.testing.assert_array_equal(found[4].slots["image"][0], picture(1, 20, 27)[9:18, 9:18])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"files": {"clean": "a/{n}.png"}}, r"files must name 'image', not \['clean'\]"),
        ({"files": {"image": "a/{n}.png"}, "kinds": {"x": "voc"}}, r"kinds names \['x'\], which files does not have"),
        ({"files": {"image": "a/{n}.png"}, "columns": {"x": (0, 1)}}, r"columns names \['x'\]"),
        (
            {"files": {"image": "a/{n}.png", "x": "b/{n}.png"}, "kinds": {"x": "vok"}},
            "no kind of annotation called 'vok'; did you mean voc",
        ),
        ({"files": {"image": "a/{n}.png", "x": "b/{m}.png"}}, r"x='b/\{m\}\.png' has the names \['m'\]"),
        ({"files": {"image": "a/{n}.png"}, "tile": -1}, "tile=-1 must be at least 0"),
        (
            {"files": {"image": "a/{n}.png", "x": "b/{n}.png"}, "kinds": {"x": "voc"}, "tile": 9},
            r"tile=9 .* cuts pictures alone, not \['x'\]",
        ),
        ({"files": {"image": "a/{n}.png"}, "records_per_part": 0}, "records_per_part=0 must be at least 1"),
    ],
)
def test_matched_rejects_options(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        MatchedFiles(at=tmp_path, **options)
