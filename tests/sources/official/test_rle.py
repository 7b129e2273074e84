"""Run lengths against COCO's own code; damaged ones are refused; SA-1B's archives and folders."""

import io
import json
import tarfile

import numpy as np
import pytest
from miniatures.files import save_jpeg
from miniatures.labelled import SIZE, rectangle, run_list, run_text, sa1b

from openlvm.core.records import BadRecord, Record
from openlvm.sources.official import rle

coco_masks = pytest.importorskip("pycocotools.mask")


def masks() -> list[np.ndarray]:
    """Random, striped, empty and full masks of all sizes up to 40, and one with long runs."""
    chance = np.random.default_rng(0)
    found = [chance.random(chance.integers(1, 40, 2)) < chance.random() for _ in range(100)]
    found += [np.zeros((5, 7), bool), np.ones((5, 7), bool), np.arange(1)[None] == 0]
    large = np.zeros((700, 900), bool)
    large[100:600, 300:800] = True
    large[:, 5] = True
    return [*found, large]


def test_runs_match_cocos_own_code():
    for mask in masks():
        text = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        for counts in (text, text.decode(), run_list(mask)["counts"]):
            runs = rle.runs_of({"size": list(mask.shape), "counts": counts}, mask.shape)
            np.testing.assert_array_equal(rle.painted([(runs, 7)], mask.shape).ids, mask * np.int32(7))
            assert rle.num_pixels(runs) == mask.sum()


def test_polygons_match_cocos_own_code():
    chance = np.random.default_rng(1)
    for _ in range(30):
        polygons = [(chance.random(2 * chance.integers(3, 9)) * 40 - 4).tolist() for _ in range(chance.integers(1, 4))]
        wanted = coco_masks.decode(coco_masks.merge(coco_masks.frPyObjects(polygons, 24, 32)))
        np.testing.assert_array_equal(rle.painted([(rle.runs_of_polygons(polygons, SIZE), 1)], SIZE).ids, wanted)
    assert rle.runs_of_polygons([], SIZE).shape == (0, 2)


@pytest.mark.parametrize(
    "counts",
    [
        *([], [768, 1], [767], [-1, 769], [1.5, 766.5], [[768]], ["768"], [True], [2**70]),
        *("", "P", "\x01", "oooooooooo0", "é", "0", "`0" * 40),
    ],
    ids=str,
)
def test_damaged_counts_are_refused(counts):
    with pytest.raises(ValueError, match="counts|bits"):
        rle.runs_of({"size": list(SIZE), "counts": counts}, SIZE)


def test_count_of_too_many_bits_is_refused():
    with pytest.raises(ValueError, match="a count of a mask has more than 35 bits"):
        rle.runs_of({"size": list(SIZE), "counts": "o" * 13 + "0"}, SIZE)


def test_any_text_is_a_mask_or_refused():
    chance = np.random.default_rng(2)
    whole = run_text(rectangle(3, 3, 20, 20))["counts"]
    read = 0
    for _ in range(2000):
        letters = list(whole)
        for place in chance.integers(0, len(letters), chance.integers(1, 4)):
            letters[place] = chr(chance.integers(0, 128))
        try:
            runs = rle.runs_of({"size": list(SIZE), "counts": "".join(letters)}, SIZE)
        except ValueError:
            continue
        read += 1
        assert (np.diff(runs.ravel()) >= 0).all() and runs.min(initial=0) >= 0 and runs.max(initial=0) <= 24 * 32
    assert read > 0


def test_too_many_runs_are_refused(monkeypatch):
    monkeypatch.setattr(rle, "MAX_RUNS", 3)
    with pytest.raises(ValueError, match="a mask of 4 runs; the limit is 3"):
        rle.runs_of({"size": list(SIZE), "counts": [1, 2, 3, 762]}, SIZE)


@pytest.mark.parametrize(
    "polygon", [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [0, 0, 9, 9, float("nan"), 1], [0, 0, 9, 9, 65, 1]]
)
def test_strange_polygons_are_refused(polygon):
    with pytest.raises(ValueError, match="a polygon"):
        rle.runs_of_polygons([polygon], SIZE)


