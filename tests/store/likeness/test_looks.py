"""The look of codes: colors of codes, weights of rare ones, and vectors that say how alike pictures are."""

import numpy as np
import pytest
import torch
from fakes import COLORS, FakeTokenizer, Shape, number_of
from gallery import CHANGES

from openlvm.store.likeness.looks import Looks, _decoded_colors, code_colors, images_of, walk


@pytest.fixture(scope="module")
def looks(colors):
    return Looks(colors)


def encoded(tokenizer, pictures):
    prepared = torch.from_numpy(np.stack([tokenizer.preparation(np.ascontiguousarray(one)) for one in pictures]))
    with torch.inference_mode():
        return tokenizer.encode(prepared).numpy()


def test_colors_of_few_codes_are_decoded():
    assert np.abs(code_colors(FakeTokenizer()) - COLORS / 255).max() < 1e-6


def test_colors_of_many_codes_are_near_the_decoded_ones(small, colors):
    told, some = colors, np.arange(0, 1024, 24)
    decoded = _decoded_colors(small, some)
    assert told.shape == (1024, 3) and 0 <= told.min() <= told.max() <= 1
    assert np.corrcoef(told[some].ravel(), decoded.ravel())[0, 1] > 0.93


def test_walk_shows_every_picture_of_the_slot(make_store):
    both = ("image", "depth")
    store = make_store([[Shape(3, slots=both), Shape()], [], [Shape(2, slots=both), Shape(9)]])
    for slot in both:
        expected = [
            (
                store.slots_of(record).index(slot) * store.num_frames(record) + frame + int(store.records[record][0]),
                record,
            )
            for record in range(store.num_records)
            if slot in store.slots_of(record)
            for frame in range(store.num_frames(record))
        ]
        blocks = list(walk(store, slot))
        assert [pair for b in blocks for pair in zip(b.images.tolist(), b.records.tolist(), strict=True)] == expected
        assert number_of(np.concatenate([b.codes for b in blocks])).tolist() == [image for image, _ in expected]


def test_walk_spreads_few_frames_over_a_record(make_store):
    store = make_store([[Shape(9), Shape(2), Shape()]])
    [block] = walk(store, "image", 3)
    assert block.images.tolist() == [1, 4, 7, 9, 10, 11] and block.steps.tolist() == [0, 1, 2, 0, 1, 0]
    assert images_of(store, "image", block.records, block.steps, 3).tolist() == block.images.tolist()


def test_changed_pictures_are_likelier_than_others(small, looks, gallery):
    pictures = list(gallery.values())[:40]
    vectors = looks(encoded(small, pictures))
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
    others = vectors @ vectors.T - 2 * np.eye(40)
    for name in ("JPEG, quality 50", "resized to 60 %", "20 % brighter"):
        changed = looks(encoded(small, [CHANGES[name](one) for one in pictures]))
        assert ((changed * vectors).sum(axis=1) > others.max(axis=1)).mean() > 0.95, name


def test_plain_pictures_have_no_look(small, looks):
    plain = [np.full((64, 64, 3), value, dtype=np.uint8) for value in (0, 60, 90, 128)]
    assert not looks(encoded(small, plain)).any()


def test_the_background_counts_less_than_what_stands_before_it():
    """Two drawings of a tenth of the picture each share nine tenths of plain white, and are not alike for it."""
    colors = np.array([[1, 1, 1], [0, 0, 0]], dtype=np.float32)
    codes = np.zeros((3, 64), dtype=np.int64)
    codes[0, 8:14], codes[1, 40:46], codes[2, 8:13] = 1, 1, 1
    alike = Looks(colors)(codes) @ Looks(colors)(codes).T
    assert alike[0, 1] < 0 and alike[0, 2] > 0.9


def test_wide_grids_are_averaged():
    rng = np.random.default_rng(0)
    looks = Looks(rng.random((9, 3), dtype=np.float32))
    assert looks(rng.integers(0, 9, (2, 256))).shape == (2, 8 * 8 * 3)
    assert looks(rng.integers(0, 9, (2, 144))).shape == (2, 12 * 12 * 3)
    assert looks(rng.integers(0, 9, (2, 576))).shape == (2, 8 * 8 * 3)
