"""The VQGAN: convolutional encoder, quantizer, convolutional decoder, in the layout of the weights LVM released.

Esser et al., "Taming Transformers" (arXiv 2012.09841) without attention, as open-muse trained it: the parameter names
and shapes are its, so released weights load by renaming alone. One addition, off for those: a linear *patch shortcut*
around encoder and decoder, which k-means over patches initializes (docs/log.md, 2026-11-21).
Letters: C code channels, h w grid.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
from torch import nn

from openlvm.core.images import ImagePreparation
from openlvm.tokenizer.blocks import Decoder, Encoder
from openlvm.tokenizer.interface import check_codes, check_pixels, fingerprint_of
from openlvm.tokenizer.quantizers.fsq import FiniteScalarQuantizer
from openlvm.tokenizer.quantizers.ibq import IndexBackpropagationQuantizer
from openlvm.tokenizer.quantizers.interface import Quantized, rows_of
from openlvm.tokenizer.quantizers.lfq import LookupFreeQuantizer
from openlvm.tokenizer.quantizers.vq import VectorQuantizer

CODES_DEPEND_ON = ("encoder.", "quant_conv.", "quantize.", "patch_embed.")  # parameters named so decide the codes
TRAINING_ONLY = ("quantize.ema_",)  # state that training needs and a shipped tokenizer does not


@dataclass(frozen=True, kw_only=True)
class VQGANConfig:
    """Shape of a VQGAN; everything that decides its codes besides the weights. A field added later has a default."""

    image_size: int
    """Side of the square pictures, pixels."""
    width: int
    """Channels at the highest resolution."""
    multipliers: tuple[int, ...]
    """Channels at each resolution, in units of width; one halving between two: f = stem * 2^(entries - 1)."""
    stem: int = 1
    """Side of the squares of pixels that the first layer takes in and the last one paints: 1 in released weights; 4
    spends the arithmetic where there are many channels, which is worth 2.4 times the speed on a CPU at 64 pixels."""
    num_res_blocks: int = 2
    """Residual blocks per resolution in the encoder; the decoder has one more."""
    latent_channels: int
    """Channels between encoder and quantizer (z_channels of the released config)."""
    code_channels: int
    """C, channels of a code vector; must be the number of levels with FSQ, and log2 K with LFQ."""
    codebook_size: int
    """K; must be the product of the levels with FSQ, and 2^C with LFQ."""
    norm_groups: int = 32
    """Groups of every GroupNorm; divides all channel counts."""
    attention_at: tuple[int, ...] = ()
    """Sides of the feature maps with attention after each residual block; none in the weights of LVM."""
    mid_attention: bool = False
    """Attention between the two middle blocks; off in the weights of LVM."""
    pixel_range: Literal["0..1", "-1..1"] = "0..1"
    """What the networks see: 0..1 (LVM, open-muse) or -1..1 (taming, LlamaGen)."""
    quantizer: Literal["vq", "fsq", "lfq", "ibq"] = "vq"
    """Nearest of learned vectors; finite scalar quantization; signs; learned vectors by index backpropagation."""
    normalize_codes: bool = False
    """Compare latents and codes at unit length (ViT-VQGAN, LlamaGen); VQ only."""
    fsq_levels: tuple[int, ...] = ()
    """Levels per channel, with FSQ only."""
    patch_shortcut: bool = False
    """Add a linear map around encoder and decoder, one patch a code; off in released weights."""
    patches_only: bool = False
    """No encoder beside that map: a code depends on its own patch alone, which makes it easy to predict."""
    fit: Literal["squash", "crop"] = "crop"
    """Image preparation: squash (LVM) or crop (DeLVM)."""
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bicubic"
    """Resampling filter of the image preparation."""

    def __post_init__(self):
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size={self.image_size} is not divisible by {self.patch_size}, the size of a patch")
        uneven = [c for c in (self.width * m for m in self.multipliers) if c % self.norm_groups]
        if uneven:
            raise ValueError(f"norm_groups={self.norm_groups} does not divide the channel counts {uneven}")
        if self.quantizer == "fsq":
            quantizer = FiniteScalarQuantizer(self.fsq_levels)
            if (len(self.fsq_levels), quantizer.codebook_size) != (self.code_channels, self.codebook_size):
                raise ValueError(
                    f"fsq_levels={self.fsq_levels} mean code_channels={len(self.fsq_levels)} and "
                    f"codebook_size={quantizer.codebook_size}, given {self.code_channels} and {self.codebook_size}"
                )
        elif self.fsq_levels:
            raise ValueError(f"fsq_levels={self.fsq_levels} have no effect with quantizer={self.quantizer!r}")
        if self.quantizer == "lfq" and self.codebook_size != 2**self.code_channels:
            raise ValueError(
                f"quantizer='lfq' has 2^code_channels codes: code_channels={self.code_channels} means "
                f"codebook_size={2**self.code_channels}, given {self.codebook_size}"
            )
        if self.patches_only and not self.patch_shortcut:
            raise ValueError("patches_only=True leaves no encoder but the patch shortcut; set patch_shortcut=True")
        if self.normalize_codes and self.quantizer != "vq":
            raise ValueError(f"normalize_codes=True has no effect with quantizer={self.quantizer!r}; it is for 'vq'")

    @property
    def patch_size(self) -> int:
        """f: side of the square of pixels that one code stands for."""
        return self.stem * 2 ** (len(self.multipliers) - 1)

    @property
    def grid(self) -> int:
        """Codes along one side."""
        return self.image_size // self.patch_size


AnyQuantizer = VectorQuantizer | FiniteScalarQuantizer | LookupFreeQuantizer | IndexBackpropagationQuantizer
"""Modules that are a `quantizers.interface.Quantizer`."""


def make_quantizer(config: VQGANConfig) -> AnyQuantizer:
    """The quantizer a config asks for."""
    if config.quantizer == "fsq":
        return FiniteScalarQuantizer(config.fsq_levels)
    if config.quantizer == "lfq":
        return LookupFreeQuantizer(config.codebook_size)
    if config.quantizer == "ibq":
        return IndexBackpropagationQuantizer(config.codebook_size, config.code_channels)
    return VectorQuantizer(config.codebook_size, config.code_channels, normalize=config.normalize_codes)


class VQGAN(nn.Module):
    """A tokenizer (see `interface.Tokenizer`) that can be trained: pixels -> latents -> codes -> pixels."""

    def __init__(self, config: VQGANConfig):
        super().__init__()
        self.config = config
        self.preparation = ImagePreparation(size=config.image_size, fit=config.fit, filter=config.filter)
        if not config.patches_only:
            self.encoder = Encoder(config)
            self.quant_conv = nn.Conv2d(config.latent_channels, config.code_channels, 1)
        self.decoder = Decoder(config)
        self.post_quant_conv = nn.Conv2d(config.code_channels, config.latent_channels, 1)
        self.quantize = make_quantizer(config)
        if config.patch_shortcut:
            size = config.patch_size
            self.patch_embed = nn.Conv2d(3, config.code_channels, size, stride=size)
            self.patch_paint = nn.ConvTranspose2d(config.code_channels, 3, size, stride=size)

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
        """The tensors that make the tokenizer, without what only training needs."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith(TRAINING_ONLY)}

    def _settings(self) -> dict[str, Any]:
        """What differs from the defaults, so that a field added later leaves old fingerprints as they are."""
        defaults = {field.name: field.default for field in fields(self.config)}
        return {name: value for name, value in asdict(self.config).items() if value != defaults[name]}

    @property
    def fingerprint(self) -> str:
        """Of all weights and settings."""
        return fingerprint_of(self.shipped_state(), self._settings())

    @property
    def codes_fingerprint(self) -> str:
        """Of the weights and settings that decide the codes."""
        deciding = {k: v for k, v in self.shipped_state().items() if k.startswith(CODES_DEPEND_ON)}
        return fingerprint_of(deciding, self._settings())

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in 0..1 [B, 3, H, W] -> latents before quantization [B, C, h, w]."""
        if self.config.patches_only:
            return self.patch_embed(pixels)
        signed = self.config.pixel_range == "-1..1"
        latents = self.quant_conv(self.encoder(pixels * 2 - 1 if signed else pixels))
        return latents + self.patch_embed(pixels) if self.config.patch_shortcut else latents

    def paint(self, latents: torch.Tensor) -> torch.Tensor:
        """Quantized latents [B, C, h, w] -> pixels about 0..1, not clipped [B, 3, H, W]."""
        pixels = self.decoder(self.post_quant_conv(latents))
        if self.config.pixel_range == "-1..1":
            pixels = (pixels + 1) / 2
        return pixels + self.patch_paint(latents) if self.config.patch_shortcut else pixels

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, Quantized]:
        """Pixels in 0..1 [B, 3, H, W] -> (reconstruction, quantized latents)."""
        quantized = self.quantize(self.latents(pixels))
        return self.paint(quantized.latents), quantized

    @property
    def _device(self) -> torch.device:
        return self.post_quant_conv.weight.device

    @torch.inference_mode()
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [B, H, W, 3] -> int64 [B, N]."""
        check_pixels(pixels, self.image_size)
        rows = rows_of(self.latents(to_unit_range(pixels.to(self._device))))
        return self.quantize.codes_of(rows).view(len(pixels), -1)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """int64 [B, N] -> uint8 [B, H, W, 3]."""
        check_codes(codes, self.codes_per_image, self.codebook_size)
        grid = self.config.grid
        vectors = self.quantize.vectors(codes.to(self._device)).view(len(codes), grid, grid, -1)
        return to_bytes(self.paint(vectors.permute(0, 3, 1, 2)))


def to_unit_range(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 [B, H, W, 3] -> float32 in 0..1 [B, 3, H, W], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float() / 255


def to_bytes(pixels: torch.Tensor) -> torch.Tensor:
    """float [B, 3, H, W], clipped to 0..1 -> uint8 [B, H, W, 3]."""
    return (pixels.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
