"""Every row of moving pictures reads its dataset's official layout; what does not fit together is reported by key."""

import json
import pickle
import re

import numpy as np
import pytest
from miniatures.files import assert_read, read_all, save_png
from miniatures.moving import HALF_SIDES, HELD_OUT, MINIATURES, bars, write_csv, write_jgz, write_mat, write_objects
from miniatures.rendered import renderer_or_skip, seen_of_cuboid

from openlvm.core.records import BadRecord
from openlvm.sources.catalog.check import check_split
from openlvm.sources.catalog.moving import MOVING
from openlvm.sources.rendered.camera import FOV_DEGREES, drawn_turn

pytest.importorskip("av", reason="PyAV is the extra `video`")
ROWS = {row.name: row for row in MOVING}


def test_every_row_has_a_miniature():
    assert set(ROWS) == set(MINIATURES)
    assert len(ROWS) == len(MOVING)


@pytest.mark.parametrize("name", MINIATURES)
def test_row_reads_the_official_layout_pixel_by_pixel(name, tmp_path):
    if name.startswith("jhmdb"):
        pytest.importorskip("scipy", reason="scipy is the extra `catalog`")
    expected = MINIATURES[name](tmp_path)
    assert_read(ROWS[name], tmp_path, expected)
    for split, records in expected.items():
        source = ROWS[name].source(tmp_path, split)
        assert pickle.loads(pickle.dumps(source)) == source
        assert str(tmp_path) not in json.dumps(source.describe())
        assert list(source.slots) == list(next(iter(records.values())))


@pytest.mark.parametrize(
    ("name", "split", "labels"),
    [
        ("ucf101", "train", ["ApplyEyeMakeup", "YoYo"]),
        ("ucf101", "test", ["YoYo"]),
        ("hmdb51", "train", ["brush_hair", "wave"]),
        ("activitynet", "val", ["Label 1"]),
        ("moments_in_time", "train", ["blocking"]),
        ("multi_moments", "train", ["adult+female+singing"]),
        ("charades", "test", ["Room 1"]),
        ("something_something_v2", "train", ["Moving [something]"]),
        ("youcook2", "val", ["204"]),
        ("kinetics700", "train", ["clay pottery making"]),
        ("msr_vtt", "test", ["11"]),
        ("jester", "val", ["Stop Sign"]),
        ("diving48", "test", ["27"]),
        ("multisports", "train", ["basketball"]),
        ("hd_vila_100m", "train", ["QMi8x8o55Ns", "QMi8x8o55Ns", "b"]),
        ("jhmdb_pose", "train", ["brush_hair", "wave"]),
        ("co3d", "train", ["apple", "hydrant"]),
        ("davis_objects", "train", [""]),
    ],
)
def test_row_labels(name, split, labels, tmp_path):
    MINIATURES[name](tmp_path)
    assert [record.label for record in read_all(ROWS[name], tmp_path, split)] == labels


