"""Rows that come and go are drawn as if each were alone, and what they begin with alike is read once."""

import numpy as np
import pytest
import torch

from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.packed import pack
from openlvm.prompting.engine import prefixes
from openlvm.prompting.engine.generate import generate
from openlvm.prompting.sampling import GREEDY, Sampling, row_seeds
from openlvm.serving.work import pool as pools
from openlvm.serving.work.pool import Pool, Row

K, N = 16, 4


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    shape = DecoderConfig(vocab_size=K + 5, hidden_size=32, num_layers=2, num_heads=2, mlp_size=48, context=64)
    made = Decoder(shape).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for weight in made.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3 + (weight.ndim == 1))
    pack(made)
    return made


def prompt_of(*images: int, bos: bool = True) -> torch.Tensor:
    """BOS and images of N codes, each told by a number."""
    codes = [(number * 7 + place * 3) % K for number in images for place in range(N)]
    return torch.tensor([K, *codes] if bos else codes)


def row_of(prompt: torch.Tensor, seed: int = 0, candidate: int = 0, num_new: int = 8, sampling=None) -> Row:
    seeds = row_seeds(seed, [0], candidate + 1)
    return Row(prompt, N, seeds[candidate], sampling or Sampling(), num_new)


def alone(decoder, row: Row, seed: int = 0, candidate: int = 0):
    """What the engine draws for the same prompt by itself: codes, log-probabilities, entropies."""
    made = generate(
        decoder, [row.prompt], row.num_new, num_codes=K, sampling=row.sampling, seed=seed,
        num_candidates=candidate + 1, exact=True,
    )  # fmt: skip
    return [field[0, candidate] for field in (made.codes, made.log_probs, made.entropies)]


def draw_all(pool: Pool, joining: dict[int, list[Row]], leaving: dict[int, list[Row]] | None = None) -> None:
    """Steps until nobody is left; rows join and leave before the steps of these numbers."""
    number = 0
    while pool.rows or any(at >= number for at in joining):
        come, go = joining.get(number, []), (leaving or {}).get(number, [])
        if come or go:
            pool.change(joining=come, leaving=go)
        if pool.rows:
            done = pool.step()
            if done:
                pool.change(leaving=done)
        number += 1


def assert_alone(decoder, row: Row, seed: int = 0, candidate: int = 0) -> None:
    codes, log_probs, entropies = alone(decoder, row, seed, candidate)
    assert row.codes == codes.tolist()
    assert np.allclose(row.log_probs, log_probs, atol=1e-4)
    assert np.allclose(row.entropies, entropies, atol=1e-4)


def test_rows_that_join_at_any_time_equal_rows_alone(decoder):
    pool = Pool(decoder, num_codes=K)
    asked = [((1, 2, 3), 0), ((1, 2, 4), 1), ((5, 6), 2), ((1, 2, 3, 4, 5), 3), ((1, 2, 9), 4), ((7,), 5)]
    joining: dict[int, list[Row]] = {}
    rows = []
    for images, seed in asked:
        row = row_of(prompt_of(*images), seed, num_new=(4, 8, 12)[seed % 3])
        rows.append((row, seed))
        joining.setdefault((0, 0, 3, 3, 5, 11)[seed], []).append(row)
    draw_all(pool, joining)
    for row, seed in rows:
        assert_alone(decoder, row, seed)


def test_candidates_and_samplings_of_different_kinds_are_drawn_together(decoder):
    pool, prompt = Pool(decoder, num_codes=K), prompt_of(1, 2, 3)
    ways = [Sampling(), GREEDY, Sampling(temperature=0.5, top_k=3), Sampling()]
    rows = [row_of(prompt, 7, candidate, sampling=way) for candidate, way in enumerate(ways)]
    draw_all(pool, {0: rows})
    for candidate, row in enumerate(rows):
        assert_alone(decoder, row, 7, candidate)


