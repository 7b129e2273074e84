"""The engine against the obvious slow loop and transformers; batches, forks, shared beginnings change nothing."""

import weakref

import numpy as np
import pytest
import torch
import transformers

from openlvm.bundle import load_bundle
from openlvm.model.cache import KVCache
from openlvm.model.folder import save_decoder
from openlvm.model.packed import pack, with_dtype
from openlvm.prompting.engine import prefixes
from openlvm.prompting.engine.generate import Continuations, generate
from openlvm.prompting.sampling import GREEDY, Sampling, choose_codes, row_seeds
from openlvm.sources.worlds.changes import change_puzzles

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


def unequal_prompts() -> list[torch.Tensor]:
    """Seven, of seven lengths: four begin with twelve codes of one kind, two with sixteen of another, two are equal."""
    one, other = prompt(12, 1), prompt(16, 2)
    tails = [(one, 3), (one, 5), (one, 8), (one, 8), (other, 1), (other, 4), (prompt(1, 3), 1)]
    return [torch.cat([beginning, prompt(length, 10 + length)]) for beginning, length in tails]


@pytest.mark.parametrize("share_from", [4, 99])
@pytest.mark.parametrize("num_candidates", [1, 2])
def test_seven_unequal_prompts_equal_one_by_one(decoder, monkeypatch, share_from, num_candidates):
    """In one batch of all their rows: one forward a step."""
    monkeypatch.setattr(prefixes, "SHARE_FROM", share_from)
    prompts, seen = unequal_prompts(), []
    handle = decoder.model.embed_tokens.register_forward_hook(lambda module, args, out: seen.append(args[0].shape))
    together = generate(decoder, prompts, 12, num_codes=K, seed=5, num_candidates=num_candidates)
    handle.remove()
    assert [tuple(shape) for shape in seen[-11:]] == [(7 * num_candidates, 1)] * 11
    num_read = sum(shape.numel() for shape in seen[:-11])
    different = sum(len(row) for row in prompts) - 20  # the equal ones are read once
    assert num_read == (different - 2 * 12 - 16 if share_from == 4 else different)
    for number, row in enumerate(prompts):
        for candidate, seeds in enumerate(row_seeds(5, [number], num_candidates)):
            codes, log_probs = slow_loop(decoder, row, 12, Sampling(), seeds[None])
            assert torch.equal(together.codes[number, candidate], codes)
            assert torch.allclose(together.log_probs[number, candidate], log_probs, atol=1e-5)
    assert not torch.equal(together.codes[2], together.codes[3])  # equal prompts are different draws


def real_prompts(bundle, count: int) -> list[torch.Tensor]:
    """Rows of three pictures each: a pair, and a query."""
    puzzles = list(change_puzzles("color", count=count, pairs=1, size=bundle.tokenizer.image_size))
    pictures = torch.from_numpy(np.stack([picture for puzzle in puzzles for picture in puzzle.context]))
    codes = bundle.tokenizer.encode(pictures).view(count, -1)
    return [torch.cat([torch.tensor([bundle.special.bos]), row]) for row in codes]


