"""A check counts what is there against what is promised, and fails only where nothing is."""

import shutil
from dataclasses import replace

import pytest
from miniatures import pictures, restoration
from miniatures.files import save_png

from openlvm.sources.catalog.check import MAX_TOLD, check_split, check_splits
from openlvm.sources.catalog.table import CATALOG


def test_check_counts_items_records_frames_and_labels(tmp_path):
    restoration.did_mdn(tmp_path)
    row = replace(CATALOG["did_mdn"], promised={"train": 6})
    checked = check_split(row, tmp_path, "train", limit=0)
    assert (checked.items, checked.promised, checked.read, checked.records, checked.bad) == (6, 6, 6, 6, 0)
    assert checked.frames == {"image": 6, "clean": 6}
    assert checked.labels == 3
    assert checked.is_as_promised
    assert not check_split(CATALOG["did_mdn"], tmp_path, "train", limit=0).is_as_promised  # 12,000 are promised


@pytest.mark.parametrize(("limit", "read"), [(0, 6), (100, 6), (6, 6), (5, 3), (2, 2), (1, 1)])
def test_check_reads_some_spread_evenly(limit, read, tmp_path):
    restoration.did_mdn(tmp_path)
    checked = check_split(CATALOG["did_mdn"], tmp_path, "train", limit=limit)
    assert checked.read == checked.records == read
    assert limit == 0 or checked.read <= limit


def test_check_reads_no_whole_archive_for_a_few_records(tmp_path, monkeypatch):
    pictures.laion(tmp_path)
    assert check_split(CATALOG["laion"], tmp_path, "train", limit=0).records == 4
    few = check_split(CATALOG["laion"], tmp_path, "train", limit=2)
    assert (few.items, few.read, few.records) == (2, 2, 2)


def test_check_names_the_first_bad_records(tmp_path):
    for number in range(MAX_TOLD + 2):
        save_png(tmp_path / f"our485/low/{number}.png", pictures.picture(number))
        save_png(tmp_path / f"our485/high/{number}.png", pictures.picture(number, 10, 10))
    checked = check_split(CATALOG["lol"], tmp_path, "train", limit=0)
    assert (checked.bad, checked.records, len(checked.told)) == (MAX_TOLD + 2, 0, MAX_TOLD)
    assert checked.told[0].startswith("0: its 'image' is 32 x 24 but its 'clean' is 10 x 10")
    assert not checked.is_as_promised


def test_check_of_all_splits_tells_what_is_missing(tmp_path):
    pictures.ade20k(tmp_path)
    shutil.rmtree(tmp_path / "images/validation")
    train, val = check_splits(CATALOG["ade20k"], tmp_path, limit=0)
    assert (train.missing, train.records) == ("", 2)
    assert "no folder" in val.missing and "images/validation" in val.missing
    assert (val.items, val.promised, val.is_as_promised) == (0, 2000, False)
    with pytest.raises(FileNotFoundError, match="images/validation"):
        check_split(CATALOG["ade20k"], tmp_path, "val", limit=0)


def test_check_fails_where_no_split_is_there(tmp_path):
    words = r"is not ADE20K .* as it is published: train: no folder .*; val: no folder .*`openlvm catalog ade20k` shows"
    with pytest.raises(FileNotFoundError, match=words):
        check_splits(CATALOG["ade20k"], tmp_path, limit=0)


def test_check_does_not_take_unpaired_files_for_a_missing_split(tmp_path):
    pictures.ade20k(tmp_path)
    (tmp_path / "images/validation/ADE_val_00000001.jpg").unlink()
    with pytest.raises(ValueError, match="belong to no picture"):
        check_splits(CATALOG["ade20k"], tmp_path, limit=0)
