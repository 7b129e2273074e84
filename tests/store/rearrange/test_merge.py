"""Merging stores: every record is as it was, slots are united, keys stay unique, origins are kept."""

import json

import numpy as np
import pytest
from contents import contents, files_of
from fakes import FakeTokenizer, Shape, number_of

from openlvm.core.files import sha256_of
from openlvm.sentences.grammar import Pairs
from openlvm.store.format import Store, content_sha256
from openlvm.store.plan import Component, Plan
from openlvm.store.rearrange.copying import origin_of_parts
from openlvm.store.rearrange.merge import clashing_key, merge, store_names

CLIP = Shape(num_frames=4, label="clip", slots=("image", "depth"))
PLAIN = Shape()
CROSSED = Shape(num_frames=2, label="cat", slots=("image", "normals", "depth"))


@pytest.fixture
def two(make_store):
    """Stores whose slots come in another order, and whose keys are the same."""
    return make_store([[CLIP, PLAIN], [PLAIN]]), make_store([[CROSSED, CLIP], [CROSSED], [PLAIN, PLAIN]])


def passport_into(store, **told):
    """Write entries into a store's header, as tokenizing does."""
    header = json.loads((store.at / "store.json").read_text())
    (store.at / "store.json").write_text(json.dumps(header | told))
    return Store.open(store.at)


def prefixed(store):
    return {f"{store.at.name}/{key}": value for key, value in contents(store).items()}


def test_merge_keeps_every_record(two, tmp_path):
    store, clash = merge(two, tmp_path / "both")
    assert clash == "0-0"
    assert store.slots == ("image", "depth", "normals")
    assert contents(store) == prefixed(two[0]) | prefixed(two[1])
    assert list(contents(store)) == [*prefixed(two[0]), *prefixed(two[1])], "one store after the other"
    store.verify()
    assert [part["records"] for part in store.header["parts"]] == [2, 1, 2, 1, 2]


def test_merge_prefixes_only_keys_that_clash(make_store, tmp_path):
    first = make_store([[CLIP, PLAIN]])
    other = make_store([[], [PLAIN], [PLAIN]])  # keys 1-0, 2-0
    store, clash = merge([first, other], tmp_path / "both")
    assert clash == "" and list(contents(store)) == ["0-0", "0-1", "1-0", "2-0"]
    assert store.header["source"] == {"layout": "merge", "of": ["store1", "store2"], "prefixed": False}


def test_merge_numbers_folders_of_one_name(two, tmp_path):
    places = [tmp_path / side / "train" for side in "ab"]
    for store, at in zip(two, places, strict=True):
        at.parent.mkdir()
        store.at.rename(at)
    assert store_names([Store.open(at) for at in places]) == ["train-1", "train-2"]
    store, _ = merge(places, tmp_path / "both")
    assert {key.split("/")[0] for key in contents(store)} == {"train-1", "train-2"}


def test_merge_repeats(two, tmp_path):
    first, second = merge(two, tmp_path / "a").store, merge(two, tmp_path / "b").store
    assert files_of(first) == files_of(second)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp-")]


def test_merged_store_makes_plans(make_store, tmp_path):
    store, _ = merge([make_store([[CLIP] * 9]), make_store([[CROSSED] * 7])], tmp_path / "both")
    plan = Plan([Component(store, Pairs(target="depth", pairs=8))])
    [first, second] = plan.batch(range(plan.num_positions))
    pairs = number_of(np.concatenate([first.codes, second.codes]).reshape(16, 2, 4))
    assert len({tuple(pair) for pair in pairs.tolist()}) == 16
    shown = {
        (image, depth)
        for _, slots in contents(store).values()
        for image, depth in zip(slots["image"], slots["depth"], strict=True)
    }
    assert {tuple(pair) for pair in pairs.tolist()} <= shown


