"""The blocks of the VQGAN, named as the released weights name them (taming-transformers, open-muse, LVM).

Letters: B pictures, D channels of a feature map, H W its size.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

NORM_EPS = 1e-6  # of every GroupNorm in the released weights


class Shape(Protocol):
    """What encoder and decoder need to know of a config (`vqgan.VQGANConfig`)."""

    @property
    def image_size(self) -> int:
        """Side of the pictures, pixels."""

    @property
    def width(self) -> int:
        """Channels at full resolution."""

    @property
    def multipliers(self) -> tuple[int, ...]:
        """Channels at each resolution, in units of width."""

    @property
    def num_res_blocks(self) -> int:
        """Residual blocks per resolution in the encoder."""

    @property
    def latent_channels(self) -> int:
        """Channels between encoder and quantizer."""

    @property
    def norm_groups(self) -> int:
        """Groups of every GroupNorm."""

    @property
    def stem(self) -> int:
        """Side of the squares of pixels that the first layer takes in and the last one paints."""

    @property
    def attention_at(self) -> tuple[int, ...]:
        """Sides of the feature maps with attention."""

    @property
    def mid_attention(self) -> bool:
        """Attention between the two middle blocks."""


def _norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups, channels, eps=NORM_EPS)


def _conv3(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)


class ResBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1x1 convolution on x where the width changes."""

    def __init__(self, channels_in: int, channels_out: int, groups: int):
        super().__init__()
        self.norm1, self.conv1 = _norm(channels_in, groups), _conv3(channels_in, channels_out)
        self.norm2, self.conv2 = _norm(channels_out, groups), _conv3(channels_out, channels_out)
        if channels_in != channels_out:
            self.nin_shortcut = nn.Conv2d(channels_in, channels_out, 1)
        self.changes_width = channels_in != channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, channels_in, H, W] -> [B, channels_out, H, W]."""
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return (self.nin_shortcut(x) if self.changes_width else x) + y


class Downsample(nn.Module):
    """Halves height and width; pads right and bottom only, as the released weights expect."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, D, H, W] -> [B, D, H/2, W/2]."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles height and width by repetition, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = _conv3(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, D, H, W] -> [B, D, 2H, 2W]."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Attention(nn.Module):
    """Self-attention with one head over the pixels of a feature map, added to it."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm = _norm(channels, groups)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, D, H, W] -> [B, D, H, W]."""
        normed = self.norm(x)
        q, k, v = (layer(normed).flatten(2).mT[:, None] for layer in (self.q, self.k, self.v))  # [B, 1, H*W, D]
        mixed = F.scaled_dot_product_attention(q, k, v)[:, 0].mT  # [B, D, H*W]
        return x + self.proj_out(mixed.reshape(x.shape))


class Level(nn.Module):
    """The residual blocks of one resolution, each with attention or none, then one step to the next resolution."""

    def __init__(self, widths: list[int], groups: int, attends: bool, step_name: str, step: nn.Module | None):
        super().__init__()
        self.block = nn.ModuleList(ResBlock(a, b, groups) for a, b in zip(widths, widths[1:], strict=False))
        self.attn = nn.ModuleList(Attention(width, groups) for width in widths[1:] if attends)
        if step is not None:
            self.add_module(step_name, step)
        self.step = step_name if step is not None else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, D, H, W] -> [B, D', H', W']."""
        for number, block in enumerate(self.block):
            x = block(x)
            x = self.attn[number](x) if len(self.attn) else x
        return x if self.step is None else self.get_submodule(self.step)(x)


class Middle(nn.Module):
    """Two residual blocks at the lowest resolution, attention between them or none."""

    def __init__(self, channels: int, groups: int, attends: bool):
        super().__init__()
        self.attn_1 = Attention(channels, groups) if attends else nn.Identity()
        self.block_1, self.block_2 = ResBlock(channels, channels, groups), ResBlock(channels, channels, groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, D, h, w] -> [B, D, h, w]."""
        return self.block_2(self.attn_1(self.block_1(x)))


def _stem_in(width: int, stem: int) -> nn.Conv2d:
    """The 3x3 convolution of the released weights, or one that joins squares of pixels."""
    return _conv3(3, width) if stem == 1 else nn.Conv2d(3, width, stem, stride=stem)


def _attends(config: Shape, level: int) -> bool:
    return config.image_size // (config.stem * 2**level) in config.attention_at


class Encoder(nn.Module):
    """Pixels to latents."""

    def __init__(self, config: Shape):
        super().__init__()
        widths = [config.width * m for m in config.multipliers]
        last = len(widths) - 1
        self.conv_in = _stem_in(config.width, config.stem)
        self.down = nn.ModuleList()
        for level, width in enumerate(widths):
            before = widths[level - 1] if level else config.width
            step = Downsample(width) if level < last else None
            channels = [before] + [width] * config.num_res_blocks
            self.down.append(Level(channels, config.norm_groups, _attends(config, level), "downsample", step))
        self.mid = Middle(widths[-1], config.norm_groups, config.mid_attention)
        self.norm_out = _norm(widths[-1], config.norm_groups)
        self.conv_out = _conv3(widths[-1], config.latent_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pixels in the config's range [B, 3, H, W] -> latents [B, latent_channels, h, w]."""
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """Latents to pixels; `up[0]` is full resolution and runs last, as the released names have it."""

    def __init__(self, config: Shape):
        super().__init__()
        widths = [config.width * m for m in config.multipliers]
        self.conv_in = _conv3(config.latent_channels, widths[-1])
        self.mid = Middle(widths[-1], config.norm_groups, config.mid_attention)
        self.up = nn.ModuleList()
        for level, width in enumerate(widths):
            before = widths[min(level + 1, len(widths) - 1)]
            step = Upsample(width) if level else None
            channels = [before] + [width] * (config.num_res_blocks + 1)
            self.up.append(Level(channels, config.norm_groups, _attends(config, level), "upsample", step))
        self.norm_out = _norm(widths[0], config.norm_groups)
        self.conv_out = _conv3(widths[0], 3 * config.stem**2)
        self.shuffle = nn.PixelShuffle(config.stem)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Latents [B, latent_channels, h, w] -> pixels about the config's range [B, 3, H, W]."""
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
        return self.shuffle(self.conv_out(F.silu(self.norm_out(x))))
