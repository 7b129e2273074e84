"""Computed permutations are bijections, the same everywhere, and look random."""

from collections import Counter
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openlvm.store.permutation import MAX_SIZE, Permutation, permute

KEYS = st.integers(0, 1 << 60)


@settings(max_examples=60)
@given(st.integers(1, 3000), KEYS)
def test_permutation_is_a_bijection(n, key):
    assert sorted(Permutation(n, key)(np.arange(n)).tolist()) == list(range(n))


@given(st.integers(1, MAX_SIZE), KEYS, st.data())
def test_scalar_equals_array(n, key, data):
    permutation = Permutation(n, key)
    indices = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20))
    moved = permutation(np.array(indices)).tolist()
    assert moved == [permutation(index) for index in indices]
    assert all(0 <= place < n for place in moved)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 500), KEYS), min_size=1, max_size=10))
def test_permute_equals_one_permutation_at_a_time(sizes_and_keys):
    permutations = [Permutation(n, key) for n, key in sizes_and_keys]
    indices = np.array([permutation.n // 2 for permutation in permutations])
    sizes = np.array([permutation.n for permutation in permutations])
    seeds = np.array([permutation.seed for permutation in permutations], dtype=np.uint64)
    expected = [permutation(int(index)) for permutation, index in zip(permutations, indices, strict=True)]
    assert permute(indices, sizes, seeds).tolist() == expected


def test_permutation_repeats_golden_values():
    """Stores, plans and runs of others depend on these: they never change."""
    assert [Permutation(10, "golden", 7)(i) for i in range(10)] == [5, 9, 0, 2, 1, 4, 8, 3, 7, 6]
    big = Permutation(10**12, "golden", 7)
    assert [big(i) for i in (0, 1, 10**12 - 1)] == [757944192347, 450757092260, 367245951961]
    assert len(big) == 10**12


@pytest.mark.parametrize("n", [2, 3, 4])
def test_small_permutations_all_occur_evenly(n):
    counts = Counter(tuple(Permutation(n, "even", key)(np.arange(n)).tolist()) for key in range(2000))
    share = 2000 / len(counts)
    assert len(counts) == factorial(n)
    assert all(0.5 * share < count < 1.5 * share for count in counts.values())


def test_distances_of_neighbors_are_uniform():
    """Chi-square over 500 permutations of 1000 with 998 degrees of freedom; 4 rounds give 8, 6 give 1."""
    keys = np.arange(500, dtype=np.uint64)[:, None] * np.uint64(7919)
    moved = permute(np.arange(1000)[None], np.array(1000), keys)
    distances = np.bincount(((moved[:, 1:] - moved[:, :-1]) % 1000).ravel(), minlength=1000)[1:]
    assert 0.85 < ((distances - distances.mean()) ** 2 / distances.mean()).sum() / 998 < 1.15


@pytest.mark.parametrize("n", [0, -1, MAX_SIZE + 1])
def test_permutation_rejects_size(n):
    with pytest.raises(ValueError, match="size of 1 to 2\\^52, given"):
        Permutation(n, "a")


@pytest.mark.parametrize("index", [-1, 5, np.array([0, 5])])
def test_permutation_rejects_number_outside(index):
    with pytest.raises(IndexError, match="range\\(5\\)"):
        Permutation(5, "a")(index)
