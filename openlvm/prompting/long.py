"""Sequences longer than the context: when it is full, whole pictures leave at its front.

    context of 4 images, keep = 2     f0 f1 f2 | a    ->    f2 a | b c    ->    b c | d e

What is kept is read again, so that every code is drawn as if the prompt had been these pictures alone. `reuse` keeps
the keys and values that were computed instead, each key turned back by as many positions as were dropped: much less
work, but they have seen the dropped pictures, so the answer is another one (arXiv 2309.17453 keeps a cache so).
Letters beside the project's own: C candidates, F frames drawn.
"""

from typing import NamedTuple

import numpy as np
import torch

from openlvm.bundle import Bundle
from openlvm.model.cache import KVCache, freed_on_error
from openlvm.model.decoder import Decoder, rotate
from openlvm.prompting.drawing import How
from openlvm.prompting.engine.generate import Continuations
from openlvm.prompting.engine.prefixes import READ_AT_ONCE
from openlvm.prompting.engine.steps import Drawn, told
from openlvm.prompting.sampling import choose_codes, row_seeds


class Long(NamedTuple):
    """What was drawn, and how far off reusing was."""

    drawn: Continuations
    """P = 1."""
    reuse_error: tuple[float, ...] | None
    """As in `Answer`."""


def check_long(how: How) -> None:
    """Refuse ways of drawing that cannot go beyond the context."""
    if how.fast or how.ahead is not None:
        raise ValueError(f"{how.special[0]} draws within the context alone, these frames go beyond it; leave it out")


def draw_long(bundle: Bundle, images: torch.Tensor, num_frames: int, how: How, *, keep: int, reuse: bool) -> Long:
    """Draw F frames after images that leave room for at least one, sliding whenever there is no room for the next.

    Chance is that of prompt 0 in the engine: a function of (seed, candidate, position counted over all drawn codes).

    Args:
        images: codes int64 [S, N].
        keep: images kept when the context is full, 1 .. what fits beside one.
        reuse: keep their keys and values.
    """
    check_long(how)
    seeds = row_seeds(how.seed, [0], how.num_candidates)
    groups = [[candidate] for candidate in range(len(seeds))] if how.exact else [list(range(len(seeds)))]
    made = Continuations.empty(1, len(seeds), num_frames * images.shape[1])
    errors = []
    for candidates in groups:
        sliding = _Sliding(bundle, images.repeat(len(candidates), 1, 1), keep, reuse)
        numbers = [(0, candidate) for candidate in candidates]
        with freed_on_error(sliding):
            drawn = _draw(sliding, num_frames, how, seeds[candidates], numbers)
        made.put(numbers, drawn)
        errors.append(sliding.errors)
    return Long(made, tuple(max(of_slide) for of_slide in zip(*errors, strict=True)) if reuse else None)


@torch.inference_mode()
def _draw(sliding: "_Sliding", num_frames: int, how: How, seeds: np.ndarray, numbers: list[tuple[int, int]]) -> Drawn:
    """F frames of R candidates, with seeds uint64 [R]."""
    num_each = sliding.images.shape[2]
    shape = (len(seeds), num_frames * num_each)
    codes, log_probs, entropies = torch.empty(shape, dtype=torch.int64), torch.empty(shape), torch.empty(shape)
    logits = sliding.logits_of_next_image(num_frames)  # [R, K]
    for position in range(shape[1]):
        drawn = choose_codes(logits, how.sampling, seeds, position)[:, None]  # [R, 1]
        log_prob, entropy = told(logits[:, None], drawn)
        codes[:, position], log_probs[:, position], entropies[:, position] = drawn[:, 0], log_prob[:, 0], entropy[:, 0]
        if how.on_codes:
            how.on_codes(numbers, torch.tensor([position]), drawn.cpu())
        frame, place = divmod(position + 1, num_each)
        if place:
            logits = sliding.feed(drawn)
        elif frame < num_frames:
            sliding.add(codes[:, position + 1 - num_each : position + 1])
            logits = sliding.logits_of_next_image(num_frames - frame)
    return Drawn(codes, log_probs, entropies, shape[1] - 1)