def num_ties(twin, prompts: list[torch.Tensor], made, num_codes: int, vocab_size: int) -> int:
    """Of equally long prompts, those whose codes part from transformers' greedy ones, where two codes are as good.

    Up to there the logits that transformers sees must say the same, within 1e-5.
    """
    num_new = made.codes.shape[2]
    forbidden = list(range(num_codes, vocab_size))
    theirs = twin.generate(
        torch.stack(prompts), max_new_tokens=num_new, do_sample=False, suppress_tokens=forbidden,
        attention_mask=torch.ones(len(prompts), len(prompts[0]), dtype=torch.int64), pad_token_id=num_codes,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    logits = torch.stack(theirs.logits, dim=1)[:, :, :num_codes].float()  # [P, num_new, K]
    codes, ties = theirs.sequences[:, -num_new:], 0
    for ours, their, log_probs, their_logits in zip(made.codes[:, 0], codes, made.log_probs[:, 0], logits, strict=True):
        parted = (ours != their).nonzero()
        end = int(parted[0]) if len(parted) else num_new
        expected = their_logits.log_softmax(dim=1).gather(1, their[:, None])[:end, 0]
        assert torch.allclose(log_probs[:end], expected, atol=1e-5)
        if end < num_new:
            first, second = their_logits[end].topk(2).values
            assert first - second < 1e-4, "codes part where no two are as good"
            ties += 1
    return ties


def test_200_prompts_match_transformers_greedy(decoder, tmp_path, record_property):
    """160 random ones of eight lengths on the tiny decoder, 40 real ones on the model that ships."""
    save_decoder(decoder, tmp_path / "tiny")
    twin = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "tiny").eval()
    prompts = [prompt(5 + number // 20, 100 + number) for number in range(160)]
    made = generate(decoder, prompts, 12, num_codes=K, sampling=GREEDY)
    ties = 0
    for start in range(0, 160, 20):
        some = Continuations(*(field[start : start + 20] for field in (made.codes, made.log_probs, made.entropies)))
        ties += num_ties(twin, prompts[start : start + 20], some, K, decoder.config.vocab_size)
    bundle = load_bundle("mini")
    save_decoder(bundle.decoder, tmp_path / "mini")
    twin = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "mini").eval()
    prompts, num_codes = real_prompts(bundle, 40), bundle.tokenizer.codebook_size
    made = generate(bundle.decoder, prompts, 16, num_codes=num_codes, sampling=GREEDY)
    ties += num_ties(twin, prompts, made, num_codes, bundle.decoder.config.vocab_size)
    record_property("ties", ties)
    print(f"ties: {ties} of 200 prompts")
    assert len({tuple(row.tolist()) for row in made.codes[:, 0]}) > 10 and ties <= 4


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
        monkeypatch.setattr(prefixes, "SHARE_FROM", share_from)
        monkeypatch.setattr(prefixes, "READ_AT_ONCE", read_at_once)
        ways.append(
            generate(decoder, prompts, 12, num_codes=K, num_candidates=num_candidates, rows_at_once=at_once, seed=1)
        )
    for way in ways[1:]:
        assert torch.equal(way.codes, ways[0].codes)
        assert torch.allclose(way.log_probs, ways[0].log_probs, atol=1e-5)


def test_shared_beginning_is_read_once(decoder, monkeypatch):
    monkeypatch.setattr(prefixes, "SHARE_FROM", 8)
    read = []
    decoder.model.embed_tokens.register_forward_hook(lambda module, args, out: read.append(args[0].numel()))
    prompts = [torch.cat([prompt(20), prompt(4, seed)]) for seed in (1, 2, 3, 4)]
    generate(decoder, prompts, 3, num_codes=K, sampling=GREEDY)
    assert sum(read) == 16 + 4 * (4 + 4) + 4 * 2  # two blocks of the twenty are shared
    read.clear()
    generate(decoder, [prompt(20)] * 4, 3, num_codes=K, num_candidates=2)
    assert sum(read) == 20 + 8 * 2  # equal prompts are read once, and draw eight times


def test_each_code_is_told_once_with_its_row(decoder):
    """In batches of two prompts of three candidates; exact tells of one row at a time."""
    prompts = [prompt(9, 1), prompt(13, 2), prompt(5, 3)]
    for exact, sizes in ((False, {6, 3}), (True, {1})):
        told = torch.full((3, 3, 5), -1)

        def on_codes(rows, places, codes, told=told, sizes=sizes):
            assert len(rows) in sizes and codes.shape == (len(rows), len(places))
            for (number, candidate), of_row in zip(rows, codes, strict=True):
                assert (told[number, candidate, places] == -1).all()
                told[number, candidate, places] = of_row

        made = generate(
            decoder, prompts, 5, num_codes=K, num_candidates=3, rows_at_once=6, exact=exact, on_codes=on_codes
        )
        assert torch.equal(told, made.codes)


class Cancelled(Exception):
    """Someone does not want the answer any more."""


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("prompts", [[9], [9, 9], [14, 20, 9]], ids=str)
def test_cancelled_call_frees_its_caches(decoder, monkeypatch, prompts, exact):
    """Even while the exception, whose traceback names the caches, is still held."""
    tensors, begin = [], KVCache.__init__

    def watched(self, keys, values, **how):
        begin(self, keys, values, **how)
        tensors.extend(weakref.ref(tensor) for tensor in [*keys, *values])

    def on_codes(rows, places, codes):
        if int(places[0]) == 3:
            assert any(ref() is not None for ref in tensors)
            raise Cancelled

    monkeypatch.setattr(KVCache, "__init__", watched)
    monkeypatch.setattr(prefixes, "SHARE_FROM", 4)
    rows = [prompt(length) for length in prompts]
    with pytest.raises(Cancelled) as caught:
        generate(decoder, rows, 8, num_codes=K, num_candidates=2, exact=exact, on_codes=on_codes)
    assert caught.value and [ref for ref in tensors if ref() is not None] == []


def test_only_codes_of_images_are_ever_drawn(decoder):
    """10 000 images of a model that likes its special ids: with them allowed they would be a fifth of the draws."""
    made = generate(decoder, [prompt(5)], 4, num_codes=K, sampling=Sampling(temperature=3), num_candidates=10_000)
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


@pytest.mark.parametrize("dtype", ["packed", "bfloat16", "int8"])
def test_rounded_weights_draw_a_tree_of_prompts_as_one_by_one(decoder, dtype, monkeypatch):
    """Prompts of unequal lengths that share beginnings, two candidates each; bfloat16 leaves room for other codes."""
    monkeypatch.setattr(prefixes, "SHARE_FROM", 4)
    plain = generate(decoder, [prompt(9)], 12, num_codes=K, sampling=GREEDY)
    rounded = decoder if dtype == "packed" else with_dtype(decoder, dtype)
    pack(rounded)
    prompts = [prompt(9), torch.cat([prompt(9), prompt(4, 1)]), prompt(13, 2), torch.cat([prompt(9)[:5], prompt(3, 3)])]
    together = generate(rounded, prompts, 12, num_codes=K, seed=1, num_candidates=2)
    alone = generate(rounded, prompts, 12, num_codes=K, seed=1, num_candidates=2, exact=True)
    first = together.codes[..., 0] == alone.codes[..., 0]
    atol = 1e-5 if dtype == "packed" else 0.15
    assert first.float().mean() >= (1 if dtype == "packed" else 0.75)
    assert torch.allclose(together.log_probs[..., 0][first], alone.log_probs[..., 0][first], atol=atol)
    assert (together.codes == alone.codes).float().mean() >= (1 if dtype == "packed" else 0.6)
    near = generate(rounded, [prompt(9)], 12, num_codes=K, sampling=GREEDY)
    assert torch.allclose(near.log_probs[..., 0], plain.log_probs[..., 0], atol=max(atol, 0.1))
