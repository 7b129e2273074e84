"""How well codes fit what comes before them: log-probabilities and perplexities (arXiv 2312.00785 §4.2).

Only the target's positions go through the head; the official code keeps logits of the whole row.
Letters beside the project's own: M codes of a target, O options.
"""

import math
from typing import NamedTuple

import torch

from openlvm.model.decoder import Decoder


@torch.no_grad()
def target_log_probs(
    decoder: Decoder, rows: torch.Tensor, num_targets: int, *, num_codes: int | None = None
) -> torch.Tensor:
    """Natural log-probability of the last `num_targets` codes of each row, given all before them.

    Args:
        rows: int64 [B, T], with at least one id before the target.
        num_targets: M.
        num_codes: K, to take the softmax over the codes only; by default it is over the whole vocabulary, as published.

    Returns:
        float32 [B, M], on the CPU.
    """
    _check(decoder, rows.shape[1], num_targets)
    rows = rows.to(decoder.model.embed_tokens.weight.device)
    hidden = decoder.hidden(rows[:, :-1])[:, -num_targets:]  # [B, M, D]
    return _log_probs_of(decoder, hidden, rows[:, -num_targets:], num_codes).cpu()


@torch.no_grad()
def option_log_probs(
    decoder: Decoder, prompt: torch.Tensor, options: torch.Tensor, *, num_codes: int | None = None
) -> torch.Tensor:
    """The same for O options that could follow one prompt, which is read once.

    Args:
        prompt: int64 [T].
        options: int64 [O, M].

    Returns:
        float32 [O, M], on the CPU.
    """
    num_options, num_targets = options.shape
    _check(decoder, len(prompt) + num_targets, num_targets)
    device = decoder.model.embed_tokens.weight.device
    prompt, options = prompt.to(device), options.to(device)
    cache = decoder.new_cache(rows=1, room=len(prompt))
    hidden = decoder.hidden(prompt[None], cache=cache)[:, -1:].expand(num_options, 1, -1)  # [O, 1, D]
    if num_targets > 1:
        fork = cache.fork(num_options, room=num_targets - 1)
        hidden = torch.cat([hidden, decoder.hidden(options[:, :-1], cache=fork)], dim=1)  # [O, M, D]
    return _log_probs_of(decoder, hidden, options, num_codes).cpu()


def _check(decoder: Decoder, length: int, num_targets: int) -> None:
    if not 1 <= num_targets < length:
        raise ValueError(
            f"a row of {length} codes cannot have {num_targets} targets; at least one must come before them"
        )
    if length - 1 > decoder.config.context:
        raise ValueError(f"{length} codes exceed the decoder's context of {decoder.config.context}")


def _log_probs_of(decoder: Decoder, hidden: torch.Tensor, targets: torch.Tensor, num_codes: int | None) -> torch.Tensor:
    """float32 [B, M] of targets int64 [B, M] from hidden [B, M, D]; one row's logits in memory at a time."""
    scores = []
    for states, codes in zip(hidden, targets, strict=True):
        logits = decoder.head(states, num_codes=num_codes)  # [M, V] or [M, K]
        scores.append(logits.gather(1, codes[:, None])[:, 0] - logits.logsumexp(dim=1))
    return torch.stack(scores)


def perplexity(log_probs: torch.Tensor) -> float:
    """exp(-mean of natural log-probabilities)."""
    return math.exp(-float(log_probs.double().mean()))


class SetPerplexity(NamedTuple):
    """Perplexity over a set, in both customs."""

    mean_of_perplexities: float
    """As published: each example's perplexity, averaged."""
    perplexity_of_mean: float
    """exp of the mean negative log-probability of all codes."""


def set_perplexity(log_probs: torch.Tensor) -> SetPerplexity:
    """Of float32 [B, M], one example a row."""
    each = (-log_probs.double().mean(dim=1)).exp()
    return SetPerplexity(float(each.mean()), perplexity(log_probs))
