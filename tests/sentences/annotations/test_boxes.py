"""Boxes survive being drawn and read back to at most one pixel."""

import numpy as np
import pytest
from annotated import HEIGHT, PREPARATIONS, WIDTH

from openlvm.core.images import ImagePreparation
from openlvm.core.records import Boxes
from openlvm.sentences.annotations.boxes import draw_boxes, read_boxes
from openlvm.sentences.annotations.resizing import resized
from openlvm.sentences.palettes import colors_of
from openlvm.sentences.render import draw


@pytest.fixture
def boxes():
    corners = np.array([[30.4, 8.2, 60, 40.6], [70, 10, 101.5, 90.5], [34, 50, 52, 88]], np.float32)
    return Boxes(corners, np.array([1, 7, 7], np.int32), (HEIGHT, WIDTH))


@pytest.mark.parametrize("style", ["filled", "outline"])
@pytest.mark.parametrize("preparation", [None, *PREPARATIONS])
def test_boxes_roundtrip_within_one_pixel(boxes, style, preparation):
    target = boxes if preparation is None else resized(boxes, preparation)
    read = read_boxes(draw_boxes(target, style=style), [1, 7])
    order = np.lexsort((target.corners[:, 1], target.ids))
    assert read.ids.tolist() == [1, 7, 7]
    assert np.abs(read.corners - target.corners[order]).max() <= 1
    if preparation is not None and style == "filled":
        np.testing.assert_array_equal(draw(boxes, preparation), draw_boxes(target))
        left, top, right, bottom = preparation.region(HEIGHT, WIDTH)
        scale = preparation.size / np.array([right - left, bottom - top] * 2)
        np.testing.assert_allclose(target.corners, (boxes.corners - (left, top) * 2) * scale, atol=1e-4)


def test_boxes_are_cut_or_dropped_by_the_crop():
    corners = np.array([[0, 10, 40, 50], [0, 0, 10, 10]], np.float32)
    cut = resized(Boxes(corners, np.array([3, 4]), (HEIGHT, WIDTH)), ImagePreparation(size=HEIGHT))
    assert cut.corners.tolist() == [[0, 10, 24, 50]]
    assert cut.ids.tolist() == [3]


def test_small_boxes_lie_over_large_ones_and_outlines_are_hollow():
    corners = np.array([[20, 20, 30, 30], [10, 10, 80, 80]], np.float32)
    some = Boxes(corners, np.array([2, 1]), (HEIGHT, WIDTH))
    drawn = draw_boxes(some)
    np.testing.assert_array_equal(drawn[25, 25], colors_of(np.array(2)))
    np.testing.assert_array_equal(drawn[50, 50], (255, 255, 255))
    assert not draw_boxes(some, style="outline")[50, 50].any()
    tiny = Boxes(np.array([[5.1, 5.1, 5.2, 5.2]], np.float32), np.array([1]), (HEIGHT, WIDTH))
    assert draw_boxes(tiny, style="outline").any(axis=-1).sum() == 1


def test_boxes_rejects_id_of_background():
    with pytest.raises(ValueError, match="boxes with ids 0 to 0 cannot be drawn; use 1 to 255"):
        draw_boxes(Boxes(np.zeros((1, 4), np.float32), np.array([0]), (8, 8)))
    empty = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), (8, 8))
    assert not draw_boxes(empty).any()
    assert read_boxes(draw_boxes(empty), [1]).corners.shape == (0, 4)
