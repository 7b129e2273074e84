"""Prompts given as codes are drawn in the way that is asked for, and become answers.

apart      every prompt for itself, all of them together in the engine, what they share read once
guessing   the same codes in fewer steps, one row after the other (fast)
diagonally other codes, nearly as good, in fewer steps (ahead)
together   several prompts that ask the same, each code drawn once from the mean of what they say (an ensemble)

Letters beside the project's own: P prompts, C candidates, F frames drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict

import torch

from openlvm.bundle import Bundle
from openlvm.model.cache import KVCache, freed_on_error
from openlvm.prompting.answers import Answer
from openlvm.prompting.engine.diagonal import diagonal
from openlvm.prompting.engine.drafts import Style, drafts_for, lags_of
from openlvm.prompting.engine.ensemble import generate_together
from openlvm.prompting.engine.generate import Continuations, OnRowCodes, generate
from openlvm.prompting.engine.prefixes import read_alone
from openlvm.prompting.engine.speculative import speculate
from openlvm.prompting.prompts import ENCODE_AT_ONCE, code_row
from openlvm.prompting.sampling import Sampling, row_seeds
from openlvm.prompting.scoring import row_log_probs


class Wishes(TypedDict, total=False):
    """Keywords that every call takes that draws."""

    num_candidates: int
    """C, independent answers; the likeliest comes first. By default 1."""
    seed: int
    """Of chance; by default 0."""
    sampling: Sampling | None
    """How codes are drawn; by default as the bundle suggests (`meta["sampling"]` in lvm.json), or else from the model's
    own distribution (temperature 1)."""
    exact: bool
    """The same bits whatever `num_candidates` is, at about C times the cost."""
    fast: bool
    """Draw several codes in one step where guesses come true: the same answer (up to ties within 1e-4)."""
    ahead: int | None
    """Lossy: draw along diagonals, each row of codes this many codes ahead of the one below (arXiv 2412.04062)."""
    on_codes: OnRowCodes | None
    """Called with numbers, places and codes (`OnRowCodes`) as soon as they are final; raise in it to cancel."""


@dataclass(frozen=True, kw_only=True)
class How:
    """The same, settled."""

    sampling: Sampling
    num_candidates: int = 1
    seed: int = 0
    exact: bool = False
    fast: bool = False
    ahead: int | None = None
    on_codes: OnRowCodes | None = None

    def __post_init__(self):
        if self.num_candidates < 1:
            raise ValueError(f"num_candidates={self.num_candidates} must be at least 1")
        if self.ahead is not None and self.ahead < 1:
            raise ValueError(f"ahead={self.ahead} must be at least 1 code")
        if len(self.special) > 1:
            raise ValueError(f"{' and '.join(self.special)} are different ways of drawing; leave all but one out")

    @property
    def special(self) -> list[str]:
        """What was asked for that changes how a row is drawn."""
        given = {"exact=True": self.exact, "fast=True": self.fast, f"ahead={self.ahead}": self.ahead is not None}
        return [name for name, is_given in given.items() if is_given]

    @classmethod
    def of(cls, suggested: Sampling, wishes: Wishes) -> "How":
        """What was wished, and for the rest how the LVM suggests to draw."""
        settled: dict[str, Any] = {**wishes, "sampling": wishes.get("sampling") or suggested}
        return cls(**settled)


def draw_apart(
    bundle: Bundle, prompts: Sequence[torch.Tensor], num_frames: int, how: How, *, style: Style
) -> Continuations:
    """Continue every prompt by itself.

    Args:
        prompts: codes int64 [S, N] of the pictures of each.
        style: where guesses come from when drawing ahead.
    """
    rows = [code_row(images, bundle.special.bos) for images in prompts]
    num_new = num_frames * bundle.tokenizer.codes_per_image
    if not how.fast and how.ahead is None:
        return generate(
            bundle.decoder, rows, num_new, num_codes=bundle.tokenizer.codebook_size,
            sampling=how.sampling,
            seed=how.seed,
            num_candidates=how.num_candidates,
            exact=how.exact,
            on_codes=how.on_codes,
        )  # fmt: skip
    made = Continuations.empty(len(rows), how.num_candidates, num_new)
    draw = _draw_guessing if how.ahead is None else _draw_diagonally
    for number, (images, row) in enumerate(zip(prompts, rows, strict=True)):
        drafts = drafts_for(images, style=style).repeat(1, num_frames)  # [D, num_new]
        logits, cache = read_alone(bundle.decoder, row, room=0, num_codes=bundle.tokenizer.codebook_size)  # [1, K]
        with freed_on_error(cache):
            draw(bundle, number, logits, cache, drafts, how, made)
    return made


def _draw_guessing(
    bundle: Bundle,
    number: int,
    logits: torch.Tensor,
    cache: KVCache,
    drafts: torch.Tensor,
    how: How,
    made: Continuations,
) -> None:
    """The candidates of one prompt, one after the other."""
    num_new, lags = made.codes.shape[2], lags_of(bundle.tokenizer.codes_per_image)
    seeds = row_seeds(how.seed, [number], how.num_candidates)
    for candidate in range(how.num_candidates):
        numbers, fork = [(number, candidate)], cache.fork(1, room=num_new)
        with freed_on_error(fork):
            drawn = speculate(
                bundle.decoder, logits, fork, num_new, how.sampling, seeds[candidate : candidate + 1], drafts,
                lags=lags,
                on_codes=partial(how.on_codes, numbers) if how.on_codes else None,
            )  # fmt: skip
        made.put(numbers, drawn)


def row_length_of(bundle: Bundle) -> int:
    """Codes in a row of a picture; refuses pictures that cannot be drawn ahead."""
    num_each = bundle.tokenizer.codes_per_image
    side = math.isqrt(num_each)
    if side * side != num_each:
        raise ValueError(f"pictures of {num_each} codes are no squares of codes, so they have no rows; leave out ahead")
    return side


def _draw_diagonally(
    bundle: Bundle,
    number: int,
    logits: torch.Tensor,
    cache: KVCache,
    drafts: torch.Tensor,
    how: How,
    made: Continuations,
) -> None:
    """The candidates of one prompt, together."""
    assert how.ahead is not None
    numbers = [(number, candidate) for candidate in range(how.num_candidates)]
    fork = cache.fork(how.num_candidates, room=1)
    with freed_on_error(fork):
        drawn = diagonal(
            bundle.decoder, logits.repeat(how.num_candidates, 1), fork,
            made.codes.shape[2], how.sampling, row_seeds(how.seed, [number], how.num_candidates),
            row_length=row_length_of(bundle),
            ahead=how.ahead,
            on_codes=partial(how.on_codes, numbers) if how.on_codes else None,
        )  # fmt: skip
    made.put(numbers, drawn)


def check_together(how: How) -> None:
    """Refuse ways of drawing that know one prompt only."""
    if how.special:
        raise ValueError(f"{how.special[0]} draws a prompt by itself; leave it out, or leave out ensemble")


def draw_together(bundle: Bundle, prompts: Sequence[torch.Tensor], how: How) -> Continuations:
    """Draw one picture from prompts int64 [S, N] that all ask for it."""
    check_together(how)
    return generate_together(
        bundle.decoder, [code_row(images, bundle.special.bos) for images in prompts], bundle.tokenizer.codes_per_image,
        num_codes=bundle.tokenizer.codebook_size,
        sampling=how.sampling,
        seed=how.seed,
        num_candidates=how.num_candidates,
        on_codes=how.on_codes,
    )  # fmt: skip


def answers_of(
    bundle: Bundle, drawn: Continuations, *, queries: torch.Tensor | None = None, **facts: Any
) -> list[Answer]:
    """One answer a prompt, its candidates ranked.

    Args:
        queries: codes int64 [P, N] of the queries, where there were examples before them; F is 1 then.
        facts: further fields of every answer.
    """
    tokenizer = bundle.tokenizer
    num_prompts, num_candidates = drawn.codes.shape[:2]
    shape = (num_prompts, num_candidates, -1, tokenizer.codes_per_image)
    codes, log_probs, entropies = (
        field.view(shape) for field in (drawn.codes, drawn.log_probs, drawn.entropies)
    )  # [P, C, F, N]
    ranks = log_probs.double().mean(dim=(2, 3)).argsort(dim=1, descending=True, stable=True)  # [P, C]
    gains = None if queries is None else _gains(bundle, queries, codes[:, :, 0], log_probs[:, :, 0])  # [P, C]
    answers = []
    for prompt, rank in enumerate(ranks):
        pictures = torch.cat(
            [tokenizer.decode(some).cpu() for some in codes[prompt][rank].flatten(0, 1).split(ENCODE_AT_ONCE)]
        )
        answers.append(
            Answer(
                images=pictures.unflatten(0, (num_candidates, -1)).numpy(),
                codes=codes[prompt, rank].numpy(),
                log_probs=log_probs[prompt, rank].numpy(),
                entropies=entropies[prompt, rank].numpy(),
                numbers=rank.numpy(),
                num_codes=tokenizer.codebook_size,
                gain=None if gains is None else gains[prompt, rank].numpy(),
                **facts,
            )
        )
    return answers


def _gains(bundle: Bundle, queries: torch.Tensor, codes: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """float32 [P, C]: mean of log p(code | examples, query) - log p(code | query) over the K codes.

    Args:
        queries: int64 [P, N].
        codes, log_probs: int64, float32 [P, C, N], of the answers.
    """
    rows = [
        code_row(torch.stack([query, answer]), bundle.special.bos)
        for query, answers in zip(queries, codes, strict=True)
        for answer in answers
    ]
    num_targets = codes.shape[2]
    alone = row_log_probs(bundle.decoder, rows, num_targets, num_codes=bundle.tokenizer.codebook_size)  # [P * C, N]
    return (log_probs - alone.view(log_probs.shape)).mean(dim=2)
