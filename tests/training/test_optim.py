"""Optimizers against torch's own and against the SVD; schedules at their ends."""

import copy
import math

import pytest
import torch
from torch import nn

from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.optim import (
    Muon,
    cosine_share,
    lr_share,
    make_optimizer,
    orthogonalize,
    split_parameters,
    wsd_share,
)


def make_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "embed": nn.Embedding(7, 6),
            "tall": nn.Linear(6, 18),
            "wide": nn.Linear(18, 6, bias=False),
            "also_wide": nn.Linear(18, 6, bias=False),
            "norm": nn.LayerNorm(6),
            "lm_head": nn.Linear(6, 7, bias=False),
        }
    )


def give_gradients(net: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for param in net.parameters():
        param.grad = torch.randn(param.shape, generator=generator)


def test_adamw_matches_torch_reference():
    net, reference = make_net(), make_net()
    config = OptimConfig(lr=1e-2, weight_decay=0.3, warmup_steps=3)
    ours = make_optimizer({"net": net}, config)
    spared = [p for n, p in reference.named_parameters() if p.ndim < 2 or n.startswith("embed")]
    decayed = [p for p in reference.parameters() if all(p is not s for s in spared)]
    groups = [{"params": decayed, "weight_decay": 0.3}, {"params": spared, "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8, foreach=False, fused=False)
    for step in range(5):
        share = lr_share(config, step, steps=5)
        ours.set_lr_share(share)
        for group in theirs.param_groups:
            group["lr"] = 1e-2 * share
        for model, optimizer in ((net, ours), (reference, theirs)):
            give_gradients(model, step)
            optimizer.step()
    for left, right in zip(net.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-7)


def test_decay_all_decays_norms_too():
    net = make_net()
    optimizer = make_optimizer({"net": net}, OptimConfig(lr=1e-2, weight_decay=0.3, decay_all=True))
    assert {g["weight_decay"] for o in optimizer.optimizers.values() for g in o.param_groups} == {0.3}
    assert len(optimizer.parameters()) == len(list(net.parameters()))


def test_split_parameters_sends_matrices_to_muon_and_no_table():
    net = make_net()
    net["lm_head"].weight = net["embed"].weight  # tied
    lists = split_parameters({"net": net, "again": net})
    assert lists["hidden"] == [net["tall"].weight, net["wide"].weight, net["also_wide"].weight]
    assert [param.shape for param in lists["embeddings"]] == [(7, 6)]
    assert len(lists["vectors"]) == 3 and lists["outer"] == []


@pytest.mark.parametrize("shape", [(16, 16), (24, 8), (8, 24)])
def test_orthogonalize_matches_svd(shape):
    """Same singular vectors, singular values in the quintic's band around 1 (Jordan 2024: about 0.7 to 1.2)."""
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.mT @ orthogonalize(matrix) @ v.mT
    values = inside.diagonal()
    assert ((values > 0.6) & (values < 1.25)).all()
    assert (inside - inside.diagonal().diag()).abs().max() < 1e-4


def test_muon_matches_torch_reference():
    """torch.optim.Muon computes in bfloat16: 5 % of the largest entry."""
    torch.manual_seed(2)
    ours = [nn.Parameter(torch.randn(12, 5)), nn.Parameter(torch.randn(12, 5)), nn.Parameter(torch.randn(4, 6))]
    theirs = copy.deepcopy(ours)
    left = Muon(ours, lr=0.02, momentum=0.95, weight_decay=0.1)
    right = torch.optim.Muon(theirs, lr=0.02, momentum=0.95, weight_decay=0.1, adjust_lr_fn="original")
    start = [param.detach().clone() for param in ours]
    for step in range(3):
        for params in (ours, theirs):
            generator = torch.Generator().manual_seed(step)
            for param in params:
                param.grad = torch.randn(param.shape, generator=generator)
        left.step()
        right.step()
    for mine, other, first in zip(ours, theirs, start, strict=True):
        moved = (other - first).abs().max()
        assert (mine - other).abs().max() < 0.05 * moved


def test_muon_state_roundtrips(tmp_path):
    config = OptimConfig(lr=1e-2, optimizer="muon")
    nets = [make_net(), make_net()]
    first, second = (make_optimizer({"net": net}, config) for net in nets)
    assert set(first.optimizers) == {"muon", "adamw"}
    for step in range(3):
        give_gradients(nets[0], step)
        first.step()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    nets[1].load_state_dict(nets[0].state_dict())
    for net, optimizer in zip(nets, (first, second), strict=True):
        give_gradients(net, 3)
        optimizer.step()
    for left, right in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(left, right)


def test_optimizer_rejects_a_state_of_another():
    adamw = make_optimizer({"net": make_net()}, OptimConfig(lr=1e-2))
    muon = make_optimizer({"net": make_net()}, OptimConfig(lr=1e-2, optimizer="muon"))
    with pytest.raises(ValueError, match=r"holds optimizers \['adamw'\], expected \['adamw', 'muon'\]"):
        muon.load_state_dict(adamw.state_dict())
    with pytest.raises(ValueError, match="hidden matrix; use optimizer=adamw"):
        make_optimizer({"table": nn.Embedding(3, 4)}, OptimConfig(lr=1e-2, optimizer="muon"))


def test_cosine_limits():
    ramp = {"steps": 100, "warmup_steps": 10, "final_share": 0.1}
    assert cosine_share(0, **ramp) == 0.1
    assert cosine_share(9, **ramp) == cosine_share(10, **ramp) == 1.0
    assert cosine_share(55, **ramp) == pytest.approx(0.55)
    assert cosine_share(100, **ramp) == pytest.approx(0.1)
    shares = [cosine_share(step, **ramp) for step in range(10, 101)]
    assert shares == sorted(shares, reverse=True)
    assert cosine_share(0, steps=1, warmup_steps=0, final_share=0) == 1.0


def test_wsd_limits():
    ramp = {"steps": 100, "warmup_steps": 10, "decay_steps": 20, "final_share": 0.0}
    assert wsd_share(0, **ramp) == 0.1
    assert {wsd_share(step, **ramp) for step in range(9, 81)} == {1.0}
    assert wsd_share(90, **ramp) == pytest.approx(0.5)
    assert wsd_share(100, **ramp) == 0.0


def test_config_rejects_contradictions():
    with pytest.raises(ValueError, match="wsd needs some"):
        OptimConfig(lr=1.0, schedule="wsd")
    with pytest.raises(ValueError, match="lr=0"):
        OptimConfig(lr=0)
    with pytest.raises(ValueError, match="warmup_steps=9 and decay_steps=0 do not fit into steps=8"):
        TrainConfig(steps=8, positions_per_step=1, optim=OptimConfig(lr=1.0, warmup_steps=9))
    with pytest.raises(ValueError, match="log_every=0"):
        TrainConfig(steps=8, positions_per_step=1, optim=OptimConfig(lr=1.0), log_every=0)


def test_a_module_with_its_own_optimizer_is_clipped_by_itself():
    """One huge gradient must not shrink the other module's step."""
    shared, own = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    config = OptimConfig(lr=1e-2, clip_norm=1.0)
    optimizers = make_optimizer({"shared": shared, "own": own}, config, {"own": OptimConfig(lr=1e-3, clip_norm=0.5)})
    shared.weight.grad, own.weight.grad = torch.full((2, 2), 3.0), torch.full((2, 2), 400.0)
    assert optimizers.clip() == pytest.approx(6.0)
    assert shared.weight.grad.norm().item() == pytest.approx(1.0, rel=1e-4)
    assert own.weight.grad.norm().item() == pytest.approx(0.5, rel=1e-4)
    assert {n: o.param_groups[0]["lr"] for n, o in optimizers.optimizers.items()} == {"adamw": 1e-2, "own/adamw": 1e-3}
    own.weight.grad.fill_(float("nan"))
    assert not math.isfinite(optimizers.clip())