@pytest.mark.parametrize(
    ("name", "split", "renamed", "key", "words"),
    [
        ("ucf101", "train", "UCF-101/YoYo/v_YoYo_g25_c05.avi", "YoYo/v_YoYo_g25_c05", "there is no film for it"),
        ("kinetics700", "val", "val/abseiling/4YTwq0-73Y_000120_000130.mp4", "4YTwq0-73Y_000120_000130", "no film"),
        ("jester", "train", "20bn-jester-v1/34870", "34870", "there is no folder of frames for it"),
        ("davis", "val", "JPEGImages/480p/dogs-jump", "dogs-jump", "there is no folder of frames for it"),
        ("davis_objects", "val", "JPEGImages/480p/dogs-jump", "dogs-jump", "there is no folder of frames for it"),
        ("davis_objects", "train", "Annotations/480p/bear/00001.png", "bear", "1 files .* no frame .*'renamed.png'"),
        ("davis_objects", "train", "JPEGImages/480p/bear/00001.jpg", "bear", "1 files .* first '00001.png'"),
        ("davis_objects", "train", "Annotations/480p/bear", "bear", "no folder .*bear; expected files .png there"),
        ("vipseg", "train", "panomasks/1001_5z_ijQjUf_0/00000199.png", "1001_5z_ijQjUf_0", "'renamed.png'"),
        ("youtube_vos_objects", "train", "train/JPEGImages/003234408d/00005.jpg", "003234408d", "first '00005.png'"),
        ("jhmdb_pose", "test", "joint_positions/brush_hair/b_np1_1/joint_positions.mat", "b_np1_1", "no file"),
        ("jhmdb_pose", "test", "Rename_Images/brush_hair/b_np1_1", "b_np1_1", "no folder of frames for it"),
        ("sintel_flow", "train", "training/flow/alley_1/frame_0001.flo", "alley_1", "first 'renamed.flo'"),
        ("ava_detection", "train", "trainval/-5KQ66BBWC4.mkv", "-5KQ66BBWC4", "there is no film for it"),
        ("co3d", "train", "apple/110_1_2/images/frame000002.jpg", "apple/110_1_2", "no picture .*frame000002.jpg"),
        ("co3d", "train", "apple/110_1_2/masks/frame000003.png", "apple/110_1_2", "no picture .*frame000003.png"),
        ("co3d", "train", "hydrant/7_8_9/depths/frame000001.jpg.geometric.png", "hydrant/7_8_9", "No such file"),
    ],
)
def test_row_reports_a_renamed_file_by_key(name, split, renamed, key, words, tmp_path):
    expected = MINIATURES[name](tmp_path)
    path = tmp_path / renamed
    path.rename(path.with_name("renamed" + path.suffix))
    records = read_all(ROWS[name], tmp_path, split)
    (bad,) = [record for record in records if isinstance(record, BadRecord)]
    assert bad.key == f"{key}#0000"
    assert re.search(words, bad.reason)
    assert len(records) == len(expected[split])


@pytest.mark.parametrize(
    ("name", "split", "removed", "error", "words"),
    [
        (
            "ucf101",
            "test",
            "ucfTrainTestlist/testlist01.txt",
            FileNotFoundError,
            "no list of clips at .*testlist01.txt",
        ),
        ("hmdb51", "train", "testTrainMulti_7030_splits", FileNotFoundError, "no list of clips"),
        ("charades", "train", "Charades_v1_480", FileNotFoundError, "no folder .*Charades_v1_480; expected films"),
        (
            "jester",
            "val",
            "20bn-jester-v1",
            FileNotFoundError,
            "no folder .*20bn-jester-v1; expected folders of frames",
        ),
        ("vipseg", "val", "panomasks", FileNotFoundError, "no folder .*panomasks; expected annotations"),
        ("ava_detection", "val", "ava_val_excluded_timestamps_v2.2.csv", FileNotFoundError, "part of ava_v2.2.zip"),
        ("co3d", "dev", "apple/set_lists", ValueError, "no category .* has set_lists/set_lists_fewview_dev.json"),
    ],
)
def test_row_rejects_a_missing_list_or_folder(name, split, removed, error, words, tmp_path):
    MINIATURES[name](tmp_path)
    (tmp_path / removed).rename(tmp_path / "elsewhere")
    with pytest.raises(error, match=words):
        ROWS[name].source(tmp_path, split).parts()


def test_rows_of_flow_leave_out_only_the_last_frame(tmp_path):
    MINIATURES["sintel_flow"](tmp_path)
    (tmp_path / "training/flow/alley_1/frame_0001.flo").unlink()
    (bad,) = read_all(ROWS["sintel_flow"], tmp_path, "train")
    assert bad.reason == "1 of 3 frames have no flow, first 'frame_0001'"


def test_rows_of_dense_masks_report_a_frame_without_one(tmp_path):
    MINIATURES["davis_objects"](tmp_path)
    (tmp_path / "Annotations/480p/bear/00002.png").unlink()
    (bad,) = read_all(ROWS["davis_objects"], tmp_path, "train")
    assert bad == BadRecord("bear#0000", "1 of 3 frames have no instances, first '00002'")


def test_rows_of_sparse_masks_count_the_frames_they_leave_out(tmp_path, caplog):
    caplog.set_level("INFO")
    MINIATURES["youtube_vos_objects"](tmp_path)
    (record,) = read_all(ROWS["youtube_vos_objects"], tmp_path, "train")
    assert record.num_frames == 2
    assert "clip 003234408d: 1 of 3 frames have no annotation and are left out" in caplog.text


