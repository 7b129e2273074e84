"""How the VQ codebook learns: averages and gradient, straight and rotated, unit length, from shipped weights."""

import copy

import pytest
import torch
import torch.nn.functional as F

from openlvm.tokenizer.quantizers.interface import QuantizerTraining, grid_of
from openlvm.tokenizer.quantizers.vq import VectorQuantizer, rotated, straight_through


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def as_grid(rows: torch.Tensor) -> torch.Tensor:
    """Rows [M, C] as latents [1, C, 1, M]."""
    return rows.T[None, :, None]


def a_shipped_state() -> dict[str, torch.Tensor]:
    """Far from where a fresh codebook lies, and without averages."""
    return {"embedding.weight": 5 + torch.randn(32, 3, generator=generator(1))}


@pytest.mark.parametrize("prefix", ["", "quantize."])
def test_vq_averages_begin_at_shipped_codes(prefix):
    """They used to stay at the random start, so that the first steps threw the codebook away."""
    quantizer, shipped = VectorQuantizer(32, 3), a_shipped_state()
    module = torch.nn.ModuleDict({"quantize": quantizer}) if prefix else quantizer
    module.load_state_dict({prefix + name: value for name, value in shipped.items()}, strict=False)
    vectors = shipped["embedding.weight"]
    quantizer.train()
    for _ in range(20):
        quantizer(as_grid(vectors))  # each code sees itself: nothing to change
        quantizer.follow()
    assert torch.allclose(quantizer.embedding.weight, vectors, atol=1e-5)


def test_vq_restart_averages_forgets_what_was_before():
    quantizer = VectorQuantizer(32, 3)
    vectors = a_shipped_state()["embedding.weight"]
    with torch.no_grad():
        quantizer.embedding.weight.copy_(vectors)
    old = copy.deepcopy(quantizer)
    quantizer.restart_averages()
    for module in (quantizer.train(), old.train()):
        module(as_grid(vectors))
        module.follow()
    assert torch.allclose(quantizer.embedding.weight, vectors, atol=1e-5)
    assert (old.embedding.weight - vectors).abs().mean() > 1


def test_vq_checkpoint_keeps_its_averages():
    quantizer = VectorQuantizer(8, 2).train()
    for seed in range(5):
        quantizer(torch.randn(1, 2, 4, 4, generator=generator(seed)))
        quantizer.follow()
    again = VectorQuantizer(8, 2)
    again.load_state_dict(quantizer.state_dict())
    assert torch.equal(again.ema_sum, quantizer.ema_sum) and torch.equal(again.ema_count, quantizer.ema_count)
    assert not torch.equal(again.ema_sum, again.embedding.weight)


def test_vq_by_gradient_has_both_terms_of_eq_3_and_leaves_the_codebook_to_the_optimizer():
    quantizer = VectorQuantizer(2, 1).train()
    quantizer.set_codebook(torch.tensor([[0.0], [10.0]]))
    quantizer.train_with(QuantizerTraining(learn_by="gradient", commitment=0.5))
    latents = torch.tensor([1.0, 8.0]).view(1, 1, 1, 2).requires_grad_()
    quantized = quantizer(latents)
    assert quantized.loss.item() == pytest.approx((1 + 0.5) * (1**2 + 2**2) / 2)
    quantized.loss.backward()
    assert latents.grad.flatten().tolist() == [0.5 * 1.0, 0.5 * -2.0]
    assert quantizer.embedding.weight.grad.flatten().tolist() == [-1.0, 2.0]
    assert quantizer.embedding.weight.flatten().tolist() == [0, 10]
    assert quantizer.ema_count.tolist() == [1, 1]  # each was used once: counts follow for the sake of revival


def test_vq_by_averages_has_no_gradient_even_where_a_network_is_unfrozen_as_a_whole():
    quantizer = VectorQuantizer(4, 2).train().requires_grad_(True)
    latents = torch.randn(1, 2, 4, 4, generator=generator(), requires_grad=True)
    quantizer(latents).loss.backward()
    assert quantizer.embedding.weight.grad is None and latents.grad.abs().sum() > 0


