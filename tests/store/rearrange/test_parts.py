"""Parts written from columns and codes are, to the byte, those that tokenizing writes."""

import json

import numpy as np
import pytest
from contents import codes_in_order, files_of
from fakes import Shape

from openlvm.core.records import BadRecord
from openlvm.store.bind import bind
from openlvm.store.format import Store
from openlvm.store.rearrange.parts import (
    Columns,
    bad_records_of_part,
    codes_of_part,
    keys_of_part,
    require_fresh,
    write_part,
)

CLIP = Shape(num_frames=3, label="clip", slots=("image", "depth"))


@pytest.fixture
def store(make_store):
    rows = [CLIP, Shape(), Shape(label="a"), Shape(bad=True)]
    return make_store([rows, [], [Shape(label="clip"), CLIP]], max_bad_share=0.5)


def copied(store, at):
    """The store written again from its columns; empty parts too."""
    for part, name in enumerate(store.part_names):
        entries = store.records[store.part_records[part] : store.part_records[part + 1]]
        labels = [store.labels[label] for label in entries["label"]]
        columns = Columns(keys_of_part(store, part), labels, entries["slots"], entries["num_frames"])
        write_part(at, name, columns, [codes_of_part(store, part)], bad_records_of_part(store, part))
    bind(at, json.loads((store.at / "tokenize.json").read_text()), store.part_names)
    return Store.open(at)


def test_written_parts_equal_tokenized_ones(store, tmp_path):
    again = copied(store, tmp_path / "again")
    expected = files_of(store)
    expected.pop("tokenize.json")
    assert files_of(again) == expected
    assert list(again.bad_records()) == [BadRecord("0-3", "made to be bad")]


def test_keys_and_codes_of_part_equal_one_by_one(store):
    keys = [key.decode() for part in range(3) for key in keys_of_part(store, part)]
    assert keys == [store.key(record) for record in range(store.num_records)]
    assert np.array_equal(np.concatenate([codes_of_part(store, part) for part in range(3)]), codes_in_order(store))
    assert codes_of_part(store, 1).shape == (0, 4)


def test_write_part_rejects_another_number_of_codes(store, tmp_path):
    columns = Columns([b"a"], [""], np.array([3], np.uint64), np.array([2]))
    with pytest.raises(AssertionError):
        write_part(tmp_path, "00000", columns, [np.zeros((3, 4), "<u2")])


def test_require_fresh_rejects_what_is_there(tmp_path):
    require_fresh(tmp_path / "new")
    require_fresh(tmp_path)
    (tmp_path / "file").write_text("x")
    for at in (tmp_path, tmp_path / "file"):
        with pytest.raises(ValueError, match="exists and is not an empty folder"):
            require_fresh(at)
