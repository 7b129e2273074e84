"""The VQGAN of MaskGIT and of LVM's first tokenizer: no attention, average pooling, no convolution around the codes.

Chang et al., "MaskGIT" (arXiv 2202.04200), as open-muse ported it; the parameter names are open-muse's. LVM's legacy
`VQVAE` is the same network with other names and two differences, which are settings here. It is a tokenizer to use and
to store, not one that openlvm trains. Letters: B pictures, D channels of a feature map, h w grid, C code channels.
"""

from dataclasses import asdict, dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from openlvm.core.images import ImagePreparation
from openlvm.tokenizer.blocks import NORM_EPS
from openlvm.tokenizer.interface import check_codes, check_pixels, fingerprint_of
from openlvm.tokenizer.quantizers.interface import rows_of
from openlvm.tokenizer.quantizers.vq import VectorQuantizer
from openlvm.tokenizer.vqgan import CODES_DEPEND_ON, TRAINING_ONLY, to_bytes, to_unit_range


@dataclass(frozen=True, kw_only=True)
class MaskGITConfig:
    """Shape of a MaskGIT VQGAN; everything that decides its codes besides the weights."""

    image_size: int
    """Side of the square pictures, pixels."""
    width: int
    """Channels at full resolution."""
    multipliers: tuple[int, ...]
    """Channels at each resolution, in units of width; one halving between two entries."""
    num_res_blocks: int = 2
    """Residual blocks per resolution, and in the middle; the same in encoder and decoder."""
    code_channels: int
    """C, channels of a code vector and of the latents."""
    codebook_size: int
    """K."""
    norm_groups: int = 32
    """Groups of every GroupNorm."""
    shortcut: Literal["branch", "input"] = "branch"
    """What the 1x1 convolution of a block that changes the width reads: its own branch (MaskGIT) or its input (LVM)."""
    upsampling: Literal["repeat", "depth"] = "repeat"
    """Repetition and a convolution (MaskGIT), or a convolution to 4 D channels laid out as 2 x 2 pixels (LVM)."""
    fit: Literal["squash", "crop"] = "crop"
    """Image preparation: squash (LVM) or crop (open-muse)."""
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    """Resampling filter of the image preparation."""

    def __post_init__(self):
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size={self.image_size} is not divisible by {self.patch_size}, the size of a patch")
        uneven = [c for c in (self.width * m for m in self.multipliers) if c % self.norm_groups]
        if uneven:
            raise ValueError(f"norm_groups={self.norm_groups} does not divide the channel counts {uneven}")

    @property
    def patch_size(self) -> int:
        """f: side of the square of pixels that one code stands for."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def grid(self) -> int:
        """Codes along one side."""
        return self.image_size // self.patch_size


def _norm(channels: int, config: MaskGITConfig) -> nn.GroupNorm:
    return nn.GroupNorm(config.norm_groups, channels, eps=NORM_EPS)


class _ResBlock(nn.Module):
    """Norm, silu, convolution, twice; without biases."""

    def __init__(self, channels_in: int, channels_out: int, config: MaskGITConfig):
        super().__init__()
        self.norm1, self.norm2 = _norm(channels_in, config), _norm(channels_out, config)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.changes_width, self.shortcut = channels_in != channels_out, config.shortcut
        if self.changes_width:
            read = channels_out if config.shortcut == "branch" else channels_in
            self.nin_shortcut = nn.Conv2d(read, channels_out, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, channels_in, H, W] -> [B, channels_out, H, W]."""
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        if self.changes_width:
            x = self.nin_shortcut(y if self.shortcut == "branch" else x)
        return x + y


def _blocks(channels: list[int], config: MaskGITConfig) -> nn.ModuleList:
    return nn.ModuleList(_ResBlock(a, b, config) for a, b in zip(channels, channels[1:], strict=False))


