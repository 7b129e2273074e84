"""Views of an answer: their colors say what is written beside them."""

import math

import numpy as np
import pytest

from openlvm.prompting.answers import Answer
from openlvm.serving.playground.answers.layers import SCALE, colored, layers


def answer(picture: np.ndarray, entropies: np.ndarray) -> Answer:
    """One candidate of one frame; 16 codes in the book."""
    codes = np.zeros((1, 1, entropies.size), np.int64)
    return Answer(
        images=picture[None, None], codes=codes, log_probs=codes.astype(np.float32),
        entropies=entropies.reshape(1, 1, -1).astype(np.float32), numbers=np.zeros(1, np.int64), num_codes=16,
    )  # fmt: skip


@pytest.fixture
def half() -> np.ndarray:
    """White on the left, black on the right."""
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, :4] = 255
    return picture


def test_colors_go_from_dark_to_yellow():
    assert np.array_equal(colored(np.array([[0, 0.25, 1, 2, -1]]))[0], SCALE[[0, 1, 4, 4, 0]])


def test_entropy_lies_where_its_codes_lie(half):
    entropies = np.array([0, math.log(16), 0, 0])  # the upper right code was a guess
    shown = layers(answer(half, entropies), None, 0, 0)["entropy"].astype(int)
    assert np.array_equal(shown[0, 7], (0.6 * SCALE[4]).round())  # yellow over black
    assert np.array_equal(shown[7, 7], (0.6 * SCALE[0]).round())
    assert np.array_equal(shown[0, 0], (0.6 * SCALE[0] + 0.4 * 255).round())


def test_a_mask_lights_the_query(half):
    query = np.full((8, 8, 3), 200, np.uint8)
    shown = layers(answer(half, np.zeros(4)), query, 0, 0)["mask"]
    assert (shown[:, :4] == 200).all() and (shown[:, 4:] == 50).all()
    assert np.array_equal(layers(answer(half, np.zeros(4)), None, 0, 0)["mask"], half)


def test_near_is_yellow_far_is_dark_and_unknown_is_black(half):
    half[:, 2:4] = 40  # dark gray: far
    shown = layers(answer(half, np.zeros(4)), None, 0, 0)["depth"]
    assert np.array_equal(shown[0, 0], SCALE[4]) and (shown[:, 4:] == 0).all()
    assert shown[0, 2].astype(int).sum() < 300 and shown[0, 2].any()


def test_codes_without_places_have_no_entropy_view(half):
    assert set(layers(answer(half, np.zeros(6)), None, 0, 0)) == {"picture", "mask", "depth"}
