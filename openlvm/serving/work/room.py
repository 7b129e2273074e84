"""Whether a drawing can be done, by itself or in company, and what it takes: said before it waits, from sizes alone.

Letters beside the project's own: C candidates, M orders of an ensemble, R rows, T codes of a prompt.
"""

from typing import NamedTuple

import torch

from openlvm.bundle import Bundle
from openlvm.prompting.drawing import How, check_together, row_length_of
from openlvm.prompting.engine.generate import ROWS_AT_ONCE
from openlvm.prompting.engine.memory import Memory, bytes_needed
from openlvm.prompting.engine.speculative import WINDOW
from openlvm.prompting.long import check_long
from openlvm.prompting.prompts import Span, check_room, orders_shown, span_of
from openlvm.serving.work.asked import Analogy, Complete, Compose, Drawing, Way


class Need(NamedTuple):
    """What a drawing needs."""

    bytes: int
    """Keys, values and activations, at most (engine/memory.py)."""
    is_alone: bool
    """The pool cannot draw it, or may not: it is a call of the LVM."""


def need_of(bundle: Bundle, asked: Drawing, way: Way) -> Need:
    """What a drawing needs, after refusing, in the words of the LVM, what it would refuse."""
    how = How.of(way.sampling, way.wishes)
    num_shown, cannot = len(asked.shown), False
    match asked:
        case Complete():
            span = span_of(bundle, len(asked.images), asked.num_frames, slide=asked.slide, keep=asked.keep)
            if span.slides:
                check_long(how)
                return Need(_sliding(bundle, span, how, reuse=asked.reuse), is_alone=True)
            cannot, num_shown = asked.reuse or span.num_shown < num_shown, span.num_shown
        case Analogy():
            orders = orders_shown(bundle, len(asked.pairs), asked.ensemble, way.seed)
            if len(orders) > 1:
                check_together(how)
                needed = _ensemble(bundle, len(orders), 2 * len(orders[0]) + 1, how)
                return Need(max(needed, _gain(bundle, how)), is_alone=True)
        case Compose():
            check_room(bundle, num_shown, 1)
    needed = _apart(bundle, num_shown, asked.num_frames, how)
    return Need(max(needed, _gain(bundle, how)) if asked.has_query else needed, is_alone=cannot or bool(how.special))


def _apart(bundle: Bundle, num_shown: int, num_frames: int, how: How) -> int:
    """One prompt: in the pool, exactly, or in fewer steps."""
    length, num_new = _length(bundle, num_shown), num_frames * bundle.tokenizer.codes_per_image
    if how.fast:  # a row after the other, the next one made before the last one goes; a window is as wide as many rows
        rows = min(2, how.num_candidates)
        steps = _memory(bundle, [length], num_new, copies=WINDOW)
        return _memory(bundle, [length], num_new, copies=rows).cache + steps.activations
    if how.ahead is not None:  # the prompt, and a copy of it in each row; each row of codes reads up to two a step
        steps = _memory(bundle, [length], num_new, copies=2 * row_length_of(bundle) * how.num_candidates)
        return _memory(bundle, [length] * (1 + how.num_candidates), num_new + 1).cache + steps.activations
    memory = _memory(bundle, [length], num_new, copies=1 if how.exact else how.num_candidates)
    return memory.cache + memory.activations


def _sliding(bundle: Bundle, span: Span, how: How, *, reuse: bool) -> int:
    """Rows that each fill the context; to keep what was computed needs a second cache, and one row to begin with."""
    rows = 1 if how.exact else how.num_candidates
    length = _length(bundle, max(span.num_shown, span.keep))
    num_new = _length(bundle, bundle.images_in_context) + 1 - length
    memory = _memory(bundle, [length] * (2 * rows + 1 if reuse else rows), num_new)
    return memory.cache + memory.activations


def _ensemble(bundle: Bundle, num_orders: int, num_shown: int, how: How) -> int:
    """A prompt for each order; the next candidates' rows are made before the last ones go."""
    at_once = max(1, ROWS_AT_ONCE // num_orders)
    copies = how.num_candidates if how.num_candidates <= at_once else 2 * at_once
    memory = _memory(bundle, [_length(bundle, num_shown)] * num_orders, bundle.tokenizer.codes_per_image, copies=copies)
    return memory.cache + memory.activations


def _gain(bundle: Bundle, how: How) -> int:
    """The answers of all candidates, read once more after the query alone."""
    reading = _memory(bundle, [_length(bundle, 2)] * how.num_candidates, 1).activations
    kept = _memory(bundle, [_length(bundle, 1)], bundle.tokenizer.codes_per_image, copies=how.num_candidates).cache
    return kept + reading


def _length(bundle: Bundle, num_images: int) -> int:
    """T."""
    return num_images * bundle.tokenizer.codes_per_image + (bundle.special.bos is not None)


def _memory(bundle: Bundle, lengths: list[int], num_new: int, *, copies: int = 1) -> Memory:
    """Of prompts that are drawn together, each in so many rows."""
    weight = next(bundle.decoder.parameters())
    return bytes_needed(
        bundle.decoder.config, lengths, num_new,
        num_candidates=copies,
        rows_at_once=copies * len(lengths),
        bytes_per_number=4 if weight.device.type == "cpu" or weight.dtype == torch.float32 else 2,
    )  # fmt: skip
