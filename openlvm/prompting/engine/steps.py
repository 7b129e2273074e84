"""Drawing codes one by one, each from what the decoder says after the one before.

Letters beside the project's own: R rows, M rows that draw together.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from openlvm.core.seeds import Words
from openlvm.model.cache import KVCache
from openlvm.model.decoder import Decoder
from openlvm.model.step import step_of
from openlvm.prompting.sampling import Sampling, choose_codes

OnCodes = Callable[[torch.Tensor, torch.Tensor], None]
"""Called when codes are final, with their places int64 [n], numbers of new codes from 0, and the codes int64 [R, n];
what it raises ends the drawing."""


class Drawn(NamedTuple):
    """What a loop drew, on the CPU."""

    codes: torch.Tensor
    """int64 [R, num_new]."""
    log_probs: torch.Tensor
    """float32 [R, num_new]: at temperature 1, over the K codes."""
    entropies: torch.Tensor
    """float32 [R, num_new], nats, of the same distributions."""
    steps: int
    """Forwards of the decoder."""


def told(logits: torch.Tensor, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of codes int64 [...] under logits [..., K], and the entropy of that distribution in nats."""
    log_probs = logits.log_softmax(dim=-1)
    return log_probs.gather(-1, drawn[..., None])[..., 0], -(log_probs.exp() * log_probs).sum(dim=-1)


def mean_of(logits: torch.Tensor, num_together: int) -> torch.Tensor:
    """Logarithm of the mean of M distributions, at temperature 1: float32 [M * R, K], M-major -> [R, K]."""
    if num_together == 1:
        return logits
    log_probs = logits.unflatten(0, (num_together, -1)).log_softmax(dim=-1)  # [M, R, K]
    return log_probs.logsumexp(dim=0) - math.log(num_together)


@torch.inference_mode()
def sequential(
    decoder: Decoder,
    logits: torch.Tensor,
    cache: KVCache,
    num_new: int,
    sampling: Sampling,
    seeds: Words,
    *,
    num_together: int = 1,
    on_codes: OnCodes | None = None,
) -> Drawn:
    """Draw `num_new` codes a row, one forward each.

    Args:
        logits: float32 [M * R, K], of the first code.
        cache: of M * R rows, with room for num_new - 1 positions.
        seeds: uint64 [R], of the rows.
        num_together: M; rows r, R + r, 2 R + r ... draw each code once, from the mean of their distributions.
    """
    num_rows, num_codes = len(seeds), logits.shape[1]
    codes = torch.empty(num_rows, num_new, dtype=torch.int64, device=logits.device)
    log_probs, entropies = (torch.empty(num_rows, num_new, device=logits.device) for _ in range(2))
    step = step_of(decoder, cache, num_codes=num_codes, num_steps=num_new - 1)
    for position in range(num_new):
        pooled = mean_of(logits, num_together)  # [R, K]
        drawn = choose_codes(pooled, sampling, seeds, position)[:, None]  # [R, 1]
        codes[:, position : position + 1] = drawn
        log_probs[:, position : position + 1], entropies[:, position : position + 1] = told(pooled[:, None], drawn)
        if on_codes:
            on_codes(torch.tensor([position]), drawn.cpu())
        if position + 1 < num_new:
            logits = step(drawn[:, 0].repeat(num_together))  # [M * R, K]
    return Drawn(codes.cpu(), log_probs.cpu(), entropies.cpu(), num_new - 1)
