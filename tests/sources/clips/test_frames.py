"""Frames and their annotations become records together."""

import numpy as np
import pytest
from miniatures.files import save_palette_png
from miniatures.films import write_frames, write_text

from openlvm.core.records import BadRecord
from openlvm.sources.clips.frames import AnnotatedFrames, Marks, files_by_stem
from openlvm.sources.clips.lists import ClipList

NAMES = [f"{number}.png" for number in range(5)]
IDS = Marks(folder="masks", kind="ids")


def write_clip(at, name="a", ids=((3, 9), (9,), (7, 9), (7,), (3,))):
    """Five frames of 64 x 48 and masks: the ids of a frame in bars of 8 columns."""
    write_frames(at / "frames" / name, 0, NAMES)
    for file, present in zip(NAMES, ids, strict=True):
        mask = np.zeros((48, 64), np.uint8)
        for number in present:
            mask[:, 4 * number : 4 * number + 4] = number
        save_palette_png(at / "masks" / name / file, mask)


def source(at, **options):
    return AnnotatedFrames(at=at, frames="frames", marks={"instances": IDS}, **options)


def read_all(source):
    return [record for part in source.parts() for record in source.read(part)]


def test_instances_are_numbered_in_each_record_and_keep_their_numbers_over_its_frames(tmp_path):
    write_clip(tmp_path)
    first, second = read_all(source(tmp_path, frames_per_record=3))
    assert (first.key, second.key) == ("a#0000", "a#0001")
    found = [[mask.ids[0, column] for column in (12, 28, 36)] for mask in first.slots["instances"]]  # of 3, 7, 9
    assert found == [[1, 0, 3], [0, 0, 3], [0, 2, 3]]
    found = [[mask.ids[0, column] for column in (12, 28, 36)] for mask in second.slots["instances"]]
    assert found == [[0, 2, 0], [1, 0, 0]]
    assert source(tmp_path).slots == ("image", "instances")


def test_frames_and_masks_shrink_together(tmp_path):
    write_clip(tmp_path)
    (record,) = read_all(source(tmp_path, short_side=12))
    assert {frame.shape for frame in record.slots["image"]} == {(12, 16, 3)}
    assert {mask.ids.shape for mask in record.slots["instances"]} == {(12, 16)}
    assert record.slots["instances"][0].ids[0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0]


def test_a_damaged_mask_or_one_of_another_shape_spoils_its_record_alone(tmp_path):
    write_clip(tmp_path)
    (tmp_path / "masks/a/1.png").write_bytes(b"\x89PNG")
    save_palette_png(tmp_path / "masks/a/4.png", np.zeros((40, 64), np.uint8))
    bad, good, other = read_all(source(tmp_path, frames_per_record=2))
    assert bad.key == "a#0000"
    assert "1.png cannot be read" in bad.reason
    assert good.key == "a#0001"
    assert other == BadRecord("a#0002", "the frame is 64 x 48 but its 'instances' is 64 x 40: not one shape")
    (large, *_) = read_all(source(tmp_path, max_pixels=100))
    assert "64 x 48 pixels; the limit is 100" in large.reason


def test_clips_come_from_the_folders_or_from_a_list(tmp_path):
    for name in ("x/b", "x/a10", "a2"):
        write_clip(tmp_path, name)
    assert [(record.key, record.label) for record in read_all(source(tmp_path))] == [
        ("a2#0000", ""),
        ("x/a10#0000", "x"),
        ("x/b#0000", "x"),
    ]
    write_text(tmp_path / "list.txt", "b\nlost\n")
    good, bad = read_all(source(tmp_path, listing=ClipList(files="list.txt")))
    assert (good.key, good.label) == ("b#0000", "x")
    assert bad.key == "lost#0000"
    assert "there is no folder of frames for it in" in bad.reason


def test_frames_reject_wrong_options_and_places(tmp_path):
    write_frames(tmp_path / "frames", 0, NAMES)
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match=r"frames lie in .*frames itself; each clip must have a folder"):
        source(tmp_path).parts()
    with pytest.raises(ValueError, match="at least one slot beside 'image'"):
        AnnotatedFrames(at=tmp_path, frames="frames", marks={})
    with pytest.raises(ValueError, match="no kind of annotation called 'flow'"):
        Marks(folder="x", kind="flow")
    with pytest.raises(ValueError, match="file='' must be given for"):
        Marks(folder="x", kind="jhmdb joints")
    with pytest.raises(ValueError, match="records_per_part=0 must be at least 1"):
        source(tmp_path, records_per_part=0)


def test_files_are_found_by_their_stems_in_natural_order(tmp_path):
    for name in ("10.jpg", "9.JPG", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert list(files_by_stem(tmp_path, (".jpg", ".png")).items()) == [("9", "9.JPG"), ("10", "10.jpg")]
    (tmp_path / "9.png").touch()
    with pytest.raises(ValueError, match="9.JPG and 9.png in .* are files of one name"):
        files_by_stem(tmp_path, (".jpg", ".png"))
    with pytest.raises(ValueError, match="no file in .*; looked for .flo"):
        files_by_stem(tmp_path, (".flo",))
