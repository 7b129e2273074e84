"""A record has one shape."""

import dataclasses

import numpy as np
import pytest

from openlvm.core.records import BadRecord, Depth, Record

PICTURE = np.zeros((2, 2, 3), np.uint8)
DEPTH = Depth(np.ones((2, 2), np.float32))


def test_record_counts_frames():
    assert Record(key="a", slots={"image": [PICTURE]}).num_frames == 1
    assert Record(key="a", slots={"image": [PICTURE] * 3, "depth": [DEPTH] * 3}, label="cat").num_frames == 3


def test_record_rejects_slots_of_different_lengths():
    with pytest.raises(
        ValueError, match=r"record 'a' has slots of lengths \{'image': 2, 'depth': 1\}; all must be equal"
    ):
        Record(key="a", slots={"image": [PICTURE, PICTURE], "depth": [DEPTH]})


def test_record_rejects_no_slots_no_frames_and_no_key():
    with pytest.raises(ValueError, match=r"record 'a' has slots of lengths \{\}"):
        Record(key="a", slots={})
    with pytest.raises(ValueError, match=r"lengths \{'image': 0\}; all must be equal and at least 1"):
        Record(key="a", slots={"image": []})
    with pytest.raises(ValueError, match=r"a record with slots \['image'\] has an empty key"):
        Record(key="", slots={"image": [PICTURE]})


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Record(key="a", slots={"image": [PICTURE]}).key = "b"
    assert BadRecord("a", "why") == BadRecord("a", "why")
