"""How far a reconstruction is from its picture, for training a tokenizer.

Prototype runs went blind to color under a plain L1 + gradient loss (docs/log.md, 2026-11-21): the eye for color here is
the squared error of shrunken pictures, where texture is gone and hue is what remains. Letters: B pictures, H W pixels.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True, kw_only=True)
class ReconstructionWeights:
    """Weights of the parts of the reconstruction loss."""

    absolute: float = 1.0
    """Of the mean absolute error: sharp edges of annotations."""
    squared: float = 5.0
    """Of the mean squared error, which PSNR measures."""
    shrunken: float = 5.0
    """Of the mean squared error after averaging squares of 4 x 4 pixels: color and large shapes."""
    commitment: float = 1.0
    """Of the quantizer's own loss."""


def reconstruction_loss(
    painted: torch.Tensor, pixels: torch.Tensor, weights: ReconstructionWeights
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss of reconstructions and its parts, means over the batch.

    Args:
        painted: float [B, 3, H, W], not clipped.
        pixels: float [B, 3, H, W] in 0..1.
    """
    error = painted.float() - pixels.float()
    parts = {
        "absolute": error.abs().mean(),
        "squared": error.square().mean(),
        "shrunken": F.avg_pool2d(error, 4).square().mean(),
    }
    total = sum(getattr(weights, name) * value for name, value in parts.items())
    return torch.as_tensor(total), parts
