"""The choice of one code: its limits, its distribution, its chance."""

import numpy as np
import pytest
import torch

from openlvm.prompting.sampling import GREEDY, Sampling, choose_codes, gumbel, keep_likely, row_seeds

LOGITS = torch.tensor([[2.0, 0.0, 1.0, -1.0, 3.0]])
SEEDS = row_seeds(0, list(range(4000)), 1)


def draws(sampling: Sampling) -> torch.Tensor:
    return choose_codes(LOGITS.expand(4000, 5), sampling, SEEDS, position=0)


def test_gumbel_draws_match_the_softmax():
    for temperature in (1.0, 0.5):
        shares = torch.bincount(draws(Sampling(temperature=temperature)), minlength=5) / 4000
        assert torch.allclose(shares, (LOGITS[0] / temperature).softmax(0), atol=0.025)  # 3 sigma


def test_top1_and_low_temperature_equal_greedy():
    logits = torch.randn(4000, 50, generator=torch.Generator().manual_seed(0))
    greedy = choose_codes(logits, GREEDY, SEEDS, 3)
    assert torch.equal(greedy, logits.argmax(1))
    assert torch.equal(choose_codes(logits, Sampling(top_k=1), SEEDS, 3), greedy)
    assert torch.equal(choose_codes(logits, Sampling(top_p=1e-9), SEEDS, 3), greedy)
    assert torch.equal(choose_codes(logits, Sampling(temperature=1e-6), SEEDS, 3), greedy)


def test_top_k_limits():
    assert set(draws(Sampling(top_k=2)).tolist()) == {0, 4}
    assert torch.equal(draws(Sampling(top_k=5)), draws(Sampling()))
    assert torch.equal(draws(Sampling(top_k=99)), draws(Sampling()))


def test_top_p_limits():
    """Shares, likeliest first: code 4 .64, code 0 .24, code 2 .087, code 1 .03, code 3 .01."""
    assert set(draws(Sampling(top_p=0.6)).tolist()) == {4}
    assert set(draws(Sampling(top_p=0.7)).tolist()) == {4, 0}
    assert set(draws(Sampling(top_p=0.9)).tolist()) == {4, 0, 2}
    assert torch.equal(draws(Sampling(top_p=1.0)), draws(Sampling()))
    kept = keep_likely(torch.zeros(1, 8), Sampling(top_p=0.5))
    assert kept.isfinite().sum() == 4  # of equal codes as many as are needed, not all


def test_top_p_counts_what_top_k_left():
    assert set(draws(Sampling(top_k=3, top_p=0.7)).tolist()) == {4, 0}
    assert set(draws(Sampling(top_k=2, top_p=0.72)).tolist()) == {4}  # .64 / (.64 + .24) = .73


def test_chance_repeats_and_depends_on_every_part():
    seeds = row_seeds(5, [0, 1], 3)
    assert len(set(seeds.tolist())) == 6
    assert row_seeds(5, [1], 3).tolist() == seeds[3:].tolist()
    assert row_seeds(5, [0, 1], 1).tolist() == seeds[::3].tolist()
    assert set(row_seeds(6, [0, 1], 3).tolist()).isdisjoint(seeds.tolist())
    noise = gumbel(seeds, 2, 100)
    assert torch.equal(noise, gumbel(seeds, 2, 100)) and not torch.equal(noise, gumbel(seeds, 3, 100))
    assert len(np.unique(noise)) == 600
    large = gumbel(seeds, 0, 20_000)
    assert large.isfinite().all()
    assert large.mean() == pytest.approx(0.5772, abs=0.02) and large.var() == pytest.approx(np.pi**2 / 6, rel=0.05)


def test_many_positions_at_once_equal_one_by_one():
    seeds, places = row_seeds(5, [0], 3), np.array([7, 0, 2])
    assert torch.equal(
        gumbel(seeds, places, 50), torch.cat([gumbel(seeds[[i]], int(p), 50) for i, p in enumerate(places)])
    )
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    for sampling in (GREEDY, Sampling(), Sampling(temperature=0.7, top_k=9, top_p=0.9)):
        of_one_row = choose_codes(logits, sampling, seeds[:1], places)
        alone = [choose_codes(logits[[i]], sampling, seeds[:1], int(place)) for i, place in enumerate(places)]
        assert torch.equal(of_one_row, torch.cat(alone))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, r"temperature=-1 must be 0 \(greedy\) or above"),
        ({"temperature": float("nan")}, "temperature=nan must be"),
        ({"top_k": 0}, "top_k=0 must be at least 1"),
        ({"top_p": 0.0}, r"top_p=0.0 must lie in \(0, 1\]"),
        ({"top_p": 1.5}, r"top_p=1.5 must lie in \(0, 1\]"),
        ({"temperature": 0, "top_k": 5}, "top_k and top_p have no effect; leave them out"),
    ],
)
def test_sampling_rejects_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**settings)
