"""Records get their slots in order and by key, in the same batches every time; what fails is told, not replaced."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from openlvm.annotators.interface import annotated
from openlvm.core.records import BadRecord, Depth, Edges, Record


@dataclass
class Brightness:
    """An annotator for tests: depth is the mean of a picture; pictures that begin with 255 cannot be annotated."""

    slot: str = "depth"
    name: str = "brightness"
    version: str = "1"
    batches: list[list[int]] = field(default_factory=list)

    def describe(self):
        return {"slot": self.slot, "kind": "test", "name": self.name, "version": self.version}

    def annotate(self, images):
        self.batches.append([int(image[0, 0, 0]) for image in images])
        if any(image[0, 0, 0] == 255 for image in images):
            raise ValueError("too bright")
        return [Depth(np.full(image.shape[:2], image.mean(), np.float32)) for image in images]


def _record(key, *values):
    return Record(key=key, slots={"image": [np.full((2, 3, 3), value, np.uint8) for value in values]}, label="x")


def test_annotated_records_keep_order_slots_and_label_and_bad_ones_pass():
    bad = BadRecord("lost", "not there")
    given = [_record("a", 1), bad, _record("b", 2, 3, 4), _record("c", 5)]
    done = list(annotated(given, [Brightness(), Brightness(slot="edges")], batch_size=2))
    assert done[1] is bad
    assert [record.key for record in done] == ["a", "lost", "b", "c"]
    for before, after in zip(given, done, strict=True):
        if isinstance(before, Record):
            assert list(after.slots) == ["image", "depth", "edges"] and after.label == "x"
            assert after.slots["image"] is before.slots["image"]
            means = [depth.meters[0, 0] for depth in after.slots["depth"]]
            assert means == [frame[0, 0, 0] for frame in before.slots["image"]]


def test_batches_hold_pictures_of_several_records_and_repeat():
    given = [_record("a", 1), _record("b", 2), _record("c", 3, 4, 5), _record("d", 6)]
    first, second = Brightness(), Brightness()
    list(annotated(given, [first], batch_size=3))
    list(annotated(iter(given), [second], batch_size=3))
    assert first.batches == second.batches == [[1, 2, 3], [4, 5], [6]]


def test_a_picture_that_fails_makes_its_record_bad_and_no_other():
    given = [_record("a", 1), _record("b", 7, 255), _record("c", 3)]
    one, two, three = annotated(given, [Brightness(), Brightness(slot="edges")], batch_size=8)
    assert two == BadRecord("b", "brightness cannot annotate it: too bright")
    assert list(one.slots) == list(three.slots) == ["image", "depth", "edges"]
    assert three.slots["depth"][0].meters[0, 0] == 3


def test_records_without_pictures_are_bad():
    edges = Record(key="e", slots={"image": [Edges(np.zeros((2, 2), np.float32))]})
    alone = Record(key="d", slots={"depth": [Depth(np.ones((2, 2), np.float32))]})
    told = list(annotated([edges, alone], [Brightness(slot="mask")], batch_size=4))
    assert [record.key for record in told] == ["e", "d"]
    assert all("needs pictures in slot 'image'" in record.reason for record in told)


def test_records_are_read_no_further_than_a_batch():
    read = []

    def records():
        for number in range(10):
            read.append(number)
            yield _record(str(number), number)

    done = annotated(records(), [Brightness()], batch_size=3)
    next(done)
    assert read == [0, 1, 2]


def test_annotated_rejects_slots_that_are_taken_and_no_batch():
    with pytest.raises(ValueError, match="each slot has one annotator, given depth, depth"):
        list(annotated([], [Brightness(), Brightness()], batch_size=2))
    with pytest.raises(ValueError, match="record 'a' already has the slot 'image'"):
        list(annotated([_record("a", 1)], [Brightness(slot="image")], batch_size=2))
    with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
        list(annotated([], [], batch_size=0))
