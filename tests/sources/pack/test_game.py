"""First-person films: frames move, depth and classes belong to them."""

import numpy as np

from openlvm.sources.pack import PackGame
from openlvm.sources.pack.files import open_pack
from openlvm.sources.pack.game import GAME_CLASSES


def test_films_are_cut_into_records_without_loss():
    films = open_pack().entries("game", "heldout")
    source = PackGame("heldout", frames_per_record=5)
    records = [record for part in source.parts() for record in source.read(part)]
    assert sum(record.num_frames for record in records) == sum(film["frames"] for film in films.values())
    whole = next(iter(PackGame("heldout").read(PackGame("heldout").parts()[0])))
    assert np.array_equal(records[1].slots["image"][0], whole.slots["image"][5])
    assert np.array_equal(records[1].slots["depth"][0].meters, whole.slots["depth"][5].meters)


def test_films_move_and_are_neither_dark_nor_flat():
    source = PackGame("heldout")
    for part in source.parts():
        for record in source.read(part):
            frames = np.stack(record.slots["image"]).mean(-1)
            assert frames.mean() > 50 and frames.std((1, 2)).min() > 15
            assert np.abs(np.diff(frames, axis=0)).mean() > 4, record.key


def test_floor_comes_nearer_toward_the_viewer():
    """Depth grows from the lowest row of the picture upwards, as it does over a floor; things are of known classes."""
    nearer = []
    for part in PackGame("heldout").parts():
        for record in PackGame("heldout").read(part):
            meters = record.slots["depth"][0].meters
            nearer.append(np.median(meters[-1]) < np.median(meters[80]))
            assert (meters > 0).all() and max(ids.ids.max() for ids in record.slots["parts"]) < len(GAME_CLASSES)
    assert np.mean(nearer) > 0.8
