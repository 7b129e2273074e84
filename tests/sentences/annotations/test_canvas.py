"""Lines, discs and ellipses cover the pixels whose centers they hold, and no others."""

import numpy as np
import pytest

from openlvm.sentences.annotations.canvas import LEAST_RADIUS, canvas, ellipse, mixed, stroke

RED = np.array([200, 10, 0], np.uint8)
SHAPES = [
    ((5.0, 5.0), (5.0, 5.0), 2.5),
    ((3.2, 9.1), (17.7, 2.4), 1.3),
    ((-4.0, 6.0), (30.0, 8.0), 2.0),
    ((10.0, 1.0), (10.0, 30.0), 0.1),
    ((-9.0, -9.0), (-5.0, -5.0), 1.0),
]
"""Start, end and half width; some leave the picture, one is thinner than a pixel, one lies outside."""


def centers(height, width):
    return [(row, column, np.array([column + 0.5, row + 0.5])) for row in range(height) for column in range(width)]


@pytest.mark.parametrize("start, end, radius", SHAPES)
def test_stroke_matches_slow_loop(start, end, radius):
    start, end = np.array(start), np.array(end)
    picture = canvas((12, 24), None)
    stroke(picture, start, end, radius, RED)
    for row, column, place in centers(12, 24):
        along = end - start
        share = np.clip((place - start) @ along / max(along @ along, 1e-12), 0, 1)
        is_near = np.linalg.norm(place - start - share * along) <= max(radius, LEAST_RADIUS)
        np.testing.assert_array_equal(picture[row, column], RED if is_near else (0, 0, 0))


@pytest.mark.parametrize("start, end, half_width", SHAPES)
def test_ellipse_matches_its_foci(start, end, half_width):
    """The distances from two points on the long axis add up to its length."""
    start, end = np.array(start), np.array(end)
    picture = np.full((12, 24, 3), 100, np.uint8)
    ellipse(picture, start, end, half_width, RED, 0.6)
    half_width = max(half_width, LEAST_RADIUS)
    half_length = max(np.linalg.norm(end - start) / 2, half_width)
    axis = (end - start) / max(np.linalg.norm(end - start), 1e-12)
    focus = axis * np.sqrt(half_length**2 - half_width**2)
    middle = (start + end) / 2
    for row, column, place in centers(12, 24):
        distances = np.linalg.norm(place - middle - focus) + np.linalg.norm(place - middle + focus)
        if abs(distances - 2 * half_length) > 1e-6:
            expected = (160, 46, 40) if distances < 2 * half_length else (100, 100, 100)
            np.testing.assert_array_equal(picture[row, column], expected)


def test_whatever_lies_in_the_picture_is_seen():
    chance = np.random.default_rng(0)
    for _ in range(200):
        place = chance.uniform((0, 0), (24, 12))
        for paint in (stroke, lambda *shape: ellipse(*shape, 1.0)):
            picture = canvas((12, 24), None)
            paint(picture, place, place, 0.01, RED)
            assert picture.any()


def test_canvas_is_black_or_a_copy_and_mixed_is_between():
    photo = np.full((4, 6, 3), 7, np.uint8)
    copy = canvas((4, 6), photo)
    copy[:] = 0
    assert (photo == 7).all() and not canvas((4, 6), None).any()
    with pytest.raises(
        ValueError, match=r"an annotation of \(6, 4\) \(H, W\) pixels does not lie on a photo of \(4, 6\)"
    ):
        canvas((6, 4), photo)
    assert mixed(np.array([0, 100, 255], np.uint8), RED, 0.5).tolist() == [100, 55, 128]