def test_merge_keeps_origins_and_passports(two, make_store, tmp_path):
    told = {"dataset": "a", "licence": "free", "annotators": [{"slot": "depth", "name": "x"}], "content_sha256": "1"}
    first, second = passport_into(two[0], passport=told), passport_into(two[1], passport={**told, "dataset": "b"})
    both = merge([first, second], tmp_path / "both").store
    third = make_store([[PLAIN] * 3])
    store, _ = merge([third, both], tmp_path / "all")
    origins = store.header["origins"]
    assert [origin["name"] for origin in origins] == ["store3", "store1", "store2"]
    assert [origin.get("passport", {}).get("dataset") for origin in origins] == [None, "a", "b"]
    assert origins[1]["sha256"] == sha256_of(first.at / "store.json")
    assert [origin["source"] for origin in origins] == [{"layout": "fake"}] * 3
    assert origin_of_parts(store).tolist() == [0, 1, 1, 2, 2, 2]
    assert store.header["passport"] == {
        "dataset": "a; b",
        "licence": "free",
        "annotators": [{"slot": "depth", "name": "x"}],
        "codes_fingerprint": "fake-codes",
        "content_sha256": content_sha256(store.header["parts"]),
    }


def test_merge_keeps_what_could_not_be_read(make_store, tmp_path):
    bad = make_store([[PLAIN, Shape(bad=True)], [Shape(bad=True)]], max_bad_share=1.0)
    store, _ = merge([bad, make_store([[PLAIN]])], tmp_path / "both")
    assert store.info()["skipped"] == 2 and len(store.part_names) == 3
    assert [record.key for record in store.bad_records()] == ["store1/0-1", "store1/1-0"]
    store.verify()


def test_merge_rejects_other_tokenizers(make_store, tmp_path):
    stores = [make_store([[PLAIN]]), make_store([[PLAIN]], tokenizer=FakeTokenizer("other"))]
    with pytest.raises(ValueError, match=r"store2 was made with another tokenizer \(other-codes…\) than .*store1"):
        merge(stores, tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_merge_rejects_wrong_folders(two, tmp_path):
    with pytest.raises(ValueError, match="at least two stores, given 1"):
        merge(two[:1], tmp_path / "both")
    with pytest.raises(ValueError, match="given twice: .*store1"):
        merge([two[0], two[1].at / ".." / "store1"], tmp_path / "both")
    with pytest.raises(ValueError, match="store2 exists and is not an empty folder"):
        merge(two, two[1].at)
    with pytest.raises(FileNotFoundError, match="no store at"):
        merge([two[0], tmp_path / "nowhere"], tmp_path / "both")


def test_merge_rejects_a_slot_in_two_styles(two, tmp_path):
    styled = passport_into(two[0], styles={"depth": "inverse"})
    with pytest.raises(ValueError, match="slot 'depth' is drawn in style 'inverse' in .*store1 and in '' in .*store2"):
        merge([styled, two[1]], tmp_path / "both")


def test_merge_accepts_a_slot_that_only_one_has_in_a_style(make_store, tmp_path):
    styled = passport_into(make_store([[CLIP]]), styles={"depth": "inverse"})
    merged = merge([styled, make_store([[PLAIN]])], tmp_path / "both").store
    assert merged.header["origins"][0]["styles"] == {"depth": "inverse"}
    with pytest.raises(ValueError, match="in style 'inverse' in .*both and in '' in"):
        merge([merged, make_store([[CLIP]])], tmp_path / "more")


def test_clashing_key_is_found_among_many_buckets(make_store, monkeypatch):
    monkeypatch.setattr("openlvm.store.likeness.buckets.PAIRS_PER_BUCKET", 2)
    stores = [make_store([[PLAIN] * 40]), make_store([[], [PLAIN] * 40]), make_store([[], [], [PLAIN] * 40])]
    assert clashing_key(stores) == ""
    assert clashing_key([*stores, make_store([[], [PLAIN] * 41])]).startswith("1-")


def test_merge_leaves_nothing_behind_when_the_disk_is_full(two, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("openlvm.store.bind.describe_files", full)
    with pytest.raises(OSError, match="No space"):
        merge(two, tmp_path / "both")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store1", "store2"]