def test_vq_code_that_nobody_chooses_stays_where_it_is():
    quantizer = VectorQuantizer(2, 1).train()
    quantizer.set_codebook(torch.tensor([[0.0], [10.0]]))
    quantizer.train_with(QuantizerTraining(ema_decay=0.0))
    quantizer(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2))
    quantizer.follow()
    assert quantizer.embedding.weight.flatten().tolist() == [2, 10]


def test_vq_switching_to_averages_begins_them_at_the_codes():
    quantizer = VectorQuantizer(2, 1).train()
    quantizer.train_with(QuantizerTraining(learn_by="gradient"))
    assert quantizer.embedding.weight.requires_grad
    with torch.no_grad():
        quantizer.embedding.weight.copy_(torch.tensor([[3.0], [7.0]]))  # as an optimizer would
    quantizer.train_with(QuantizerTraining(learn_by="ema"))
    quantizer(torch.tensor([3.0, 7.0]).view(1, 1, 1, 2))
    assert torch.allclose(quantizer.embedding.weight.flatten(), torch.tensor([3.0, 7.0]))
    assert not quantizer.embedding.weight.requires_grad


def test_vq_gradient_follows_the_rotation_from_latent_to_code():
    """Against matrices built the long way: in the plane of both vectors turn by their angle, leave the rest alone."""
    rows = torch.randn(20, 5, dtype=torch.float64, generator=generator(1)).requires_grad_()
    chosen = torch.randn(20, 5, dtype=torch.float64, generator=generator(2))
    upstream = torch.randn(20, 5, dtype=torch.float64, generator=generator(3))
    passed = rotated(rows, chosen)
    assert torch.equal(passed.detach(), chosen)
    (passed * upstream).sum().backward()
    for z, q, above, got in zip(rows.detach(), chosen, upstream, rows.grad, strict=True):
        u = z / z.norm()
        v = q - (q @ u) * u
        v = v / v.norm()
        cos, sin = q @ u / q.norm(), q @ v / q.norm()
        turn = torch.eye(5, dtype=torch.float64) + (cos - 1) * (torch.outer(u, u) + torch.outer(v, v))
        turn = turn + sin * (torch.outer(v, u) - torch.outer(u, v))
        assert torch.allclose(turn @ z * q.norm() / z.norm(), q)  # it is the rotation of the paper
        assert torch.allclose(got, turn.T @ above * q.norm() / z.norm())