def test_rows_report_a_wrong_id_by_key(tmp_path):
    MINIATURES["vipseg"](tmp_path / "v")
    save_png(tmp_path / "v/panomasks/2_b/00000199.png", bars(0, 12501).astype("uint16"))
    (bad,) = read_all(ROWS["vipseg"], tmp_path / "v", "val")
    assert bad.key == "2_b#0000"
    assert "00000199.png has a thing of class 125; VIPSeg has 1 to 124" in bad.reason
    MINIATURES["ava_detection"](tmp_path / "a")
    write_csv(tmp_path / "a/ava_val_v2.2.csv", [["1j20qq1JyX4", "0002", 0.1, 0.1, 0.5, 0.5, 81, 0]])
    (bad,) = read_all(ROWS["ava_detection"], tmp_path / "a", "val")
    assert bad == BadRecord("1j20qq1JyX4#0000", "at 2 s is the action 81; AVA has 1 to 80")


def test_rows_of_jhmdb_report_a_file_of_another_length_or_shape(tmp_path):
    pytest.importorskip("scipy", reason="scipy is the extra `catalog`")
    MINIATURES["jhmdb_pose"](tmp_path)
    path = tmp_path / "joint_positions/brush_hair/b_np1_1/joint_positions.mat"
    write_mat(path, pos_img=np.ones((2, 15, 2)))
    (bad,) = read_all(ROWS["jhmdb_pose"], tmp_path, "test")
    assert "joint_positions.mat is of 2 frames" in bad.reason
    write_mat(path, pos_img=np.ones((2, 14, 3)))
    (bad,) = read_all(ROWS["jhmdb_pose"], tmp_path, "test")
    assert "pos_img [2, 14, 3]; expected [2, 15, frames]" in bad.reason
    write_mat(path, positions=np.ones((2, 14, 3)))
    (bad,) = read_all(ROWS["jhmdb_pose"], tmp_path, "test")
    assert "has no array 'pos_img'; it has positions" in bad.reason


def test_rows_of_co3d_leave_out_frames_without_depth_and_stay_in_their_folder(tmp_path, caplog):
    caplog.set_level("INFO")
    MINIATURES["co3d"](tmp_path)
    rows = [
        {"sequence_name": "7_8_9", "frame_number": 0, "image": {"path": "hydrant/7_8_9/images/frame000001.jpg"}},
        {"sequence_name": "7_8_9", "frame_number": 1, "image": {"path": "../secret.jpg"}},
    ]
    write_jgz(tmp_path / "hydrant/frame_annotations.jgz", rows[:1])
    good, bad = read_all(ROWS["co3d"], tmp_path, "train")
    assert good.key == "apple/110_1_2#0000"
    assert bad.reason == "none of its 1 frames in hydrant/frame_annotations.jgz has mask and depth"
    write_jgz(tmp_path / "hydrant/frame_annotations.jgz", rows)
    with pytest.raises(ValueError, match=r"'\.\./secret\.jpg' leads out of the dataset's folder"):
        ROWS["co3d"].source(tmp_path, "train").parts()


def test_objects_are_drawn_from_24_sides_by_their_key(tmp_path):
    renderer_or_skip(256, FOV_DEGREES)
    write_objects(tmp_path)
    train, heldout = (ROWS["objaverse"].source(tmp_path, split) for split in ("train", "heldout"))
    listed = {item.partition("/")[0]: item.rpartition("/")[2] for part in train.parts() for item in part.items}
    assert sorted(listed.values()) == ["", "armchair", "banana"]
    (part,) = heldout.parts()
    (record,) = heldout.read(part)
    assert record.key == HELD_OUT
    assert HELD_OUT not in listed
    half = np.array(HALF_SIDES[HELD_OUT]) / np.linalg.norm(HALF_SIDES[HELD_OUT]) / 2  # in a sphere of diameter 1
    cameras = drawn_turn(0, HELD_OUT).cameras(24, 15.0)
    for view in (0, 7, 23):
        seen = seen_of_cuboid(half, cameras[view], 256, FOV_DEGREES)["depth"] > 0
        shown = (record.slots["image"][view] != 255).any(axis=-1)
        assert (seen != shown).mean() < 0.01


def test_check_counts_a_row_against_its_promise(tmp_path):
    MINIATURES["davis_objects"](tmp_path)
    checked = check_split(ROWS["davis_objects"], tmp_path, "train", limit=0)
    assert (checked.items, checked.promised, checked.bad) == (1, 60, 0)
    assert checked.frames == {"image": 3, "instances": 3}
