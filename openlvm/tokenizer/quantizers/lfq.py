"""Lookup-free quantization: the code of a latent is the sign of each of its channels; there is no table to learn.

Yu et al., "Language Model Beats Diffusion: Tokenizer is Key to Visual Generation" (MAGVIT-v2, arXiv 2310.05737),
section 3.1. Letters: M latents, C code channels, h w grid, K = 2^C codes.
"""

import torch
import torch.nn.functional as F
from torch import nn

from openlvm.tokenizer.quantizers.interface import (
    Quantized,
    QuantizerTraining,
    Reduce,
    entropy,
    grid_of,
    itself,
    rows_of,
)
from openlvm.tokenizer.quantizers.vq import straight_through

TEMPERATURE = 0.01  # of the choice in the entropy terms; Open-MAGVIT2 and its models


class LookupFreeQuantizer(nn.Module):
    """Signs of log2(K) channels; the first channel is the most significant bit of a code."""

    def __init__(self, codebook_size: int):
        super().__init__()
        self.channels = codebook_size.bit_length() - 1
        if codebook_size < 2 or codebook_size != 2**self.channels:
            raise ValueError(f"LFQ needs a codebook_size that is a power of 2, given {codebook_size}")
        self.codebook_size = codebook_size
        self.settings = QuantizerTraining()

    def train_with(self, settings: QuantizerTraining) -> None:
        """Weights of commitment and entropy."""
        settings.check_effective("lfq", ("commitment", "entropy"))
        self.settings = settings

    def follow(self, sum_over_ranks: Reduce = itself) -> None:
        """Nothing: there is no codebook to move."""

    def _places(self, like: torch.Tensor) -> torch.Tensor:
        """Place of each channel's bit in a code, int64 [C]."""
        return torch.arange(self.channels - 1, -1, -1, device=like.device)

    def codes_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Codes of latents: float [M, C] -> int64 [M]."""
        return ((rows > 0).long() << self._places(rows)).sum(-1)

    def vectors(self, codes: torch.Tensor) -> torch.Tensor:
        """Quantized latents of codes, -1 or 1: int64 [...] -> float32 [..., C]."""
        return (codes[..., None] >> self._places(codes) & 1).float() * 2 - 1

    def forward(self, latents: torch.Tensor) -> Quantized:
        """Quantize latents [B, C, h, w], C = log2(K)."""
        with torch.autocast(latents.device.type, enabled=False):
            rows = rows_of(latents).float()  # [M, C]
            codes = self.codes_of(rows)  # [M]
            chosen = self.vectors(codes)  # [M, C]
            loss = self.settings.commitment * F.mse_loss(rows, chosen)
            if self.settings.entropy:
                unsure, spread = choice_entropies(rows)
                loss = loss + self.settings.entropy * (unsure - spread)
        return Quantized(grid_of(straight_through(rows, chosen), latents), codes.view(len(latents), -1), loss)


def choice_entropies(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How unsure the choices are, and how evenly all codes are chosen, both in nats.

    The choice is a softmax over -|z - e|^2 / TEMPERATURE of all K codes. Signs are independent given the latent, so
    neither term needs the [M, K] matrix: the first is a sum over bits, and the mean over latents in the second is one
    product of two [M, sqrt(K)] matrices, the probabilities of both halves of a code.

    Args:
        rows: float32 [M, C].

    Returns:
        Mean over latents of the entropy of the choice, to be lowered; entropy of the mean choice, to be raised.
    """
    logits = 4 * rows / TEMPERATURE  # of a set bit: (z + 1)^2 - (z - 1)^2 = 4 z
    sure = torch.sigmoid(logits)  # [M, C]
    unsure = (F.softplus(logits) - logits * sure).sum(1).mean()
    low, high = (_products(half) for half in sure.tensor_split(2, dim=1))  # [M, about sqrt(K)] each
    return unsure, entropy(low.T @ high / len(rows))


def _products(sure: torch.Tensor) -> torch.Tensor:
    """Probability of every pattern of bits: that each is set [M, c] -> [M, 2^c]."""
    patterns = sure.new_ones(len(sure), 1)
    for bit in sure.unbind(1):
        patterns = torch.cat([patterns * (1 - bit[:, None]), patterns * bit[:, None]], dim=1)
    return patterns
