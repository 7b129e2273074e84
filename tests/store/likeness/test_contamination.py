"""Evaluation pictures that training shows, in whatever way; and none that it does not."""

import numpy as np
import pytest
from fakes import FakeTokenizer
from gallery import CHANGES, store_of

from openlvm.store.likeness.contamination import SEEN, find_contamination, told


@pytest.fixture(scope="module")
def stores(small, gallery, tmp_path_factory):
    """Training: 80 pictures, eleven of which are changed ones of the 21 of evaluation."""
    at = tmp_path_factory.mktemp("stores")
    names = list(gallery)
    evaluation, others = names[:21], names[21:]
    train = {name: gallery[name] for name in others}
    shown = {"same": names[0]}
    train["same"] = gallery[names[0]]
    for number, (name, change) in enumerate(CHANGES.items(), 1):
        train[name], shown[name] = change(gallery[names[number]]), names[number]
    return (
        store_of(train, small, at / "train"),
        store_of({name: gallery[name] for name in evaluation}, small, at / "evaluation"),
        shown,
    )


def test_contamination_finds_what_training_shows_and_nothing_else(stores, small):
    train, evaluation, shown = stores
    found = find_contamination(train, evaluation, tokenizer=small, similarity=0.85)
    pairs = {(train.key(one.train), evaluation.key(one.evaluation)) for one in found.found}
    assert pairs <= set(shown.items())
    assert len(pairs) >= len(shown) - 1 and found.num_contaminated == len(pairs)
    ways = {train.key(one.train): one.seen for one in found.found}
    assert ways["same"] == ways["JPEG, quality 50"] == "as it is" and ways["mirrored"] == "mirrored"
    assert ways.get("5 % cut off every side", "cut").startswith("cut")
    assert [one.likeness for one in found.found if train.key(one.train) == "same"] == [1.0]
    assert set(ways.values()) <= set(SEEN) and found.evaluation_records == 21


def test_told_names_keys(stores, small):
    train, evaluation, shown = stores
    lines = {
        line["key"]: line["train"]
        for line in told(train, evaluation, find_contamination(train, evaluation, tokenizer=small, similarity=0.85))
    }
    assert lines[shown["same"]] == [{"key": "same", "likeness": 1.0, "seen": "as it is"}]


def test_all_frames_of_training_are_compared(small, gallery, tmp_path):
    names = list(gallery)
    train = store_of({name: gallery[name] for name in names[:20]}, small, tmp_path / "train", frames=10)
    evaluation = store_of({"asked": gallery[names[13]]}, small, tmp_path / "evaluation")
    [one] = find_contamination(train, evaluation, tokenizer=small, similarity=0.85).found
    assert (train.key(one.train), one.likeness) == (names[10], 1.0)


def test_plain_pictures_are_counted_not_compared(small, gallery, tmp_path):
    black = np.zeros((64, 64, 3), np.uint8)
    train = store_of({"black": black, "x": list(gallery.values())[0]}, small, tmp_path / "train")
    evaluation = store_of({"night": black}, small, tmp_path / "evaluation")
    found = find_contamination(train, evaluation, tokenizer=small, similarity=0.85)
    assert found.found == [] and found.plain == 1


def test_contamination_rejects_bad_arguments(stores, small, tmp_path):
    train, evaluation, _ = stores
    with pytest.raises(ValueError, match="train was made with another tokenizer than the one given"):
        find_contamination(train, evaluation, tokenizer=FakeTokenizer())
    with pytest.raises(ValueError, match="similarity=0 must be above 0"):
        find_contamination(train, evaluation, tokenizer=small, similarity=0)
    with pytest.raises(ValueError, match="no slot 'depth'"):
        find_contamination(train, evaluation, tokenizer=small, slot="depth")
