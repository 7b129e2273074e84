import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openlvm.core.chance import below, derive, draw

MASK = (1 << 64) - 1


def test_derive_matches_splitmix64():
    """The published reference outputs of SplitMix64 with seed 1234567 (rosettacode.org, Pseudo-random numbers/Splitmix64)."""
    seeds = np.array([1234567], dtype=np.uint64)
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert derive(seeds, np.arange(5)).tolist() == expected


@given(st.integers(0, MASK), st.lists(st.integers(0, 1 << 40), unique=True, min_size=2, max_size=50))
def test_derive_gives_different_seeds_to_different_numbers(seed, numbers):
    assert len(set(derive(np.array([seed], dtype=np.uint64), np.array(numbers)).tolist())) == len(numbers)


@given(st.integers(0, MASK), st.integers(1, 1 << 32), st.integers(0, 1000))
def test_draw_stays_below_its_limit(seed, limit, number):
    value = draw(np.array([seed], dtype=np.uint64), number, limit)[0]
    assert 0 <= value < limit


def test_below_limits():
    words = np.array([0, MASK], dtype=np.uint64)
    assert below(words, 7).tolist() == [0, 6]


def test_draw_is_uniform():
    counts = np.bincount(draw(np.arange(60_000, dtype=np.uint64), 3, 6), minlength=6)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 20.5  # chi-square, 5 degrees of freedom, 0.1 %
