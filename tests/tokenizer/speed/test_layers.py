"""Layers prepared for inference, beside those they stand for."""

import pytest
import torch
import torch.nn.functional as F

from openlvm.tokenizer.blocks import ResBlock, Upsample
from openlvm.tokenizer.speed import layers
from openlvm.tokenizer.speed.layers import FastResBlock, FoldedUpsample, Scratch, affine_of, fast


def drawn(*shape: int) -> torch.Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return made.to(memory_format=torch.channels_last) if len(shape) == 4 else made


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """Norms that do something, too."""
    generator = torch.Generator().manual_seed(5)
    for value in module.parameters():
        value.data += 0.2 * torch.randn(value.shape, generator=generator)
    return module.requires_grad_(False)


@pytest.mark.parametrize("widths", [(16, 16), (16, 24)])
def test_fast_res_block_is_the_block(widths):
    block, x = shaken(ResBlock(*widths, groups=8)), drawn(2, widths[0], 12, 8)
    expected = block(x.clone())
    assert torch.allclose(FastResBlock(block, Scratch())(x.clone()), expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize(("side", "rows"), [(5, 64), (7, 3), (8, 1)])
def test_folded_upsample_is_upsampling_and_convolution(side, rows, monkeypatch):
    """Also in strips of rows, the last of them shorter."""
    monkeypatch.setattr(layers, "ROWS_AT_ONCE", rows)
    upsample, x = shaken(Upsample(12)), drawn(2, 12, side, 6)
    folded = FoldedUpsample(upsample, torch.float32)(x)
    assert torch.allclose(folded, upsample(x), rtol=0, atol=1e-5)
    assert folded.is_contiguous(memory_format=torch.channels_last)


def test_affine_is_group_norm_far_from_zero(monkeypatch):
    """A mean of 300 standard deviations: the mean of squares minus the squared mean would lose three digits."""
    monkeypatch.setattr(layers, "VALUES_AT_ONCE", 100)
    norm = shaken(torch.nn.GroupNorm(4, 16, eps=1e-6))
    x = drawn(2, 16, 6, 10) + 300
    scale, shift = affine_of(norm, x.permute(0, 2, 3, 1).contiguous())
    expected = F.group_norm(x.double(), 4, norm.weight.double(), norm.bias.double(), 1e-6)
    made = x.double() * scale.double().permute(0, 3, 1, 2) + shift.double().permute(0, 3, 1, 2)
    assert torch.allclose(made, expected, rtol=0, atol=2e-4)  # float32 of a shift of about 300: 3e-5


def test_scratch_grows_and_gives_back(monkeypatch):
    monkeypatch.setattr(layers, "LEAST_SCRATCH", 6)
    scratch = Scratch()
    small = scratch.take(2, 3)
    assert scratch.take(3, 2).data_ptr() == small.data_ptr()
    assert scratch.take(5, 5).shape == (5, 5) and scratch._block.numel() == 25
    scratch.clear()
    assert scratch._block.numel() == 0


def test_fast_keeps_blocks_where_nothing_is_gained():
    narrow, odd = ResBlock(16, 16, groups=8), ResBlock(64, 64, groups=8)
    assert fast(narrow, 256, Scratch()) is narrow and fast(odd, 130, Scratch()) is odd
    assert isinstance(fast(odd, 128, Scratch()), FastResBlock)
