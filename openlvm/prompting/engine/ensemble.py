"""Several prompts that ask the same, drawn as one: each code comes from the mean of what they say.

Other examples, or the same in another order, move a model's opinion; the mean of the distributions moves less.
Letters beside the project's own: M prompts that ask the same, C candidates.
"""

from collections.abc import Sequence
from functools import partial

import torch

from openlvm.model.cache import freed_on_error
from openlvm.model.decoder import Decoder
from openlvm.prompting.engine.generate import ROWS_AT_ONCE, Continuations, OnRowCodes, checked
from openlvm.prompting.engine.prefixes import paths_of, read_paths
from openlvm.prompting.engine.steps import sequential
from openlvm.prompting.sampling import Sampling, row_seeds


def generate_together(
    decoder: Decoder,
    prompts: Sequence[torch.Tensor],
    num_new: int,
    *,
    num_codes: int,
    sampling: Sampling | None = None,
    seed: int = 0,
    num_candidates: int = 1,
    on_codes: OnRowCodes | None = None,
) -> Continuations:
    """Continue M prompts by the same `num_new` codes, `num_candidates` times.

    Each code is drawn once, from the mean of the M distributions at temperature 1, and fed to all; log-probabilities
    and entropies are that mean's. Chance is that of prompt 0 of `generate`, so one prompt, or M equal ones, give what
    `generate` gives for it.

    Args:
        prompts: int64 [T] each, ids of the decoder's vocabulary; lengths may differ.
        num_codes: K; only 0 .. K - 1 are ever drawn.
        sampling: how codes are drawn; by default from the mean distribution itself.
        on_codes: is told each code once it is drawn, as (0, candidate).

    Returns:
        Of P = 1 prompt.
    """
    rows = checked(decoder, prompts, num_new, num_candidates, num_codes)
    if not rows:
        raise ValueError("no prompt given; an ensemble needs at least one")
    made = Continuations.empty(1, num_candidates, num_new)
    paths, seeds = paths_of(rows), row_seeds(seed, [0], num_candidates)
    at_once = max(1, ROWS_AT_ONCE // len(rows))
    for start in range(0, num_candidates, at_once):
        stop = min(start + at_once, num_candidates)
        logits, cache = read_paths(decoder, paths, copies=stop - start, room=num_new, num_codes=num_codes)
        numbers = [(0, candidate) for candidate in range(start, stop)]
        with freed_on_error(cache):
            drawn = sequential(
                decoder, logits, cache, num_new, sampling or Sampling(), seeds[start:stop], num_together=len(rows),
                on_codes=partial(on_codes, numbers) if on_codes else None,
            )  # fmt: skip
        made.put(numbers, drawn)
    return made
