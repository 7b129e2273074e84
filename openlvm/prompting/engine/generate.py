"""Continues rows of codes: what prompts share is read once, and all that fit are drawn together.

Knows codes only, no images. Letters beside the project's own: P prompts, C candidates of a prompt, R = P * C rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from openlvm.model.cache import freed_on_error
from openlvm.model.decoder import Decoder
from openlvm.prompting.engine.prefixes import Path, paths_of, read_alone, read_paths
from openlvm.prompting.engine.steps import Drawn, sequential
from openlvm.prompting.sampling import Sampling, row_seeds

ROWS_AT_ONCE = 48
"""Rows decoded together by default: about 0.4 GB of cache with the demo decoder at its full context."""

OnRowCodes = Callable[[list[tuple[int, int]], torch.Tensor, torch.Tensor], None]
"""Called when codes are final: (prompt, candidate) of the R rows drawn together, places int64 [n] of the codes, from 0,
and the codes int64 [R, n]. What it raises ends the drawing and frees its memory."""


@dataclass(frozen=True, eq=False)
class Continuations:
    """What the engine drew."""

    codes: torch.Tensor
    """int64 [P, C, num_new], 0 .. K - 1, on the CPU."""
    log_probs: torch.Tensor
    """float32 [P, C, num_new]: natural logarithm of each code's probability at temperature 1, over the K codes."""
    entropies: torch.Tensor
    """float32 [P, C, num_new]: entropy in nats of the distribution that each code's probability is of, 0 .. ln K."""

    @classmethod
    def empty(cls, num_prompts: int, num_candidates: int, num_new: int) -> "Continuations":
        """To be filled in, by `put`."""
        shape = (num_prompts, num_candidates, num_new)
        return cls(torch.empty(shape, dtype=torch.int64), torch.empty(shape), torch.empty(shape))

    def put(self, rows: list[tuple[int, int]], drawn: Drawn) -> None:
        """Fill in what was drawn for (prompt, candidate) of its rows."""
        prompts, candidates = (torch.tensor(numbers) for numbers in zip(*rows, strict=True))
        self.codes[prompts, candidates] = drawn.codes
        self.log_probs[prompts, candidates] = drawn.log_probs
        self.entropies[prompts, candidates] = drawn.entropies


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
    on_codes: OnRowCodes | None = None,
) -> Continuations:
    """Continue each prompt by `num_new` codes, `num_candidates` times.

    Chance is a function of (seed, number of the prompt in the list, candidate, position). Prompts of any lengths are
    drawn together; what some of them begin with alike is read once, and looked up once a step.

    Args:
        prompts: int64 [T] each, ids of the decoder's vocabulary; lengths may differ.
        num_codes: K; only 0 .. K - 1 are ever drawn.
        sampling: how codes are drawn; by default from the model's own distribution.
        rows_at_once: at most this many rows (prompts times candidates) in one forward, but all candidates of a prompt.
        exact: draw every row alone, so that its bits do not depend on what else is asked for; costs about as many
            times more as there are rows.
        on_codes: is told each code once it is drawn.
    """
    rows = checked(decoder, prompts, num_new, num_candidates, num_codes)
    made = Continuations.empty(len(rows), num_candidates, num_new)
    draw = partial(
        _draw_alone if exact else _draw_together,
        decoder, num_new=num_new, num_codes=num_codes, sampling=sampling or Sampling(), seed=seed,
        num_candidates=num_candidates, on_codes=on_codes, made=made,
    )  # fmt: skip
    if exact:
        for number, row in enumerate(rows):
            draw(number, row)
    else:
        pending, at_once = paths_of(rows), max(1, rows_at_once // num_candidates)
        while pending:
            paths, pending = pending[:at_once], pending[at_once:]  # nodes that nobody is to continue go
            draw(paths, pending)
    return made


def _draw_together(
    decoder: Decoder,
    paths: list[Path],
    pending: list[Path],
    *,
    num_new: int,
    num_codes: int,
    sampling: Sampling,
    seed: int,
    num_candidates: int,
    on_codes: OnRowCodes | None,
    made: Continuations,
) -> None:
    """Continue some paths, all their candidates in one forward a code."""
    numbers = [path.prompt for path in paths]
    rows = [(number, candidate) for number in numbers for candidate in range(num_candidates)]
    logits, cache = read_paths(
        decoder, paths, copies=num_candidates, room=num_new, num_codes=num_codes, pending=pending
    )
    with freed_on_error(cache):
        drawn = sequential(
            decoder, logits, cache, num_new, sampling, row_seeds(seed, numbers, num_candidates),
            on_codes=partial(on_codes, rows) if on_codes else None,
        )  # fmt: skip
    made.put(rows, drawn)


def _draw_alone(
    decoder: Decoder,
    number: int,
    prompt: torch.Tensor,
    *,
    num_new: int,
    num_codes: int,
    sampling: Sampling,
    seed: int,
    num_candidates: int,
    on_codes: OnRowCodes | None,
    made: Continuations,
) -> None:
    """Continue one prompt, one candidate after the other: shapes depend on nothing else."""
    logits, cache = read_alone(decoder, prompt, room=num_new, num_codes=num_codes)
    for candidate, row_seed in enumerate(row_seeds(seed, [number], num_candidates)):
        rows = [(number, candidate)]
        cache.rewind(len(prompt))
        with freed_on_error(cache):
            drawn = sequential(
                decoder, logits, cache, num_new, sampling, row_seed[None],
                on_codes=partial(on_codes, rows) if on_codes else None,
            )  # fmt: skip
        made.put(rows, drawn)


def checked(
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
