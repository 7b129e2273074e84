"""Variants of records: what is changed alike in all slots, and that annotations stay true to their picture."""

import json
import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
from annotated import RANDOM, STANDING

from openlvm.core.records import (
    JOINTS,
    BadRecord,
    Boxes,
    Depth,
    Disparity,
    Edges,
    Flow,
    Keypoints,
    Normals,
    Record,
    Segmentation,
)
from openlvm.core.seeds import rng
from openlvm.sources.augmented import Augmented, Balance, Change, balance, changed, mirrored_joints
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
            source = mirrored_joints("coco")[joint] if change.is_mirrored else joint
            picture = np.zeros((8, 12, 3), np.uint8)
            column, row = points[0, source].astype(int)
            picture[row, column] = 255
            lit = np.argwhere(changed(picture, change)[..., 0])
            assert len(lit) == moved.visible[0, joint]
            if len(lit):
                assert np.array_equal(moved.points[0, joint], lit[0][::-1] + 0.5)


@pytest.mark.parametrize("joints", sorted(JOINTS))
def test_mirrored_joints_exchange_left_and_right_of_every_set(joints):
    names, order = JOINTS[joints], mirrored_joints(joints)
    assert [order[place] for place in order] == list(range(len(names)))  # twice mirrored is as before
    for name, source in zip(names, order, strict=True):
        side, _, part = name.partition("_")
        assert names[source] == {"left": f"right_{part}", "right": f"left_{part}"}.get(side, name)


def test_changed_keypoints_keep_their_set():
    mirror = Change(is_mirrored=True)
    points = np.stack([np.arange(16.0), np.zeros(16)], axis=-1)[None].astype(np.float32)
    mpii = changed(Keypoints(points, np.ones((1, 16), bool), (8, 20), "mpii"), mirror)
    assert mpii.joints == "mpii"
    assert mpii.points[0, JOINTS["mpii"].index("right_ankle"), 0] == 20 - JOINTS["mpii"].index("left_ankle")
    nameless = changed(Keypoints(points, np.ones((1, 16), bool), (8, 20), ""), mirror)
    np.testing.assert_array_equal(nameless.points[0, :, 0], 20 - points[0, :, 0])
    with pytest.raises(ValueError, match="16 joints are not of the set 'coco', which has 17"):
        changed(Keypoints(points, np.ones((1, 16), bool), (8, 20)), mirror)


def test_mirroring_twice_gives_everything_back():
    mirror = Change(is_mirrored=True)
    person = Keypoints(STANDING[None], np.arange(17)[None] % 3 > 0, (96, 128))
    for payload in (*(RANDOM[kind](rng("scene")) for kind in ("segmentation", "normals", "flow", "edges")), person):
        twice = changed(changed(payload, mirror), mirror)
        for before, after in zip(vars(payload).values(), vars(twice).values(), strict=True):
            np.testing.assert_array_equal(before, after)


def test_changed_flow_still_finds_its_pixel():
    """A pixel and its flow lead to the same place of the next frame, whatever is cut and mirrored."""
    chance = rng("flow")
    first, landing = np.zeros((8, 12, 3), np.uint8), np.zeros((8, 12, 3), np.uint8)
    vectors = np.full((8, 12, 2), np.nan, np.float32)
    for value in range(1, 9):  # pixels with a value of their own move to free places
        (row, column), (to_row, to_column) = chance.integers((1, 3), (5, 9)), chance.integers((1, 3), (5, 9))
        if landing[to_row, to_column].any() or first[row, column].any():
            continue
        first[row, column], landing[to_row, to_column] = value, value
        vectors[row, column] = to_column - column, to_row - row
    for change in (Change(), PART_OF_12_BY_8, replace(PART_OF_12_BY_8, is_mirrored=True)):
        now, then, motion = changed(first, change), changed(landing, change), changed(Flow(vectors), change).vectors
        moving = np.argwhere(np.isfinite(motion[..., 0]))
        assert len(moving) >= 3
        for row, column in moving:
            right, down = motion[row, column].astype(int)
            assert then[row + down, column + right, 0] == now[row, column, 0]


@dataclass(frozen=True)
class Stereo:
    """Pairs of pictures, and disparity if asked."""

    has_disparity: bool = True

    @property
    def slots(self):
        return ("image", "disparity" if self.has_disparity else "right")

    def describe(self):
        return {"layout": "stereo"}

    def parts(self):
        return [Part("00000", tuple("abcdefgh"))]

    def read(self, part):
        plane = np.arange(96, dtype=np.float32).reshape(8, 12)
        for key in part.items:
            left = np.repeat(plane[..., None], 3, axis=-1).astype(np.uint8)
            second = Disparity(plane) if self.has_disparity else left + 100
            yield Record(key=key, slots={"image": [left], self.slots[1]: [second]})


