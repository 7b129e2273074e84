"""How well codes fit what comes before them: log-probabilities and perplexities (arXiv 2312.00785 §4.2).

Only the target's positions go through the head, some at a time; the official code keeps logits of the whole row.
Letters beside the project's own: M codes of a target, O options, n rows.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence

from openlvm.model.decoder import Decoder

CODES_AT_ONCE = {"cpu": 2048, "cuda": 65_536}
"""Codes in one forward; on a CPU more are slower (engine/generate.py, READ_AT_ONCE)."""
HEAD_AT_ONCE = 256
"""Codes whose logits are in memory together: 8.5 MB over LVM's vocabulary of 8292, whatever the length of the rows."""

OnRows = Callable[[int], None]
"""Called before each batch with how many rows were measured so far; what it raises ends the measuring."""


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
    hidden = decoder.hidden(rows[:, :-1], num_last=num_targets)  # [B, M, D]
    return log_probs_of(decoder, hidden, rows[:, -num_targets:], num_codes).cpu()


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
    hidden = decoder.hidden(prompt[None], cache=cache, num_last=1).expand(num_options, 1, -1)  # [O, 1, D]
    if num_targets > 1:
        fork = cache.fork(num_options, room=num_targets - 1)
        hidden = torch.cat([hidden, decoder.hidden(options[:, :-1], cache=fork)], dim=1)  # [O, M, D]
    return log_probs_of(decoder, hidden, options, num_codes).cpu()


@torch.no_grad()
def row_log_probs(
    decoder: Decoder,
    rows: Sequence[torch.Tensor],
    num_targets: int,
    *,
    num_codes: int | None = None,
    rows_at_once: int | None = None,
    on_rows: OnRows | None = None,
) -> torch.Tensor:
    """The same for n rows of any lengths; rows that differ in their targets alone are read once up to these.

    Args:
        rows: int64 [T] each, with at least one id before the target.
        num_targets: M, the same for all.
        rows_at_once: rows in one forward; by default as many as make `CODES_AT_ONCE`.
        on_rows: is told before each batch.

    Returns:
        float32 [n, M], on the CPU.
    """
    if rows_at_once is not None and rows_at_once < 1:
        raise ValueError(f"rows_at_once={rows_at_once} must be at least 1")
    for row in rows:
        _check(decoder, len(row), num_targets)
    device = decoder.model.embed_tokens.weight.device
    budget = CODES_AT_ONCE["cpu" if device.type == "cpu" else "cuda"]
    scores, num_done, apart = torch.empty(len(rows), num_targets), 0, []
    for numbers in _by_context(rows, num_targets):
        if len(numbers) == 1:
            apart += numbers
            continue
        context = rows[numbers[0]][:-num_targets]
        for some in _chunks(numbers, rows_at_once or max(1, budget // len(rows[numbers[0]]))):
            if on_rows:
                on_rows(num_done)
            options = torch.stack([rows[number][-num_targets:] for number in some])
            scores[some] = option_log_probs(decoder, context, options, num_codes=num_codes)
            num_done += len(some)
    apart.sort(key=lambda number: len(rows[number]))
    while apart:
        if on_rows:
            on_rows(len(rows) - len(apart))
        at_once = rows_at_once or max(1, budget // len(rows[apart[-1]]))  # the longest first: the peak comes at once
        some, apart = apart[-at_once:], apart[:-at_once]
        scores[some] = _unequal_log_probs(decoder, [rows[number].to(device) for number in some], num_targets, num_codes)
    return scores


def _by_context(rows: Sequence[torch.Tensor], num_targets: int) -> list[list[int]]:
    """Numbers of the rows that agree in all but their targets, together."""
    groups: dict[bytes, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row[:-num_targets].cpu().numpy().tobytes(), []).append(number)
    return list(groups.values())


def _chunks(numbers: list[int], at_once: int) -> list[list[int]]:
    return [numbers[start : start + at_once] for start in range(0, len(numbers), at_once)]


def _unequal_log_probs(
    decoder: Decoder, rows: list[torch.Tensor], num_targets: int, num_codes: int | None
) -> torch.Tensor:
    """float32 [B, M] of rows int64 [T] of several lengths in one forward, filled up behind, where nobody looks."""
    batch = pad_sequence(rows, batch_first=True)[:, :-1]  # [B, T - 1]
    hidden = decoder.hidden(batch)
    states = torch.stack([hidden[i, len(row) - 1 - num_targets : len(row) - 1] for i, row in enumerate(rows)])
    targets = torch.stack([row[-num_targets:] for row in rows])
    return log_probs_of(decoder, states, targets, num_codes).cpu()


def _check(decoder: Decoder, length: int, num_targets: int) -> None:
    if not 1 <= num_targets < length:
        raise ValueError(
            f"a row of {length} codes cannot have {num_targets} targets; at least one must come before them"
        )
    if length - 1 > decoder.config.context:
        raise ValueError(f"{length} codes exceed the decoder's context of {decoder.config.context}")


def log_probs_of(decoder: Decoder, hidden: torch.Tensor, targets: torch.Tensor, num_codes: int | None) -> torch.Tensor:
    """float32 [B, M] of targets int64 [B, M] from hidden [B, M, D]; the logits of `HEAD_AT_ONCE` codes at a time."""
    scores = []
    for states, codes in zip(
        hidden.flatten(0, 1).split(HEAD_AT_ONCE), targets.flatten().split(HEAD_AT_ONCE), strict=True
    ):
        logits = decoder.head(states, num_codes=num_codes)  # [n, V] or [n, K]
        scores.append(logits.gather(1, codes[:, None])[:, 0] - logits.logsumexp(dim=1))
    return torch.cat(scores).view(targets.shape)


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
