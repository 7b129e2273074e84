"""Vector quantization: each latent becomes the nearest of K learned vectors.

van den Oord et al., "Neural Discrete Representation Learning" (arXiv 1711.00937): eq. 1 nearest code, eq. 3 the losses;
its appendix A.1 the codebook as a moving average. Unit length: Yu et al., ViT-VQGAN (arXiv 2110.04627).
Letters: M latents, C code channels, h w grid, K codebook size.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.module import _IncompatibleKeys

from openlvm.tokenizer.quantizers.interface import (
    Quantized,
    QuantizerTraining,
    Reduce,
    grid_of,
    itself,
    rows_of,
)
from openlvm.tokenizer.quantizers.usage import move_dead_codes

DISTANCES_AT_ONCE = 2**25  # bounds the [M, K] matrix of distances: 128 MiB of float32
SMALLEST_NORM = 1e-6  # keeps the rotation of a latent at the origin finite
FORGOTTEN = 1e-3  # running use below which the average of a code says nothing any more: it stays where it is


class VectorQuantizer(nn.Module):
    """A table of K vectors of C channels, which follows the latents that chose them (`QuantizerTraining.learn_by`).

    With `normalize`, latents and vectors have unit length, so that nearest means closest in direction.
    """

    def __init__(self, codebook_size: int, channels: int, *, normalize: bool = False):
        super().__init__()
        self.normalize = normalize
        self.embedding = nn.Embedding(codebook_size, channels)  # the name of the released weights
        nn.init.uniform_(self.embedding.weight, -1 / codebook_size, 1 / codebook_size)
        self.register_buffer("ema_count", torch.ones(codebook_size))
        self.register_buffer("ema_sum", torch.empty(codebook_size, channels))
        self.ema_count: torch.Tensor
        self.ema_sum: torch.Tensor
        self.register_buffer("seen_count", torch.zeros(codebook_size), persistent=False)  # since the last `follow`
        self.register_buffer("seen_sum", torch.zeros(codebook_size, channels), persistent=False)
        self.seen_count: torch.Tensor
        self.seen_sum: torch.Tensor
        self.restart_averages()
        self.register_load_state_dict_post_hook(_restart_where_missing)
        self.settings = QuantizerTraining()
        self.train_with(self.settings)

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.embedding.num_embeddings

    def train_with(self, settings: QuantizerTraining) -> None:
        """How to learn from now on; decides whether the codebook has a gradient.

        So call it before the optimizer is made, and after any `requires_grad_` of a whole network.
        """
        settings.check_effective("vq", ("commitment", "learn_by", "gradient", "ema_decay", "dead_below"))
        if settings.learn_by == "ema" and self.settings.learn_by == "gradient":
            self.restart_averages()  # they did not follow while the optimizer moved the codes
        self.settings = settings
        self.embedding.weight.requires_grad_(settings.learn_by == "gradient")

    @torch.no_grad()
    def restart_averages(self) -> None:
        """Let the moving averages begin at the codes as they are, every code equally used."""
        self.ema_count.fill_(1)
        self.ema_sum.copy_(self._unit(self.embedding.weight))

    @torch.no_grad()
    def set_codebook(self, vectors: torch.Tensor, count: torch.Tensor | None = None) -> None:
        """Start from given vectors float32 [K, C], for instance k-means centers, with the use `count` [K] they had."""
        self.embedding.weight.copy_(self._unit(vectors))
        self.restart_averages()
        if count is not None:
            self.ema_count.copy_(count)
            self.ema_sum.mul_(self.ema_count[:, None])

    def _unit(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows [..., C] at the length they are compared at."""
        return F.normalize(rows, dim=-1) if self.normalize else rows

    def codes_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Index of the nearest code of each row: float [M, C] -> int64 [M]. Always computed in float32."""
        with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
            table = self._unit(self.embedding.weight.float())
            half_norm = table.square().sum(1) / 2
            chunks = self._unit(rows.float()).split(max(1, DISTANCES_AT_ONCE // self.codebook_size))
            # |z - e|^2 / 2 without the term of z, which is the same for every code
            return torch.cat([torch.addmm(half_norm, chunk, table.T, alpha=-1).argmin(1) for chunk in chunks])

    def vectors(self, codes: torch.Tensor) -> torch.Tensor:
        """Code vectors: int64 [...] -> float32 [..., C]."""
        return self._unit(F.embedding(codes, self.embedding.weight))

    def forward(self, latents: torch.Tensor) -> Quantized:
        """Quantize latents [B, C, h, w]; in training mode they are counted in for `follow`."""
        rows = self._unit(rows_of(latents).float())  # [M, C]
        codes = self.codes_of(rows)  # [M]
        chosen = self.vectors(codes)  # [M, C]
        loss = self.settings.commitment * F.mse_loss(rows, chosen.detach())
        if self.settings.learn_by == "gradient":
            loss = loss + F.mse_loss(chosen, rows.detach())
        if self.training:
            self.seen_count += torch.bincount(codes, minlength=self.codebook_size)
            self.seen_sum.index_add_(0, codes, rows.detach())
        through = rotated if self.settings.gradient == "rotation" else straight_through
        passed = through(rows, chosen.detach())
        return Quantized(grid_of(passed, latents), codes.view(len(latents), -1), loss)

    @torch.no_grad()
    def follow(self, sum_over_ranks: Reduce = itself) -> None:
        """Move averages and codebook by all latents seen since the last call; once after each optimizer step."""
        count, total = sum_over_ranks(self.seen_count.clone()), sum_over_ranks(self.seen_sum.clone())
        self.seen_count.zero_()
        self.seen_sum.zero_()
        if not count.any():
            return
        forgotten = 1 - self.settings.ema_decay
        self.ema_count.lerp_(count, forgotten)
        if self.settings.learn_by == "ema":
            self.ema_sum.lerp_(total, forgotten)
            used = self.ema_count > FORGOTTEN
            self.embedding.weight[used] = self._unit(self.ema_sum[used] / self.ema_count[used, None])

    @torch.no_grad()
    def revive(self, latents: torch.Tensor, generator: torch.Generator) -> int:
        """Move dead codes onto latents drawn from this batch; returns how many there were.

        An optimizer that moves the codes keeps what it remembers of the dead ones.

        Args:
            latents: float [B, C, h, w], recent encoder outputs.
            generator: the only source of chance.
        """
        table, rows = self.embedding.weight, self._unit(rows_of(latents).float())
        dead = move_dead_codes(
            table, self.ema_count, rows, dead_below=self.settings.dead_below, generator=generator
        )  # fmt: skip
        self.ema_sum[dead] = table[dead] * self.ema_count[dead, None]
        return len(dead)


def _restart_where_missing(quantizer: VectorQuantizer, incompatible: _IncompatibleKeys) -> None:
    """A shipped tokenizer has no averages; they begin at its codes, or the first steps would undo the codebook."""
    if any(name.endswith("ema_sum") for name in incompatible.missing_keys):
        quantizer.restart_averages()
    quantizer.seen_count.zero_()  # a step cut short is gone
    quantizer.seen_sum.zero_()


def straight_through(rows: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """`chosen` [M, C] in value, with its gradient handed to `rows` [M, C] as it is."""
    return rows + (chosen - rows).detach()


def rotated(rows: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """`chosen` [M, C] in value, as a fixed rotation and scaling of `rows` [M, C], which their gradient goes through.

    Fifty et al. (arXiv 2410.06424): the rotation from z to q in their plane is I - 2 r r' + 2 q z' with
    unit vectors z, q and r along z + q; nothing of it is a function of the latents to the gradient.
    """
    with torch.no_grad():
        norm, chosen_norm = (x.norm(dim=-1, keepdim=True).clamp(min=SMALLEST_NORM) for x in (rows, chosen))
        from_, to = rows / norm, chosen / chosen_norm
        middle = F.normalize(from_ + to, dim=-1)
    along, across = ((rows * axis).sum(-1, keepdim=True) for axis in (from_, middle))
    turned = (rows - 2 * across * middle + 2 * along * to) * (chosen_norm / norm)
    return turned + (chosen - turned).detach()  # exactly the code, for the decoder
