"""CO3D's depth bits, subsets and annotation files."""

import gzip
import json

import numpy as np
import pytest
from miniatures.files import save_png
from miniatures.moving import co3d, write_jgz

from openlvm.core.records import BadRecord
from openlvm.sources.clips import co3d as reader
from openlvm.sources.clips.co3d import CO3D, read_half_float_file


def read_all(source):
    return [record for part in source.parts() for record in source.read(part)]


def test_depth_is_the_bits_of_half_floats(tmp_path):
    values = np.array([[0.0, 1.5, 65504.0, 2**-24, np.inf]], np.float16)
    save_png(tmp_path / "a.png", values.view(np.uint16))
    read = read_half_float_file(tmp_path / "a.png")
    np.testing.assert_array_equal(read, values.astype(np.float32))
    assert read.dtype == np.float32


def test_categories_without_a_subset_give_nothing_to_it(tmp_path):
    co3d(tmp_path)
    items = [part.items for part in CO3D(at=tmp_path, subset="fewview_dev").parts()]
    assert items == [("apple/189_3_4",)]
    items = [part.items for part in CO3D(at=tmp_path, records_per_part=2).parts()]
    assert items == [("apple/110_1_2", "apple/189_3_4"), ("hydrant/7_8_9",)]
    lists = tmp_path / "apple/set_lists/set_lists_fewview_dev.json"
    lists.write_text(json.dumps({"train": [["other", 0, "x"]]}))
    with pytest.raises(ValueError, match=r"lists 1 sequences that frame_annotations\.jgz lacks, first 'other'"):
        CO3D(at=tmp_path, subset="fewview_dev").parts()
    lists.write_text("[1]")
    with pytest.raises(ValueError, match="is no set list of CO3D"):
        CO3D(at=tmp_path, subset="fewview_dev").parts()


def test_long_sequences_are_cut_and_shrink(tmp_path):
    co3d(tmp_path)
    first, second, *_ = read_all(CO3D(at=tmp_path, frames_per_record=2, short_side=24))
    assert (first.key, first.num_frames) == ("apple/110_1_2#0000", 2)
    assert (second.key, second.num_frames) == ("apple/110_1_2#0001", 1)
    assert first.slots["image"][0].shape == (24, 32, 3)
    assert first.slots["depth"][1].meters.shape == (24, 32)
    assert first.slots["depth"][1].meters[20, 20] == 3.5


def test_annotations_are_parsed_once_and_again_when_they_change(tmp_path, monkeypatch):
    co3d(tmp_path)
    (tmp_path / "hydrant/frame_annotations.jgz").unlink()
    opened = []
    real = gzip.open
    monkeypatch.setattr(
        reader.gzip, "open", lambda at, *more, **options: opened.append(at) or real(at, *more, **options)
    )
    reader._parse.cache_clear()
    source = CO3D(at=tmp_path)
    assert len(read_all(source)) == len(read_all(source)) == 2
    assert len(opened) == 1
    write_jgz(tmp_path / "apple/frame_annotations.jgz", [])
    with pytest.raises(ValueError, match="with a sequence in it"):
        source.parts()


def test_annotations_are_refused_when_damaged_or_too_large(tmp_path, monkeypatch):
    co3d(tmp_path)
    path = tmp_path / "hydrant/frame_annotations.jgz"
    part = CO3D(at=tmp_path).parts()[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    *good, bad = CO3D(at=tmp_path).read(part)
    assert [record.key for record in good] == ["apple/110_1_2#0000", "apple/189_3_4#0000"]
    assert isinstance(bad, BadRecord)
    assert "cannot be read as CO3D's frame annotations" in bad.reason
    path.write_bytes(whole)
    monkeypatch.setattr(reader, "MAX_ANNOTATION_BYTES", 100)
    reader._parse.cache_clear()
    with pytest.raises(ValueError, match="unpacks to more than 100 bytes"):
        CO3D(at=tmp_path).parts()
    with pytest.raises(FileNotFoundError, match=r"no \*/frame_annotations.jgz in"):
        CO3D(at=tmp_path / "apple").parts()


def test_a_trust_mask_of_another_size_is_reported(tmp_path):
    co3d(tmp_path)
    save_png(tmp_path / "hydrant/7_8_9/depth_masks/frame000002.png", np.ones((4, 4), np.uint8))
    *_, bad = read_all(CO3D(at=tmp_path))
    assert bad.key == "hydrant/7_8_9#0000"
    assert "frame000002.png is [4, 4] but" in bad.reason
