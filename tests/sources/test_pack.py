"""Every source of packs: the same again, in any order, with unique keys."""

import pickle

import numpy as np
import pytest

from openlvm.core.records import Depth, Keypoints, Normals, Record, Segmentation
from openlvm.sources.pack import PACK_SOURCES, PackMotion, PackObjects, PackPhotos, PackStamps, PackTurns


def first(source, count=1) -> list[Record]:
    records = []
    for record in source.read(source.parts()[0]):
        records.append(record)
        if len(records) == count:
            break
    return records


def same(a, b) -> bool:
    values = {Segmentation: "ids", Depth: "meters", Normals: "vectors", Keypoints: "points"}
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return np.array_equal(getattr(a, values[type(a)]), getattr(b, values[type(b)]))


@pytest.mark.parametrize("name", sorted(PACK_SOURCES))
def test_source_repeats(name):
    source = PACK_SOURCES[name]()
    again = pickle.loads(pickle.dumps(source))
    assert source.parts() == again.parts() and source.describe() == again.describe()
    for a, b in zip(first(source, 2), first(again, 2), strict=True):
        assert a.key == b.key and a.label == b.label and tuple(a.slots) == source.slots
        for slot in source.slots:
            assert all(same(x, y) for x, y in zip(a.slots[slot], b.slots[slot], strict=True))


@pytest.mark.parametrize("name", sorted(PACK_SOURCES))
def test_source_records_equal_any_reading_order(name):
    """A record does not depend on which records were read before it."""
    source = PACK_SOURCES[name]()
    part = source.parts()[0]
    item = part.items[min(2, len(part.items) - 1)]
    alone = next(iter(source.read(type(part)("00000", (item,)))))
    among = next(record for record in source.read(part) if record.key == alone.key)
    assert alone.key == item and same(alone.slots["image"][0], among.slots["image"][0])


@pytest.mark.parametrize("name", sorted(PACK_SOURCES))
def test_source_keys_are_unique_and_parts_moderate(name):
    for split in ("train", "heldout"):
        parts = PACK_SOURCES[name](split=split).parts()
        keys = [key for part in parts for key in part.items]
        assert keys and len(set(keys)) == len(keys)
        assert max(len(part.items) for part in parts) <= 64


def test_pack_rejects_unknown_split_and_background():
    with pytest.raises(ValueError, match="split of a pack.*'test'"):
        PackPhotos("test").parts()
    with pytest.raises(ValueError, match="background"):
        PackObjects(background="foto")
    with pytest.raises(ValueError, match="scenes_per_object=0"):
        PackTurns(scenes_per_object=0)
    with pytest.raises(ValueError, match="scenes_per_stamp=0"):
        PackStamps(scenes_per_stamp=0)
    with pytest.raises(ValueError, match="things that move"):
        PackMotion(things="poses")
