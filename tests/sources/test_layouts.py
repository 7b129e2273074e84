"""Folders of pictures become records, and what cannot be read is reported by name."""

import json
import os
import pickle

import numpy as np
import pytest

from openlvm.core.images import write_image
from openlvm.core.records import BadRecord, Record
from openlvm.sources.layouts import LAYOUTS, ClassFolders, FrameFolders, ImageFolder, ViewFolders


def picture(value, height=6, width=8):
    return np.full((height, width, 3), value, np.uint8)


def fill(root, **pictures):
    for path, value in pictures.items():
        path = root / path.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path.with_suffix(".png"), picture(value))


def read_all(source):
    return [record for part in source.parts() for record in source.read(part)]


def values(record):
    """The gray value of each frame."""
    return [int(frame[0, 0, 0]) for frame in record.slots["image"]]


def test_image_folder_reads_records_in_natural_order(tmp_path):
    fill(tmp_path, a10=10, a2=2, sub__b=3)
    source = ImageFolder(at=tmp_path, records_per_part=2)
    assert [part.items for part in source.parts()] == [("a2.png", "a10.png"), ("sub/b.png",)]
    records = read_all(source)
    assert [(record.key, record.label, values(record)) for record in records] == [
        ("a2.png", "", [2]),
        ("a10.png", "", [10]),
        ("sub/b.png", "", [3]),
    ]
    np.testing.assert_array_equal(records[0].slots["image"][0], picture(2))


def test_image_folder_reports_unreadable_files_and_goes_on(tmp_path):
    fill(tmp_path, a=1, z=2)
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    write_image(tmp_path / "large.png", picture(0, 20, 20))
    os.symlink(tmp_path / "nowhere", tmp_path / "dead.png")
    records = read_all(ImageFolder(at=tmp_path, max_pixels=100))
    bad = {record.key: record.reason for record in records if isinstance(record, BadRecord)}
    assert [record.key for record in records if isinstance(record, Record)] == ["a.png", "z.png"]
    assert set(bad) == {"cut.png", "dead.png", "empty.png", "large.png"}
    assert "truncated or damaged" in bad["cut.png"] or "cannot be read" in bad["cut.png"]
    assert "no picture at" in bad["dead.png"]
    assert "is empty (0 bytes)" in bad["empty.png"]
    assert "20 x 20 pixels; the limit is 100" in bad["large.png"]


def test_class_folders_label_by_first_folder(tmp_path):
    fill(tmp_path, cat__1=1, dog__red__2=2, dog__3=3)
    records = read_all(ClassFolders(at=tmp_path))
    assert [(record.key, record.label) for record in records] == [
        ("cat/1.png", "cat"),
        ("dog/3.png", "dog"),
        ("dog/red/2.png", "dog"),
    ]


def test_class_folders_rejects_pictures_without_class(tmp_path):
    fill(tmp_path, cat__1=1, stray=2)
    with pytest.raises(ValueError, match=r"1 of 2 pictures lie in .* itself, first 'stray\.png'.*layout 'images'"):
        ClassFolders(at=tmp_path).parts()


def test_frame_folders_order_frames_naturally_and_cut_long_clips(tmp_path):
    fill(tmp_path, **{f"surf__wave__f{number}": number for number in (1, 2, 9, 10, 11)}, solo__f1=7, solo__inner__f1=8)
    records = read_all(FrameFolders(at=tmp_path, frames_per_record=3, records_per_part=1))
    assert [(record.key, record.label, values(record)) for record in records] == [
        ("solo#0000", "", [7]),
        ("solo/inner#0000", "solo", [8]),
        ("surf/wave#0000", "surf", [1, 2, 9]),
        ("surf/wave#0001", "surf", [10, 11]),
    ]


def test_frame_folders_lose_only_the_record_with_the_bad_frame(tmp_path):
    fill(tmp_path, **{f"c__{number}": number for number in range(6)})
    (tmp_path / "c/4.png").write_bytes(b"broken")
    good, bad = read_all(FrameFolders(at=tmp_path, frames_per_record=3))
    assert values(good) == [0, 1, 2]
    assert bad.key == "c#0001"
    assert "4.png cannot be read" in bad.reason


def test_frame_folders_shrink_large_frames_only(tmp_path):
    write_image(tmp_path / "c.png", picture(5, 40, 80))
    (record,) = read_all(FrameFolders(at=tmp_path, short_side=10))
    assert record.slots["image"][0].shape == (10, 20, 3)
    assert record.key == f"{tmp_path.name}#0000"
    (record,) = read_all(FrameFolders(at=tmp_path, short_side=50))
    np.testing.assert_array_equal(record.slots["image"][0], picture(5, 40, 80))


def test_view_folders_keep_turns_whole_and_label_by_parent(tmp_path):
    fill(tmp_path, **{f"chair__c7__{angle:03d}": angle for angle in range(0, 250, 15)}, lamp__l1__0=1)
    records = read_all(ViewFolders(at=tmp_path))
    assert [(record.key, record.label) for record in records] == [("chair/c7", "chair"), ("lamp/l1", "lamp")]
    assert values(records[0]) == list(range(0, 250, 15))
    (tmp_path / "lamp/l1/0.png").write_bytes(b"")
    assert [type(record) for record in read_all(ViewFolders(at=tmp_path))] == [Record, BadRecord]


def test_folders_gone_after_listing_are_reported(tmp_path):
    fill(tmp_path, a__1=1)
    for source in (FrameFolders(at=tmp_path), ViewFolders(at=tmp_path)):
        fill(tmp_path, a__1=1)
        (part,) = source.parts()
        (tmp_path / "a/1.png").unlink()
        (record,) = source.read(part)
        assert isinstance(record, BadRecord)
        assert "at least 1" in record.reason


@pytest.mark.parametrize("layout", [ImageFolder, ClassFolders, FrameFolders, ViewFolders])
def test_layouts_are_plain_values(layout, tmp_path):
    fill(tmp_path, a__b__1=1)
    source = layout(at=tmp_path)
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    assert source.slots == ("image",)
    description = source.describe()
    assert LAYOUTS[description["layout"]] is layout
    assert str(tmp_path) not in json.dumps(description)
    assert description["records_per_part"] == source.records_per_part
    assert source.parts() == copy.parts()


@pytest.mark.parametrize("layout", [ImageFolder, ClassFolders, FrameFolders, ViewFolders])
def test_layouts_rejects_missing_and_empty_folders_and_zero(layout, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*lost"):
        layout(at=tmp_path / "lost").parts()
    with pytest.raises(ValueError, match="looked for .avif"):
        layout(at=tmp_path).parts()
    with pytest.raises(ValueError, match="records_per_part=0 must be at least 1"):
        layout(at=tmp_path, records_per_part=0)
