"""Every row with annotation files reads its official layout, and reports by key what is missing or wrong."""

import json
import pickle
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from miniatures.files import assert_read, read_all, save_jpeg
from miniatures.labelled import MINIATURES
from miniatures.pascal import voc_xml

from openlvm.core.images import ImagePreparation
from openlvm.core.records import JOINTS, BadRecord
from openlvm.sentences.generated import add_generated, check_generated
from openlvm.sentences.render import draw
from openlvm.sources.catalog.labelled import LABELLED
from openlvm.sources.interface import split_into_parts

ROWS = {row.name: row for row in LABELLED}
FIRST_FILES = {  # of the first split: a picture, and its own annotation file if it has one
    "coco_detection": ("train2017/000000000009.jpg", ""),
    "coco_detection_predicted": ("train2017/000000000009.jpg", ""),
    "coco_pose": ("train2017/000000000009.jpg", ""),
    "coco_pose_predicted": ("train2017/000000000009.jpg", ""),
    "lv_mhp": ("LV-MHP-v2/train/images/96.jpg", "LV-MHP-v2/train/pose_annos/96.mat"),
    "mpii": ("images/015601864.jpg", ""),
    "unite_the_people": ("up-3d/00000_image.png", "up-3d/00000_joints.npy"),
    "hand14k": ("Images/OP01-R01-PastaSalad_frame_0001.jpg", "Masks/OP01-R01-PastaSalad_frame_0001.png"),
    "sa1b": ("sa_000001/sa_11187.jpg", "sa_000001/sa_11187.json"),
    "coco_pose_delvm": ("train2017/000000000009.jpg", ""),
    "mpii_delvm": ("images/005808361.jpg", ""),
    "coco_instances": ("train2017/000000000009.jpg", ""),
    "coco_panoptic": ("train2017/000000000009.jpg", "annotations/panoptic_train2017/000000000009.png"),
    "pascal3d": (
        "PASCAL3D+_release1.1/Images/car_pascal/2008_000005_train.jpg",
        "PASCAL3D+_release1.1/Annotations/car_pascal/2008_000005_train.mat",
    ),
    "voc2012_detection": (
        "VOCdevkit/VOC2012/JPEGImages/2008_000002.jpg",
        "VOCdevkit/VOC2012/Annotations/2008_000002.xml",
    ),
}


@pytest.fixture(autouse=True)
def _needs_extra() -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("pycocotools")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Call with a row's name: its miniature's folder, not to be changed, and what must be read of it."""
    return cache(lambda name: (at := tmp_path_factory.mktemp(name), MINIATURES[name](at)))


@pytest.fixture
def miniature(built, tmp_path):
    """Call with a row's name: copies its miniature to `tmp_path`; returns what must be read of it."""

    def copied(name):
        at, expected = built(name)
        shutil.copytree(at, tmp_path, dirs_exist_ok=True)
        return expected

    return copied


def bad_of(name: str, at: Path) -> dict[str, str]:
    """Key -> reason of the bad records in the first split."""
    row = ROWS[name]
    return {one.key: one.reason for one in read_all(row, at, next(iter(row.splits))) if isinstance(one, BadRecord)}


def test_every_row_has_a_miniature():
    assert set(ROWS) == set(MINIATURES) == set(FIRST_FILES)
    assert len(ROWS) == len(LABELLED)


@pytest.mark.parametrize("name", MINIATURES)
def test_row_reads_its_official_layout(name, built):
    assert_read(ROWS[name], *built(name))


@pytest.mark.parametrize("name", MINIATURES)
def test_records_can_be_drawn_as_the_row_says(name, built):
    at, _ = built(name)
    row = ROWS[name]
    predicted = [annotator.partition("=")[0] for annotator in row.annotators]
    check_generated(row.generated, [*row.source(at).slots, *predicted])
    assert set(row.styles) <= {*row.source(at).slots, *predicted}
    for record in read_all(row, at, next(iter(row.splits))):
        whole = add_generated(record, row.generated if not predicted else (), seed=0)
        for slot, (payload,) in whole.slots.items():
            drawing = draw(payload, ImagePreparation(size=64, fit="squash"), style=row.styles.get(slot, ""))
            assert drawing.shape == (64, 64, 3) and len(np.unique(drawing)) > 1


@pytest.mark.parametrize("name", MINIATURES)
def test_source_is_a_value(name, built):
    at, _ = built(name)
    row = ROWS[name]
    source = row.source(at)
    described = json.dumps(source.describe())
    assert str(at) not in described and json.loads(described) == source.describe()
    copy = pickle.loads(pickle.dumps(source))
    assert copy.parts() == source.parts() and json.dumps(copy.describe()) == described
    assert source.slots[0] == "image"
    finer = type(source)(**{**vars(source), "records_per_part": 1})
    items = [item for part in source.parts() for item in part.items]
    assert [part.items for part in finer.parts()] == [part.items for part in split_into_parts(items, 1)]
    with pytest.raises(ValueError, match="records_per_part=0 must be at least 1"):
        type(source)(**{**vars(source), "records_per_part": 0})


