"""Lists of names, and boxes counted from pixel 1."""

import numpy as np
import pytest
from miniatures.pascal import voc_xml

from openlvm.sources.official import voc


def test_names_keep_their_order_and_what_follows_them(tmp_path):
    (tmp_path / "car_train.txt").write_text("2008_000008  1\n\n2008_000002 -1\r\n")
    assert voc.read_names(tmp_path / "car_train.txt") == [["2008_000008", "1"], ["2008_000002", "-1"]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n", "lists no names"),
        ("a\nb\n/a\n", "lists 'a' twice"),
        ("a\n../../b\n", "leads out of the dataset's folder"),
    ],
)
def test_names_reject_what_cannot_be_a_list(text, told, tmp_path):
    (tmp_path / "train.txt").write_text(text)
    with pytest.raises(ValueError, match=told):
        voc.read_names(tmp_path / "train.txt")
    with pytest.raises(FileNotFoundError, match="no list of names"):
        voc.read_names(tmp_path / "val.txt")


def test_files_over_the_limit_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(voc, "MAX_XML_BYTES", 10)
    monkeypatch.setattr(voc, "MAX_LIST_BYTES", 10)
    (tmp_path / "a.xml").write_text(voc_xml("a", []))
    with pytest.raises(ValueError, match="bytes; the limit is 10"):
        voc.read_voc_boxes(tmp_path / "a.xml")
    with pytest.raises(ValueError, match="bytes; the limit is 10"):
        voc.read_names(tmp_path / "a.xml")


def test_one_pixel_is_a_box_of_one_pixel(tmp_path):
    (tmp_path / "a.xml").write_text(voc_xml("a", [("dog", (5, 7, 5, 7))]))
    boxes = voc.read_voc_boxes(tmp_path / "a.xml")
    np.testing.assert_array_equal(boxes.corners, [[4, 6, 5, 7]])
    assert boxes.ids.tolist() == [12] and boxes.size == (24, 32)


def test_picture_without_objects_has_no_boxes(tmp_path):
    (tmp_path / "a.xml").write_text(voc_xml("a", []))
    boxes = voc.read_voc_boxes(tmp_path / "a.xml")
    assert boxes.corners.shape == (0, 4) and boxes.ids.shape == (0,)
