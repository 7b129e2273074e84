"""The world of solids as a source."""

import numpy as np
import pytest

from openlvm.core.records import Depth
from openlvm.sources.worlds.primitives import PrimitivesWorld


def records(world, part: int = 0):
    return list(world.read(world.parts()[part]))


def test_records_repeat_and_depend_on_seed_and_key_alone():
    world = PrimitivesWorld("train", count=66, size=16, seed=3)
    late = records(world, 1)
    again = records(PrimitivesWorld("train", count=65, size=16, seed=3), 1)
    assert [record.key for record in late] == ["stage/64", "stage/65"]
    assert (late[0].slots["image"][0] == again[0].slots["image"][0]).all()
    assert (late[0].slots["depth"][0].meters == again[0].slots["depth"][0].meters).all()
    for other in (PrimitivesWorld("train", count=65, size=16, seed=4), PrimitivesWorld("heldout", 65, size=16, seed=3)):
        assert (late[0].slots["image"][0] != records(other, 1)[0].slots["image"][0]).any()


def test_the_first_view_of_a_turn_equals_the_single_view():
    single, turn = (records(PrimitivesWorld("heldout", count=2, views=views, size=32)) for views in (1, 8))
    for one, many in zip(single, turn, strict=True):
        assert many.num_frames == 8 and set(many.slots) == {"image", "mask", "depth", "normals"}
        for payload, first in ((one.slots[slot][0], many.slots[slot][0]) for slot in ("image", "depth")):
            if isinstance(payload, Depth):
                payload, first = payload.meters, first.meters
            assert (payload == first).all()
        changes = [
            np.abs(a.astype(int) - b).mean() for a, b in zip(many.slots["image"], many.slots["image"][1:], strict=False)
        ]
        assert min(changes) > 0.05  # every view differs a little from the next


def test_primitives_reject_options_that_mean_nothing():
    with pytest.raises(ValueError, match="views=0 must be at least 1"):
        PrimitivesWorld(views=0)
    with pytest.raises(ValueError, match="no split called 'test'"):
        PrimitivesWorld("test")