@pytest.mark.parametrize("name", MINIATURES)
def test_picture_without_its_file_is_reported_by_key(name, miniature, tmp_path):
    expected = next(iter(miniature(name).values()))
    picture, _ = FIRST_FILES[name]
    path = tmp_path / picture
    path.rename(path.with_name(f"renamed{path.suffix}"))
    stem = path.stem
    if name in ("hand14k", "sa1b"):
        with pytest.raises(ValueError, match=stem):
            read_all(ROWS[name], tmp_path, next(iter(ROWS[name].splits)))
        return
    if name.endswith(("predicted", "pose_delvm")):  # pictures alone: nothing says which there should be
        assert f"{stem}.jpg" not in {one.key for one in read_all(ROWS[name], tmp_path, "train")}
        return
    ((key, reason),) = bad_of(name, tmp_path).items()
    assert stem.removesuffix("_image") in key and f"no picture at {path}" in reason
    assert len(read_all(ROWS[name], tmp_path, next(iter(ROWS[name].splits)))) >= max(1, len(expected) - 1)


@pytest.mark.parametrize("name", [name for name, (_, file) in FIRST_FILES.items() if file])
def test_missing_annotation_is_reported_by_key(name, miniature, tmp_path):
    miniature(name)
    annotation = tmp_path / FIRST_FILES[name][1]
    annotation.unlink()
    stem = annotation.stem.removesuffix("_joints")
    if name in ("hand14k", "sa1b"):
        with pytest.raises(ValueError, match=stem):
            bad_of(name, tmp_path)
    else:
        ((key, reason),) = bad_of(name, tmp_path).items()
        assert stem in key and annotation.name in reason


@pytest.mark.parametrize("name", [name for name, (_, file) in FIRST_FILES.items() if file])
@pytest.mark.parametrize("content", [b"", b"\x00\x01 neither of them", b"{}", b"<annotation/>"], ids=len)
def test_damaged_annotation_is_reported_by_key(name, content, miniature, tmp_path):
    miniature(name)
    annotation = tmp_path / FIRST_FILES[name][1]
    annotation.write_bytes(content)
    (key,) = bad_of(name, tmp_path)
    assert annotation.stem.removesuffix("_joints") in key


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if name not in ("hand14k",)])
def test_picture_over_the_limit_is_reported_before_it_is_decoded(name, built):
    source = ROWS[name].source(built(name)[0])
    small = type(source)(**{**vars(source), "max_pixels": 10})
    found = [one for part in small.parts() for one in small.read(part)]
    assert found and all(isinstance(one, BadRecord) and "the limit is 10" in one.reason for one in found)


@pytest.mark.parametrize(
    "name", ["coco_detection", "coco_instances", "coco_panoptic", "sa1b", "voc2012_detection", "pascal3d"]
)
def test_picture_of_another_size_is_reported_by_key(name, miniature, tmp_path):
    miniature(name)
    path = tmp_path / FIRST_FILES[name][0]
    save_jpeg(path, np.zeros((24, 30, 3), np.uint8))
    ((key, reason),) = bad_of(name, tmp_path).items()
    assert path.stem in key and reason == "the picture is 30 x 24 but its annotations are for 32 x 24"


