"""The codes of `sequential` in fewer forwards: codes are guessed, and one forward checks a window of guesses.

The noise of a draw belongs to its position, so what is drawn at a position is a function of the codes before it, greedy
or not. A forward over guesses tells what is drawn after each of them; those that agree are what `sequential` would have
drawn, and the code after the last of them is known besides. Guesses come from drafts (arXiv 2304.04487), from the codes
a fixed distance back, and from what the last forward said behind a wrong guess (Jacobi decoding, arXiv 2305.10427).
"""

from collections.abc import Sequence

import numpy as np
import torch

from openlvm.core.seeds import Words
from openlvm.model.cache import KVCache
from openlvm.model.decoder import Decoder
from openlvm.prompting.engine.steps import Drawn, OnCodes, told
from openlvm.prompting.sampling import Sampling, choose_codes

WINDOW = 16
"""Most codes in one forward."""
WORTH = 0.1
"""A window ends before the place that is reached with less than this probability. One more place costs 0.04 of a
forward (demo decoder, one thread, 449 codes before, 2026-11-21: 3.3 ms for 1 code, 4.3 for 8, 7 for 24); between 0.05
and 0.2 the time moves by 2 %."""
FADING = 0.9
"""Weight of a place in a source's record, to the place after it."""


@torch.inference_mode()
def speculate(
    decoder: Decoder,
    logits: torch.Tensor,
    cache: KVCache,
    num_new: int,
    sampling: Sampling,
    seeds: Words,
    drafts: torch.Tensor,
    *,
    lags: Sequence[int] = (1,),
    window: int = WINDOW,
    on_codes: OnCodes | None = None,
) -> Drawn:
    """Draw `num_new` codes of one row: those of `sequential`, up to ties of logits that differ by rounding.

    Args:
        logits: float32 [1, K], of the first code.
        cache: of one row, with room for num_new - 1 positions.
        seeds: uint64 [1], of the row.
        drafts: int64 [D, num_new], guesses of the whole answer, the likeliest first; D may be 0.
        lags: distances at which codes tend to repeat; for pictures the code before and the one above.
        window: most codes in one forward; 1 is `sequential`.
    """
    num_codes = logits.shape[1]
    if len(logits) != 1 or len(seeds) != 1:
        raise ValueError(f"one row is drawn at a time, given {len(logits)} of logits and {len(seeds)} seeds")
    if window < 1:
        raise ValueError(f"window={window} must be at least 1")
    guesses = Guesses(drafts, lags, num_new)
    start, steps, drawn = cache.filled, 0, 0
    codes = torch.empty(1, num_new, dtype=torch.int64)
    log_probs, entropies = (torch.empty(1, num_new) for _ in range(2))
    guessed: list[int] = []
    while True:
        chosen = choose_codes(logits, sampling, seeds, np.arange(drawn, drawn + len(logits)))  # [1 + guessed]
        said = chosen.tolist()
        right = next((place for place, guess in enumerate(guessed) if guess != said[place]), len(guessed)) + 1
        new = slice(drawn, drawn + right)
        codes[0, new] = chosen[:right].cpu()
        log_probs[0, new], entropies[0, new] = (part.cpu() for part in told(logits[:right], chosen[:right]))
        guesses.learn(drawn, said, right)
        drawn += right
        if on_codes:
            on_codes(torch.arange(new.start, drawn), codes[:, new])
        if drawn == num_new:
            return Drawn(codes, log_probs, entropies, steps)
        cache.rewind(start + drawn - 1)
        guessed = guesses.ahead(min(window, num_new - drawn) - 1)
        fed = torch.tensor([[said[right - 1], *guessed]], device=logits.device)
        logits = decoder.head(decoder.hidden(fed, cache=cache)[0], num_codes=num_codes)  # [1 + guessed, K]
        steps += 1


class Guesses:
    """Sources of guesses and how often each was right lately.

    A source's worth at a place is the mean of its record, in which older places fade, and of whether it was right at
    the places `lags` before: what holds for the code above holds for the one below.
    Letters: Q sources, the drafts, then one for each lag, then what the last forward said.
    """

    def __init__(self, drafts: torch.Tensor, lags: Sequence[int], num_new: int):
        if drafts.ndim != 2 or drafts.shape[1] != num_new:
            raise ValueError(f"drafts must be codes [D, {num_new}], given shape {list(drafts.shape)}")
        if any(lag < 1 for lag in lags):
            raise ValueError(f"lags={tuple(lags)} must be at least 1")
        self.lags, self.num_new, self.drawn = tuple(lags), num_new, 0
        num_drafts = len(drafts)
        num_sources = num_drafts + len(self.lags) + 1
        self.table = np.full((num_sources, num_new), -1)
        """Guess of each source at each place, int64 [Q, num_new]; -1 where it has none."""
        self.table[:num_drafts] = drafts.cpu().numpy()
        self.of_lags = list(zip(self.table[num_drafts:-1], self.lags, strict=True))
        self.had, self.right = (np.zeros((num_sources, num_new)) for _ in range(2))
        """1 where a source had a guess of a code that is final, and where it was right."""
        self.hits, self.tries = np.full(num_sources, 0.5), np.ones(num_sources)

    def learn(self, place: int, said: Sequence[int], right: int) -> None:
        """The codes from `place` on: the first `right` of them are final, the rest are what followed a wrong guess."""
        for code in said[:right]:
            had = self.table[:, place] >= 0
            self.had[:, place], self.right[:, place] = had, self.table[:, place] == code
            self.hits = np.where(had, self.hits * FADING + self.right[:, place], self.hits)
            self.tries = np.where(had, self.tries * FADING + 1, self.tries)
            self._repeat(place, code)
            place += 1
        self.table[-1, place : place + len(said) - right] = said[right:]
        self.drawn = place

    def ahead(self, most: int) -> list[int]:
        """Guesses of at most so many codes that follow the final ones, as long as they are likely to be of use."""
        rates, reached, guessed = self.hits / self.tries, 1.0, []
        for place in range(self.drawn, self.drawn + most):
            near = [place - lag for lag in self.lags if 0 <= place - lag < self.drawn]
            worth = (rates + self.right[:, near].sum(axis=1)) / (1 + self.had[:, near].sum(axis=1))
            worth[self.table[:, place] < 0] = 0
            best = int(worth.argmax())
            reached *= worth[best]
            if reached < WORTH:
                break
            guessed.append(int(self.table[best, place]))
            self._repeat(place, guessed[-1])
        return guessed

    def _repeat(self, place: int, code: int) -> None:
        """Guess this code again, each lag further."""
        for row, lag in self.of_lags:
            if place + lag < self.num_new:
                row[place + lag] = code