def test_prompts_without_bos_and_of_one_picture_equal_rows_alone(decoder):
    pool = Pool(decoder, num_codes=K)
    rows = [row_of(prompt_of(1, bos=False)), row_of(prompt_of(1, 2, bos=False)), row_of(prompt_of(1, bos=False), 0, 1)]
    draw_all(pool, {0: rows[:2], 2: rows[2:]})
    for row, candidate in zip(rows, (0, 0, 1), strict=True):
        assert_alone(decoder, row, 0, candidate)


def test_rows_that_leave_do_not_change_those_that_stay(decoder):
    pool = Pool(decoder, num_codes=K)
    rows = [row_of(prompt_of(1, 2, number), number) for number in range(4)]
    draw_all(pool, {0: rows[:3], 2: rows[3:]}, leaving={1: [rows[0]], 4: [rows[2]]})
    assert len(rows[0].codes) == 1 and len(rows[2].codes) == 4
    assert_alone(decoder, rows[1], 1)
    assert_alone(decoder, rows[3], 3)


def test_what_prompts_share_is_read_once_also_with_one_that_runs(decoder, monkeypatch):
    read = []
    real = prefixes._read_stack

    def counted(model, chains, room):
        read.extend(len(nodes[-1].codes) for nodes in chains)
        return real(model, chains, room)

    monkeypatch.setattr(prefixes, "_read_stack", counted)
    pool, shared = Pool(decoder, num_codes=K), 1 + 2 * N
    rows = [row_of(prompt_of(1, 2, number), number) for number in range(4)]
    draw_all(pool, {0: rows[:2], 3: rows[2:]})
    assert sorted(read) == sorted([shared, *[N] * 4])
    drawn = rows[3].codes
    del rows  # nobody that began so is left, and its memory is not kept
    later = row_of(prompt_of(1, 2, 3), 3)
    draw_all(pool, {0: [later]})
    assert sorted(read)[-2:] == [shared, shared]
    assert later.codes == drawn


def test_rows_that_begin_alike_are_neighbours_so_that_shared_keys_are_read_once_a_step(decoder):
    pool = Pool(decoder, num_codes=K)
    pool.change(joining=[row_of(prompt_of(1, 2, 3)), row_of(prompt_of(5, 6, 7))])
    pool.step()
    pool.change(joining=[row_of(prompt_of(1, 2, 4)), row_of(prompt_of(5, 6, 8))])
    heads = pool.cache.past[0]
    assert sorted((piece.seen_by.start, piece.copies, piece.length) for piece in heads) in (
        [(0, 2, 1 + 2 * N)],  # both heads in one product
        [(0, 2, 1 + 2 * N), (2, 2, 1 + 2 * N)],
    )


def test_keys_of_rows_that_left_are_freed(decoder):
    import gc
    import weakref

    pool = Pool(decoder, num_codes=K)
    row, other = row_of(prompt_of(1, 2, 3), num_new=20), row_of(prompt_of(4, 5, 6), num_new=20)
    pool.change(joining=[row])
    pool.step()
    pool.change(joining=[other])
    gone = weakref.ref(row.nodes[0].read[0])
    pool.change(leaving=[row])
    del row
    gc.collect()
    assert gone() is None
    pool.change(leaving=[other])
    assert pool.cache is None and not pool.rows


def test_a_failure_in_reading_leaves_those_that_run_as_they_are(decoder, monkeypatch):
    pool = Pool(decoder, num_codes=K)
    row = row_of(prompt_of(1, 2, 3), 5)
    pool.change(joining=[row])
    pool.step()

    def failing(*_, **__):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(pools, "read_paths", failing)
        with pytest.raises(RuntimeError, match="out of memory"):
            pool.change(joining=[row_of(prompt_of(1, 2, 4))])
    late = row_of(prompt_of(1, 2, 4), 6)
    draw_all(pool, {0: [late]})
    assert_alone(decoder, row, 5)
    assert_alone(decoder, late, 6)
