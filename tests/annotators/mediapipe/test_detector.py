"""Squares cut what they say, and the detector's numbers become the squares of people."""

import numpy as np
import pytest
from miniatures.people import detector_of

from openlvm.annotators.mediapipe.detector import Square, anchors, find_people, square_of

NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_a_square_over_the_picture_cuts_the_picture():
    np.testing.assert_allclose(Square(16, 16, 32, 0.0).cut(NOISE, 32), NOISE / 255, atol=1e-6)
    inner = Square(12, 20, 16, 0.0).cut(NOISE, 16)
    np.testing.assert_allclose(inner, NOISE[12:28, 4:20] / 255, atol=1e-6)


def test_a_square_turned_clockwise_cuts_what_lies_to_the_right_on_top():
    turned = Square(16, 16, 32, np.pi / 2).cut(NOISE, 32)
    np.testing.assert_allclose(turned, np.rot90(NOISE) / 255, atol=0.01)  # the right edge comes to the top


def test_outside_of_the_picture_is_black():
    cut = Square(16, 16, 64, 0.0).cut(np.full((32, 32, 3), 255, np.uint8), 64)
    assert cut[16:48, 16:48].min() > 0.99
    assert not cut[:15].any() and not cut[:, :15].any() and not cut[49:].any() and not cut[:, 49:].any()


def test_a_large_square_averages_instead_of_sampling():
    noise = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    cut = Square(128, 128, 256, 0.0).cut(noise, 32)
    np.testing.assert_allclose(cut, noise.reshape(32, 8, 32, 8, 3).mean(axis=(1, 3)) / 255, atol=0.01)


def test_points_of_a_square_lie_where_it_cuts():
    square = Square(20.0, 12.0, 10.0, 0.3)
    image = np.zeros((32, 32, 3), np.uint8)
    image[9, 22] = 255  # its middle is (22.5, 9.5)
    cut = square.cut(image, 200)
    row, column = np.unravel_index(cut[..., 0].argmax(), (200, 200))
    np.testing.assert_allclose(square.in_picture(np.array([column + 0.5, row + 0.5]) / 200), (22.5, 9.5), atol=0.1)


@pytest.mark.parametrize(
    ("above", "angle"), [((50, 20), 0), ((80, 50), np.pi / 2), ((50, 90), np.pi), ((20, 50), -np.pi / 2)]
)
def test_a_square_stands_upright_with_its_person(above, angle):
    square = square_of(np.array([50.0, 50.0]), np.array(above, float))
    assert square[:2] == (50, 50)
    assert square.side == pytest.approx(2.5 * np.hypot(above[0] - 50, above[1] - 50))
    assert np.angle(np.exp(1j * (square.angle - angle))) == pytest.approx(0, abs=1e-9)
    top = square.in_picture(np.array([0.5, 0.5 - 1 / 2.5]))  # on the circle, at the top of the square
    np.testing.assert_allclose(top, above, atol=1e-9)


def test_anchors_are_the_middles_of_their_cells_in_reading_order():
    found = anchors()
    assert found.shape == (2254, 2)
    np.testing.assert_allclose(found[:4], [[0.5 / 28, 0.5 / 28]] * 2 + [[1.5 / 28, 0.5 / 28]] * 2)
    np.testing.assert_allclose(found[28 * 2], [0.5 / 28, 1.5 / 28])
    np.testing.assert_allclose(found[28 * 28 * 2], [0.5 / 14, 0.5 / 14])
    np.testing.assert_allclose(found[-6:], [[6.5 / 7, 6.5 / 7]] * 6)


def test_people_are_found_in_pixels_of_the_picture_the_surest_first():
    first = (100, 2.0, (60, 112, 40, 80), (60, 120), (60, 80))
    second = (900, 4.0, (160, 112, 40, 80), (160, 120), (200, 120))
    again = (901, 3.0, (162, 113, 40, 80), (162, 121), (200, 120))  # the second person once more
    unsure = (5, -0.1, (20, 20, 10, 10), (20, 20), (20, 10))
    people = find_people(detector_of(first, second, again, unsure), np.zeros((448, 896, 3), np.uint8))
    # the picture lies in the middle of a square of 896 pixels: 4 of them a pixel of the detector, 224 above it
    assert len(people) == 2
    np.testing.assert_allclose(people[0], (640, 256, 2.5 * 160, np.pi / 2), atol=1e-3)
    np.testing.assert_allclose(people[1], (240, 256, 2.5 * 160, 0), atol=1e-3)


def test_a_picture_without_people_gives_no_square():
    assert find_people(detector_of(), NOISE) == []
