"""Objects of the sample pack: backgrounds, turns, and views with the next one."""

import numpy as np

from openlvm.core.records import Record
from openlvm.sources.pack import PackObjects, PackTurns, PackViews
from openlvm.sources.pack.files import open_pack


def first(source, count=1) -> list[Record]:
    records = []
    for record in source.read(source.parts()[0]):
        records.append(record)
        if len(records) == count:
            break
    return records


def test_objects_seed_changes_only_the_background():
    a, b = first(PackObjects(seed=0))[0], first(PackObjects(seed=1))[0]
    on = a.slots["mask"][0].ids == 1
    inside = np.abs(a.slots["image"][0][on].astype(int) - b.slots["image"][0][on]).mean()
    outside = np.abs(a.slots["image"][0][~on].astype(int) - b.slots["image"][0][~on]).mean()
    assert inside < 8 < 16 < outside


def test_turn_frames_share_one_background():
    record = first(PackTurns(background="plain"))[0]
    assert record.num_frames == 8
    empty = np.stack([mask.ids == 0 for mask in record.slots["mask"]]).all(0)
    empty[:, 1:] &= empty[:, :-1]
    empty[:, :-1] &= empty[:, 1:]
    frames = np.stack([image[empty] for image in record.slots["image"]]).astype(int)
    assert np.median(np.ptp(frames, axis=0)) == 0
    assert not np.array_equal(record.slots["image"][0], record.slots["image"][1])


def test_view_and_next_view_equal_consecutive_views_of_the_object():
    records = first(PackViews(background="plain"), 4)
    views = open_pack().object_views(open_pack().entries("objects", "train")[records[0].key.split("/")[0]])
    for record, view in zip(records, open_pack().index["annotated_views"], strict=True):
        for slot, number in (("image", view), ("next_view", view + 1)):
            solid = views.coverage[number] == 255
            assert np.array_equal(record.slots[slot][0][solid], views.color[number][solid])
        assert np.array_equal(record.slots["mask"][0].ids > 0, record.slots["depth"][0].meters > 0)
