"""Classical methods do what they are there for, on pictures where that can be told."""

import numpy as np
import pytest

from openlvm.evaluation.harness.questions import Question

pytest.importorskip("cv2")
from openlvm.evaluation.harness.classical import CLASSICAL
from openlvm.evaluation.metrics import edge_f1


def answer(name, picture):
    [found] = CLASSICAL[name].answers([Question(query=picture)], seed=0)
    assert found.shape == picture.shape and found.dtype == np.uint8
    return found


def error(one, other):
    return float(((one.astype(float) - other) ** 2).mean())


def half(low=40, high=200, side=64):
    picture = np.full((side, side, 3), low, np.uint8)
    picture[:, side // 2 :] = high
    return picture


def smooth(side=64):
    ramp = np.linspace(40, 200, side)
    return np.rint(np.stack([np.add.outer(ramp, ramp) / 2] * 3, axis=-1)).astype(np.uint8)


def test_sobel_draws_the_border_and_nothing_else():
    edges = answer("Sobel", half())
    truth = np.full_like(edges, 255)
    truth[:, 31:33] = 0
    assert edge_f1(edges, truth) > 0.8
    assert (edges[:, :24] == 255).all() and edges[32, 32].mean() < 60
    assert (answer("Sobel", np.full((16, 16, 3), 9, np.uint8)) == 255).all()


@pytest.mark.parametrize(("inside", "outside"), [(220, 30), (30, 220)])
def test_otsu_takes_what_touches_the_border_less(inside, outside):
    picture = np.full((64, 64, 3), outside, np.uint8)
    picture[20:40, 20:40] = inside
    mask = answer("Otsu", picture)
    assert set(np.unique(mask)) == {0, 255}
    assert ((mask[..., 0] == 255) == (picture[..., 0] == inside)).all()


def test_noise_gets_less():
    clean = smooth()
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 15, clean.shape), 0, 255).astype(np.uint8)
    assert error(answer("non-local means", noisy), clean) < 0.5 * error(noisy, clean)


def test_holes_are_filled_from_their_border():
    clean, holed = smooth(), smooth()
    holed[20:30, 20:30] = 0
    filled = answer("Telea", holed)
    assert error(filled[20:30, 20:30], clean[20:30, 20:30]) < 25
    assert (filled[:10] == clean[:10]).all()


def test_dark_pictures_get_light():
    dark = smooth() // 8
    assert error(answer("CLAHE", dark), smooth()) < 0.9 * error(dark, smooth())


def test_thin_streaks_go():
    clean, rainy = smooth(), smooth()
    rainy[:, 10:12] = 255
    assert error(answer("median", rainy), clean) < 0.1 * error(rainy, clean)


def test_the_last_frame_is_what_a_sequence_is_answered_from():
    [found] = CLASSICAL["median"].answers([Question(style="sequence", frames=[half(), smooth()])], seed=0)
    assert error(found, smooth()) < 20
