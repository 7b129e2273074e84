"""Diagonals against a slow loop that spells out who sees whom; far enough ahead they are the sequential order."""

import pytest
import torch

from openlvm.prompting.engine.diagonal import Schedule, diagonal
from openlvm.prompting.engine.steps import sequential
from openlvm.prompting.sampling import GREEDY, Sampling, choose_codes, row_seeds

K = 16


def prompts(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, K, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def read(decoder, rows, room=0, candidates=1):
    cache = decoder.new_cache(rows=len(rows), room=rows.shape[1] + room)
    logits = decoder.head(decoder.hidden(rows, cache=cache)[:, -1], num_codes=K)
    return (
        (logits, cache)
        if candidates == 1
        else (logits.repeat_interleave(candidates, 0), cache.fork(candidates, room=room))
    )


@pytest.mark.parametrize("sampling", [GREEDY, Sampling()], ids=str)
@pytest.mark.parametrize("candidates", [1, 2])
def test_far_ahead_diagonal_equals_sequential(decoder, sampling, candidates):
    """Two images of 3 x 3 codes for two prompts: the same codes, one forward each."""
    rows, seeds = prompts(2, 9), row_seeds(3, [0, 1], candidates)
    one = sequential(decoder, *read(decoder, rows, 17, candidates), 18, sampling, seeds)
    for ahead in (3, 99):
        far = diagonal(decoder, *read(decoder, rows, 0, candidates), 18, sampling, seeds, row_length=3, ahead=ahead)
        assert torch.equal(far.codes, one.codes) and far.steps == one.steps == 17
        assert torch.allclose(far.log_probs, one.log_probs, atol=1e-5)
        assert torch.allclose(far.entropies, one.entropies, atol=1e-5)


@torch.no_grad()
def slow_diagonal(decoder, row, sampling, seeds, side, ahead, order):
    """One image, one code at a time, no cache: each from a row of its own of what it may see.

    As keys of a code depend on what that code saw, every code is read with a mask of what was there when it was read.
    """
    length, num_new = len(row), side * side
    step_of = {place: step for step, places in enumerate(order) for place in places}
    codes, log_probs = {}, {}
    for step, places in enumerate(order):
        found = {}
        for place in places:
            slots, ids, read_in = list(range(length)), row.tolist(), [-1] * length
            for before in sorted(codes):
                if before < place:
                    slots.append(length + before)
                    ids.append(codes[before])
                    read_in.append(step_of[before] + 1)  # a code is read by the forward after its draw
            if place and place - 1 not in codes:
                up = place - 1 - side
                line = [p for p in codes if p // side == (place - 1) // side]
                slots.append(length + place - 1)
                ids.append(codes[up] if up in codes else codes[max(line)])
                read_in.append(step)
            slot, when = torch.tensor(slots), torch.tensor(read_in)
            mask = (slot[None] <= slot[:, None]) & (when[None] <= when[:, None])
            hidden = decoder.hidden(torch.tensor([ids]), mask=mask, positions=slot)
            logits = decoder.head(hidden[:, int(slot.argmax())], num_codes=K)
            found[place] = choose_codes(logits, sampling, seeds, place)
            log_probs[place] = logits.log_softmax(1)[0, found[place]]
        codes |= {place: int(code) for place, code in found.items()}
    return [codes[p] for p in range(num_new)], torch.cat([log_probs[p] for p in range(num_new)])


ORDERS = {
    1: [[0], [1, 4], [2, 5, 8], [3, 6, 9, 12], [7, 10, 13], [11, 14], [15]],
    2: [[0], [1], [2, 4], [3, 5], [6, 8], [7, 9], [10, 12], [11, 13], [14], [15]],
    3: [[0], [1], [2], [3, 4], [5], [6], [7, 8], [9], [10], [11, 12], [13], [14], [15]],
}


@pytest.mark.parametrize("ahead", ORDERS)
@pytest.mark.parametrize("sampling", [GREEDY, Sampling()], ids=str)
def test_diagonal_equals_a_slow_loop_that_masks_what_is_not_there(decoder, sampling, ahead):
    rows, seeds = prompts(2, 5, seed=ahead), row_seeds(3, [0, 1], 1)
    fast = diagonal(decoder, *read(decoder, rows), 16, sampling, seeds, row_length=4, ahead=ahead)
    assert fast.steps == len(ORDERS[ahead]) - 1
    for number, row in enumerate(rows):
        codes, log_probs = slow_diagonal(decoder, row, sampling, seeds[[number]], 4, ahead, ORDERS[ahead])
        assert fast.codes[number].tolist() == codes
        assert torch.allclose(fast.log_probs[number], log_probs, atol=1e-5)


@pytest.mark.parametrize("ahead", ORDERS)
def test_schedule_draws_along_diagonals_and_images_one_after_the_other(ahead):
    schedule, order = Schedule(8, 4, 4, ahead), []
    while True:
        order.append(schedule.next_places().tolist())
        if schedule.drew(torch.tensor(order[-1])):
            break
        schedule.to_read()
    assert order == ORDERS[ahead] + [[place + 16 for place in places] for places in ORDERS[ahead]]


def test_codes_are_told_as_they_are_drawn_and_the_prompt_stays_as_it_was(decoder):
    told, seeds = {}, row_seeds(3, [0], 1)
    logits, cache = read(decoder, prompts(1, 5))
    before = [keys[:, :, :5].clone() for keys in cache.keys]
    drawn = diagonal(
        decoder, logits, cache, 16, GREEDY, seeds, row_length=4, ahead=2,
        on_codes=lambda places, codes: told.update(zip(places.tolist(), codes[0].tolist(), strict=True)),
    )  # fmt: skip
    assert [told[place] for place in range(16)] == drawn.codes[0].tolist()
    assert cache.filled == 5 and all(
        torch.equal(keys[:, :, :5], old) for keys, old in zip(cache.keys, before, strict=True)
    )


def nan_filled(like, *shape, **kind):
    return like.new_full(shape[0] if isinstance(shape[0], tuple) else shape, torch.nan, **kind)


def test_what_memory_held_before_changes_nothing(decoder, monkeypatch):
    """New memory full of NaN, as it may be: places that are masked must not leak into the draws."""
    seeds, how = row_seeds(3, [0], 1), {"row_length": 4, "ahead": 2}
    clean = diagonal(decoder, *read(decoder, prompts(1, 5)), 16, GREEDY, seeds, **how)
    monkeypatch.setattr(torch.Tensor, "new_empty", nan_filled)
    dirty = diagonal(decoder, *read(decoder, prompts(1, 5)), 16, GREEDY, seeds, **how)
    assert torch.equal(dirty.codes, clean.codes) and torch.equal(dirty.log_probs, clean.log_probs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_new": 15}, "num_new=15 is not a whole number of images of 4 rows of 4 codes"),
        ({"rows_per_image": 3}, "num_new=16 is not a whole number of images of 3 rows of 4 codes"),
        ({"ahead": 0}, "ahead=0 must be at least 1 code"),
        ({"num_new": 32}, "5 positions and 32 new ones exceed the decoder's context of 33"),
    ],
)
def test_diagonal_rejects_what_it_cannot_draw(decoder, change, message):
    how = {"num_new": 16, "row_length": 4, "ahead": 2} | change
    with pytest.raises(ValueError, match=message):
        diagonal(decoder, *read(decoder, prompts(1, 5)), how.pop("num_new"), GREEDY, row_seeds(3, [0], 1), **how)