@pytest.mark.parametrize("has_disparity", [True, False])
def test_stereo_is_cut_but_never_mirrored(has_disparity):
    records = read(Augmented(source=Stereo(has_disparity), variants=4))
    assert len(records) == 32 and len({record.slots["image"][0].shape for record in records}) > 3
    for record in records:
        left, second = record.slots["image"][0].astype(int), record.slots[record_slot(record)][0]
        assert (np.diff(left[..., 0], axis=1) == 1).all()  # from left to right as before
        values = second.pixels if has_disparity else second[..., 0].astype(int) - 100
        np.testing.assert_array_equal(values, left[..., 0])
    with pytest.raises(ValueError, match="record 'a' is stereo, which is not mirrored: let it crop or recolor"):
        read(Augmented(source=Stereo(has_disparity), variants=2, least_side=1))
    with pytest.raises(ValueError, match="a disparity cannot be mirrored"):
        changed(Disparity(np.ones((2, 2), np.float32)), Change(is_mirrored=True))


def record_slot(record):
    return next(name for name in record.slots if name != "image")


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


def test_augmented_tokenizes_and_travels_to_other_processes(fake_tokenizer, tmp_path):
    from openlvm.store.tokenize import tokenize

    source = Augmented(source=PrimitivesWorld(count=3, size=64), variants=3, recolored=("image",))
    sent = pickle.loads(pickle.dumps(source))
    assert sent == source
    assert json.loads(json.dumps(source.describe())) == source.describe() == sent.describe()
    one = tokenize(source, tokenizer=fake_tokenizer, at=tmp_path / "one", generated=["gray"])
    other = tokenize(sent, tokenizer=fake_tokenizer, at=tmp_path / "other", generated=["gray"])
    assert one.num_records == 9
    for name in ("records.bin", "store.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    with pytest.raises(ValueError, match="begun with another request: .*source was"):
        tokenize(replace(source, seed=1), tokenizer=fake_tokenizer, at=tmp_path / "one", generated=["gray"])
    del other


# the plan of a balance


def test_balance_gives_the_scarce_its_share():
    plan = balance({"masks": 10_000, "poses": 500}, {"masks": 1, "poses": 1})
    assert plan["masks"] == Balance(variants=1, share=0.5, passes=1.0)
    assert plan["poses"] == Balance(variants=20, share=0.5, passes=20.0)
    thirds = balance({"a": 900, "b": 100, "c": 40}, {"a": 2, "b": 1, "c": 1})
    assert [thirds[task].variants for task in "abc"] == [1, 5, 11]  # 450 / 100 = 4.5, half up; 450 / 40 = 11.25
    assert sum(part.share for part in thirds.values()) == pytest.approx(1)
    assert thirds["b"].share == pytest.approx(500 / 1840)
    assert thirds["c"].passes == 11.25


def test_balance_throws_nothing_away_and_comes_near_the_shares():
    chance = rng("balance")
    for _ in range(200):
        tasks = [f"task{number}" for number in range(chance.integers(1, 7))]
        counts = {task: int(10 ** chance.uniform(0, 6)) for task in tasks}
        shares = {task: float(chance.uniform(0.05, 1)) for task in tasks}
        plan = balance(counts, shares)
        assert min(part.variants for part in plan.values()) == 1
        wanted = {task: shares[task] / sum(shares.values()) for task in tasks}
        for task, part in plan.items():
            assert part.variants >= 1 and abs(part.variants - part.passes) <= 0.5
            assert 0.5 < part.share / wanted[task] < 2  # half a variant off, itself or the others
        total = sum(counts[task] * plan[task].passes for task in tasks)
        assert all(counts[task] * plan[task].passes / total == pytest.approx(wanted[task]) for task in tasks)


def test_balance_stops_at_the_most_variants():
    plan = balance({"many": 1000, "few": 2}, {"many": 0.5, "few": 0.5}, most_variants=32)
    assert plan["few"].variants == 32 and plan["few"].passes == 500
    assert plan["few"].share == pytest.approx(64 / 1064)


def test_balance_rejects_what_has_no_answer():
    with pytest.raises(
        ValueError, match=r"counts are of the tasks \['a'\], shares of \['b'\]; both must name the same"
    ):
        balance({"a": 1}, {"b": 1})
    with pytest.raises(ValueError, match="at least 1 record and a share above 0, given a: 0 records, share 1"):
        balance({"a": 0, "b": 2}, {"a": 1, "b": 1})
    with pytest.raises(ValueError, match="b: 2 records, share 0"):
        balance({"a": 1, "b": 2}, {"a": 1, "b": 0})
    with pytest.raises(ValueError, match="most_variants=0 must be at least 1"):
        balance({"a": 1}, {"a": 1}, most_variants=0)
