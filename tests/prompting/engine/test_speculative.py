"""Guessing changes the number of forwards and nothing else; guesses that are right save nearly all of them."""

import pytest
import torch

from openlvm.prompting.engine.speculative import Guesses, speculate
from openlvm.prompting.engine.steps import sequential
from openlvm.prompting.sampling import GREEDY, Sampling, row_seeds

K = 16
NONE = torch.empty(0, 12, dtype=torch.int64)
SAMPLINGS = [GREEDY, Sampling(), Sampling(temperature=0.7, top_k=9, top_p=0.9)]


def prompt(length: int, seed: int) -> torch.Tensor:
    return torch.randint(0, K, (1, length), generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def read(decoder, row, room, forked=False):
    cache = decoder.new_cache(rows=1, room=row.shape[1] + room)
    logits = decoder.head(decoder.hidden(row, cache=cache)[:, -1], num_codes=K)
    return logits, cache.fork(1, room=room) if forked else cache


def plain(decoder, row, sampling, seed=0):
    return sequential(decoder, *read(decoder, row, 11), 12, sampling, row_seeds(seed, [0], 1))


def fast(decoder, row, sampling, drafts, seed=0, forked=False, **how):
    return speculate(decoder, *read(decoder, row, 11, forked), 12, sampling, row_seeds(seed, [0], 1), drafts, **how)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["greedy", "own", "cut"])
@pytest.mark.parametrize("lot", range(7))
def test_speculation_equals_sequential_whatever_is_guessed(decoder, sampling, lot):
    """10 prompts a lot and sampling, 210 in all; drafts partly right, wrong, or none. None of them has a tie."""
    for seed in range(10 * lot, 10 * lot + 10):
        row, chance = prompt(1 + seed % 20, seed), torch.Generator().manual_seed(seed)
        one = plain(decoder, row, sampling, seed)
        drafts = torch.cat([one.codes, prompt(12, seed + 1000)])[: seed % 3]
        drafts[:1, torch.rand(12, generator=chance) < 0.4] = 3
        how = {"window": (16, 4, 1)[seed % 3], "lags": ((1,), (1, 4), ())[seed // 2 % 3], "forked": seed % 2 == 1}
        guessed = fast(decoder, row, sampling, drafts, seed, **how)
        assert torch.equal(one.codes, guessed.codes)
        assert torch.allclose(one.log_probs, guessed.log_probs, atol=1e-5)
        assert torch.allclose(one.entropies, guessed.entropies, atol=1e-5)


def test_right_drafts_save_forwards_and_wrong_ones_cost_no_more_than_sequential(decoder):
    row = prompt(9, 5)
    one = plain(decoder, row, Sampling())
    assert one.steps == 11
    assert fast(decoder, row, Sampling(), one.codes.clone()).steps <= 3
    assert fast(decoder, row, Sampling(), (one.codes + 1) % K).steps <= 11
    assert fast(decoder, row, Sampling(), one.codes.clone(), window=1).steps == 11


def test_a_bad_first_draft_gives_way_to_a_good_second_one(decoder):
    row = prompt(9, 5)
    one = plain(decoder, row, Sampling())
    drafts = torch.cat([(one.codes + 1) % K, one.codes])
    assert fast(decoder, row, Sampling(), drafts, lags=()).steps <= 5


def test_each_forward_reads_at_most_the_window_and_nothing_past_the_end(decoder):
    sizes, row = [], prompt(9, 5)
    one = plain(decoder, row, GREEDY)
    logits, cache = read(decoder, row, 11)
    decoder.model.embed_tokens.register_forward_hook(lambda module, args, out: sizes.append(args[0].numel()))
    drawn = speculate(decoder, logits, cache, 12, GREEDY, row_seeds(0, [0], 1), one.codes.clone(), window=5)
    assert len(sizes) == drawn.steps and max(sizes) == 5
    assert cache.filled == 9 + 11


def test_codes_are_told_once_in_order_and_raising_ends_the_drawing(decoder):
    row, told = prompt(9, 5), []
    drawn = fast(decoder, row, Sampling(), NONE, on_codes=lambda places, codes: told.append((places, codes.clone())))
    assert torch.cat([places for places, _ in told]).tolist() == list(range(12))
    assert torch.equal(torch.cat([codes for _, codes in told], dim=1), drawn.codes)

    def stop(places, codes):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        fast(decoder, row, Sampling(), NONE, on_codes=stop)


def test_guesses_repeat_what_was_drawn_a_lag_before():
    guesses = Guesses(torch.empty(0, 8, dtype=torch.int64), (4,), 8)
    guesses.learn(0, [5, 6, 7, 8], 4)
    guesses.hits[0] = guesses.tries[0]  # as if it had always been right
    assert guesses.ahead(4) == [5, 6, 7, 8]
    assert guesses.table[0].tolist() == [-1, -1, -1, -1, 5, 6, 7, 8]


def test_guesses_keep_what_the_last_forward_said_behind_a_wrong_one():
    guesses = Guesses(torch.full((1, 6), 9), (), 6)
    guesses.learn(0, [1, 2, 3], 1)  # the draft was wrong at 0; 2 and 3 are what followed wrong guesses
    assert guesses.ahead(2) == [2, 3]  # rather than the draft, which was wrong
    guesses.learn(1, [2, 3], 2)
    assert guesses.hits[1] / guesses.tries[1] > guesses.hits[0] / guesses.tries[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drafts": torch.zeros(1, 5, dtype=torch.int64)}, r"drafts must be codes \[D, 12\], given shape \[1, 5\]"),
        ({"window": 0}, "window=0 must be at least 1"),
        ({"lags": (0,)}, r"lags=\(0,\) must be at least 1"),
    ],
)
def test_speculation_rejects_what_makes_no_sense(decoder, change, message):
    with pytest.raises(ValueError, match=message):
        fast(decoder, prompt(9, 5), GREEDY, **({"drafts": NONE} | change))
    with pytest.raises(ValueError, match="one row is drawn at a time, given 1 of logits and 2 seeds"):
        speculate(decoder, *read(decoder, prompt(9, 5), 11), 12, GREEDY, row_seeds(0, [0], 2), NONE)
