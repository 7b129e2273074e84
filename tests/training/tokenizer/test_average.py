"""Averaged weights: the value after n updates, what is copied instead, and that a checkpoint holds all of it."""

import copy

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import nn

from openlvm.tokenizer.quantizers.vq import VectorQuantizer
from openlvm.training.optim import split_parameters
from openlvm.training.tokenizer.average import WeightAverage


def toy() -> nn.Sequential:
    """A trained layer, a frozen layer, a codebook that follows by itself, buffers of float, int and bool."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2), VectorQuantizer(5, 2))
    net[2].requires_grad_(False)
    net.register_buffer("seen", torch.zeros(3, dtype=torch.int64))
    net.register_buffer("is_dead", torch.zeros(3, dtype=torch.bool))
    return net


def train_a_little(net: nn.Sequential, step: int) -> None:
    chance = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for param in net.parameters():
            param.add_(torch.randn(param.shape, generator=chance))
        for buffer in net.buffers():
            buffer.add_(1) if buffer.dtype != torch.bool else buffer.logical_not_()


def test_average_matches_a_slow_reference():
    net = toy()
    average = WeightAverage(net, decay=0.3)
    expected = net[0].weight.detach().double().clone()
    for step in range(6):
        train_a_little(net, step)
        average.update(net)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * net[0].weight.detach().double()
        assert torch.allclose(average.averaged[0].weight.double(), expected, atol=1e-5)
    assert not torch.allclose(average.averaged[0].weight, net[0].weight, atol=1e-2)
    assert int(average.num_updates) == 6


def test_what_follows_by_itself_is_copied():
    net = toy()
    average = WeightAverage(net, decay=0.999)
    for step in range(3):
        train_a_little(net, step)
        average.update(net)
    averaged, trained = average.averaged.state_dict(), {name for name, p in net.named_parameters() if p.requires_grad}
    assert trained == {"0.weight", "0.bias", "1.weight", "1.bias"}
    for name, value in net.state_dict().items():
        assert torch.equal(averaged[name], value) == (name not in trained), name


def test_averages_are_not_trained_and_reduce_noise():
    """Weights that jump about their optimum: the average is nearer to it."""
    net = nn.Linear(8, 8)
    average = WeightAverage(net, decay=0.99)
    assert not any(split_parameters({"average": average}).values())
    chance = torch.Generator().manual_seed(0)
    for _ in range(300):
        with torch.no_grad():
            net.weight.copy_(torch.ones(8, 8) + torch.randn(8, 8, generator=chance))
        average.update(net)
    away = [float((one.weight.detach() - 1).square().mean().sqrt()) for one in (net, average.averaged)]
    assert away[1] < 0.25 * away[0]


def test_average_resumes_to_the_bit(tmp_path):
    net = toy()
    average = WeightAverage(net, decay=0.9)
    for step in range(4):
        train_a_little(net, step)
        average.update(net)
    save_model(average, str(tmp_path / "average.safetensors"))
    resumed, other = WeightAverage(toy(), decay=0.9), copy.deepcopy(net)
    load_model(resumed, str(tmp_path / "average.safetensors"))
    for step in range(4, 8):
        for one, its_average in ((net, average), (other, resumed)):
            train_a_little(one, step)
            its_average.update(one)
    first, second = average.state_dict(), resumed.state_dict()
    assert first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_copy_to_overwrites_everything():
    net = toy()
    average = WeightAverage(net, decay=0.9)
    train_a_little(net, 0)
    average.update(net)
    target = toy()
    for step in (8, 9):
        train_a_little(target, step)
    average.copy_to(target)
    averaged = average.averaged.state_dict()
    assert all(torch.equal(value, averaged[name]) for name, value in target.state_dict().items())
    assert target[0].weight.requires_grad and not torch.equal(target[0].weight, net[0].weight)


def test_average_rejects_another_module_and_a_wrong_decay():
    average = WeightAverage(toy())
    with pytest.raises(ValueError, match=r"does not fit its averaged weights: \['0.bias'"):
        average.update(nn.Linear(3, 4))
    with pytest.raises(ValueError, match="decay=1.0.*below 1"):
        WeightAverage(toy(), decay=1.0)
