"""One look-up for all tables of names."""

import pytest

from openlvm.core.picking import pick


def test_pick_returns_value():
    assert pick({"one": 1, "two": 2}, "two", "number") == 2


def test_pick_rejects_with_near_names():
    with pytest.raises(ValueError, match="no recipe called 'lvm_30m'; did you mean lvm_300m or lvm_3b?"):
        pick({"lvm_300m": 0, "lvm_3b": 0, "delvm": 0}, "lvm_30m", "recipe")


def test_pick_rejects_with_known_names():
    with pytest.raises(ValueError, match="no size called 'xyz'; known: nano, tiny"):
        pick({"tiny": 0, "nano": 0}, "xyz", "size")
