"""Vector quantization: each latent becomes the nearest of K learned vectors.

van den Oord et al., "Neural Discrete Representation Learning" (arXiv 1711.00937): eq. 1 nearest code, eq. 3 the losses;
its appendix A.1 the codebook as a moving average. Letters: C code channels, h w grid, K codebook size.
"""

import torch
import torch.nn.functional as F
from torch import nn

from openlvm.tokenizer.quantizers.interface import Quantized, grid_of, rows_of

COMMITMENT = 0.25  # beta of eq. 3
EMA_DECAY = 0.99  # gamma of appendix A.1
DEAD_BELOW = 0.03  # a code whose average use per step falls below this share of an equal share is dead
DISTANCES_AT_ONCE = 2**25  # bounds the [latents, K] matrix of distances: 128 MiB of float32


class VectorQuantizer(nn.Module):
    """A table of K vectors of C channels, moved by exponential averages of the latents that chose them."""

    def __init__(self, codebook_size: int, channels: int):
        super().__init__()
        self.embedding = nn.Embedding(codebook_size, channels)  # the name of the released weights
        self.embedding.weight.requires_grad_(False)
        nn.init.uniform_(self.embedding.weight, -1 / codebook_size, 1 / codebook_size)
        self.register_buffer("ema_count", torch.ones(codebook_size))
        self.register_buffer("ema_sum", self.embedding.weight.detach().clone())
        self.ema_count: torch.Tensor
        self.ema_sum: torch.Tensor

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.embedding.num_embeddings

    @torch.no_grad()
    def set_codebook(self, vectors: torch.Tensor, count: torch.Tensor | None = None) -> None:
        """Start from given vectors float32 [K, C], for instance k-means centers, with the use `count` [K] they had."""
        share = torch.ones_like(self.ema_count) if count is None else count.to(self.ema_count)
        self.embedding.weight.copy_(vectors)
        self.ema_count.copy_(share)
        self.ema_sum.copy_(self.embedding.weight * share[:, None])

    def codes_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Index of the nearest code of each row: float [M, C] -> int64 [M]. Always computed in float32."""
        with torch.autocast(rows.device.type, enabled=False):
            table = self.embedding.weight.float()
            half_norm = table.square().sum(1) / 2
            chunks = rows.detach().float().split(max(1, DISTANCES_AT_ONCE // self.codebook_size))
            # |z - e|^2 / 2 without the term of z, which is the same for every code
            return torch.cat([torch.addmm(half_norm, chunk, table.T, alpha=-1).argmin(1) for chunk in chunks])

    def vectors(self, codes: torch.Tensor) -> torch.Tensor:
        """Code vectors: int64 [...] -> float32 [..., C]."""
        return F.embedding(codes, self.embedding.weight)

    def forward(self, latents: torch.Tensor) -> Quantized:
        """Quantize latents [B, C, h, w]; in training mode the codebook follows the latents."""
        rows = rows_of(latents).float()  # [B*h*w, C]
        codes = self.codes_of(rows)  # [B*h*w]
        chosen = self.vectors(codes)
        loss = COMMITMENT * F.mse_loss(rows, chosen)
        if self.training:
            self._follow(rows.detach(), codes)
        straight = rows + (chosen - rows).detach()
        return Quantized(grid_of(straight, latents), codes.view(len(latents), -1), loss)

    @torch.no_grad()
    def _follow(self, rows: torch.Tensor, codes: torch.Tensor) -> None:
        count = torch.bincount(codes, minlength=self.codebook_size).float()
        total = torch.zeros_like(self.ema_sum).index_add_(0, codes, rows)
        self.ema_count.lerp_(count, 1 - EMA_DECAY)
        self.ema_sum.lerp_(total, 1 - EMA_DECAY)
        used = self.ema_count > 1e-3
        self.embedding.weight[used] = self.ema_sum[used] / self.ema_count[used, None]

    @torch.no_grad()
    def revive(self, latents: torch.Tensor, generator: torch.Generator) -> int:
        """Move dead codes onto latents drawn from this batch; returns how many there were.

        Args:
            latents: float [B, C, h, w], recent encoder outputs.
            generator: the only source of chance.
        """
        rows = rows_of(latents).float()
        mean_count = self.ema_count.mean()
        dead = torch.nonzero(self.ema_count < DEAD_BELOW * mean_count)[:, 0][: len(rows)]
        drawn = torch.randperm(len(rows), generator=generator, device=generator.device)[: len(dead)]
        self.embedding.weight[dead] = rows[drawn.to(rows.device)]
        self.ema_count[dead] = mean_count
        self.ema_sum[dead] = self.embedding.weight[dead] * mean_count
        return len(dead)
