"""COCO's files are parsed once, keep only what is needed, and are parsed again when they change."""

import json
import os

import pytest
from miniatures.labelled import coco_detection, coco_pose

from openlvm.sources.official import coco
from openlvm.sources.official.coco import CocoAnnotations, CocoPanoptic

pytest.importorskip("pycocotools")
FILE = "annotations/instances_train2017.json"


def test_file_is_parsed_once_and_again_when_it_changes(tmp_path, monkeypatch):
    coco_detection(tmp_path)
    parsed, loads = [], json.loads
    monkeypatch.setattr(coco.json, "loads", lambda *given, **options: parsed.append(1) or loads(*given, **options))
    source = CocoAnnotations(at=tmp_path, pictures="train2017", annotations=FILE)
    for _ in range(3):
        assert sum(1 for part in source.parts() for _ in source.read(part)) == 2
    assert len(parsed) == 1
    os.utime(tmp_path / FILE, (1, 1))
    source.parts()
    assert len(parsed) == 2


def test_only_needed_fields_are_kept(tmp_path):
    coco_detection(tmp_path)
    known = coco.load_annotations(tmp_path / FILE, ("bbox", "category_id"))
    assert {name for marks in known.annotations.values() for one in marks for name in one} == {"bbox", "category_id"}


def test_slots_are_those_asked_for_and_pictures_have_all_of_them(tmp_path):
    coco_detection(tmp_path)
    file = tmp_path / FILE
    content = json.loads(file.read_text())
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 25 or one["iscrowd"]]
    file.write_text(json.dumps(content))
    wanted = {"at": tmp_path, "pictures": "train2017", "annotations": FILE}
    both = CocoAnnotations(**wanted, annotated=("instances", "boxes"))
    assert both.slots == ("image", "instances", "boxes")
    assert [part.items for part in both.parts()] == [("9//000000000009.jpg",)]  # 25 has a crowd, and crowds no box
    classes = CocoAnnotations(**wanted, annotated=("segmentation",))
    assert [part.items for part in classes.parts()] == [("9//000000000009.jpg", "25//000000000025.jpg")]


def test_slots_that_a_file_cannot_have_are_refused(tmp_path):
    wanted = {"at": tmp_path, "pictures": "train2017", "annotations": FILE}
    with pytest.raises(ValueError, match="no slot of COCO's annotations called 'box'; did you mean boxes"):
        CocoAnnotations(**wanted, annotated=("box",))
    with pytest.raises(ValueError, match="annotated must name at least one of boxes"):
        CocoAnnotations(**wanted, annotated=())
    with pytest.raises(ValueError, match="annotated must be segmentation, instances or both"):
        CocoPanoptic(**wanted, annotated=("boxes",))


def test_file_over_the_limit_is_not_parsed(tmp_path, monkeypatch):
    coco_pose(tmp_path)
    monkeypatch.setattr(coco, "MAX_JSON_BYTES", 10)
    with pytest.raises(ValueError, match="bytes; the limit is 10"):
        coco.load_annotations(tmp_path / "annotations/person_keypoints_val2017.json", ())
    with pytest.raises(FileNotFoundError, match="no annotation file"):
        coco.load_annotations(tmp_path / "annotations/none.json", ())


def test_pictures_outside_the_folder_are_refused(tmp_path):
    coco_detection(tmp_path)
    file = tmp_path / FILE
    file.write_text(file.read_text().replace("000000000030.jpg", "../../30.jpg"))
    with pytest.raises(ValueError, match="lists '../../30.jpg', which leads out of the dataset's folder"):
        CocoAnnotations(at=tmp_path, pictures="train2017", annotations=FILE).parts()
