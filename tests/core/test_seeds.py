"""Seeds are the same everywhere and forever: stores and data orders on disk depend on them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openlvm.core.seeds import below, derive, draw, nothing_drawn, rng, seed_of

MASK = (1 << 64) - 1


def test_seed_of_matches_golden_values():
    assert seed_of() == 0xB4B2797457A0A6E4
    assert seed_of("order", 7, "pass", 0) == 0x9D5EC34776738F9A
    assert seed_of("generated", 0, "dune/1.jpg", "holes") == 0xF867F350AC475566


def test_rng_matches_golden_draws():
    assert rng("order", 7).integers(0, 1000, 4).tolist() == [672, 756, 714, 49]


def test_seed_of_tells_parts_apart():
    parts = [("a", 1), ("a", "1"), (1, "a"), ("a1",), ("a", 1, ""), ("a", -1), ("a", "", 1)]
    assert len({seed_of(*some) for some in parts}) == len(parts)


def test_seed_of_equals_seed_of_numpy_parts():
    assert seed_of(np.str_("a"), np.int32(5)) == seed_of("a", 5)


def test_seed_of_takes_names_that_are_not_utf8():
    assert seed_of(b"caf\xe9.jpg".decode(errors="surrogateescape")) != seed_of("caf.jpg")


def test_seed_of_rejects_other_types():
    with pytest.raises(ValueError, match=r"made of str and int, not float \(0\.5\)"):
        seed_of("a", 0.5)


def test_derive_matches_splitmix64():
    """Reference outputs for seed 1234567, from rosettacode.org, "Pseudo-random numbers/Splitmix64"."""
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


def test_nothing_drawn_leaves_tensors_as_they_are():
    with nothing_drawn():
        for draw_into in (torch.nn.init.normal_, torch.nn.init.uniform_, torch.nn.init.kaiming_uniform_):
            assert torch.equal(draw_into(tensor=torch.zeros(3, 3)), torch.zeros(3, 3))
            assert torch.equal(draw_into(torch.zeros(3, 3)), torch.zeros(3, 3))
    assert torch.nn.init.normal_(torch.zeros(3)).abs().min() > 0
