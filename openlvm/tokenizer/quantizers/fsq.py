"""Finite scalar quantization: each channel is rounded to a few levels; the codebook is their product, nothing to learn.

Mentzer et al., "Finite Scalar Quantization: VQ-VAE Made Simple" (arXiv 2309.15505), appendix A.1 for bound and round.
"""

import math

import torch
from torch import nn

from openlvm.tokenizer.quantizers.interface import Quantized, QuantizerTraining, Reduce, grid_of, itself, rows_of

BOUND_MARGIN = 1e-3  # keeps the outermost level reachable (appendix A.1)


class FiniteScalarQuantizer(nn.Module):
    """Rounds C channels to `levels` values each; K is the product of the levels, (8, 5, 5, 5) gives 1000."""

    def __init__(self, levels: tuple[int, ...]):
        super().__init__()
        if min(levels) < 2:
            raise ValueError(f"every channel of FSQ needs at least 2 levels, given {levels}")
        self.levels = tuple(levels)
        self.codebook_size = math.prod(levels)

    def train_with(self, settings: QuantizerTraining) -> None:
        """There is nothing to learn, so only the defaults are taken."""
        settings.check_effective("fsq", ())

    def follow(self, sum_over_ranks: Reduce = itself) -> None:
        """Nothing: there is no codebook to move."""

    def _per_channel(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Levels and the weight of each channel in a code (mixed radix, first channel fastest)."""
        levels = torch.tensor(self.levels, device=like.device)
        basis = torch.tensor([math.prod(self.levels[:channel]) for channel in range(len(self.levels))])
        return levels, basis.to(like.device)

    def _bound(self, rows: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        half = (levels - 1) * (1 + BOUND_MARGIN) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        shift = torch.atanh(offset / half)
        return torch.tanh(rows + shift) * half - offset

    def codes_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Codes of latents: float [M, C] -> int64 [M]."""
        levels, basis = self._per_channel(rows)
        digits = self._bound(rows.float(), levels).round().long() + levels // 2
        return (digits * basis).sum(-1)

    def vectors(self, codes: torch.Tensor) -> torch.Tensor:
        """Quantized latents of codes, in [-1, 1]: int64 [...] -> float32 [..., C]."""
        levels, basis = self._per_channel(codes)
        digits = codes[..., None] // basis % levels
        return (digits - levels // 2) / (levels // 2)

    def forward(self, latents: torch.Tensor) -> Quantized:
        """Quantize latents [B, C, h, w], C the number of levels."""
        rows = rows_of(latents).float()  # [B*h*w, C]
        levels, _ = self._per_channel(rows)
        bounded = self._bound(rows, levels)
        rounded = bounded + (bounded.round() - bounded).detach()
        quantized = grid_of(rounded / (levels // 2), latents)
        return Quantized(quantized, self.codes_of(rows).view(len(latents), -1), rows.new_zeros(()))
