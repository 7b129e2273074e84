"""How much of a codebook is in use, and codes that nobody uses moved to the latents. Letters: K codes, M latents."""

import torch


class CodeUsage:
    """Counts codes, batch by batch; what it tells is about all of them."""

    def __init__(self, codebook_size: int):
        self.count = torch.zeros(codebook_size, dtype=torch.int64)

    def add(self, codes: torch.Tensor) -> None:
        """Count codes int64 of any shape, on any device, values 0 .. K-1."""
        self.count += torch.bincount(codes.flatten().cpu(), minlength=len(self.count))

    @property
    def used(self) -> float:
        """Share of the codebook that occurred at all, 0..1."""
        return float((self.count > 0).double().mean())

    @property
    def perplexity(self) -> float:
        """exp of the entropy of use, 1 .. K: as many codes, used evenly, would carry as much. 0 before any code."""
        if not self.count.any():
            return 0.0
        share = self.count[self.count > 0].double() / self.count.sum()
        return float((-(share * share.log()).sum()).exp())

    def dead(self, below: float) -> float:
        """Share of the codebook used less than `below` times an equal share, 0..1."""
        return float((self.count < below * self.count.double().mean()).double().mean())


@torch.no_grad()
def move_dead_codes(
    table: torch.Tensor, use: torch.Tensor, rows: torch.Tensor, *, dead_below: float, generator: torch.Generator
) -> torch.Tensor:
    """Put each dead code onto another latent drawn from `rows`, with the mean use to begin with, both in place.

    Args:
        table: code vectors float32 [K, C].
        use: running use of each code float32 [K].
        rows: latents float32 [M, C]; at most M codes are moved, each to a latent of its own.
        dead_below: share of the mean use below which a code is dead.
        generator: the only source of chance; on the CPU or on the device of `rows`.

    Returns:
        Indices of the moved codes, int64 [at most M].
    """
    mean_use = use.mean()
    dead = torch.nonzero(use < dead_below * mean_use)[:, 0][: len(rows)]
    drawn = torch.randperm(len(rows), generator=generator, device=generator.device)[: len(dead)]
    table[dead] = rows[drawn.to(rows.device)]
    use[dead] = mean_use
    return dead
