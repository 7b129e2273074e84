"""Use of codes: the counts, dead codes moved, and a toy problem on which quantizers must use most of their codebook.

The toy: 128 bells in 16 dimensions through small networks and a codebook of 128, 300 steps.
"""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from openlvm.tokenizer.quantizers.ibq import IndexBackpropagationQuantizer
from openlvm.tokenizer.quantizers.interface import QuantizerTraining
from openlvm.tokenizer.quantizers.lfq import LookupFreeQuantizer
from openlvm.tokenizer.quantizers.usage import CodeUsage, move_dead_codes
from openlvm.tokenizer.quantizers.vq import VectorQuantizer

BELLS, DIMENSIONS, BATCH, STEPS = 128, 16, 256, 300


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_usage_counts_over_batches():
    usage = CodeUsage(4)
    assert (usage.used, usage.perplexity) == (0, 0)
    usage.add(torch.tensor([[0, 1], [1, 0]]))
    usage.add(torch.tensor([0, 1, 1, 0]))
    assert usage.count.tolist() == [4, 4, 0, 0]
    assert usage.used == 0.5 and usage.perplexity == pytest.approx(2)
    usage.add(torch.tensor([2]))
    shares = [4 / 9, 4 / 9, 1 / 9]
    assert usage.used == 0.75
    assert usage.perplexity == pytest.approx(math.exp(-sum(s * math.log(s) for s in shares)))
    assert usage.dead(0.4) == 0.25 and usage.dead(0.5) == 0.5  # an equal share is 9/4


def test_usage_moves_only_dead_codes_each_to_a_latent_of_its_own():
    table, use = torch.zeros(5, 2), torch.tensor([10.0, 0.0, 9.0, 0.0, 0.0])
    rows = torch.arange(1.0, 5.0).repeat(2, 1).T
    dead = move_dead_codes(table, use, rows, dead_below=0.1, generator=generator())
    assert dead.tolist() == [1, 3, 4]
    assert table[[0, 2]].eq(0).all() and len(table[dead].unique(dim=0)) == 3
    assert use.tolist() == pytest.approx([10, 3.8, 9, 3.8, 3.8])
    few = move_dead_codes(table, torch.tensor([1.0, 0, 0, 0, 0]), rows[:2], dead_below=0.1, generator=generator())
    assert len(few) == 2


def share_used(quantizer: nn.Module, channels: int, *, revive_every: int = 0) -> float:
    """Share of the codebook that 4096 points of the toy use after training."""
    torch.manual_seed(0)
    draw = generator()
    centers = torch.randn(BELLS, DIMENSIONS, generator=draw)

    def points(count: int) -> torch.Tensor:
        which = torch.randint(BELLS, (count,), generator=draw)
        return centers[which] + 0.1 * torch.randn(count, DIMENSIONS, generator=draw)

    encoder = nn.Sequential(nn.Linear(DIMENSIONS, 64), nn.SiLU(), nn.Linear(64, channels))
    decoder = nn.Sequential(nn.Linear(channels, 64), nn.SiLU(), nn.Linear(64, DIMENSIONS))
    optimizer = torch.optim.Adam(nn.ModuleList([encoder, decoder, quantizer]).parameters(), 3e-3)
    for step in range(STEPS):
        x = points(BATCH)
        latents = encoder(x).T.reshape(1, channels, 16, -1)
        quantized = quantizer(latents)
        quantizer.follow()
        painted = decoder(quantized.latents.permute(0, 2, 3, 1).reshape(BATCH, channels))
        optimizer.zero_grad()
        (F.mse_loss(painted, x) + quantized.loss).backward()
        optimizer.step()
        if revive_every and (step + 1) % revive_every == 0 and step < 0.8 * STEPS:
            quantizer.revive(latents.detach(), draw)
    usage = CodeUsage(quantizer.codebook_size)
    with torch.no_grad():
        usage.add(quantizer.codes_of(encoder(points(4096))))
    return usage.used


def seeded(make: Callable[[], nn.Module], **settings: object) -> nn.Module:
    torch.manual_seed(0)
    quantizer = make()
    quantizer.train_with(QuantizerTraining(**settings))
    return quantizer


@pytest.mark.parametrize(("learn_by", "gradient"), [("ema", "straight"), ("gradient", "straight"), ("ema", "rotation")])
def test_usage_of_vq_with_revival_and_less_without(learn_by, gradient):
    settings = {"learn_by": learn_by, "gradient": gradient, "ema_decay": 0.9}
    make = lambda: seeded(lambda: VectorQuantizer(128, 8), **settings)  # noqa: E731
    revived, left = share_used(make(), 8, revive_every=20), share_used(make(), 8)
    assert revived > 0.8 and left < revived - 0.15


@pytest.mark.parametrize("learn_by", ["ema", "gradient"])
def test_usage_of_vq_at_unit_length(learn_by):
    quantizer = seeded(lambda: VectorQuantizer(128, 8, normalize=True), learn_by=learn_by, ema_decay=0.9)
    assert share_used(quantizer, 8, revive_every=20) > 0.8


def test_usage_of_ibq_needs_its_entropy():
    make = lambda entropy: seeded(lambda: IndexBackpropagationQuantizer(128, 8), entropy=entropy)  # noqa: E731
    used, without = share_used(make(0.05), 8), share_used(make(0.0), 8)
    assert used > 0.6 and without < used - 0.1


def test_usage_of_lfq():
    assert share_used(seeded(lambda: LookupFreeQuantizer(128)), 7) > 0.8
