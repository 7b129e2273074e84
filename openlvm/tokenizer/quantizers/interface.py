"""What a quantizer is to the VQGAN and to its training. Letters: B pictures, C code channels, h w grid, K codes."""

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True, eq=False)
class Quantized:
    """What a quantizer makes of latents float32 [B, C, h, w]."""

    latents: torch.Tensor
    """Quantized values [B, C, h, w]; their gradient reaches the input."""
    codes: torch.Tensor
    """int64 [B, h*w], row by row."""
    loss: torch.Tensor
    """Scalar: what keeps latents and codes together (and codes in use)."""


class Quantizer(Protocol):
    """A module that turns latents into codes `0 .. K-1` and codes into vectors; float32 whatever the autocast."""

    @property
    def codebook_size(self) -> int:
        """K."""

    def codes_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Codes of latents: float [M, C] -> int64 [M]."""

    def vectors(self, codes: torch.Tensor) -> torch.Tensor:
        """Quantized latents of codes: int64 [...] -> float32 [..., C]."""

    def __call__(self, latents: torch.Tensor) -> Quantized:
        """Quantize latents [B, C, h, w]; in training mode a codebook may follow the latents."""


def rows_of(latents: torch.Tensor) -> torch.Tensor:
    """[B, C, h, w] -> [B*h*w, C]."""
    return latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])


def grid_of(rows: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """[B*h*w, C] -> [B, C, h, w], the inverse of `rows_of` for latents of that shape."""
    batch, _, height, width = latents.shape
    return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)
