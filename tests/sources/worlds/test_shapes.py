"""The world of shapes as a source: repeatable, its labels split, its errors clear."""

import pickle

import numpy as np
import pytest

from openlvm.sources.worlds.shapes import TRAINING_FAMILIES, ShapesWorld


def records(world):
    return [record for part in world.parts() for record in world.read(part)]


def test_records_repeat_and_depend_on_seed_and_key_alone():
    world = ShapesWorld("train", ("recoloring", "fill"), instances=3, records_per_instance=100, seed=5)
    part = world.parts()[1]  # read alone, in another process
    (other,) = [list(pickle.loads(pickle.dumps(world)).read(part))]
    whole = records(world)
    assert len(whole) == 600 == len({record.key for record in whole})
    for one, again in zip(whole[256:512], other, strict=True):
        assert one.key == again.key and one.label == again.label == one.key.rsplit("/", 1)[0]
        assert all((one.slots[slot][0] == again.slots[slot][0]).all() for slot in ("image", "answer"))
    reseeded = records(ShapesWorld("train", ("recoloring",), instances=1, records_per_instance=2, seed=6))
    assert any((one.slots["image"][0] != whole[n].slots["image"][0]).any() for n, one in enumerate(reseeded))


def test_splits_share_no_label_and_labels_hold_the_asked_number():
    train, heldout = (
        {record.label for record in records(ShapesWorld(split, instances=5, records_per_instance=1, size=16))}
        for split in ("train", "heldout")
    )
    assert len(train) == len(heldout) == 5 * len(TRAINING_FAMILIES) and not train & heldout


def test_a_larger_picture_shows_the_same_scene():
    small, large = (
        records(ShapesWorld("heldout", ("swap",), 1, 1, size=size))[0].slots["image"][0] for size in (64, 128)
    )
    shrunk = large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 1.5 and small.std() > 10


def test_world_describes_its_options():
    described = ShapesWorld("train", ("color",), instances=7, records_per_instance=3, size=64, seed=2).describe()
    assert described == {
        "layout": "shapes_world", "split": "train", "tasks": ["color"], "instances": 7, "records_per_instance": 3,
        "size": 64, "seed": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tasks": ("recolor",)}, "did you mean color or recoloring"),
        ({"tasks": ("swap",)}, "'swap' is held out whole"),
        ({"tasks": ()}, "tasks=0 must be at least 1"),
        ({"instances": 0}, "instances=0"),
        ({"split": "val"}, "no split called 'val'"),
    ],
)
def test_world_rejects_options_that_mean_nothing(options, words):
    with pytest.raises(ValueError, match=words):
        ShapesWorld(**options)
