"""How the next code is chosen from its logits, and the chance in that choice.

A draw is argmax(logits / temperature + Gumbel noise), which is a sample of the softmax (Gumbel 1954). The noise is a
function of (seed, prompt, candidate, position, code) alone, so a draw depends on nothing that ran before or beside it.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from openlvm.core.seeds import Words, derive, seed_of


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How codes are drawn; the default is the model's own distribution."""

    temperature: float = 1.0
    """Logits are divided by it; below 1 more certain, above 1 wilder, 0 takes the likeliest code."""
    top_k: int | None = None
    """Draw among the k likeliest codes only."""
    top_p: float | None = None
    """Draw among the fewest likeliest codes whose probabilities sum to at least p only, in (0, 1]."""

    def __post_init__(self):
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature} must be 0 (greedy) or above")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k} must be at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} must lie in (0, 1]")
        if self.temperature == 0 and (self.top_k, self.top_p) != (None, None):
            raise ValueError(
                "temperature=0 takes the likeliest code, so top_k and top_p have no effect; leave them out"
            )

    def but(
        self, *, temperature: float | None = None, top_k: int | None = None, top_p: float | None = None
    ) -> "Sampling":
        """The same with what is given; temperature 0 drops what has no effect beside it."""
        given: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        start = GREEDY if temperature == 0 else self
        return replace(start, **{name: value for name, value in given.items() if value is not None})


GREEDY = Sampling(temperature=0)


def row_seeds(seed: int, prompts: list[int], num_candidates: int) -> Words:
    """One seed for each candidate of each prompt (given by number): uint64 [prompts * candidates], prompt-major."""
    of_prompts = derive(np.array([seed_of("sampling", seed)], dtype=np.uint64), np.array(prompts, dtype=np.uint64))
    return derive(of_prompts[:, None], np.arange(num_candidates)).reshape(-1)


def gumbel(seeds: Words, position: int | np.ndarray, num_codes: int) -> torch.Tensor:
    """Gumbel noise float32 [R, K] of R rows, given by their seeds uint64 [R], at one position or at one each, [R].

    Seeds [1] and positions [n] are n positions of one row, [n, K]: the same bits as position by position.
    """
    words = derive(derive(seeds, position)[:, None], np.arange(num_codes))  # [R, K]
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53  # in (0, 1), both ends excluded
    return torch.from_numpy((-np.log(-np.log(uniform))).astype(np.float32))


def choose_codes(logits: torch.Tensor, sampling: Sampling, seeds: Words, position: int | np.ndarray) -> torch.Tensor:
    """The next code of each row.

    Args:
        logits: float32 [R, K].
        seeds: uint64 [R], of the rows; [1] if all are of one row.
        position: number of the new code, from 0; or int [R], one each.

    Returns:
        int64 [R], 0 .. K - 1.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    allowed = keep_likely(logits / sampling.temperature, sampling)
    return (allowed + gumbel(seeds, position, logits.shape[-1]).to(logits.device)).argmax(dim=-1)


def keep_likely(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """float32 [R, K] with -inf at the codes that top_k, and after it top_p, exclude."""
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        excluded = torch.ones_like(logits, dtype=torch.bool).scatter(-1, logits.topk(sampling.top_k).indices, False)
        logits = logits.masked_fill(excluded, -torch.inf)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
        shares = ordered.softmax(dim=-1)
        late = shares.cumsum(dim=-1) - shares >= sampling.top_p  # the likelier codes already sum to p
        logits = logits.masked_fill(torch.zeros_like(late).scatter(-1, order, late), -torch.inf)
    return logits
