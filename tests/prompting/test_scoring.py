"""Perplexities against the slow way: all logits of the row, log-softmax, gather."""

import math

import pytest
import torch

from openlvm.prompting.scoring import option_log_probs, perplexity, set_perplexity, target_log_probs

K = 16
ROWS = torch.randint(0, K, (5, 20), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def slow(decoder, rows, num_targets, num_codes=None):
    logits = decoder(rows)[:, :-1, :num_codes]
    return logits.log_softmax(-1).gather(-1, rows[:, 1:, None])[..., 0][:, -num_targets:]


@pytest.mark.parametrize("num_codes", [None, K])
def test_target_log_probs_equal_slow_log_softmax(decoder, num_codes):
    for num_targets in (1, 4, 19):
        made = target_log_probs(decoder, ROWS, num_targets, num_codes=num_codes)
        assert torch.allclose(made, slow(decoder, ROWS, num_targets, num_codes), atol=1e-5)


@pytest.mark.parametrize("num_codes", [None, K])
def test_option_log_probs_equal_slow_log_softmax(decoder, num_codes):
    for num_targets in (1, 4):
        rows = ROWS.clone()
        rows[:, :-num_targets] = rows[0, :-num_targets]
        made = option_log_probs(decoder, rows[0, :-num_targets], rows[:, -num_targets:], num_codes=num_codes)
        assert torch.allclose(made, slow(decoder, rows, num_targets, num_codes), atol=1e-5)


def test_restricted_perplexity_is_lower(decoder):
    assert (target_log_probs(decoder, ROWS, 4, num_codes=K) > target_log_probs(decoder, ROWS, 4)).all()


def test_only_targets_go_through_the_head(decoder):
    seen = []
    original = decoder.head
    decoder.head = lambda hidden, **options: seen.append(hidden.shape[:-1].numel()) or original(hidden, **options)
    target_log_probs(decoder, ROWS, 4)
    assert seen == [4] * 5


def test_perplexity_limits():
    assert perplexity(torch.full((7,), -math.log(16))) == pytest.approx(16)  # no opinion: the number of codes
    assert perplexity(torch.zeros(7)) == 1.0
    two = set_perplexity(torch.tensor([[0.0, 0.0], [-math.log(4), -math.log(16)]]))
    assert two.mean_of_perplexities == pytest.approx((1 + 8) / 2)
    assert two.perplexity_of_mean == pytest.approx(math.sqrt(8))


def test_scoring_rejects_targets_without_context(decoder):
    with pytest.raises(ValueError, match="a row of 20 codes cannot have 20 targets; at least one must come before"):
        target_log_probs(decoder, ROWS, 20)
    with pytest.raises(ValueError, match="40 codes exceed the decoder's context of 33"):
        target_log_probs(decoder, torch.zeros(1, 40, dtype=torch.int64), 4)
