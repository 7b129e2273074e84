"""The dial: from parameters and codes to a whole training."""

import pytest

from openlvm.recipes.dial import MAX_LR, dial


def test_batch_and_rate_follow_step_law():
    """Numbers worked out by hand from lr = 1.79 N^-0.713 D^0.307 and batch = 0.58 D^0.571."""
    turned = dial(1e9, tokens=100e9)
    outside = turned.model.num_parameters - 2 * 8292 * turned.model.hidden_size
    assert outside == pytest.approx(966e6, rel=0.01)
    assert turned.lr == pytest.approx(1.67e-3, rel=0.03)
    assert turned.positions_per_step == 256  # 1.11 M codes: 270 rows of 4096, and 256 is the nearest power of two
    assert turned.tokens == pytest.approx(100e9, rel=1e-4)
    assert turned.optim.final_share * turned.lr == pytest.approx(1e-5)
    assert turned.optim.warmup_steps == turned.steps // 50 == 1907
    assert turned.train.steps == turned.steps == round(100e9 / (256 * 4096))


def test_small_decoders_get_the_highest_rate_the_law_was_fitted_for():
    assert dial(1e6, tokens=1e7, vocab_size=1124, tie_embeddings=True, codes_per_image=64).lr == MAX_LR
    assert dial(3e8, tokens=6e9).lr < MAX_LR


def test_more_parameters_lower_the_rate_and_more_codes_raise_the_batch():
    small, large, long = dial(1e8, tokens=2e9), dial(1e9, tokens=2e9), dial(1e8, tokens=2e10)
    assert large.lr < small.lr < long.lr
    assert large.positions_per_step == small.positions_per_step < long.positions_per_step


def test_dial_rejects_less_than_a_row():
    with pytest.raises(ValueError, match="tokens=4,000 do not fill"):
        dial(1e8, tokens=4000)
