"""Continues rows of codes: each prompt is read once, its candidates then share what was read.

Knows codes only, no images. Letters beside the project's own: P prompts, C candidates of a prompt, R = P * C rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from openlvm.model.cache import KVCache
from openlvm.model.decoder import Decoder
from openlvm.prompting.engine.steps import sequential
from openlvm.prompting.sampling import Sampling, row_seeds

ROWS_AT_ONCE = 48
"""Rows decoded together by default: about 0.4 GB of cache with the demo decoder at its full context."""
READ_AT_ONCE = 2048
"""Codes of prompts in one forward: activations that stay in a CPU's cache. 48 prompts of 449 codes, demo decoder, one
thread: 1.7 s of CPU in parts of 4 prompts, 2.8 s at once (2026-11-21)."""
SHARE_FROM = 32
"""Positions that all prompts of a batch must begin with before these are read once for all of them."""


@dataclass(frozen=True, eq=False)
class Continuations:
    """What the engine drew."""

    codes: torch.Tensor
    """int64 [P, C, num_new], 0 .. K - 1, on the CPU."""
    log_probs: torch.Tensor
    """float32 [P, C, num_new]: natural logarithm of each code's probability at temperature 1, over the K codes."""
    entropies: torch.Tensor
    """float32 [P, C, num_new]: entropy in nats of the distribution that each code's probability is of, 0 .. ln K."""


def generate(
    decoder: Decoder,
    prompts: Sequence[torch.Tensor],
    num_new: int,
    *,
    num_codes: int,
    sampling: Sampling | None = None,
    seed: int = 0,
    num_candidates: int = 1,
    rows_at_once: int = ROWS_AT_ONCE,
    exact: bool = False,
) -> Continuations:
    """Continue each prompt by `num_new` codes, `num_candidates` times.

    Chance is a function of (seed, number of the prompt in the list, candidate, position). Prompts of equal length are
    decoded together, and what all of them begin with is computed once.

    Args:
        prompts: int64 [T] each, ids of the decoder's vocabulary; lengths may differ.
        num_codes: K; only 0 .. K - 1 are ever drawn.
        sampling: how codes are drawn; by default from the model's own distribution.
        rows_at_once: at most this many rows (prompts times candidates) in one forward, but all candidates of a prompt.
        exact: decode every row alone, so that its bits do not depend on what else is asked for; costs about as many
            times more as there are rows.
    """
    rows = _check(decoder, prompts, num_new, num_candidates, num_codes)
    sampling = sampling or Sampling()
    codes = torch.empty(len(rows), num_candidates, num_new, dtype=torch.int64)
    log_probs, entropies = (torch.empty(len(rows), num_candidates, num_new) for _ in range(2))
    for numbers in _batches(rows, 1 if exact else max(1, rows_at_once // num_candidates)):
        batch = torch.stack([rows[number] for number in numbers]).to(decoder.model.embed_tokens.weight.device)
        seeds = row_seeds(seed, numbers, num_candidates)
        logits, cache = _read(decoder, batch, num_new, num_candidates, num_codes, exact)
        if exact:
            for candidate in range(num_candidates):
                fork = cache.fork(1, room=num_new)
                drawn = sequential(decoder, logits, fork, num_new, sampling, seeds[candidate : candidate + 1])
                codes[numbers[0], candidate], log_probs[numbers[0], candidate] = drawn.codes[0], drawn.log_probs[0]
                entropies[numbers[0], candidate] = drawn.entropies[0]
            continue
        cache = cache if num_candidates == 1 else cache.fork(num_candidates, room=num_new)
        logits = logits.repeat_interleave(num_candidates, dim=0)  # [R, K]
        drawn = sequential(decoder, logits, cache, num_new, sampling, seeds)
        shape = (len(numbers), num_candidates, num_new)
        codes[numbers], log_probs[numbers] = drawn.codes.view(shape), drawn.log_probs.view(shape)
        entropies[numbers] = drawn.entropies.view(shape)
    return Continuations(codes, log_probs, entropies)


def _check(
    decoder: Decoder, prompts: Sequence[torch.Tensor], num_new: int, num_candidates: int, num_codes: int
) -> list[torch.Tensor]:
    """The prompts as int64 tensors, after refusing what cannot be continued."""
    if num_new < 1 or num_candidates < 1:
        raise ValueError(f"num_new={num_new} and num_candidates={num_candidates} must be at least 1")
    context, vocab = decoder.config.context, decoder.config.vocab_size
    if not 1 <= num_codes <= vocab:
        raise ValueError(f"num_codes={num_codes} must lie in 1 .. {vocab}, the decoder's vocabulary")
    rows = [torch.as_tensor(prompt).to("cpu", torch.int64) for prompt in prompts]
    for number, row in enumerate(rows):
        if row.ndim != 1 or not len(row):
            raise ValueError(f"prompt {number} must be a row of at least one code, not of shape {list(row.shape)}")
        if len(row) + num_new > context:
            raise ValueError(
                f"prompt {number}: {len(row)} codes and {num_new} new ones exceed the context of {context}"
            )
        if not 0 <= int(row.min()) <= int(row.max()) < vocab:
            raise ValueError(f"prompt {number} has ids {int(row.min())} .. {int(row.max())} outside 0 .. {vocab - 1}")
    return rows


def _batches(rows: list[torch.Tensor], at_once: int) -> Iterator[list[int]]:
    """Numbers of prompts of equal length, at most `at_once` together."""
    by_length: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(number)
    for numbers in by_length.values():
        for start in range(0, len(numbers), at_once):
            yield numbers[start : start + at_once]


@torch.inference_mode()
def _read(
    decoder: Decoder, batch: torch.Tensor, num_new: int, num_candidates: int, num_codes: int, exact: bool
) -> tuple[torch.Tensor, KVCache]:
    """Read the prompts int64 [P, T]: the logits of what follows [P, K], and the cache, with room to go on if C is 1."""
    num_rows, length = batch.shape
    room = num_new if num_candidates == 1 and not exact else 0
    shared = _length_shared(batch)
    if shared >= SHARE_FROM:
        first = decoder.new_cache(rows=1, room=shared)
        decoder.hidden(batch[:1, :shared], cache=first)
        cache = first.fork(num_rows, room=length - shared + room)
        batch = batch[:, shared:]
    else:
        cache = decoder.new_cache(rows=num_rows, room=length + room)
    last = []
    for start in range(0, num_rows, max(1, READ_AT_ONCE // batch.shape[1])):
        some = batch[start : start + max(1, READ_AT_ONCE // batch.shape[1])]
        last.append(decoder.hidden(some, cache=cache.part(start, start + len(some)))[:, -1])
    cache.advance(batch.shape[1])
    return decoder.head(torch.cat(last), num_codes=num_codes), cache  # from [P, D]


def _length_shared(batch: torch.Tensor) -> int:
    """Codes that all rows of int64 [P, T] begin with, at most T - 1; 0 for a single row."""
    if len(batch) == 1:
        return 0
    differs = (batch[:, :-1] != batch[:1, :-1]).any(dim=0)  # [T - 1]
    return int(differs.int().argmax()) if bool(differs.any()) else batch.shape[1] - 1
