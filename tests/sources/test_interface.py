"""Units of work."""

import pytest

from openlvm.sources.interface import Part, require_positive, split_into_parts


def test_parts_hold_every_item_once_in_order():
    items = [f"{number}.png" for number in range(7)]
    parts = split_into_parts(items, 3)
    assert parts[1] == Part("00001", ("3.png", "4.png", "5.png"))
    assert [part.name for part in parts] == ["00000", "00001", "00002"]
    assert [item for part in parts for item in part.items] == items


def test_require_positive_rejects_zero():
    require_positive(a=1)
    with pytest.raises(ValueError, match="records_per_part=0 must be at least 1"):
        require_positive(a=1, records_per_part=0)
