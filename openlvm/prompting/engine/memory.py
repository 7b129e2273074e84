"""How much memory drawing takes, from the lengths of the prompts alone.

Letters beside the project's own: R rows drawn together, A heads, b bytes a number, L layers, F mlp_size.
"""

from collections.abc import Sequence
from typing import NamedTuple

from openlvm.model.cache import FEW
from openlvm.model.decoder import DecoderConfig
from openlvm.prompting.engine.generate import ROWS_AT_ONCE
from openlvm.prompting.engine.prefixes import READ_AT_ONCE, SPREAD_AT_ONCE

BYTES_A_CHOICE = 128
"""For each row and id of the vocabulary while a code is chosen: logits and log-probabilities (float32), noise (64-bit
words and doubles), sorted copies for top_p."""


class Memory(NamedTuple):
    """Upper bounds in bytes."""

    weights: int
    """The decoder's."""
    cache: int
    """Keys and values of the rows drawn together."""
    activations: int
    """What a forward holds for a moment."""
    total: int
    """Their sum."""


def bytes_needed(
    config: DecoderConfig,
    lengths: Sequence[int],
    num_new: int,
    *,
    num_candidates: int = 1,
    rows_at_once: int = ROWS_AT_ONCE,
    bytes_per_number: int = 4,
    bytes_per_weight: float | None = None,
) -> Memory:
    """What `generate` takes at most, as if its prompts shared nothing: shared codes are kept once, and make it less.

    With S the sum of the longest lengths drawn together (rows_at_once // num_candidates of them, at least one), R their
    rows, T the longest one:

        weights      b * parameters, and the rotary tables
        cache        2 b * L * D * (S + R * num_new)                       keys and values
        activations  the larger of reading and drawing:
            reading  4 n (10 D + 4 F)                         stream, heads and SwiGLU of the codes of a forward
                     + spread * (4 b D + 16 FEW A) + 5 T^2    copies and scores of shared keys; the mask
            drawing  4 R (10 D + 4 F)                         the same, of one code a row
                     + 20 R A (S + num_new) + 128 R V         scores in five copies; choosing

    where n = max(READ_AT_ONCE, T) codes and spread = max(SPREAD_AT_ONCE, T) positions, both at most S.

    Args:
        lengths: codes of each prompt.
        bytes_per_number: b of keys, values and weights; 2 for bfloat16.
        bytes_per_weight: of the weights, if they are rounded further; 1 for int8.
    """
    if not lengths:
        raise ValueError("lengths is empty; give the number of codes of each prompt")
    if min(lengths) < 1 or num_new < 1 or num_candidates < 1 or rows_at_once < 1:
        raise ValueError(
            f"lengths of {min(lengths)} and more, num_new={num_new}, num_candidates={num_candidates} and "
            f"rows_at_once={rows_at_once} must all be at least 1"
        )
    together = sorted(lengths, reverse=True)[: max(1, rows_at_once // num_candidates)]
    longest, positions, rows = together[0], sum(together), len(together) * num_candidates
    size, stream = config.hidden_size, 4 * (10 * config.hidden_size + 4 * config.mlp_size)
    each_weight = bytes_per_number if bytes_per_weight is None else bytes_per_weight
    weights = round(each_weight * config.num_parameters) + 8 * config.context * config.head_dim
    cache = 2 * bytes_per_number * config.num_layers * size * (positions + rows * num_new)
    spread = min(positions, max(SPREAD_AT_ONCE, longest))
    reading = (
        min(positions, max(READ_AT_ONCE, longest)) * stream
        + spread * (4 * bytes_per_number * size + 16 * FEW * config.num_heads)
        + 5 * longest**2
    )
    drawing = (
        rows * stream + 20 * rows * config.num_heads * (positions + num_new) + BYTES_A_CHOICE * rows * config.vocab_size
    )
    activations = max(reading, drawing)
    return Memory(weights, cache, activations, weights + cache + activations)