class _Sliding:
    """The pictures in the context of R rows, and the cache that has read them.

    Args:
        images: codes int64 [R, S, N].
    """

    def __init__(self, bundle: Bundle, images: torch.Tensor, keep: int, reuse: bool):
        self.decoder: Decoder = bundle.decoder
        self.num_codes = bundle.tokenizer.codebook_size
        self.bos = bundle.special.bos
        self.fit = bundle.images_in_context
        self.images = images
        self.keep = keep
        self.reuse = reuse
        self.errors: list[float] = []
        self.cache: KVCache | None = None

    def free(self) -> None:
        """Let go of the cache."""
        if self.cache is not None:
            self.cache.free()

    def add(self, codes: torch.Tensor) -> None:
        """Put a drawn picture, int64 [R, N], into the context; its last code is not yet read."""
        self.images = torch.cat([self.images, codes[:, None]], dim=1)

    def feed(self, codes: torch.Tensor) -> torch.Tensor:
        """Read one more code int64 [R, 1] a row: the logits of the next, [R, K]."""
        assert self.cache is not None
        return self.decoder.head(self.decoder.hidden(codes, cache=self.cache)[:, 0], num_codes=self.num_codes)

    def logits_of_next_image(self, num_left: int) -> torch.Tensor:
        """float32 [R, K] of the first code of the next picture, after dropping pictures if there is no room for it.

        Args:
            num_left: pictures still to be drawn.
        """
        if self.cache is None:
            return self.read(num_left)
        last = self.images[:, -1, -1:].to(self.decoder.model.embed_tokens.weight.device)
        dropped = self.images.shape[1] - self.keep
        if self.images.shape[1] < self.fit:
            return self.feed(last)
        self.images = self.images[:, dropped:]
        if not self.reuse:
            self.cache = None  # its memory first
            return self.read(num_left)
        self.drop_keys(dropped)
        logits = self.feed(last)
        if not self.errors or num_left <= self.fit - self.keep:  # the first slide, the last one
            cache, anew = self.cache, self.read(num_left)
            self.cache = cache
            self.errors.append(float((logits.log_softmax(-1) - anew.log_softmax(-1)).abs().max()))
        return logits

    def read(self, num_left: int) -> torch.Tensor:
        """Read the pictures: logits [R, K] of what follows. Rows that are equal are read once."""
        num_rows, num_images, num_each = self.images.shape
        rows = self.images.flatten(1)
        if self.bos is not None:
            rows = torch.cat([torch.full((num_rows, 1), self.bos), rows], dim=1)  # [R, T]
        length, equal = rows.shape[1], num_rows > 1 and bool((rows == rows[:1]).all())
        room = (self.fit if self.reuse else min(self.fit, num_images + num_left)) * num_each + 1 - num_images * num_each
        rows = (rows[:1] if equal else rows).to(self.decoder.model.embed_tokens.weight.device)
        cache = self.decoder.new_cache(rows=len(rows), room=length + (0 if equal else room))
        last = []
        at_once = max(1, READ_AT_ONCE // length)
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            last.append(self.decoder.hidden(some, cache=cache.part(start, start + len(some)), num_last=1)[:, 0])
        cache.advance(length)
        logits = self.decoder.head(torch.cat(last), num_codes=self.num_codes)
        if not equal:
            self.cache = cache
            return logits
        self.cache = self.copied(cache, num_rows, room) if self.reuse else cache.fork(num_rows, room=room)
        return logits.expand(num_rows, -1)

    def copied(self, cache: KVCache, num_rows: int, room: int) -> KVCache:
        """The same past for R rows, in a cache of their own, so that parts of it can be dropped."""
        copy = self.decoder.new_cache(rows=num_rows, room=cache.filled + room)
        for ours, theirs in zip([*copy.keys, *copy.values], [*cache.keys, *cache.values], strict=True):
            ours[:, :, : cache.filled] = theirs[:, :, : cache.filled]
        copy.advance(cache.filled)
        return copy

    def drop_keys(self, num_images: int) -> None:
        """Forget the first pictures; BOS stays, and later keys are turned back by the positions that are gone."""
        assert self.cache is not None
        old, start = self.cache, 0 if self.bos is None else 1
        gone = num_images * self.images.shape[2]
        cos, sin = self.decoder.model.cos[gone], self.decoder.model.sin[gone]  # of the way from here to there
        self.cache = self.decoder.new_cache(rows=old.rows, room=old.room)
        for layer in range(len(old.keys)):
            keys, values = old.keys[layer][:, :, : old.filled], old.values[layer][:, :, : old.filled]
            left = rotate(keys[:, :, start + gone :], cos, -sin)
            filled = old.filled - gone
            self.cache.keys[layer][:, :, :filled] = torch.cat([keys[:, :, :start], left], dim=2)
            self.cache.values[layer][:, :, :filled] = torch.cat([values[:, :, :start], values[:, :, start + gone :]], 2)
        self.cache.advance(old.filled - gone)
