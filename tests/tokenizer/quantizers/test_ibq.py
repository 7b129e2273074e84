"""IBQ: the gradient of a softmax over all codes, its three losses, its entropies, and dead codes that come back."""

import math

import pytest
import torch
import torch.nn.functional as F

from openlvm.tokenizer.quantizers import ibq
from openlvm.tokenizer.quantizers.ibq import IndexBackpropagationQuantizer, choice_entropies
from openlvm.tokenizer.quantizers.interface import QuantizerTraining


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def as_grid(rows: torch.Tensor) -> torch.Tensor:
    """Rows [M, C] as latents [1, C, 1, M]."""
    return rows.T[None, :, None]


@pytest.fixture
def quantizer() -> IndexBackpropagationQuantizer:
    """24 codes of 4 channels, the same ones every time."""
    quantizer = IndexBackpropagationQuantizer(24, 4)
    quantizer.set_codebook(torch.randn(24, 4, generator=generator(1)))
    return quantizer


def test_ibq_gradients_equal_those_of_one_hot_matrices(quantizer):
    """The formula of the paper written out: one-hot + softmax - stop(softmax), times the table."""
    quantizer.train_with(QuantizerTraining(commitment=0.3, entropy=0.2))
    rows = torch.randn(30, 4, generator=generator(2)).requires_grad_()
    table, upstream = quantizer.embedding.weight, torch.randn(30, 4, generator=generator(3))
    choice = (rows @ table.T).softmax(1)
    hard = F.one_hot(choice.argmax(1), 24).float()
    passed, chosen = (hard + choice - choice.detach()) @ table, hard @ table
    sharp = (rows @ table.T / 0.01).softmax(1).clamp(min=1e-30)
    unsure, mean = -(sharp * sharp.log()).sum(1).mean(), sharp.mean(0)
    loss = F.mse_loss(passed, rows) + F.mse_loss(rows, chosen.detach()) + 0.3 * F.mse_loss(chosen, rows.detach())
    loss = loss + 0.2 * (unsure + (mean * mean.log()).sum())
    expected = torch.autograd.grad((passed * upstream).sum() + loss, [rows, table])

    quantized = quantizer(as_grid(rows))
    got = torch.autograd.grad((quantized.latents[0, :, 0].T * upstream).sum() + quantized.loss, [rows, table])
    assert quantized.loss.item() == pytest.approx(loss.item(), rel=1e-4)
    for ours, theirs in zip(got, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert (got[1].abs().sum(1) > 0).all()  # every code moves, chosen or not


def test_ibq_value_is_the_code_of_largest_dot_product(quantizer, monkeypatch):
    rows = torch.randn(200, 4, generator=generator(2))
    table = quantizer.embedding.weight.detach()
    slow = torch.tensor([max(range(24), key=lambda k: float(row @ table[k])) for row in rows])
    quantized = quantizer(as_grid(rows))
    assert torch.equal(quantized.codes[0], slow)
    assert torch.equal(quantized.latents[0, :, 0].T, quantizer.vectors(slow))
    monkeypatch.setattr(ibq, "LOGITS_AT_ONCE", 24 * 7)
    assert torch.equal(quantizer.codes_of(rows), slow)


def test_ibq_even_use_and_sure_choices_lower_the_loss(quantizer):
    even, one_code, unsure = 10 * torch.eye(24), 10 * torch.eye(24)[:1].repeat(24, 1), torch.zeros(24, 24)
    (sure_of, spread), (_, alone), (doubt, _) = (choice_entropies(logits) for logits in (even, one_code, unsure))
    assert spread.item() == pytest.approx(math.log(24)) and sure_of.item() == pytest.approx(0, abs=1e-6)
    assert alone.item() == pytest.approx(0, abs=1e-6) and doubt.item() == pytest.approx(math.log(24))
    rows = torch.randn(100, 4, generator=generator(2))
    losses = []
    for weight in (0.0, 1.0):
        quantizer.train_with(QuantizerTraining(entropy=weight))
        losses.append(quantizer(as_grid(rows)).loss.item())
    unsure_of, spread_of = choice_entropies(rows @ quantizer.embedding.weight.T)
    assert losses[1] - losses[0] == pytest.approx((unsure_of - spread_of).item(), rel=1e-4)
    assert losses[1] < losses[0]


def test_ibq_revived_codes_are_chosen_by_the_latents_they_were_put_on(quantizer):
    latents = torch.zeros(1, 4, 6, 6)
    latents[:, 0] = torch.rand(1, 6, 6, generator=generator(2)) + 0.5
    latents[:, 1] = torch.randn(1, 6, 6, generator=generator(3))
    quantizer.train()
    for _ in range(600):
        used = quantizer(latents).codes.unique()
        quantizer.follow()
    before = quantizer.embedding.weight.detach().clone()
    moved = quantizer.revive(latents, generator(4))
    table = quantizer.embedding.weight.detach()
    assert moved == 24 - len(used) > 12 and torch.equal(table[used], before[used])
    rows = latents[0].flatten(1).T
    drawn = F.cosine_similarity(rows[:, None], table[None], dim=-1).max(1).values > 1 - 1e-6
    assert drawn.sum() >= moved
    assert not set(quantizer.codes_of(rows[drawn]).tolist()) & set(used.tolist())


def test_ibq_use_starts_even_in_a_shipped_tokenizer(quantizer):
    fresh = IndexBackpropagationQuantizer(24, 4)
    fresh.load_state_dict({"embedding.weight": quantizer.embedding.weight}, strict=False)
    assert fresh.revive(torch.randn(1, 4, 6, 6, generator=generator()), generator()) == 0
    assert torch.equal(fresh.embedding.weight, quantizer.embedding.weight)


def test_ibq_codebook_learns_by_gradient_after_a_network_was_frozen(quantizer):
    quantizer.requires_grad_(False)
    quantizer.train_with(QuantizerTraining())
    assert quantizer.embedding.weight.requires_grad


def test_ibq_computes_in_float32_under_autocast(quantizer):
    rows = torch.randn(500, 4, generator=generator(2))
    exact = quantizer(as_grid(rows))
    with torch.autocast("cpu", torch.bfloat16):
        cast = quantizer(as_grid(rows))
        assert torch.equal(quantizer.codes_of(rows), exact.codes[0])
    assert torch.equal(cast.codes, exact.codes) and torch.equal(cast.loss, exact.loss)