def test_instances_are_numbered_by_size_and_small_ones_lie_on_top(monkeypatch):
    part, whole, other = rectangle(4, 4, 8, 8), rectangle(2, 2, 20, 20), rectangle(22, 0, 30, 10)
    runs = [rle.runs_of(run_list(mask), SIZE) for mask in (part, whole, other)]
    ids = rle.painted_instances(runs, SIZE).ids
    assert ids.dtype == np.int32 and ids.flags.c_contiguous
    np.testing.assert_array_equal(ids, np.select([part, whole, other], [3, 1, 2], 0))
    monkeypatch.setattr(rle, "MAX_INSTANCES", 2)
    np.testing.assert_array_equal(rle.painted_instances(runs, SIZE).ids, np.select([whole, other], [1, 2], 0))


def records(at):
    source = rle.SegmentAnything(at=at)
    return [one for part in source.parts() for one in source.read(part)]


def test_archive_and_folder_give_the_same_records(tmp_path):
    expected = sa1b(tmp_path)["train"]
    packed = {one.key: one for one in records(tmp_path)}
    assert set(packed) == set(expected)
    with tarfile.open(tmp_path / "sa_000000.tar") as archive:
        archive.extractall(tmp_path / "sa_000000", filter="data")
    with pytest.raises(ValueError, match=r"has sa_000000\.tar and its unpacked folder"):
        records(tmp_path)
    (tmp_path / "sa_000000.tar").unlink()
    for one in records(tmp_path):
        for slot in ("image", "instances"):
            left, right = one.slots[slot][0], packed[one.key].slots[slot][0]
            np.testing.assert_array_equal(getattr(left, "ids", left), getattr(right, "ids", right))


def test_archive_lies_in_a_part_of_its_own(tmp_path):
    sa1b(tmp_path)
    parts = rle.SegmentAnything(at=tmp_path).parts()
    assert [(part.name, part.items) for part in parts] == [
        ("00000", ("sa_000000.tar",)),
        ("00001", ("sa_000001/sa_11187",)),
    ]


def test_broken_member_of_an_archive_spoils_no_other_record(tmp_path):
    pixels = save_jpeg(tmp_path / "sa_1.jpg", np.zeros((24, 32, 3), np.uint8))
    told = {"image": {"height": 24, "width": 32}, "annotations": [{"segmentation": run_text(rectangle(1, 1, 5, 5))}]}
    members = {
        "sa_1.jpg": (tmp_path / "sa_1.jpg").read_bytes(), "sa_1.json": json.dumps(told).encode(),
        "sa_2.jpg": (tmp_path / "sa_1.jpg").read_bytes(), "sa_2.json": b'{"image": {}}',
        "sa_3.jpg": (tmp_path / "sa_1.jpg").read_bytes(),
    }  # fmt: skip
    with tarfile.open(tmp_path / "sa_000007.tar", "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (tmp_path / "sa_1.jpg").unlink()
    good, wrong, lonely = records(tmp_path)
    assert isinstance(good, Record) and good.key == "sa_000007/sa_1"
    np.testing.assert_array_equal(good.slots["image"][0], pixels)
    assert wrong == BadRecord("sa_000007/sa_2", "its JSON is not SA-1B's: KeyError 'height'")
    assert lonely == BadRecord("sa_000007/sa_3", "expected its .jpg and .json, found ['jpg']")


def test_archive_that_is_cut_off_is_reported(tmp_path):
    sa1b(tmp_path)
    shard = tmp_path / "sa_000000.tar"
    whole = shard.read_bytes()
    with tarfile.open(shard) as archive:
        last = archive.getmembers()[-1]
    shard.write_bytes(whole[: last.offset_data + 10])
    found = records(tmp_path)
    assert any(isinstance(one, Record) and one.key == "sa_000000/sa_1" for one in found)
    assert any(isinstance(one, BadRecord) and one.key in ("sa_000000", "sa_000000/sa_2") for one in found)
