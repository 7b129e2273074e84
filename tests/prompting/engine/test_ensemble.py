"""Prompts that draw together: from the mean of what they say, and as one if they say the same."""

import pytest
import torch

from openlvm.prompting.engine import ensemble
from openlvm.prompting.engine.ensemble import generate_together
from openlvm.prompting.engine.generate import generate
from openlvm.prompting.sampling import GREEDY, Sampling, choose_codes, row_seeds

K = 16


def prompt(length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, K, (length,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.5, top_k=9)], ids=str)
@torch.no_grad()
def test_codes_come_from_the_mean_of_unequal_prompts(decoder, sampling):
    prompts, seeds = [prompt(9, 1), prompt(13, 2), prompt(5, 3)], row_seeds(6, [0], 2)
    made = generate_together(decoder, prompts, 8, num_codes=K, sampling=sampling, seed=6, num_candidates=2)
    for candidate in range(2):
        rows, chance = [row[None] for row in prompts], seeds[candidate : candidate + 1]
        for position in range(8):
            mean = torch.stack([decoder(row)[:, -1, :K].softmax(dim=1) for row in rows]).mean(dim=0)  # [1, K]
            code = choose_codes(mean.log(), sampling, chance, position)
            assert made.codes[0, candidate, position] == code
            assert made.log_probs[0, candidate, position] == pytest.approx(float(mean[0, code].log()), abs=1e-5)
            entropy = -float((mean * mean.log()).sum())
            assert made.entropies[0, candidate, position] == pytest.approx(entropy, abs=1e-5)
            rows = [torch.cat([row, code[None]], dim=1) for row in rows]
    alone = [generate(decoder, [row], 8, num_codes=K, sampling=sampling, seed=6).codes[0, 0] for row in prompts]
    assert all(not torch.equal(one, made.codes[0, 0]) for one in alone)  # the mean mattered


@pytest.mark.parametrize("count", [1, 4])
def test_equal_prompts_equal_one_alone(decoder, count):
    together = generate_together(decoder, [prompt(9)] * count, 12, num_codes=K, seed=2, num_candidates=3)
    alone = generate(decoder, [prompt(9)], 12, num_codes=K, seed=2, num_candidates=3)
    assert torch.equal(together.codes, alone.codes)
    assert torch.allclose(together.log_probs, alone.log_probs, atol=1e-5)
    assert torch.allclose(together.entropies, alone.entropies, atol=1e-5)


@pytest.mark.parametrize("lengths", [(9, 13), (9, 9)])
def test_candidates_in_small_batches_change_nothing(decoder, monkeypatch, lengths):
    """The prompts are read once, however many batches follow; each code is told of once."""
    prompts, told, read = [prompt(length, seed) for seed, length in enumerate(lengths)], [], []
    at_once = generate_together(decoder, prompts, 4, num_codes=K, num_candidates=5)
    monkeypatch.setattr(ensemble, "ROWS_AT_ONCE", 4)
    decoder.model.embed_tokens.register_forward_hook(lambda module, args, out: read.append(args[0].numel()))
    batched = generate_together(
        decoder, prompts, 4, num_codes=K, num_candidates=5,
        on_codes=lambda rows, places, codes: told.append((rows, places.tolist(), codes.tolist())),
    )  # fmt: skip
    num_read = sum(read)
    monkeypatch.setattr(ensemble, "ROWS_AT_ONCE", 1)
    one_by_one = generate_together(decoder, prompts, 4, num_codes=K, num_candidates=5)
    assert torch.equal(batched.codes, at_once.codes) and torch.equal(one_by_one.codes, at_once.codes)
    assert num_read == sum(lengths) + 2 * 5 * 3
    assert [rows for rows, _, _ in told[::4]] == [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)]]
    assert told[5] == ([(0, 2), (0, 3)], [1], batched.codes[0, 2:4, 1:2].tolist())


def test_ensemble_rejects_no_prompt_and_too_long_ones(decoder):
    with pytest.raises(ValueError, match="no prompt given; an ensemble needs at least one"):
        generate_together(decoder, [], 4, num_codes=K)
    with pytest.raises(ValueError, match="prompt 1: 30 codes and 4 new ones exceed the context of 33"):
        generate_together(decoder, [prompt(9), prompt(30)], 4, num_codes=K)
