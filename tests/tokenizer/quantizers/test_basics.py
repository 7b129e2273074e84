"""VQ and FSQ: nearest codes, gradients that pass, codebooks that follow and revive."""

import pytest
import torch

from openlvm.tokenizer.quantizers.fsq import FiniteScalarQuantizer
from openlvm.tokenizer.quantizers.vq import VectorQuantizer


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_vq_passes_gradients_straight_through():
    quantizer = VectorQuantizer(16, 3).eval()
    latents = torch.randn(2, 3, 4, 4, generator=generator(), requires_grad=True)
    quantizer(latents).latents.sum().backward()
    assert torch.equal(latents.grad, torch.ones_like(latents))


def test_vq_loss_pulls_latents_to_their_codes():
    quantizer = VectorQuantizer(2, 1).eval()
    quantizer.set_codebook(torch.tensor([[0.0], [10.0]]))
    quantized = quantizer(torch.tensor([1.0, 8.0]).view(1, 1, 1, 2))
    assert quantized.codes.tolist() == [[0, 1]]
    assert quantized.latents.flatten().tolist() == [0, 10]
    assert quantized.loss.item() == pytest.approx(0.25 * (1**2 + 2**2) / 2)


def test_vq_codebook_follows_the_means_of_its_latents():
    quantizer = VectorQuantizer(2, 1).train()
    quantizer.set_codebook(torch.tensor([[0.0], [10.0]]))
    for _ in range(2000):
        quantizer(torch.tensor([1.0, 3.0, 8.0, 9.0]).view(1, 1, 2, 2))
        quantizer.follow()
    assert torch.allclose(quantizer.embedding.weight.flatten(), torch.tensor([2.0, 8.5]), atol=1e-3)


def test_vq_revives_dead_codes_onto_latents_and_only_those():
    quantizer = VectorQuantizer(64, 2).train()
    quantizer.set_codebook(torch.cat([torch.zeros(1, 2), torch.full((63, 2), 100.0)]))
    latents = torch.randn(4, 2, 8, 8, generator=generator(1))
    for _ in range(800):
        quantizer(latents)
        quantizer.follow()
    assert quantizer.revive(latents, generator(2)) == 63
    codes = quantizer(latents).codes
    assert len(codes.unique()) > 48
    again = VectorQuantizer(64, 2)
    again.load_state_dict(quantizer.state_dict())
    assert again.revive(latents, generator(2)) == quantizer.revive(latents, generator(2))
    assert torch.equal(again.embedding.weight, quantizer.embedding.weight)


def test_vq_chunks_equal_one_matrix(monkeypatch):
    quantizer = VectorQuantizer(32, 3)
    rows = torch.randn(1000, 3, generator=generator())
    whole = torch.cdist(rows, quantizer.embedding.weight).argmin(1)
    monkeypatch.setattr("openlvm.tokenizer.quantizers.vq.DISTANCES_AT_ONCE", 32 * 7)
    assert torch.equal(quantizer.codes_of(rows), whole)


def test_fsq_codes_roundtrip_through_vectors():
    quantizer = FiniteScalarQuantizer((8, 5, 4))
    codes = torch.arange(quantizer.codebook_size)
    vectors = quantizer.vectors(codes)
    assert len(vectors.unique(dim=0)) == 160 and vectors.abs().max() <= 1
    half = torch.tensor([4, 2, 2])
    offset = torch.tensor([0.5, 0.0, 0.5])
    bounded = vectors * half  # integers, as before rounding
    inside = (bounded + offset) / ((torch.tensor([8, 5, 4]) - 1) * 1.001 / 2)
    shift = torch.atanh(offset / ((torch.tensor([8, 5, 4]) - 1) * 1.001 / 2))
    assert torch.equal(quantizer.codes_of(torch.atanh(inside.clamp(-0.999999, 0.999999)) - shift), codes)


def test_fsq_forward_equals_vectors_of_its_codes_and_passes_gradients():
    quantizer = FiniteScalarQuantizer((8, 5, 5, 5))
    latents = torch.randn(2, 4, 4, 4, generator=generator()).requires_grad_()
    quantized = quantizer(latents)
    assert torch.allclose(quantized.latents.permute(0, 2, 3, 1).reshape(2, 16, 4), quantizer.vectors(quantized.codes))
    quantized.latents.sum().backward()
    assert (latents.grad > 0).all()


def test_fsq_uses_all_levels():
    quantizer = FiniteScalarQuantizer((8, 5))
    codes = quantizer.codes_of(4 * torch.randn(20_000, 2, generator=generator()))
    assert len(codes.unique()) == 40
