"""The engine against the obvious slow loop and transformers; batches, forks, shared beginnings change nothing."""

import pytest
import torch
import transformers

from openlvm.model.folder import save_decoder
from openlvm.prompting.engine import generate as engine
from openlvm.prompting.engine.generate import generate
from openlvm.prompting.sampling import GREEDY, Sampling, choose_codes, row_seeds

K = 16


def prompt(length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, K, (length,), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def slow_loop(decoder, row, num_new, sampling, seeds):
    """The whole row through the decoder for every new code, no cache; also log-probabilities over the K codes."""
    row, log_probs = row[None], []
    for position in range(num_new):
        logits = decoder(row)[:, -1, :K]
        code = choose_codes(logits, sampling, seeds, position)
        log_probs.append(logits.log_softmax(1)[0, code])
        row = torch.cat([row, code[None]], dim=1)
    return row[0, -num_new:], torch.cat(log_probs)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(temperature=0.7, top_k=9, top_p=0.9)], ids=str)
def test_engine_equals_slow_full_forward_loop(decoder, sampling):
    """Two prompts of one length, one of another, three candidates each: every row as if it were alone."""
    prompts = [prompt(9, 1), prompt(13, 2), prompt(9, 3)]
    made = generate(decoder, prompts, 12, num_codes=K, sampling=sampling, seed=4, num_candidates=3)
    for number, row in enumerate(prompts):
        for candidate, seeds in enumerate(row_seeds(4, [number], 3)):
            codes, log_probs = slow_loop(decoder, row, 12, sampling, seeds[None])
            assert torch.equal(made.codes[number, candidate], codes)
            assert torch.allclose(made.log_probs[number, candidate], log_probs, atol=1e-5)
    if sampling != GREEDY:
        assert len({tuple(row.tolist()) for row in made.codes.flatten(0, 1)}) == 9


def test_greedy_engine_matches_transformers_generate(decoder, tmp_path):
    save_decoder(decoder, tmp_path)
    twin = transformers.LlamaForCausalLM.from_pretrained(tmp_path).eval()
    prompts = [prompt(9, seed) for seed in range(4)]
    forbidden = list(range(K, decoder.config.vocab_size))
    expected = twin.generate(
        torch.stack(prompts), max_new_tokens=16, do_sample=False, suppress_tokens=forbidden, pad_token_id=K
    )
    made = generate(decoder, prompts, 16, num_codes=K, sampling=GREEDY)
    assert torch.equal(made.codes[:, 0], expected[:, 9:])
    unrestricted = twin.generate(torch.stack(prompts), max_new_tokens=16, do_sample=False, pad_token_id=K)
    assert (unrestricted >= K).any()  # the restriction mattered


def test_candidates_forked_equal_separate_runs(decoder):
    together = generate(decoder, [prompt(9)], 12, num_codes=K, seed=2, num_candidates=4)
    for count in (1, 2, 3):
        fewer = generate(decoder, [prompt(9)], 12, num_codes=K, seed=2, num_candidates=count)
        assert torch.equal(fewer.codes[0], together.codes[0, :count])
        assert torch.allclose(fewer.log_probs[0], together.log_probs[0, :count], atol=1e-5)


def test_engine_repeats_its_bits_and_seed_changes_them(decoder):
    first, again, other = (generate(decoder, [prompt(9)], 12, num_codes=K, seed=s, num_candidates=2) for s in (7, 7, 8))
    assert torch.equal(first.codes, again.codes) and torch.equal(first.log_probs, again.log_probs)
    assert not first.codes.is_inference() and not first.log_probs.requires_grad  # ordinary tensors, free to use
    assert not torch.equal(first.codes, other.codes)


