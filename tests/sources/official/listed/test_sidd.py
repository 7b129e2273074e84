"""SIDD's validation squares are read from both files under one key; files that do not fit are refused by name."""

import numpy as np
import pytest
from scipy.io import savemat

from openlvm.core.records import Record
from openlvm.sources.official.listed.sidd import SiddBlocks


def blocks(seed, shape=(2, 3, 12, 12, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write(at, noisy, clean):
    savemat(at / "ValidationNoisyBlocksSrgb.mat", {"ValidationNoisyBlocksSrgb": noisy}, do_compression=True)
    savemat(at / "ValidationGtBlocksSrgb.mat", {"ValidationGtBlocksSrgb": clean})


def test_every_square_is_read_with_its_partner(tmp_path):
    noisy, clean = blocks(0), blocks(1)
    write(tmp_path, noisy, clean)
    source = SiddBlocks(at=tmp_path, records_per_part=4)
    parts = source.parts()
    assert [len(part.items) for part in parts] == [4, 2] and source.describe() == {
        "layout": "sidd_blocks",
        "records_per_part": 4,
    }
    records = [record for part in parts for record in source.read(part)]
    assert [record.key for record in records] == ["00/00", "00/01", "00/02", "01/00", "01/01", "01/02"]
    for record, places in zip(records, np.ndindex(2, 3), strict=True):
        assert isinstance(record, Record) and record.label == record.key[:2]
        assert (record.slots["image"][0] == noisy[places]).all() and (record.slots["clean"][0] == clean[places]).all()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ValidationNoisyBlocksSrgb\.mat; SIDD's validation set is"):
        SiddBlocks(at=tmp_path).parts()


def test_files_that_do_not_fit_are_refused(tmp_path):
    write(tmp_path, blocks(0), blocks(1, (2, 2, 12, 12, 3)))
    with pytest.raises(
        ValueError, match=r"\[2, 3, 12, 12, 3\] but .* \[2, 2, 12, 12, 3\]; they do not belong together"
    ):
        SiddBlocks(at=tmp_path).parts()
    write(tmp_path, blocks(0).astype(np.float32), blocks(1))
    with pytest.raises(ValueError, match=r"must hold ValidationNoisyBlocksSrgb, uint8"):
        SiddBlocks(at=tmp_path).parts()
