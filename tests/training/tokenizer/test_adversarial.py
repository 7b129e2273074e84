"""The adversarial terms: values, who learns from which, and that nothing depends on how a batch is split or resumed."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import nn

from openlvm.training.tokenizer.adversarial import (
    NO_INFORMATION,
    AdversarialConfig,
    LeCam,
    adaptive_weight,
    discriminator_loss,
    frozen,
    generator_loss,
    ramp,
)
from openlvm.training.tokenizer.discriminator import PatchDiscriminator

KINDS = ("hinge", "non-saturating")


@pytest.mark.parametrize("kind", KINDS)
def test_separated_logits_cost_the_discriminator_nothing(kind):
    """A public code base has the arguments swapped and would fail here; so would a swap in ours."""
    real, fake = torch.full((2, 1, 3, 3), 20.0), torch.full((2, 1, 3, 3), -20.0)
    assert float(discriminator_loss(real, fake, kind)) == pytest.approx(0.0, abs=1e-6)
    assert float(discriminator_loss(fake, real, kind)) > 39
    assert float(generator_loss(fake, kind)) == pytest.approx(20, abs=1e-3)  # not fooled: dear for the tokenizer
    assert float(generator_loss(real, kind)) < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_no_information_costs_what_the_table_says(kind):
    nothing = torch.zeros(1, 1, 4, 4)
    assert float(discriminator_loss(nothing, nothing, kind)) == pytest.approx(NO_INFORMATION[kind], rel=1e-6)


def test_non_saturating_matches_binary_cross_entropy():
    torch.manual_seed(0)
    real, fake = torch.randn(2, 1, 5, 5), torch.randn(2, 1, 5, 5)
    bce = nn.functional.binary_cross_entropy_with_logits
    expected = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    assert float(discriminator_loss(real, fake, "non-saturating")) == pytest.approx(float(expected), rel=1e-6)
    expected = bce(fake, torch.ones_like(fake))
    assert float(generator_loss(fake, "non-saturating")) == pytest.approx(float(expected), rel=1e-6)


def test_losses_are_float32_for_half_precision_logits():
    real, fake = (
        torch.full((1, 1, 4, 4), 0.3, dtype=torch.bfloat16),
        torch.full((1, 1, 4, 4), 0.7, dtype=torch.bfloat16),
    )
    assert {discriminator_loss(real, fake, kind).dtype for kind in KINDS} == {torch.float32}
    assert {generator_loss(fake, kind).dtype for kind in KINDS} == {torch.float32}


def test_ramp_waits_then_grows_linearly():
    config = AdversarialConfig(start_step=10, ramp_steps=4)
    assert [ramp(step, config) for step in (0, 9, 10, 11, 13, 14, 99)] == [0, 0, 0, 0.25, 0.75, 1, 1]
    assert [ramp(step, replace(config, ramp_steps=0)) for step in (9, 10, 11)] == [0, 1, 1]


def test_adaptive_weight_equals_the_ratio_of_gradient_norms():
    """Two losses linear in w with gradients (3, 4) and (0, 0.5): norms 5 and 0.5."""
    w = torch.zeros(2, requires_grad=True)
    reconstruction, adversarial = (w * torch.tensor([3.0, 4.0])).sum(), (w * torch.tensor([0.0, 0.5])).sum()
    weight = adaptive_weight(reconstruction, adversarial, w)
    assert float(weight) == pytest.approx(5 / 0.5, rel=1e-3) and not weight.requires_grad and w.grad is None
    (reconstruction + weight * adversarial).backward()  # the graph is still there
    assert torch.allclose(w.grad, torch.tensor([3.0, 4.0 + 5.0]), rtol=1e-3)


def test_adaptive_weight_is_limited():
    w = torch.zeros(2, requires_grad=True)
    flat, steep = (w * 1e-9).sum(), (w * 1e3).sum()
    assert float(adaptive_weight(steep, flat, w)) == 1e4 and float(adaptive_weight(flat, steep, w)) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_one_backward_gives_both_players_their_own_gradient(kind):
    """As the tokenizer task uses it, against two separate backwards of each player's loss alone."""
    torch.manual_seed(0)
    painter, judge = nn.Conv2d(3, 3, 3, padding=1), PatchDiscriminator(4, 1)
    pixels = torch.rand(2, 3, 12, 12)
    painted = painter(pixels)
    reconstruction = (painted - pixels).square().mean()
    with frozen(judge):
        adversarial = generator_loss(judge(painted), kind)
    weight = adaptive_weight(reconstruction, adversarial, painter.weight)
    assert all(param.requires_grad for param in judge.parameters())
    judged = discriminator_loss(judge(pixels), judge(painted.detach()), kind)
    (reconstruction + weight * adversarial + judged).backward()

    alone = discriminator_loss(judge(pixels), judge(painter(pixels).detach()), kind)
    expected = torch.autograd.grad(alone, list(judge.parameters()))
    for param, gradient in zip(judge.parameters(), expected, strict=True):
        assert torch.allclose(param.grad, gradient, rtol=1e-5, atol=1e-8)
    assert expected[0].abs().sum() > 0
    painted = painter(pixels)
    alone = (painted - pixels).square().mean() + weight * generator_loss(judge(painted), kind)
    expected = torch.autograd.grad(alone, list(painter.parameters()))
    for param, gradient in zip(painter.parameters(), expected, strict=True):
        assert torch.allclose(param.grad, gradient, rtol=1e-4, atol=1e-7)