@pytest.mark.parametrize("name", MINIATURES)
def test_missing_split_is_told(name, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises((FileNotFoundError, ValueError), match=str(tmp_path)):
        ROWS[name].source(tmp_path).parts()


def test_names_of_joints_have_their_mirror():
    for joints in JOINTS.values():
        assert len(set(joints)) == len(joints)
        for name in joints:
            side, _, rest = name.partition("_")
            other = {"left": "right", "right": "left"}.get(side)
            assert other is None or f"{other}_{rest}" in joints, name


def change_json(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "file", "change", "told"),
    [
        ("coco_detection", "instances", {"category_id": 7}, "class id 7 is none of the 2 classes"),
        ("coco_detection", "instances", {"category_id": None}, "class id None is none"),
        ("coco_detection", "instances", {"bbox": [1, 2, 3]}, "a box must be 4 numbers"),
        ("coco_detection", "instances", {"bbox": [1, 2, float("nan"), 3]}, "a box must be 4 finite numbers"),
        ("coco_instances", "instances", {"segmentation": [[1, 2, 3, 4]]}, "a polygon must be x, y, x, y"),
        ("coco_instances", "instances", {"segmentation": [[1, 2, 3, 4, 1e9, 3]]}, "reaches far outside its picture"),
        ("coco_instances", "instances", {"segmentation": {"size": [24, 32], "counts": [3, 4]}}, "do not fill its 32"),
        ("coco_instances", "instances", {"segmentation": {"size": [24, 33], "counts": "0"}}, "a mask must be"),
        ("coco_instances", "instances", {"segmentation": "text"}, "a mask must be"),
        ("coco_pose", "person_keypoints", {"keypoints": 5}, "a person must be 51 numbers"),
        ("coco_pose", "person_keypoints", {"keypoints": [1, 2, 2]}, "a person must be 51 numbers"),
        ("coco_panoptic", "panoptic", {"segments_info": []}, "its PNG has segments"),
        ("coco_panoptic", "panoptic", {"segments_info": None}, "panoptic annotations"),
        ("coco_panoptic", "panoptic", {"file_name": "nowhere.png"}, "no picture at"),
    ],
)  # fmt: skip
def test_wrong_annotation_of_coco_is_reported_by_key(name, file, change, told, miniature, tmp_path):
    miniature(name)
    change_json(
        tmp_path / f"annotations/{file}_train2017.json", lambda content: content["annotations"][0].update(change)
    )
    ((key, reason),) = bad_of(name, tmp_path).items()
    assert key == "000000000009" and told in reason


def test_wrong_class_of_a_segment_is_reported_by_key(miniature, tmp_path):
    miniature("coco_panoptic")
    file = tmp_path / "annotations/panoptic_train2017.json"
    change_json(file, lambda content: content["annotations"][0]["segments_info"][0].update(category_id=5))
    assert bad_of("coco_panoptic", tmp_path) == {
        "000000000009": "class id 5 is none of the 3 classes that the file lists"
    }


def test_segment_without_pixels_is_reported_by_key(miniature, tmp_path):
    miniature("coco_panoptic")
    file = tmp_path / "annotations/panoptic_train2017.json"
    change_json(file, lambda content: content["annotations"][0]["segments_info"].append({"id": 77, "category_id": 1}))
    reason = "its PNG has segments [] that the JSON does not list, and lacks [77]"
    assert bad_of("coco_panoptic", tmp_path) == {"000000000009": reason}


def test_coco_file_with_strange_pictures_or_classes_is_refused(miniature, tmp_path):
    miniature("coco_detection")
    file = tmp_path / "annotations/instances_train2017.json"
    whole = file.read_text()
    change_json(file, lambda content: content["annotations"][0].update(image_id=77))
    with pytest.raises(ValueError, match=r"annotates 1 pictures that it does not list, first ids \[77\]"):
        bad_of("coco_detection", tmp_path)
    file.write_text(whole)
    change_json(file, lambda content: content["categories"].append({"id": 300, "name": "too many"}))
    with pytest.raises(ValueError, match="class ids outside 1 to 255"):
        bad_of("coco_detection", tmp_path)
    file.write_text(whole[:-20])
    with pytest.raises(ValueError, match="is not a COCO annotation file: JSONDecodeError"):
        bad_of("coco_detection", tmp_path)
    file.write_text("[]")
    with pytest.raises(ValueError, match="is not a COCO annotation file: TypeError"):
        bad_of("coco_detection", tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (voc_xml("2008_000002", [("zebra", (1, 1, 5, 5))]), "'zebra' is none of VOC's 20 classes"),
        (voc_xml("2008_000002", [("cat", (9, 1, 5, 5))]), "has no area"),
        (voc_xml("2008_000002", [("cat", ("nan", 1, 5, 5))]), "bndbox/xmin is nan"),
        (voc_xml("2008_000002", []).replace("<width>32</width>", ""), "it lacks size/width"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + voc_xml("2008_000002", []), "declares a document type or entities"),
        ("<!DOCTYPE a>" + voc_xml("2008_000002", []), "declares a document type or entities"),
        (voc_xml("2008_000002", [])[:-9], "is not an annotation of VOC"),
    ],
)  # fmt: skip
def test_wrong_annotation_of_voc_is_reported_by_key(text, told, miniature, tmp_path):
    miniature("voc2012_detection")
    (tmp_path / FIRST_FILES["voc2012_detection"][1]).write_text(text)
    ((key, reason),) = bad_of("voc2012_detection", tmp_path).items()
    assert key == "2008_000002" and told in reason


def test_document_type_in_another_encoding_is_refused(miniature, tmp_path):
    miniature("voc2012_detection")
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]>' + voc_xml("2008_000002", [])
    (tmp_path / FIRST_FILES["voc2012_detection"][1]).write_text(text, encoding="utf-16")
    assert "is not an annotation of VOC" in bad_of("voc2012_detection", tmp_path)["2008_000002"]