class _Level(nn.Module):
    """The residual blocks of one resolution; in the decoder, and above full resolution, a doubling after them."""

    def __init__(self, channels: list[int], config: MaskGITConfig, doubles: bool):
        super().__init__()
        self.block = _blocks(channels, config)
        self.doubles, self.upsampling = doubles, config.upsampling
        if doubles:
            out = channels[-1] * (4 if config.upsampling == "depth" else 1)
            self.upsample_conv = nn.Conv2d(channels[-1], out, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, D, H, W] -> [B, D', H, W], or [B, D', 2H, 2W]."""
        for block in self.block:
            x = block(x)
        if not self.doubles:
            return x
        if self.upsampling == "repeat":
            return self.upsample_conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        batch, channels, height, width = x.shape
        x = self.upsample_conv(x).view(batch, 2, 2, channels, height, width)  # [B, row, column, D, H, W]
        return x.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels, 2 * height, 2 * width)


class MaskGITEncoder(nn.Module):
    """Pixels to latents."""

    def __init__(self, config: MaskGITConfig):
        super().__init__()
        widths = [config.width, *(config.width * m for m in config.multipliers)]
        blocks = config.num_res_blocks
        self.conv_in = nn.Conv2d(3, config.width, 3, padding=1, bias=False)
        self.down = nn.ModuleList(
            _Level([before] + [width] * blocks, config, doubles=False)
            for before, width in zip(widths, widths[1:], strict=False)
        )
        self.mid = _blocks([widths[-1]] * (blocks + 1), config)
        self.norm_out = _norm(widths[-1], config)
        self.conv_out = nn.Conv2d(widths[-1], config.code_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pixels in 0..1 [B, 3, H, W] -> latents [B, C, h, w]."""
        x = self.conv_in(x)
        for number, level in enumerate(self.down):
            x = level(F.avg_pool2d(x, 2) if number else x)
        for block in self.mid:
            x = block(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class MaskGITDecoder(nn.Module):
    """Latents to pixels; `up[0]` is full resolution and runs last."""

    def __init__(self, config: MaskGITConfig):
        super().__init__()
        widths = [config.width * m for m in config.multipliers]
        blocks = config.num_res_blocks
        self.conv_in = nn.Conv2d(config.code_channels, widths[-1], 3, padding=1)
        self.mid = _blocks([widths[-1]] * (blocks + 1), config)
        befores = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList(
            _Level([before] + [width] * blocks, config, doubles=level > 0)
            for level, (before, width) in enumerate(zip(befores, widths, strict=True))
        )
        self.norm_out = _norm(widths[0], config)
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, h, w] -> pixels about 0..1 [B, 3, H, W]."""
        x = self.conv_in(x)
        for block in self.mid:
            x = block(x)
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class MaskGIT(nn.Module):
    """A tokenizer (see `tokenizer.interface.Tokenizer`) with the networks above."""

    def __init__(self, config: MaskGITConfig):
        super().__init__()
        self.config = config
        self.preparation = ImagePreparation(size=config.image_size, fit=config.fit, filter=config.filter)
        self.encoder, self.decoder = MaskGITEncoder(config), MaskGITDecoder(config)
        self.quantize = VectorQuantizer(config.codebook_size, config.code_channels)

    @property
    def image_size(self) -> int:
        """Side of the square, pixels."""
        return self.config.image_size

    @property
    def codes_per_image(self) -> int:
        """N."""
        return self.config.grid**2

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.config.codebook_size

    def shipped_state(self) -> dict[str, torch.Tensor]:
        """The tensors that make the tokenizer."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith(TRAINING_ONLY)}

    @property
    def fingerprint(self) -> str:
        """Of all weights and settings."""
        return fingerprint_of(self.shipped_state(), asdict(self.config))

    @property
    def codes_fingerprint(self) -> str:
        """Of the weights and settings that decide the codes."""
        deciding = {k: v for k, v in self.shipped_state().items() if k.startswith(CODES_DEPEND_ON)}
        return fingerprint_of(deciding, asdict(self.config))

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in 0..1 [B, 3, H, W] -> latents before quantization [B, C, h, w]."""
        return self.encoder(pixels)

    def paint(self, latents: torch.Tensor) -> torch.Tensor:
        """Quantized latents [B, C, h, w] -> pixels about 0..1, not clipped [B, 3, H, W]."""
        return self.decoder(latents)

    @torch.inference_mode()
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [B, H, W, 3] -> int64 [B, N]."""
        check_pixels(pixels, self.image_size)
        latents = self.latents(to_unit_range(pixels.to(self.decoder.conv_out.weight.device)))
        return self.quantize.codes_of(rows_of(latents)).view(len(pixels), -1)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """int64 [B, N] -> uint8 [B, H, W, 3]."""
        check_codes(codes, self.codes_per_image, self.codebook_size)
        grid = self.config.grid
        vectors = self.quantize.vectors(codes.to(self.decoder.conv_out.weight.device)).view(len(codes), grid, grid, -1)
        return to_bytes(self.paint(vectors.permute(0, 3, 1, 2)))