def test_frozen_gives_back_what_was_frozen_before():
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    with pytest.raises(KeyError), frozen(net):
        assert not net.weight.requires_grad
        raise KeyError
    assert net.weight.requires_grad and not net.bias.requires_grad


def logits_of(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(step)
    return torch.randn(4, 1, 3, 3, generator=chance) + 1, torch.randn(4, 1, 3, 3, generator=chance) - 1


def test_lecam_matches_a_slow_reference():
    lecam, real_means, fake_means = LeCam(decay=0.9), [], []
    for step in range(5):
        real, fake = logits_of(step)
        penalty = float(lecam(real, fake))
        if step == 0:
            assert penalty == 0 and not lecam.anchors.any()
        else:
            weights = [0.9 ** (step - 1 - i) for i in range(step)]  # of an average corrected for its start
            alpha_real = sum(w * m for w, m in zip(weights, real_means, strict=True)) / sum(weights)
            alpha_fake = sum(w * m for w, m in zip(weights, fake_means, strict=True)) / sum(weights)
            above = [max(0.0, r - alpha_fake) ** 2 for r in real.flatten().tolist()]
            below = [max(0.0, alpha_real - f) ** 2 for f in fake.flatten().tolist()]
            assert penalty == pytest.approx(sum(above) / len(above) + sum(below) / len(below), rel=1e-4)
        lecam.update()
        real_means.append(float(real.mean()))
        fake_means.append(float(fake.mean()))
    assert lecam.anchors[0] > 0.5 > -0.5 > lecam.anchors[1]


def test_lecam_pulls_logits_together():
    lecam = LeCam()
    real, fake = torch.full((1, 1, 1, 1), 3.0), torch.full((1, 1, 1, 1), -3.0)
    lecam(real, fake)
    lecam.update()
    real, fake = real.requires_grad_(), fake.requires_grad_()
    lecam(real, fake).backward()
    assert float(real.grad) > 0 > float(fake.grad)  # descent lowers the logit of pictures, raises the other


def test_lecam_is_the_same_for_any_split_and_counts_only_while_training():
    whole, split = LeCam(), LeCam()
    for step in range(3):
        real, fake = logits_of(step)
        together = whole(real, fake)
        parts = [split(real[i : i + 2], fake[i : i + 2]) for i in (0, 2)]
        assert float(sum(parts) / 2) == pytest.approx(float(together), rel=1e-5)
        split.eval()
        split(real * 100, fake * 100)
        split.train()
        whole.update()
        split.update()
        split.update()  # with nothing to count, as in steps without the discriminator: nothing changes
    assert torch.allclose(whole.averages, split.averages, rtol=1e-6)


def test_lecam_resumes_to_the_bit_and_forgets_a_step_cut_short(tmp_path):
    lecam = LeCam()
    for step in range(3):
        lecam(*logits_of(step))
        lecam.update()
    save_model(lecam, str(tmp_path / "lecam.safetensors"))
    resumed, rolled_back = LeCam(), copy.deepcopy(lecam)
    rolled_back(*(logits * math.nan for logits in logits_of(3)))  # the step that failed
    for other in (resumed, rolled_back):
        load_model(other, str(tmp_path / "lecam.safetensors"))
    for one in (lecam, resumed, rolled_back):
        one(*logits_of(4))
        one.update()
    assert torch.equal(lecam.averages, resumed.averages) and torch.equal(lecam.averages, rolled_back.averages)
    assert torch.isfinite(lecam.averages).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "wasserstein"}, "kind='wasserstein' is unknown; expected one of hinge, non-saturating"),
        ({"weight": 0.0}, "leave the adversarial settings out"),
        ({"discriminator_lr": -1.0}, "discriminator_lr=-1.0 must be above 0"),
        ({"start_step": -1}, "start_step=-1.*at least 0"),
        ({"lecam": -0.1}, "lecam=-0.1 must be at least 0"),
        ({"strongest": 1.99}, r"strongest=1.99 must lie in 0..1.96"),
    ],
)
def test_config_rejects(changes, message):
    with pytest.raises(ValueError, match=message):
        AdversarialConfig(**{"start_step": 0, **changes})