def test_exact_gives_the_same_bits_in_any_company(decoder):
    prompts = [prompt(9, 1), prompt(13, 2), prompt(9, 3)]
    company = generate(decoder, prompts, 12, num_codes=K, num_candidates=3, exact=True)
    alone = generate(decoder, prompts[:1], 12, num_codes=K, num_candidates=1, exact=True)
    assert torch.equal(company.codes[0, :1], alone.codes[0])
    assert torch.equal(company.log_probs[0, :1], alone.log_probs[0])
    quick = generate(decoder, prompts, 12, num_codes=K, num_candidates=3)
    assert torch.equal(company.codes, quick.codes)


@pytest.mark.parametrize("num_candidates", [1, 3])
def test_shared_beginnings_and_small_batches_change_nothing(decoder, monkeypatch, num_candidates):
    beginning = prompt(11, 9)
    prompts = [torch.cat([beginning, prompt(5, seed)]) for seed in range(5)] + [beginning]
    ways = []
    for share_from, at_once, read_at_once in ((1, 48, 2048), (1, 4, 6), (99, 48, 2048), (99, 1, 2048), (99, 48, 20)):
        monkeypatch.setattr(engine, "SHARE_FROM", share_from)
        monkeypatch.setattr(engine, "READ_AT_ONCE", read_at_once)
        ways.append(
            generate(decoder, prompts, 12, num_codes=K, num_candidates=num_candidates, rows_at_once=at_once, seed=1)
        )
    for way in ways[1:]:
        assert torch.equal(way.codes, ways[0].codes)
        assert torch.allclose(way.log_probs, ways[0].log_probs, atol=1e-5)


def test_shared_beginning_is_read_once(decoder, monkeypatch):
    monkeypatch.setattr(engine, "SHARE_FROM", 8)
    read = []
    decoder.model.embed_tokens.register_forward_hook(lambda module, args, out: read.append(args[0].numel()))
    prompts = [torch.cat([prompt(20), prompt(4, seed)]) for seed in (1, 2, 3, 4)]
    generate(decoder, prompts, 3, num_codes=K, sampling=GREEDY)
    assert sum(read) == 20 + 4 * 4 + 4 * 2
    read.clear()
    generate(decoder, [prompt(20)] * 4, 3, num_codes=K, num_candidates=2)
    assert sum(read) == 19 + 4 * 1 + 8 * 2  # equal prompts: all but the last code is shared


def test_only_codes_of_images_are_ever_drawn(decoder):
    """200 images of a model that likes its special ids: with them allowed they would be a fifth of the draws."""
    made = generate(decoder, [prompt(5)], 4, num_codes=K, sampling=Sampling(temperature=3), num_candidates=200)
    assert made.codes.unique().tolist() == list(range(K))
    assert (made.log_probs <= 0).all()


def test_generation_fills_the_context_and_no_more(decoder):
    assert generate(decoder, [prompt(21)], 12, num_codes=K).codes.shape == (1, 1, 12)
    with pytest.raises(ValueError, match="prompt 1: 22 codes and 12 new ones exceed the context of 33"):
        generate(decoder, [prompt(21), prompt(22)], 12, num_codes=K)


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ([[]], {}, "prompt 0 must be a row of at least one code"),
        ([[[1, 2]]], {}, r"prompt 0 must be a row of at least one code, not of shape \[1, 2\]"),
        ([[1, 99]], {}, r"prompt 0 has ids 1 .. 99 outside 0 .. 20"),
        ([[1]], {"num_new": 0}, "num_new=0 and num_candidates=1 must be at least 1"),
        ([[1]], {"num_candidates": 0}, "num_candidates=0 must be at least 1"),
        ([[1]], {"num_codes": 22}, "num_codes=22 must lie in 1 .. 21"),
    ],
)
def test_engine_rejects_what_it_cannot_continue(decoder, prompts, settings, message):
    settings = {"num_new": 2, "num_codes": K} | settings
    with pytest.raises(ValueError, match=message):
        generate(decoder, [torch.tensor(row) for row in prompts], settings.pop("num_new"), **settings)
