"""The discriminator: its shape is the published one, and it judges each picture for itself, whatever the batch."""

import pytest
import torch

from openlvm.training.tokenizer.discriminator import PatchDiscriminator, receptive_field


def test_discriminator_matches_the_published_shape():
    """NLayerDiscriminator(3, 64, 3) of taming-transformers: 2 765 633 parameters, 30 x 30 logits from 256 x 256."""
    torch.manual_seed(0)
    net = PatchDiscriminator().requires_grad_(False)
    assert sum(param.numel() for param in net.parameters()) == 2_765_633
    with torch.device("meta"):
        assert PatchDiscriminator()(torch.empty(1, 3, 256, 256)).shape == (1, 1, 30, 30)
    convs = [module for module in net.net if isinstance(module, torch.nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [64, 128, 256, 512, 1]
    assert all(
        abs(float(conv.weight.std()) - 0.02) < 0.001 and abs(float(conv.weight.mean())) < 0.001 for conv in convs
    )
    assert all(not conv.bias.any() for conv in convs if conv.bias is not None)


@pytest.mark.parametrize(("layers", "side"), [(1, 16), (2, 34), (3, 70)])
def test_receptive_field_equals_where_the_gradient_arrives(layers, side):
    torch.manual_seed(0)
    net = PatchDiscriminator(4, layers, norm="none")
    pixels = torch.rand(1, 3, 160, 160, requires_grad=True)
    logits = net(pixels)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    rows = torch.nonzero(pixels.grad.abs().sum((0, 1, 3)))
    assert receptive_field(layers) == side == int(rows.max() - rows.min()) + 1


def test_logits_do_not_depend_on_the_rest_of_the_batch():
    """What BatchNorm would break: each half of a batch alone gives the logits of the whole batch."""
    torch.manual_seed(0)
    net = PatchDiscriminator(8, 2).train()
    pixels = torch.cat([torch.rand(2, 3, 24, 24), torch.rand(2, 3, 24, 24) * 0.1])
    halves = torch.cat([net(pixels[:2]), net(pixels[2:])])
    assert torch.allclose(net(pixels), halves, atol=1e-6) and halves.std() > 1e-4


@pytest.mark.parametrize("norm", ["group", "none"])
def test_discriminator_learns_to_tell_blur(norm):
    torch.manual_seed(0)
    net = PatchDiscriminator(8, 1, norm=norm)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(40):
        sharp = torch.rand(8, 3, 16, 16)
        blurred = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)
        loss = (1 - net(sharp)).relu().mean() + (1 + net(blurred)).relu().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2 and net(sharp).mean() > 0.5 > -0.5 > net(blurred).mean()


def test_discriminator_rejects_what_it_cannot_judge():
    with pytest.raises(ValueError, match=r"given pixels \[1, 3, 16, 16\].*at least 24 pixels for layers=3; use fewer"):
        PatchDiscriminator(4, 3)(torch.rand(1, 3, 16, 16))
    with pytest.raises(ValueError, match=r"expected \[B, 3, H, W\]"):
        PatchDiscriminator(4, 1)(torch.rand(1, 16, 16, 3))
    with pytest.raises(ValueError, match="norm='batch'.*'group' or 'none'"):
        PatchDiscriminator(norm="batch")
