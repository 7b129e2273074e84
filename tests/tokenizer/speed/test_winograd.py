"""Winograd's form of a convolution, beside the plain one in float64."""

import pytest
import torch
import torch.nn.functional as F

from openlvm.tokenizer.speed import winograd
from openlvm.tokenizer.speed.winograd import Winograd3x3


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def plain(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """float64 [B, H, W, C]."""
    return F.conv2d(x.double().permute(0, 3, 1, 2), weight.double(), bias.double(), padding=1).permute(0, 2, 3, 1)


@pytest.mark.parametrize("values_at_once", [1, 2 * 3 * 40, 2**15])
def test_winograd_is_the_convolution(values_at_once, monkeypatch):
    """In strips of one row of tiles, of two, and all at once; outputs are about 1."""
    monkeypatch.setattr(winograd, "VALUES_AT_ONCE", values_at_once)
    x, weight, bias = drawn(1, 24, 12, 40), drawn(33, 40, 3, 3) / 19, drawn(33)
    out = torch.full((1, 24, 12, 33), 9.0)
    Winograd3x3(weight, bias)(x, out, None, adds=False)
    assert torch.allclose(out.double(), plain(x, weight, bias), rtol=0, atol=5e-6)


def test_winograd_activates_before_and_adds_after():
    """The border is zero after the activation, which does not keep zero: shift makes it silu(shift)."""
    x, weight, bias = drawn(3, 8, 8, 6), drawn(5, 6, 3, 3) / 7, drawn(5)
    scale, shift = drawn(3, 1, 1, 6), drawn(3, 1, 1, 6) + 1
    before = drawn(3, 8, 8, 5)
    out = before.clone()
    Winograd3x3(weight, bias)(x, out, (scale, shift), adds=True)
    expected = before + plain(F.silu(x.double() * scale + shift), weight, bias)
    assert torch.allclose(out.double(), expected, rtol=0, atol=5e-6)


def test_winograd_rounds_little():
    """rms 1.5e-6 of outputs of rms 1; the textbook points 0, 1, -1, 2, -2 have 2.3e-6 here."""
    x, weight, bias = drawn(1, 32, 32, 64), drawn(64, 64, 3, 3) / 24, torch.zeros(64)
    out = torch.empty(1, 32, 32, 64)
    Winograd3x3(weight, bias)(x, out, None, adds=False)
    error = (out.double() - plain(x, weight, bias)).square().mean().sqrt()
    assert 0 < error < 1.5e-6, error
