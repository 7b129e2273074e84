"""Variants of records: what is changed alike in all slots, and that annotations stay true to their picture."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from openlvm.core.records import BadRecord, Boxes, Depth, Edges, Keypoints, Normals, Record, Segmentation
from openlvm.core.seeds import rng
from openlvm.sources.augmented import LEFT_RIGHT, Augmented, Change, changed
from openlvm.sources.interface import Part
from openlvm.sources.worlds.primitives import PrimitivesWorld

PART_OF_12_BY_8 = Change(left=0.25, top=0.125, side=0.5)  # columns 3..8 of 12, rows 1..4 of 8


@dataclass(frozen=True)
class TwoRecords:
    """A picture whose pixels say where they were, and its annotation; and a record that cannot be read."""

    label: str = "cat"
    slots: tuple[str, ...] = ("image", "answer", "mask")

    def describe(self):
        return {"layout": "two"}

    def parts(self):
        return [Part("00000", ("a", "b"))]

    def read(self, part):
        rows, columns = np.mgrid[:8, :12]
        image = np.stack([rows, columns, rows * columns], axis=-1).astype(np.uint8)
        for key in part.items:
            ids = Segmentation((rows * 12 + columns).astype(np.int32))
            yield Record(key=key, slots={"image": [image], "answer": [image + 100], "mask": [ids]}, label=self.label)
        yield BadRecord("c", "damaged")


def augmented(**changes) -> Augmented:
    return Augmented(**{"source": TwoRecords(), "variants": 3, **changes})


def read(source) -> list:
    return [record for part in source.parts() for record in source.read(part)]


def test_augmented_keeps_originals_and_bad_records():
    records = read(augmented())
    assert [record.key for record in records] == ["a", "a~1", "a~2", "b", "b~1", "b~2", "c"]
    assert isinstance(records[-1], BadRecord)
    first = next(TwoRecords().read(Part("00000", ("a",))))
    assert all(np.array_equal(records[0].slots[name][0], first.slots[name][0]) for name in ("image", "answer"))
    assert {record.label for record in records[:-1]} == {"cat"}


def test_augmented_changes_all_slots_alike():
    """Every pixel of every slot of a variant comes from the same place."""
    for record in read(augmented(variants=9))[:-1]:
        image, answer, mask = (record.slots[name][0] for name in ("image", "answer", "mask"))
        assert np.array_equal(mask.ids, image[..., 0].astype(int) * 12 + image[..., 1])
        assert np.array_equal(answer, image + 100)


def test_augmented_differs_from_record_to_record_and_repeats():
    first, again = read(augmented(variants=5)), read(augmented(variants=5))
    ids = [record.slots["mask"][0].ids for record in first[:-1]]
    assert all(np.array_equal(one, other.slots["mask"][0].ids) for one, other in zip(ids, again[:-1], strict=True))
    assert (
        len({part.tobytes() for part in ids}) == 8
    )  # the originals are alike, and two of the variants of so small a picture
    other_seed = read(augmented(variants=5, seed=1))
    assert any(not np.array_equal(one, other.slots["mask"][0].ids) for one, other in zip(ids, other_seed, strict=False))


def test_augmented_recolors_the_named_slots_alone_and_alike():
    source = augmented(variants=12, flip=False, least_side=1, recolored=("image", "answer"))
    original, *variants = read(source)[:12]
    orders = set()
    for record in variants:
        image, answer = record.slots["image"][0], record.slots["answer"][0]
        order = [int(np.flatnonzero(original.slots["image"][0][7, 11] == value)[0]) for value in image[7, 11]]
        orders.add(tuple(order))
        assert np.array_equal(image, original.slots["image"][0][..., order])
        assert np.array_equal(answer, original.slots["answer"][0][..., order])
    assert len(orders) > 2
    plain = read(replace(source, recolored=("image",)))[1]
    assert np.array_equal(plain.slots["answer"][0], original.slots["answer"][0])


def test_augmented_per_label_changes_a_whole_label_into_a_new_one():
    records = read(augmented(variants=4, per="label"))[:-1]
    by_label = {
        label: [r.slots["mask"][0].ids for r in records if r.label == label] for label in {r.label for r in records}
    }
    assert sorted(by_label) == ["cat", "cat~1", "cat~2", "cat~3"]
    assert all(np.array_equal(first, second) for first, second in by_label.values())
    with pytest.raises(ValueError, match="record 'a' has no label"):
        read(augmented(source=TwoRecords(label=""), per="label"))


def test_changed_cuts_and_mirrors_every_kind_of_annotation():
    change = replace(PART_OF_12_BY_8, is_mirrored=True)
    plane = np.arange(96, dtype=np.float32).reshape(8, 12)
    expected = plane[1:5, 3:9][:, ::-1]
    assert np.array_equal(changed(Depth(plane), change).meters, expected)
    assert np.array_equal(changed(Edges(plane / 96), change).strength, expected / 96)
    normals = changed(Normals(np.stack([plane, plane, -plane], axis=-1)), change).vectors
    assert np.array_equal(normals, np.stack([-expected, expected, -expected], axis=-1))
    boxes = changed(Boxes(np.array([[4, 2, 6, 4]], np.float32), np.array([7], np.int32), (8, 12)), change)
    assert boxes.corners.tolist() == [[3, 1, 5, 3]] and boxes.size == (4, 6)  # x: 9 - 6 .. 9 - 4


def test_changed_keypoints_follow_their_pixels():
    """A lit pixel and a point at its center are moved to the same place; people seen in a mirror change their sides."""
    points = rng("points").uniform(0, 8, size=(1, 17, 2)).astype(np.float32) // 1 + 0.5
    keypoints = Keypoints(points, np.ones((1, 17), bool), (8, 12))
    for change in (PART_OF_12_BY_8, replace(PART_OF_12_BY_8, is_mirrored=True)):
        moved = changed(keypoints, change)
        assert moved.size == (4, 6)
        for joint in range(17):
            source = LEFT_RIGHT[joint] if change.is_mirrored else joint
            picture = np.zeros((8, 12, 3), np.uint8)
            column, row = points[0, source].astype(int)
            picture[row, column] = 255
            lit = np.argwhere(changed(picture, change)[..., 0])
            assert len(lit) == moved.visible[0, joint]
            if len(lit):
                assert np.array_equal(moved.points[0, joint], lit[0][::-1] + 0.5)


def test_changed_planes_of_another_size_are_cut_at_the_same_shares():
    half = changed(Depth(np.arange(24, dtype=np.float32).reshape(4, 6)), replace(PART_OF_12_BY_8, top=0.25)).meters
    assert half.shape == (2, 3) and half[0, 0] == 6 + 2  # row 1, column 1.5 rounded to even


def test_annotations_of_variants_agree_with_each_other():
    """A mirrored stage has the normals that its own depth bends to: left and right are told apart by the sign alone."""
    source = Augmented(source=PrimitivesWorld(count=6, size=64), variants=3, least_side=0.6)
    for record in read(source):
        depth, normals = record.slots["depth"][0].meters, record.slots["normals"][0].vectors
        on_solid = record.slots["mask"][0].ids > 0
        assert depth.shape == on_solid.shape == normals.shape[:2]
        deeper_right = np.gradient(depth, axis=1)
        smooth = on_solid & (np.abs(deeper_right) < 0.1) & (np.abs(normals[..., 0]) > 0.3)
        if smooth.sum() > 50:
            assert (np.sign(deeper_right) == np.sign(normals[..., 0]))[smooth].mean() > 0.9


def test_augmented_rejects_what_does_nothing_or_does_not_fit():
    with pytest.raises(ValueError, match="variants=0 must be at least 1"):
        augmented(variants=0)
    with pytest.raises(ValueError, match="least_side=1.5 must be above 0 and at most 1"):
        augmented(least_side=1.5)
    with pytest.raises(ValueError, match=r"recolored names the slots \['depth'\]; the source has"):
        augmented(recolored=("depth",))
    with pytest.raises(ValueError, match="the variants would be copies"):
        augmented(flip=False, least_side=1)


def test_augmented_describes_itself_and_its_source():
    told = augmented(recolored=("image",)).describe()
    assert told["source"] == {"layout": "two"} and told["variants"] == 3 and told["recolored"] == ["image"]
