"""Splitting and sampling: which records go where, that they are as they were, and that it depends on keys alone."""

import pytest
from contents import contents, files_of
from fakes import Shape

from openlvm.store.format import Store
from openlvm.store.rearrange.copying import origin_of_parts
from openlvm.store.rearrange.merge import merge
from openlvm.store.rearrange.select import _threshold, sample, split

SHARES = {"train": 0.75, "heldout": 0.25}
ANIMALS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen")


@pytest.fixture
def store(make_store):
    """400 records in 10 parts, every fourth annotated."""
    shapes = [Shape(label=animal, slots=("image", "depth")[: 1 + (place == 3)]) for place, animal in enumerate(ANIMALS)]
    return make_store([shapes * 5] * 10)


def test_split_shares_every_record_out_once(store, tmp_path):
    made = split(store, tmp_path / "parts", SHARES, seed=0)
    train, heldout = contents(made["train"]), contents(made["heldout"])
    assert train | heldout == contents(store) and not train.keys() & heldout.keys()
    assert 270 < len(train) < 330  # 300 expected, standard deviation 8.7
    assert list(train) == [key for key in contents(store) if key in train], "the order is kept"
    for name, one in made.items():
        one.verify()
        assert Store.open(tmp_path / "parts" / name).header["source"]["share"] == name


def test_split_depends_on_seed_and_keys_alone(store, make_store, tmp_path):
    first = split(store, tmp_path / "a", SHARES, seed=0)
    again = split(store, tmp_path / "b", SHARES, seed=0)
    other = split(store, tmp_path / "c", SHARES, seed=1)
    assert files_of(first["train"]) == files_of(again["train"])
    assert contents(first["train"]).keys() != contents(other["train"]).keys()
    larger = make_store([[Shape()] * 45] * 12)  # the same keys and more
    moved = split(larger, tmp_path / "d", SHARES, seed=0)
    assert contents(first["heldout"]).keys() == contents(moved["heldout"]).keys() & contents(store).keys()
    some = sample(store, tmp_path / "some", 200, seed=0)  # in other parts
    moved = split(some, tmp_path / "e", SHARES, seed=0)
    assert contents(moved["heldout"]).keys() == contents(first["heldout"]).keys() & contents(some).keys()


def test_split_moves_few_records_when_shares_change(store, tmp_path):
    first = contents(split(store, tmp_path / "a", SHARES, seed=0)["train"]).keys()
    second = contents(split(store, tmp_path / "b", {"train": 0.8, "heldout": 0.2}, seed=0)["train"]).keys()
    assert first < second


def test_split_by_label_keeps_labels_together(store, tmp_path):
    made = split(store, tmp_path / "parts", {"a": 0.4, "b": 0.3, "c": 0.3}, seed=5, by="label")
    labels = {name: set(one.labels) for name, one in made.items()}
    assert set.union(*labels.values()) == set(ANIMALS) and sum(map(len, labels.values())) == len(ANIMALS)
    assert all(labels.values()), "the seed was chosen so that each gets labels"


def test_split_rejects_bad_shares(store, make_store, tmp_path):
    for shares, words in {
        (("a", 1.0),): "at least two shares between 0 and 1",
        (("a", 0.5), ("b", 0.6)): "sum to 1, these to 1.1",
        (("a", 0.5), ("../b", 0.5)): r"'../b' cannot be one",
        (("a", 1.5), ("b", -0.5)): "between 0 and 1",
        (("a", 1 - 1e-9), ("b", 1e-9)): "no record of .* would go to b",
    }.items():
        with pytest.raises(ValueError, match=words):
            split(store, tmp_path / "new", dict(shares), seed=0)
    with pytest.raises(ValueError, match="records without a label"):
        split(make_store([[Shape(), Shape(label="a")]]), tmp_path / "new", SHARES, seed=0, by="label")
    assert not (tmp_path / "new").exists()


def test_split_touches_nothing_when_one_folder_is_taken(store, tmp_path):
    (tmp_path / "parts" / "heldout").mkdir(parents=True)
    (tmp_path / "parts" / "heldout" / "mine").write_text("x")
    with pytest.raises(ValueError, match="heldout exists and is not an empty folder"):
        split(store, tmp_path / "parts", SHARES, seed=0)
    assert not (tmp_path / "parts" / "train").exists()


@pytest.mark.parametrize("count", [1, 7, 399, 400])
def test_sample_has_the_number_asked_for(store, tmp_path, count):
    found = contents(sample(store, tmp_path / "some", count, seed=3))
    assert len(found) == count and found.items() <= contents(store).items()


def test_samples_are_nested_and_differ_by_seed(store, tmp_path):
    small, large, other = (
        contents(sample(store, tmp_path / f"{count}-{seed}", count, seed=seed)).keys()
        for count, seed in [(30, 0), (60, 0), (60, 1)]
    )
    assert small < large and other != large
    assert len({key.split("-")[0] for key in large}) == 10, "from everywhere"


def test_sample_counts_equal_hashes(store, monkeypatch, tmp_path):
    monkeypatch.setattr("openlvm.store.rearrange.select.seed_of", lambda *parts: 42 if parts[-1] < "5" else 7)
    assert _threshold(store, 250, 0) == (42, 50)
    assert len(contents(sample(store, tmp_path / "some", 250, seed=0))) == 250


def test_parts_of_a_sample_are_as_large_as_those_of_the_store(store, tmp_path):
    made = sample(store, tmp_path / "some", 200, seed=0)
    sizes = [part["images"] for part in made.header["parts"]]
    largest = max(part["images"] for part in store.header["parts"])
    assert len(sizes) <= 5 and all(size >= largest for size in sizes[:-1])


def test_parts_hold_records_of_one_origin(store, make_store, tmp_path):
    merged = merge([store, make_store([[Shape()] * 20] * 2)], tmp_path / "both").store
    made = sample(merged, tmp_path / "some", 30, seed=0)  # fewer than a part holds
    assert [origin["name"] for origin in made.header["origins"]] == ["store1", "store2"]
    assert origin_of_parts(made).tolist() == [0, 1]
    for part, origin in enumerate(origin_of_parts(made).tolist()):
        start, end = made.part_records[part : part + 2]
        assert {made.key(r).split("/")[0] for r in range(start, end)} == {f"store{origin + 1}"}


def test_sample_of_one_origin_knows_that_of_the_other_nothing_is_left(store, make_store, tmp_path):
    merged = merge([store, make_store([[Shape()] * 20] * 2)], tmp_path / "both").store
    made = sample(merged, tmp_path / "one", 1, seed=0)
    assert sorted(origin["parts"] for origin in made.header["origins"]) == [0, 1]
    assert len(contents(sample(made, tmp_path / "again", 1, seed=7))) == 1


def test_sample_rejects_wrong_numbers(store, tmp_path):
    for count in (0, 401):
        with pytest.raises(ValueError, match=f"num_records={count}: .* has 400 records"):
            sample(store, tmp_path / "new", count, seed=0)
