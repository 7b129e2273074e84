"""Duplicates in a store: equal codes, and look-alikes, against comparing everything with everything."""

import numpy as np
import pytest
from fakes import FakeTokenizer, Shape
from gallery import CHANGES, store_of

from openlvm.store.likeness.duplicates import Group, find_duplicates, told
from openlvm.store.likeness.looks import Looks, walk
from openlvm.store.rearrange.merge import merge


def keys_of(store, groups):
    return [tuple(store.key(record) for record in group.records) for group in groups]


@pytest.fixture(scope="module")
def mixed(small, gallery, tmp_path_factory):
    """101 pictures; ten again as they are, ten as JPEG; one of them both."""
    pictures = dict(gallery)
    names = list(gallery)
    pictures |= {f"{name} again": gallery[name] for name in names[:10]}
    pictures |= {f"{name} jpeg": CHANGES["JPEG, quality 50"](gallery[name]) for name in names[9:19]}
    pictures |= {"black": np.zeros((64, 64, 3), np.uint8), "dark": np.full((64, 64, 3), 2, np.uint8)}
    return store_of(pictures, small, tmp_path_factory.mktemp("mixed") / "store"), names


def test_exact_copies_are_found(mixed, small):
    store, names = mixed
    found = find_duplicates(store, tokenizer=None)
    expected = [(name, f"{name} again") for name in names[:10]]
    assert [keys for keys in keys_of(store, found.exact) if keys[0] in gallery_of(expected)] == expected
    assert found.near == [] and all(group.likeness == 1 for group in found.exact)


def gallery_of(pairs):
    return {first for first, _ in pairs}


def test_near_copies_are_found_and_nothing_else(mixed, small):
    store, names = mixed
    found = find_duplicates(store, tokenizer=small)
    near = keys_of(store, found.near)
    exact = {key for keys in keys_of(store, found.exact) for key in keys}
    for name in names[9:19]:
        assert (name, f"{name} jpeg") in near or f"{name} jpeg" in exact
    pure = [keys for keys in near if not any(key.endswith(" jpeg") for key in keys)]
    assert pure == [], "different pictures"
    assert all(0.9 <= group.likeness <= 1 for group in found.near)
    assert found.plain >= 1, "of equal pictures of one color only exact copies are told"


def test_near_equals_comparing_all(mixed, small, colors):
    store, _ = mixed
    looks = Looks(colors)
    vectors = np.concatenate([looks(block.codes) for block in walk(store, "image")])
    exact = find_duplicates(store, tokenizer=None).exact
    copies = {record for group in exact for record in group.records[1:]}
    pairs = {
        (a, b)
        for a, b in np.argwhere(np.triu(vectors @ vectors.T >= 0.85, 1)).tolist()
        if not {a, b} & copies
    }  # fmt: skip
    found = find_duplicates(store, tokenizer=small, similarity=0.85)
    assert {group.records for group in found.near} == pairs and len(pairs) >= 8


def test_frames_of_one_record_are_not_its_duplicates(small, gallery, tmp_path):
    first = list(gallery.values())[0]
    pictures = {f"{n}": first if n < 4 else picture for n, picture in enumerate(list(gallery.values())[:8])}
    store = store_of(pictures, small, tmp_path / "clips", frames=4)
    found = find_duplicates(store, tokenizer=small)
    assert found.exact == [] and found.near == []


def test_clips_that_share_a_frame_are_near(small, gallery, tmp_path):
    names = list(gallery)
    clips = [*names[:4], *names[4:8]]
    pictures = {f"{n}": gallery[name] for n, name in enumerate(clips)} | {"8": gallery[names[2]]}
    pictures |= {f"{n}": gallery[names[n]] for n in (9, 10, 11)}
    store = store_of(pictures, small, tmp_path / "clips", frames=4)
    assert keys_of(store, find_duplicates(store, tokenizer=small).near) == [("0", "8")]


def test_chains_are_one_group(small, gallery, tmp_path):
    first, second = list(gallery.values())[:2]
    pictures = {
        "a": first,
        "b": CHANGES["JPEG, quality 50"](first),
        "c": CHANGES["resized to 60 %"](first),
        "d": second,
    }
    store = store_of(pictures, small, tmp_path / "store")
    assert keys_of(store, find_duplicates(store, tokenizer=small).near) == [("a", "b", "c")]
    assert list(told(store, find_duplicates(store, tokenizer=small)))[0]["keys"] == ["a", "b", "c"]


def test_duplicates_repeat_and_survive_merging(mixed, small, gallery, tmp_path):
    store, names = mixed
    assert find_duplicates(store, tokenizer=small) == find_duplicates(store, tokenizer=small)
    other = store_of({f"other {n}": gallery[name] for n, name in enumerate(names[30:33])}, small, tmp_path / "other")
    merged, _ = merge([store, other], tmp_path / "both")
    exact = set(keys_of(merged, find_duplicates(merged, tokenizer=None).exact))
    assert {(name, f"other {n}") for n, name in enumerate(names[30:33])} <= exact


def test_other_slots_do_not_matter(make_store):
    store = make_store([[Shape(slots=("image", "depth")), Shape()]])
    assert find_duplicates(store, tokenizer=None).exact == []
    assert find_duplicates(store, tokenizer=None, slot="depth").exact == []


def test_equal_hashes_of_other_codes_are_told_apart(make_store, monkeypatch):
    class Same:
        def __init__(self, data, digest_size):
            pass

        def digest(self):
            return bytes(8)

    store = make_store([[Shape()] * 5])
    monkeypatch.setattr("openlvm.store.likeness.duplicates.hashlib.blake2b", Same)
    assert find_duplicates(store, tokenizer=None).exact == []


def test_exact_groups_are_in_the_order_of_the_store(tmp_path):
    pictures = {
        key: np.full((8, 8, 3), value, np.uint8) for key, value in zip("abcdef", [0, 255, 64, 255, 0, 0], strict=True)
    }
    store = store_of(pictures, FakeTokenizer(), tmp_path / "store")
    assert find_duplicates(store, tokenizer=None).exact == [Group((0, 4, 5), 1.0), Group((1, 3), 1.0)]


def test_duplicates_rejects_bad_arguments(mixed):
    store, _ = mixed
    with pytest.raises(ValueError, match="similarity=1.5 must be above 0"):
        find_duplicates(store, tokenizer=None, similarity=1.5)
    with pytest.raises(ValueError, match="made with another tokenizer"):
        find_duplicates(store, tokenizer=FakeTokenizer())
    with pytest.raises(ValueError, match="no slot 'depth'"):
        find_duplicates(store, tokenizer=None, slot="depth")
