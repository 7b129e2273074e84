"""LFQ: signs as codes, entropies that equal the sums over all codes, one of them lowered and the other raised."""

import math

import pytest
import torch

from openlvm.tokenizer.quantizers import lfq
from openlvm.tokenizer.quantizers.interface import QuantizerTraining
from openlvm.tokenizer.quantizers.lfq import LookupFreeQuantizer, choice_entropies


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def as_grid(rows: torch.Tensor) -> torch.Tensor:
    """Rows [M, C] as latents [1, C, 1, M]."""
    return rows.T[None, :, None]


def test_lfq_codes_are_the_signs_first_channel_most_significant():
    quantizer = LookupFreeQuantizer(8)
    rows = torch.tensor([[-0.1, -3.0, 0.2], [5.0, -1.0, -1.0], [0.1, 0.1, 0.1], [-1.0, -1.0, 0.0]])
    assert quantizer.codes_of(rows).tolist() == [0b001, 0b100, 0b111, 0b000]
    assert quantizer.vectors(torch.tensor([0b001, 0b100])).tolist() == [[-1, -1, 1], [1, -1, -1]]


@pytest.mark.parametrize("codebook_size", [2, 1024, 2**18])
def test_lfq_codes_roundtrip_through_vectors(codebook_size):
    quantizer = LookupFreeQuantizer(codebook_size)
    codes = torch.arange(codebook_size)
    assert torch.equal(quantizer.codes_of(quantizer.vectors(codes)), codes)


def test_lfq_forward_equals_vectors_of_its_codes_and_passes_gradients_straight():
    quantizer = LookupFreeQuantizer(32)
    rows = torch.randn(50, 5, generator=generator()).requires_grad_()
    quantized = quantizer(as_grid(rows))
    assert torch.allclose(quantized.latents[0, :, 0].T, quantizer.vectors(quantized.codes[0]))
    quantized.latents.sum().backward()
    assert torch.equal(rows.grad, torch.ones_like(rows))


@pytest.mark.parametrize("channels", [1, 4, 5])
def test_lfq_entropies_equal_those_of_a_softmax_over_all_codes(channels, monkeypatch):
    monkeypatch.setattr(lfq, "TEMPERATURE", 1.5)  # soft choices, so that every code takes part
    rows = torch.randn(40, channels, dtype=torch.float64, generator=generator()).requires_grad_()
    table = LookupFreeQuantizer(2**channels).vectors(torch.arange(2**channels)).double()
    choice = (-torch.cdist(rows, table).square() / 1.5).softmax(1)
    slow = [-(choice * choice.log()).sum(1).mean(), -(choice.mean(0) * choice.mean(0).log()).sum()]
    for ours, theirs in zip(choice_entropies(rows), slow, strict=True):
        assert torch.allclose(ours, theirs)
        gradients = [torch.autograd.grad(x, rows, retain_graph=True)[0] for x in (ours, theirs)]
        assert torch.allclose(*gradients)


def test_lfq_entropy_needs_no_matrix_of_all_codes():
    """2^18 codes: the matrix of 4096 latents would take 4 GiB."""
    rows = torch.randn(4096, 18, generator=generator()).requires_grad_()
    unsure, spread = choice_entropies(rows)
    (unsure - spread).backward()
    assert 0.95 * math.log(4096) < spread.item() < math.log(4096) + 0.5 and rows.grad.isfinite().all()


def test_lfq_even_use_and_sure_choices_lower_the_loss():
    quantizer = LookupFreeQuantizer(16)
    even, one_code = quantizer.vectors(torch.arange(16).repeat(4)), quantizer.vectors(torch.full((64,), 5))
    assert quantizer(as_grid(even)).loss.item() == pytest.approx(-0.05 * math.log(16))
    assert quantizer(as_grid(one_code)).loss.item() == pytest.approx(0, abs=1e-6)
    quantizer.train_with(QuantizerTraining(entropy=1.0, commitment=0.0))
    assert quantizer(as_grid(even * 1e-3)).loss > quantizer(as_grid(even)).loss + 1


def test_lfq_commitment_pulls_to_the_signs():
    quantizer = LookupFreeQuantizer(4)
    quantizer.train_with(QuantizerTraining(entropy=0.0, commitment=0.5))
    rows = torch.tensor([[0.5, -3.0]]).requires_grad_()
    loss = quantizer(as_grid(rows)).loss
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * (0.5**2 + 2**2) / 2)
    assert rows.grad.tolist() == [[0.5 * -0.5, 0.5 * -2.0]]


def test_lfq_computes_in_float32_under_autocast():
    quantizer, rows = LookupFreeQuantizer(256), torch.randn(500, 8, generator=generator()) / 100
    exact = quantizer(as_grid(rows))
    with torch.autocast("cpu", torch.bfloat16):
        cast = quantizer(as_grid(rows))
    assert cast.loss.dtype == torch.float32 and torch.equal(cast.loss, exact.loss)


def test_lfq_rejects_a_codebook_that_is_no_power_of_2():
    with pytest.raises(ValueError, match="power of 2, given 1000"):
        LookupFreeQuantizer(1000)
