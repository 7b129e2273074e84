"""What a quantizer is to the VQGAN and to its training. Letters: B pictures, C code channels, h w grid, K codes."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, Protocol

import torch

Reduce = Callable[[torch.Tensor], torch.Tensor]
"""Sum over the processes that train together."""


def itself(tensor: torch.Tensor) -> torch.Tensor:
    """The sum over a single process."""
    return tensor


@dataclass(frozen=True, kw_only=True)
class QuantizerTraining:
    """How a quantizer learns; nothing here changes what it does once trained. Every quantizer takes the defaults; one
    for which a value has no effect refuses any other.
    """

    commitment: float = 0.25
    """Weight of the squared distance from latents to their codes: beta of VQ-VAE eq. 3 (arXiv 1711.00937). Of IBQ's
    three terms it weighs the one that moves the codes, as in its paper."""
    entropy: float = 0.05
    """Weight of sure choices and even use of all codes; lfq and ibq. 0.05 is what SEED-Voken trained both with."""
    learn_by: Literal["ema", "gradient"] = "ema"
    """How the codebook of vq follows the latents: moving averages (appendix A.1 there), or the optimizer (eq. 3)."""
    gradient: Literal["straight", "rotation"] = "straight"
    """Way of the gradient through the choice of vq: as it is, or turned with the rotation that turns the latent into
    its code (Fifty et al., arXiv 2410.06424)."""
    ema_decay: float = 0.99
    """Per step, of the averages and of the use of codes by which the dead are known; vq and ibq. From an even start, a
    code that nobody chooses counts as dead after 100 to 300 steps at 0.99, and after 10 to 30 at 0.9."""
    dead_below: float = 0.03
    """A code used less than this share of an equal share is dead; vq and ibq. Only `revive` does something to it."""

    def __post_init__(self) -> None:
        for name in ("commitment", "entropy", "dead_below"):
            if getattr(self, name) < 0:
                raise ValueError(f"quantizer.{name}={getattr(self, name)} must be at least 0")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"quantizer.ema_decay={self.ema_decay} must lie in 0..1, 1 excluded")

    def check_effective(self, quantizer: str, effective: tuple[str, ...]) -> None:
        """Refuse values other than the defaults that have no effect on a kind of quantizer."""
        idle = [f.name for f in fields(self) if f.name not in effective and getattr(self, f.name) != f.default]
        if idle:
            raise ValueError(
                f"quantizer settings {idle} have no effect with quantizer={quantizer!r}, "
                f"which knows {list(effective)}; leave them at their defaults"
            )


@dataclass(frozen=True, eq=False)
class Quantized:
    """What a quantizer makes of latents float32 [B, C, h, w]."""

    latents: torch.Tensor
    """Quantized values [B, C, h, w]; their gradient reaches the input."""
    codes: torch.Tensor
    """int64 [B, h*w], row by row."""
    loss: torch.Tensor
    """Scalar, already weighted: what keeps latents and codes together, and codes in use."""


class Quantizer(Protocol):
    """A module that turns latents into codes `0 .. K-1` and codes into vectors; float32 whatever the autocast."""

    @property
    def codebook_size(self) -> int:
        """K."""

    def codes_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Codes of latents: float [M, C] -> int64 [M]."""

    def vectors(self, codes: torch.Tensor) -> torch.Tensor:
        """Quantized latents of codes: int64 [...] -> float32 [..., C]."""

    def train_with(self, settings: QuantizerTraining) -> None:
        """How to learn from now on; call it before the optimizer gathers its parameters."""

    def __call__(self, latents: torch.Tensor) -> Quantized:
        """Quantize latents [B, C, h, w]; in training mode they may be counted in for `follow`."""

    def follow(self, sum_over_ranks: Reduce = itself) -> None:
        """What moves without a gradient moves, by all latents since the last call; once after each optimizer step."""


def rows_of(latents: torch.Tensor) -> torch.Tensor:
    """[B, C, h, w] -> [B*h*w, C]."""
    return latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])


def grid_of(rows: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """[B*h*w, C] -> [B, C, h, w], the inverse of `rows_of` for latents of that shape."""
    batch, _, height, width = latents.shape
    return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)


def entropy(share: torch.Tensor) -> torch.Tensor:
    """Entropy in nats of shares of any shape that sum to 1; the gradient is finite where a share is 0."""
    return -(share * share.clamp(min=1e-12).log()).sum()
