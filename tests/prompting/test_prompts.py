"""Orders of examples for ensembles, and pictures that are encoded once."""

import itertools

import numpy as np
import pytest
import torch

from openlvm.prompting.prompts import check_room, counts_asked, encode_rows, example_orders, named


def test_orders_of_an_ensemble_are_different_and_begin_with_the_one_given():
    orders = example_orders(3, 3, 6, seed=0)
    assert orders[0] == [0, 1, 2] and sorted(map(tuple, orders)) == sorted(itertools.permutations(range(3)))
    assert orders == example_orders(3, 3, 6, seed=0) and orders[:4] == example_orders(3, 3, 4, seed=0)
    assert any(example_orders(4, 4, 3, seed=0) != example_orders(4, 4, 3, seed=seed) for seed in range(1, 4))


def test_orders_of_too_many_examples_show_each_about_as_often():
    orders = example_orders(10, 3, 7, seed=1)
    assert all(len(set(order)) == 3 for order in orders) and len({tuple(sorted(order)) for order in orders}) == 7
    times = np.bincount(np.concatenate(orders), minlength=10)
    assert times.max() - times.min() <= 1
    every = example_orders(3, 2, 6, seed=2)  # all there are, though taking turns alone does not find them
    assert sorted(map(tuple, every)) == sorted(itertools.permutations(range(3), 2))


@pytest.mark.parametrize("count", [0, 3])
def test_orders_reject_more_than_there_are(count):
    with pytest.raises(ValueError, match=rf"ensemble={count} must lie in 1 .. 2: .* ways to show 2 of 2 pairs"):
        example_orders(2, 2, count, seed=0)


def test_pictures_given_many_times_are_encoded_once(tokenizer, pictures, tmp_path, monkeypatch):
    seen = []
    original = tokenizer.encode
    monkeypatch.setattr(tokenizer, "encode", lambda pixels: seen.append(len(pixels)) or original(pixels))
    rows = [named([pictures[0], pictures[1]], "a"), {}, named([pictures[1], pictures[2], pictures[0]], "b")]
    first, none, second = encode_rows(rows, tokenizer)
    assert seen == [3] and none.shape == (0, 4)
    everything = original(torch.from_numpy(np.stack(pictures[:3])))
    assert torch.equal(first, everything[[0, 1]]) and torch.equal(second, everything[[1, 2, 0]])


def test_equal_pictures_of_different_objects_stay_apart(tokenizer, pictures):
    both = np.stack(pictures[:2])
    for row in encode_rows([named(both, "images"), named(both[::-1], "others")], tokenizer):
        assert len(row) == 2 and not torch.equal(row[0], row[1])


def test_room_is_checked_with_the_remedy(bundle, bare_bundle):
    check_room(bundle, 7, 1)
    check_room(bundle, 0, 8)
    with pytest.raises(ValueError, match=r"7 images and 2 more do not fit: .* Give at most 6, or shrink them"):
        check_room(bundle, 7, 2, remedy=", or shrink them")
    with pytest.raises(ValueError, match="no picture given; this model has no BOS"):
        check_room(bare_bundle, 0, 1)


def test_counts_are_all_or_those_that_are_possible():
    assert counts_asked(None, 1, 3, "pairs") == [1, 2, 3]
    assert counts_asked([3, 1], 0, 3, "pairs") == [3, 1]
    for wrong in ([4], [-1, 2], []):
        with pytest.raises(ValueError, match=r"counts=\[.*\] must be numbers of pairs from 0 to 3"):
            counts_asked(wrong, 0, 3, "pairs")