@pytest.mark.parametrize("z", [[0.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])
def test_vq_rotation_is_finite_at_the_origin_and_for_opposite_and_equal_directions(z):
    rows, chosen = torch.tensor([z]).requires_grad_(), torch.tensor([[1.0, 0.0]])
    passed = rotated(rows, chosen)
    passed.sum().backward()
    assert torch.equal(passed.detach(), chosen) and rows.grad.isfinite().all()


def test_vq_settings_choose_the_way_of_the_gradient():
    quantizer = VectorQuantizer(16, 3).eval()
    latents = torch.randn(2, 3, 4, 4, generator=generator(), requires_grad=True)
    gradients = []
    for gradient in ("straight", "rotation"):
        quantizer.train_with(QuantizerTraining(gradient=gradient))
        gradients += torch.autograd.grad(quantizer(latents).latents.square().sum(), latents)
    rows, chosen = (x.permute(0, 2, 3, 1).reshape(-1, 3) for x in (latents, quantizer(latents).latents.detach()))
    for gradient, way in zip(gradients, (straight_through, rotated), strict=True):
        expected = torch.autograd.grad(way(rows, chosen).square().sum(), rows, retain_graph=True)[0]
        assert torch.allclose(gradient, grid_of(expected, latents), atol=1e-6)
    assert not torch.allclose(*gradients)


def test_vq_at_unit_length_chooses_by_direction_and_gives_unit_vectors():
    quantizer = VectorQuantizer(50, 4, normalize=True).eval()
    with torch.no_grad():
        quantizer.embedding.weight.normal_(generator=generator(1)).mul_(torch.linspace(0.1, 10, 50)[:, None])
    rows = torch.logspace(-7, 2, 300)[:, None] * torch.randn(300, 4, generator=generator(2))
    by_cosine = F.cosine_similarity(rows[:, None], quantizer.embedding.weight[None], dim=-1, eps=0).argmax(1)
    assert torch.equal(quantizer.codes_of(rows), by_cosine)
    vectors = quantizer.vectors(torch.arange(50))
    assert torch.allclose(vectors.norm(dim=1), torch.ones(50))
    assert torch.equal(quantizer.codes_of(vectors), torch.arange(50))
    assert torch.allclose(quantizer(as_grid(rows)).latents[0, :, 0].T, vectors[by_cosine], atol=1e-6)


def test_vq_at_unit_length_has_no_gradient_along_the_latent():
    quantizer = VectorQuantizer(16, 4, normalize=True)
    rows = torch.randn(30, 4, generator=generator()).requires_grad_()
    quantized = quantizer(as_grid(rows))
    (quantized.latents * torch.randn(quantized.latents.shape, generator=generator(1))).sum().backward()
    assert (rows.grad * rows).sum(1).abs().max() < 1e-5 and rows.grad.abs().max() > 0.1


def test_vq_at_unit_length_follows_directions():
    quantizer = VectorQuantizer(2, 2, normalize=True).train()
    quantizer.set_codebook(torch.tensor([[9.0, 0.0], [0.0, 0.1]]))
    latents = as_grid(torch.tensor([[1.0, 0.1], [50.0, -5.0], [0.0, 2.0]]))
    for _ in range(1000):
        quantizer(latents)
        quantizer.follow()
    assert torch.allclose(quantizer.embedding.weight, torch.eye(2), atol=1e-3)


def test_vq_computes_in_float32_under_autocast():
    quantizer = VectorQuantizer(256, 8).eval()
    quantizer.set_codebook(torch.randn(256, 8, generator=generator(1)))
    rows = torch.randn(2000, 8, generator=generator(2))
    exact = torch.cdist(rows.double(), quantizer.embedding.weight.double()).argmin(1)
    with torch.autocast("cpu", torch.bfloat16):
        quantized = quantizer(as_grid(rows))
        assert quantized.latents.dtype == quantized.loss.dtype == torch.float32
        assert (quantizer.codes_of(rows) == exact).float().mean() > 0.999
        assert (quantized.codes[0] == exact).float().mean() > 0.999
        low = quantizer(as_grid(rows).bfloat16())
    assert low.latents.dtype == torch.float32
    assert torch.equal(low.codes[0], quantizer.codes_of(rows.bfloat16()))


def test_vq_follows_a_batch_as_a_whole_however_it_was_split():
    """Micro-batches and ranks add up before anything moves."""
    latents = torch.randn(6, 2, 4, 4, generator=generator(3))
    whole, split, ranks = (VectorQuantizer(8, 2).train() for _ in range(3))
    for other in (split, ranks):
        other.load_state_dict(whole.state_dict())
    whole(latents)
    whole.follow()
    split(latents[:2]), split(latents[2:])
    split.follow()
    assert torch.allclose(split.embedding.weight, whole.embedding.weight, atol=1e-6)
    ranks(latents[:3])
    other_rank = VectorQuantizer(8, 2).train()
    other_rank.load_state_dict(ranks.state_dict())
    other_rank(latents[3:])
    there = iter([other_rank.seen_count, other_rank.seen_sum])
    ranks.follow(lambda tensor: tensor + next(there))
    assert torch.allclose(ranks.embedding.weight, whole.embedding.weight, atol=1e-6)
    before = whole.embedding.weight.clone()
    whole.follow()  # nothing seen: nothing moves
    assert torch.equal(whole.embedding.weight, before)
