"""Annotations over their photo: what is covered, what is not, and taking them off again."""

import numpy as np
import pytest
from annotated import EXTREME, HEIGHT, PHOTO, RANDOM, STANDING, WIDTH, photo

from openlvm.core.records import Boxes, Depth, Keypoints, Segmentation
from openlvm.sentences.annotations.over import MASK_OPACITY, OVER, lay_over, take_off
from openlvm.sentences.palettes import palette
from openlvm.sentences.render import read_boxes, read_keypoints, read_openpose, read_segmentation

STREET = photo(np.random.default_rng(0))


def test_boxes_over_the_photo_roundtrip_within_one_pixel():
    boxes = RANDOM["boxes"](np.random.default_rng(3))
    over = lay_over(STREET, boxes)
    read = read_boxes(take_off(over, STREET), sorted(boxes.ids))
    order = np.argsort(boxes.ids)
    assert read.ids.tolist() == boxes.ids[order].tolist()
    assert np.abs(read.corners - boxes.corners[order]).max() <= 1
    left, top, right, bottom = boxes.corners[0].astype(int)
    inside = slice(top + 20, bottom - 20), slice(left + 20, right - 20)
    np.testing.assert_array_equal(over[inside], STREET[inside])


def test_masks_over_the_photo_are_half_transparent():
    ids = np.zeros(PHOTO, np.int32)
    ids[:100], ids[100:200] = 3, Segmentation.VOID
    over = lay_over(STREET, Segmentation(ids))
    np.testing.assert_array_equal(over[100:], STREET[100:])  # background and what is not labelled
    expected = (STREET[:100].astype(float) + palette()[3]) / 2
    assert np.abs(over[:100] - expected).max() <= 0.5
    drawing = take_off(over, STREET, opacity=MASK_OPACITY)
    assert np.abs(drawing[:100].astype(int) - palette()[3])[drawing[:100].any(axis=-1)].max() <= 1
    read = read_segmentation(drawing, [0, 3]).ids
    assert (read != np.maximum(ids, 0)).mean() < 0.001
    white = lay_over(STREET, Segmentation(ids), "binary")[:100]
    assert np.abs(white - (STREET[:100].astype(float) + 255) / 2).max() <= 0.5


@pytest.mark.parametrize("style, read", [("skeleton", read_keypoints), ("openpose", read_openpose)])
def test_people_over_the_photo_roundtrip_below_one_pixel(style, read):
    person = RANDOM["person"](np.random.default_rng(0))
    found = read(take_off(lay_over(STREET, person, style), STREET))
    seen = person.visible & found.visible
    assert (found.visible == person.visible).mean() > 0.9
    assert np.abs(found.points - person.points)[seen].mean() < 1


def test_annotations_of_another_size_are_of_the_whole_photo():
    small = np.zeros((HEIGHT, WIDTH), np.int32)
    small[: HEIGHT // 2] = 1
    changed = (lay_over(STREET, Segmentation(small)) != STREET).any(axis=-1)
    assert changed[: PHOTO[0] // 2].mean() > 0.99 and not changed[PHOTO[0] // 2 :].any()
    corners = np.array([[16, 12, 64, 48]], np.float32)
    over = lay_over(STREET, Boxes(corners, np.array([5], np.int32), (HEIGHT, WIDTH)))
    np.testing.assert_allclose(read_boxes(take_off(over, STREET), [5]).corners, corners * 5, atol=1)
    person = Keypoints(STANDING[None], np.ones((1, 17), bool), (HEIGHT, WIDTH))
    found = read_keypoints(take_off(lay_over(STREET, person), STREET))
    assert np.abs(found.points - STANDING * 5).max() < 1


@pytest.mark.parametrize("what", [what for what, payload in EXTREME.items() if type(payload) in OVER])
@pytest.mark.filterwarnings("error")
def test_extremes_over_the_photo_change_nothing_but_what_they_cover(what):
    for style in OVER[type(EXTREME[what])]:
        if (what, style) == ("in the corners", "openpose"):
            continue  # joints without names
        over = lay_over(STREET, EXTREME[what], style)
        assert over.shape == STREET.shape and over.dtype == np.uint8
        is_empty = what in ("nobody", "invisible", "far outside", "no boxes", "all void")
        assert (over != STREET).any() != is_empty


def test_boxes_that_leave_the_photo_are_cut_at_its_border():
    """As a crop leaves them: a negative place is no place counted from the other side."""
    corners = np.array([[-50, -40, 100, 80], [600, 400, 700, 500], [-90, 10, -10, 60]], np.float32)
    read = read_boxes(
        take_off(lay_over(STREET, Boxes(corners, np.array([2, 4, 9], np.int32), PHOTO)), STREET), [2, 4, 9]
    )
    assert read.ids.tolist() == [2, 4]
    np.testing.assert_allclose(read.corners, [[0, 0, 100, 80], [600, 400, 640, 480]], atol=1)


def test_over_rejects_what_hides_the_photo_and_unknown_styles():
    assert sorted(kind.__name__ for kind in OVER) == ["Boxes", "Keypoints", "Segmentation"]
    with pytest.raises(
        ValueError, match="Depth cannot be laid over a photo; these can: Segmentation, Keypoints, Boxes"
    ):
        lay_over(STREET, Depth(np.ones(PHOTO, np.float32)))
    with pytest.raises(ValueError, match="no style of Boxes over a photo called 'filled'; known: outline"):
        lay_over(STREET, RANDOM["boxes"](np.random.default_rng(0)), "filled")
