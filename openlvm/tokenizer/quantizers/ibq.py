"""Index backpropagation quantization: the gradient reaches every code at every step, through a softmax over all.

Shi et al., "Scalable Image Tokenization with Index Backpropagation Quantization" (arXiv 2412.02692).
Letters: M latents, C code channels, h w grid, K codebook size.
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
from openlvm.tokenizer.quantizers.usage import move_dead_codes

TEMPERATURE = 0.01  # of the choice in the entropy terms; SEED-Voken's configs
LOGITS_AT_ONCE = 2**25  # bounds the [M, K] matrix of `codes_of`: 128 MiB of float32


class IndexBackpropagationQuantizer(nn.Module):
    """A table of K vectors of C channels; a latent's code is the one with the largest dot product."""

    def __init__(self, codebook_size: int, channels: int):
        super().__init__()
        self.embedding = nn.Embedding(codebook_size, channels)  # the name of the released weights
        self.register_buffer("ema_count", torch.ones(codebook_size))
        self.ema_count: torch.Tensor
        self.register_buffer("seen_count", torch.zeros(codebook_size), persistent=False)  # since the last `follow`
        self.seen_count: torch.Tensor
        self.register_load_state_dict_post_hook(_forget_seen)
        self.settings = QuantizerTraining()

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.embedding.num_embeddings

    def train_with(self, settings: QuantizerTraining) -> None:
        """How to learn from now on; the codebook always learns by gradient."""
        settings.check_effective("ibq", ("commitment", "entropy", "ema_decay", "dead_below"))
        self.settings = settings
        self.embedding.weight.requires_grad_(True)

    @torch.no_grad()
    def set_codebook(self, vectors: torch.Tensor, count: torch.Tensor | None = None) -> None:
        """Start from given vectors float32 [K, C] with the use `count` [K] they had; dot products favor long ones."""
        self.embedding.weight.copy_(vectors)
        self.ema_count.copy_(torch.ones_like(self.ema_count) if count is None else count)

    def codes_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Index of the code with the largest dot product: float [M, C] -> int64 [M]. Always computed in float32."""
        with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
            table = self.embedding.weight.float().T
            chunks = rows.float().split(max(1, LOGITS_AT_ONCE // self.codebook_size))
            return torch.cat([(chunk @ table).argmax(1) for chunk in chunks])

    def vectors(self, codes: torch.Tensor) -> torch.Tensor:
        """Code vectors: int64 [...] -> float32 [..., C]."""
        return F.embedding(codes, self.embedding.weight)

    def forward(self, latents: torch.Tensor) -> Quantized:
        """Quantize latents [B, C, h, w]. Holds [M, K] matrices for the gradient: two, and four with entropy."""
        settings = self.settings
        with torch.autocast(latents.device.type, enabled=False):
            rows, table = rows_of(latents).float(), self.embedding.weight.float()  # [M, C], [K, C]
            logits = rows @ table.T  # [M, K]
            codes = logits.detach().argmax(1)  # [M]
            chosen = self.vectors(codes)  # [M, C]
            # One-hot in value, softmax to the gradient; the table has its gradient through `chosen`
            expected = logits.softmax(1) @ table.detach()  # [M, C]
            passed = chosen + (expected - expected.detach())
            # the double quantization loss
            loss = F.mse_loss(passed, rows) + F.mse_loss(rows, chosen.detach())
            loss = loss + settings.commitment * F.mse_loss(chosen, rows.detach())
            if settings.entropy:
                unsure, spread = choice_entropies(logits)
                loss = loss + settings.entropy * (unsure - spread)
        if self.training:
            self.seen_count += torch.bincount(codes, minlength=self.codebook_size)
        return Quantized(grid_of(passed, latents), codes.view(len(latents), -1), loss)

    @torch.no_grad()
    def follow(self, sum_over_ranks: Reduce = itself) -> None:
        """Move the running use by all latents seen since the last call; once after each optimizer step."""
        count = sum_over_ranks(self.seen_count.clone())
        self.seen_count.zero_()
        if count.any():
            self.ema_count.lerp_(count, 1 - self.settings.ema_decay)

    @torch.no_grad()
    def revive(self, latents: torch.Tensor, generator: torch.Generator) -> int:
        """Move dead codes to where latents drawn from this batch point; returns how many there were.

        Each gets the length of the code that its latent chose, so that the latent chooses it now; at the length of the
        latent it may stay dead. On toy data this raised the share of codes used from 0.80 to
        0.88 (mean of 3 seeds), and without the entropy terms it lowered it (docs/log.md).

        Args:
            latents: float [B, C, h, w], recent encoder outputs.
            generator: the only source of chance.
        """
        table, rows = self.embedding.weight, rows_of(latents).float()
        rows = F.normalize(rows, dim=1) * self.vectors(self.codes_of(rows)).norm(dim=1, keepdim=True)
        dead = move_dead_codes(
            table, self.ema_count, rows, dead_below=self.settings.dead_below, generator=generator
        )  # fmt: skip
        return len(dead)


def _forget_seen(quantizer: IndexBackpropagationQuantizer, _: object) -> None:
    """A step that was cut short is gone when a checkpoint is loaded."""
    quantizer.seen_count.zero_()


def choice_entropies(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean entropy of the choices, to be lowered, and entropy of the mean choice, to be raised; nats, of [M, K]."""
    log_share = (logits / TEMPERATURE).log_softmax(1)
    share = log_share.exp()
    return -(share * log_share).sum(1).mean(), entropy(share.mean(0))
