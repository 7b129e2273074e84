"""The discriminator of adversarial training: a small convolutional network that judges patches, not whole pictures.

PatchGAN of Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (arXiv 1611.07004, section
3.2 and appendix 6.1.2), in the shape that taming-transformers trained VQGANs with (64 channels, 3 layers, 2 765 633
parameters). One change: GroupNorm (Wu & He, arXiv 1803.08494) in place of BatchNorm. BatchNorm's statistics differ
between ranks and between micro-batches, and between the pass over pictures and the pass over reconstructions, so the
loss would depend on how a batch is split. Letters: B pictures, H W pixels, h w logits.
"""

import math
from typing import Literal

import torch
from torch import nn

KERNEL = 4  # of every convolution, with padding 1 (Isola et al. 2017)
SLOPE = 0.2  # of LeakyReLU (Isola et al. 2017)
MOST_CHANNELS = 8  # in units of `channels` (Isola et al. 2017: 64 to 512)
INITIAL_STD = 0.02  # of the filters (Isola et al. 2017)
NORM_GROUPS = 32  # Wu & He 2018; fewer where the channels are not divisible by 32


def receptive_field(layers: int) -> int:
    """Side in pixels of the patch that one logit judges: 16, 34, 70, 142 with 1, 2, 3, 4 layers."""
    side = 1 + 2 * (KERNEL - 1)  # the last two convolutions have stride 1
    for _ in range(layers):
        side = 2 * side + KERNEL - 2
    return side


class PatchDiscriminator(nn.Module):
    """Pixels -> a map of logits: high where a patch looks like a picture, low where it looks like a reconstruction.

    Args:
        channels: of the first convolution; doubled by each further one, up to eight times as many.
        layers: convolutions of stride 2, at least 1; `receptive_field` says what it means in pixels.
        norm: GroupNorm after every convolution but the first and the last, or none.
    """

    def __init__(self, channels: int = 64, layers: int = 3, norm: Literal["group", "none"] = "group"):
        super().__init__()
        if channels < 1 or layers < 1 or norm not in ("group", "none"):
            raise ValueError(
                f"channels={channels}, layers={layers}, norm={norm!r}: channels and layers must be at least 1, norm "
                "'group' or 'none'"
            )
        self.layers = layers
        widths = [channels * min(2**i, MOST_CHANNELS) for i in range(layers + 1)]
        parts: list[nn.Module] = [nn.Conv2d(3, widths[0], KERNEL, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for i in range(1, layers + 1):
            stride = 2 if i < layers else 1
            parts += [nn.Conv2d(widths[i - 1], widths[i], KERNEL, stride=stride, padding=1, bias=norm == "none")]
            if norm == "group":
                parts += [nn.GroupNorm(math.gcd(NORM_GROUPS, widths[i]), widths[i])]
            parts += [nn.LeakyReLU(SLOPE)]
        self.net = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, KERNEL, stride=1, padding=1))
        for module in self.net:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, INITIAL_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels float [B, 3, H, W], about 0..1 -> logits [B, 1, h, w] with h = H / 2^layers - 2."""
        least = 3 * 2**self.layers
        if pixels.ndim != 4 or pixels.shape[1] != 3 or min(pixels.shape[2:]) < least:
            raise ValueError(
                f"the discriminator was given pixels {list(pixels.shape)}, expected [B, 3, H, W] with sides of at "
                f"least {least} pixels for layers={self.layers}; use fewer layers for small pictures"
            )
        return self.net(pixels * 2 - 1)
