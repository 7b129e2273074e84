"""Perplexities against the slow way: all logits of the row, log-softmax, gather."""

import math

import pytest
import torch

from openlvm.prompting import scoring
from openlvm.prompting.scoring import option_log_probs, perplexity, row_log_probs, set_perplexity, target_log_probs

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


def test_row_log_probs_equal_row_by_row_whatever_is_read_together(decoder):
    """Rows of five lengths, some with one context, in the order given; also one at a time."""
    rows = [ROWS[number % 5, :length] for number, length in enumerate((20, 7, 20, 12, 5, 9, 7))]
    rows += [torch.cat([rows[3][:-4], ROWS[number, :4]]) for number in range(3)]
    expected = torch.cat([slow(decoder, row[None], 4) for row in rows])
    assert torch.allclose(row_log_probs(decoder, rows, 4), expected, atol=1e-5)
    assert torch.allclose(row_log_probs(decoder, rows, 4, rows_at_once=1), expected, atol=1e-5)
    assert torch.allclose(row_log_probs(decoder, rows, 4, rows_at_once=3), expected, atol=1e-5)
    restricted = torch.cat([slow(decoder, row[None], 4, K) for row in rows])
    assert torch.allclose(row_log_probs(decoder, rows, 4, num_codes=K), restricted, atol=1e-5)


def test_row_log_probs_read_a_shared_context_once_and_keep_to_the_limit(decoder, monkeypatch):
    read = []
    original = decoder.hidden
    decoder.hidden = lambda codes, **options: read.append(tuple(codes.shape)) or original(codes, **options)
    rows = [torch.cat([ROWS[0, :9], ROWS[number, 9:13]]) for number in range(4)]
    row_log_probs(decoder, rows, 4)
    assert sorted(read) == [(1, 9), (4, 3)]
    read.clear()
    monkeypatch.setitem(scoring.CODES_AT_ONCE, "cpu", 40)
    row_log_probs(decoder, list(ROWS), 4)
    assert read == [(2, 19), (2, 19), (1, 19)]  # 40 codes hold two rows of 20


def test_rows_are_told_before_each_batch_and_raising_ends_it(decoder, monkeypatch):
    rows = [*(torch.cat([ROWS[0, :9], ROWS[number, 9:13]]) for number in range(4)), ROWS[1], ROWS[2, :7], ROWS[3]]
    told, read, original = [], [], decoder.hidden
    row_log_probs(decoder, rows, 4, rows_at_once=2, on_rows=told.append)
    assert told == [0, 2, 4, 6]  # four that share a context, then three others
    decoder.hidden = lambda codes, **options: read.append(tuple(codes.shape)) or original(codes, **options)

    def leave(num_done):
        if num_done == leaves_at:
            raise InterruptedError

    both = [(1, 9), (2, 3), (1, 9), (2, 3), (2, 19)]
    for leaves_at in (2, 6):
        read.clear()
        with pytest.raises(InterruptedError):
            row_log_probs(decoder, rows, 4, rows_at_once=2, on_rows=leave)
        assert read == both[: 2 if leaves_at == 2 else 5]


def test_rows_at_once_below_one_is_rejected(decoder):
    with pytest.raises(ValueError, match="rows_at_once=0 must be at least 1"):
        row_log_probs(decoder, list(ROWS), 4, rows_at_once=0)


def test_logits_of_some_targets_at_a_time_are_in_memory(decoder, monkeypatch):
    monkeypatch.setattr(scoring, "HEAD_AT_ONCE", 7)
    expected = slow(decoder, ROWS, 4)
    seen = []
    original = decoder.head
    decoder.head = lambda hidden, **options: seen.append(hidden.shape[:-1].numel()) or original(hidden, **options)
    made = target_log_probs(decoder, ROWS, 4)
    assert seen == [7, 7, 6]  # 5 targets of 4 codes, and no position before them
    assert torch.allclose(made, expected, atol=1e-5)


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
