"""Buckets on disk: what shares a hash comes back together, whatever the number of buckets."""

from collections import defaultdict

import numpy as np
import pytest

from openlvm.store.likeness.buckets import Buckets


@pytest.fixture(params=[1, 8])
def num_buckets(request, monkeypatch):
    monkeypatch.setattr("openlvm.store.likeness.buckets.PAIRS_PER_BUCKET", 1000 // request.param)
    return request.param


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    return rng.integers(0, 300, 1000).astype(np.uint64) << np.uint64(55), rng.permutation(1000).astype(np.uint64)


def filled(pairs):
    buckets = Buckets(1000)
    with buckets:
        for start in range(0, 1000, 128):
            buckets.add(pairs[0][start : start + 128], pairs[1][start : start + 128])
        buckets.add(pairs[0][:0], pairs[1][:0])
        yield buckets


def by_hash(pairs):
    found = defaultdict(list)
    for value, number in zip(*(column.tolist() for column in pairs), strict=True):
        found[value].append(number)
    return {value: sorted(numbers) for value, numbers in found.items()}


def test_groups_equal_a_dictionary(pairs, num_buckets):
    [buckets] = filled(pairs)
    assert buckets.num_buckets == num_buckets
    for buckets in filled(pairs):
        found = {group.hash: group.numbers.tolist() for group in buckets.groups()}
    assert found == {value: numbers for value, numbers in by_hash(pairs).items() if len(numbers) > 1}


@pytest.mark.parametrize("reach", [1, 3, 1000])
def test_neighbors_equal_a_dictionary(pairs, num_buckets, reach):
    for buckets in filled(pairs):
        found = [
            pair
            for first, second in buckets.neighbors(reach)
            for pair in zip(first.tolist(), second.tolist(), strict=True)
        ]
    expected = {
        (numbers[place], numbers[later])
        for numbers in by_hash(pairs).values()
        for place in range(len(numbers))
        for later in range(place + 1, min(place + reach + 1, len(numbers)))
    }
    assert len(found) == len(set(found)) and set(found) == expected


def test_buckets_of_nothing_are_empty(num_buckets):
    with Buckets(1000) as buckets:
        assert list(buckets.groups()) == []
        assert sum(len(first) for first, _ in buckets.neighbors(3)) == 0


def test_files_are_gone_afterwards(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for _ in filled(pairs):
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
