"""Checkpoints: weights, tied tables and optimizer come back; what does not fit is refused."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from openlvm.training.checkpoint import (
    TrainState,
    hash_config,
    load_checkpoint,
    load_state,
    load_weights,
    save_checkpoint,
)
from openlvm.training.config import OptimConfig
from openlvm.training.guards.damage import write_list
from openlvm.training.optim import make_optimizer

STATE = TrainState(
    step=3, next_position=24, positions_per_step=8, world_size=2, config_hash="ab", meters={"even": (1 / 3, 2.0)},
    recent_losses=(1.5, 1 / 3), skipped_in_a_row=1,
)  # fmt: skip


def tied_net(seed: int) -> nn.ModuleDict:
    torch.manual_seed(seed)
    net = nn.ModuleDict({"embed": nn.Embedding(5, 4), "head": nn.Linear(4, 5, bias=False), "norm": nn.BatchNorm1d(4)})
    net["head"].weight = net["embed"].weight
    return net


def stepped(seed: int):
    net = tied_net(seed)
    optimizers = make_optimizer({"net": net}, OptimConfig(lr=0.1))
    for param in net.parameters():
        param.grad = torch.randn_like(param)
    optimizers.step()
    return net, optimizers


def test_checkpoint_roundtrips(tmp_path):
    net, optimizers = stepped(0)
    net["norm"].running_mean += 1
    save_checkpoint(tmp_path / "step", {"net": net}, optimizers, STATE)
    other, other_optimizers = stepped(1)
    assert load_checkpoint(tmp_path / "step", {"net": other}, other_optimizers) == STATE
    assert other["head"].weight is other["embed"].weight
    for left, right in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(left, right)
    left, right = (o.state_dict()["adamw"]["state"] for o in (optimizers, other_optimizers))
    for index, moments in left.items():
        for name, value in moments.items():
            assert torch.equal(value, right[index][name])


def test_checkpoint_rejects_what_does_not_fit(tmp_path: Path):
    net, optimizers = stepped(0)
    at = tmp_path / "step"
    save_checkpoint(at, {"net": net}, optimizers, STATE)
    with pytest.raises(FileNotFoundError, match=r"no weights of 'decoder' \(decoder.safetensors\)"):
        load_checkpoint(at, {"decoder": net}, optimizers)
    with pytest.raises(ValueError, match="does not fit the module 'net'"):
        load_checkpoint(at, {"net": nn.Linear(2, 2)}, optimizers)
    state = json.loads((at / "state.json").read_text())
    (at / "state.json").write_text(json.dumps(state | {"format_version": 9}))
    (at / "files.json").unlink()  # as of format 1
    for load in (load_state, partial(load_weights, modules={"net": net})):
        with pytest.raises(ValueError, match="checkpoint format 9; this openlvm reads 2. Go on with"):
            load(at)


def test_checkpoint_rejects_damage(tmp_path: Path):
    net, optimizers = stepped(0)
    at = tmp_path / "step"
    save_checkpoint(at, {"net": net}, optimizers, STATE)
    for name in ("optimizer.pt", "net.safetensors"):
        whole = (at / name).read_bytes()
        (at / name).write_bytes(whole[: len(whole) // 2])
        cut = rf"{name} is damaged: {len(whole) // 2} bytes, written were {len(whole)}; delete that folder, and the run"
        with pytest.raises(ValueError, match=cut):
            load_checkpoint(at, {"net": net}, optimizers)
        write_list(at, {})  # as if it had been written so
        with pytest.raises(ValueError, match=rf"{name} is damaged \(.*delete that folder, and the run goes on"):
            load_checkpoint(at, {"net": net}, optimizers)
        (at / name).write_bytes(whole)
        write_list(at, {})
    (at / "optimizer.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks optimizer\.pt; copy it there, or delete that folder"):
        load_checkpoint(at, {"net": net}, optimizers)


def test_config_hash_depends_on_every_field():
    assert hash_config(OptimConfig(lr=0.1)) == hash_config(OptimConfig(lr=0.1))
    assert hash_config(OptimConfig(lr=0.1)) != hash_config(OptimConfig(lr=0.1, eps=1e-9))
