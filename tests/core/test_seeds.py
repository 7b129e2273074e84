"""Seeds are the same everywhere and forever: stores and data orders on disk depend on them."""

import numpy as np
import pytest

from openlvm.core.seeds import rng, seed_of


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
