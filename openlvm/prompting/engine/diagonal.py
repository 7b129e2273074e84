"""Lossy drawing of pictures along diagonals: a row of codes begins before the row above has ended.

ZipAR (arXiv 2412.04062), with the rules below.

        0  1  2  3     step in which a code is drawn, ahead=2, rows of 4: 10 steps instead of 16
        2  3  4  5     A code sees everything read so far at smaller places, so not the end of the row above
        4  5  6  7     that is drawn with it or later.
        6  7  8  9

Exactly: a code at place p is drawn from what the decoder says after place p - 1, at that place's own position. Its look
goes to the whole prompt, to all codes at places <= p - 1 whose keys exist, and to those that the same forward reads. If
place p - 1, the end of the row above, is not drawn yet when a row begins, the code above it, one row up in the same
column, stands in for it; if that does not exist or is not drawn either, the last code drawn in the row above. Its keys
are seen by that one draw only, and are written anew as soon as the code itself is drawn. An image begins when the one
before it is whole.
"""

import numpy as np
import torch
import torch.nn.functional as F

from openlvm.core.seeds import Words
from openlvm.model.cache import KVCache, freed_on_error
from openlvm.model.decoder import Decoder
from openlvm.prompting.engine.steps import Drawn, OnCodes, told
from openlvm.prompting.sampling import Sampling, choose_codes


class ScatteredCache(KVCache):
    """A copy of a cache, with room for codes that are read in any order, each at the slot of its place.

    Args:
        cache: of R rows of equal length.
        room: places of new codes.
    """

    def __init__(self, cache: KVCache, room: int):
        if not cache.even:
            raise ValueError(
                "rows are drawn along diagonals only after prompts of equal lengths, shared in equal parts"
            )
        self.before = cache.length
        super().__init__(*(_whole(cache, side, room) for side in ("keys", "values")))
        self.seen = torch.zeros(self.room, dtype=torch.bool)
        self.seen[: self.before] = True
        self.slots = torch.empty(0, dtype=torch.int64)
        self.mask: torch.Tensor | None = None
        self.end = self.before

    def expect(self, places: torch.Tensor) -> None:
        """The places int64 [T] that the next forward reads, ascending."""
        self.slots = self.before + places
        self.end = int(self.slots[-1]) + 1
        seen = self.seen[: self.end].clone()
        seen[self.slots] = True
        mask = seen & (torch.arange(self.end) <= self.slots[:, None])  # [T, end]
        self.mask = None if bool(mask.all()) else mask.to(self.keys[0].device)

    def keep(self, places: torch.Tensor) -> None:
        """From now on the codes read at these places are seen by those after them."""
        self.seen[self.before + places] = True

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """As `KVCache.attend`, at the places that are expected."""
        self.keys[layer][:, :, self.slots] = key
        self.values[layer][:, :, self.slots] = value
        keys, values = self.keys[layer][:, :, : self.end], self.values[layer][:, :, : self.end]
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=self.mask)


@torch.inference_mode()
def diagonal(
    decoder: Decoder,
    logits: torch.Tensor,
    cache: KVCache,
    num_new: int,
    sampling: Sampling,
    seeds: Words,
    *,
    row_length: int,
    ahead: int,
    rows_per_image: int | None = None,
    on_codes: OnCodes | None = None,
) -> Drawn:
    """Draw whole images, several codes in one forward; with ahead >= row_length exactly the codes of `sequential`.

    Args:
        logits: float32 [R, K], of the first code.
        cache: of R rows of equal length; it is copied, and stays as it is.
        num_new: codes of whole images, one after the other.
        seeds: uint64 [R], of the rows.
        row_length: codes in a row of an image.
        ahead: codes by which a row is ahead of the one below, at least 1.
        rows_per_image: rows of codes of an image; by default as many as columns.
    """
    rows_per_image = row_length if rows_per_image is None else rows_per_image
    if row_length < 1 or rows_per_image < 1 or num_new < 1 or num_new % (row_length * rows_per_image):
        raise ValueError(
            f"num_new={num_new} is not a whole number of images of {rows_per_image} rows of {row_length} codes"
        )
    if ahead < 1:
        raise ValueError(f"ahead={ahead} must be at least 1 code")
    if cache.length + num_new - 1 > decoder.config.context:
        raise ValueError(
            f"{cache.length} positions and {num_new} new ones exceed the decoder's context of {decoder.config.context}"
        )
    view, schedule = ScatteredCache(cache, num_new), Schedule(num_new // row_length, row_length, rows_per_image, ahead)
    num_rows, num_codes = logits.shape
    codes = torch.empty(num_rows, num_new, dtype=torch.int64, device=logits.device)
    log_probs, entropies = (torch.empty(num_rows, num_new, device=logits.device) for _ in range(2))
    steps, said = 0, logits[:, None]  # [R, n, K]
    with freed_on_error(view):
        while True:
            places = schedule.next_places()  # [n]
            chosen = choose_codes(
                said.flatten(0, 1), sampling, np.repeat(seeds, len(places)), np.tile(places.numpy(), num_rows)
            ).view(num_rows, -1)  # [R, n]
            codes[:, places] = chosen
            log_probs[:, places], entropies[:, places] = told(said, chosen)
            if on_codes:
                on_codes(places, chosen.cpu())
            if schedule.drew(places):
                return Drawn(codes.cpu(), log_probs.cpu(), entropies.cpu(), steps)
            read, stands_in, asked = schedule.to_read()
            view.expect(read)
            states = decoder.hidden(codes[:, stands_in], cache=view, positions=(view.before + read).to(codes.device))
            view.keep(read[read == stands_in])
            said = decoder.head(states[:, asked], num_codes=num_codes)  # [R, n, K]
            steps += 1


class Schedule:
    """Which places are drawn and read when; knows no codes.

    Args:
        num_rows: rows of codes, of all images.
    """

    def __init__(self, num_rows: int, row_length: int, rows_per_image: int, ahead: int):
        self.row_length, self.rows_per_image, self.ahead = row_length, rows_per_image, min(ahead, row_length)
        self.counts = torch.zeros(num_rows, dtype=torch.int64)
        """Codes drawn in each row."""
        self.unread: set[int] = set()
        """Places drawn whose keys do not exist."""

    def next_places(self) -> torch.Tensor:
        """The next place of every row that may go on, int64 [n], ascending."""
        lead = torch.full_like(self.counts, self.ahead)
        lead[:: self.rows_per_image] = self.row_length  # an image begins after the whole one before
        above = torch.cat([torch.tensor([self.row_length]), self.counts[:-1]])
        going = ((self.counts < self.row_length) & (above >= lead)).nonzero()[:, 0]
        return going * self.row_length + self.counts[going]

    def drew(self, places: torch.Tensor) -> bool:
        """Count these places as drawn; true if all are."""
        self.counts[places // self.row_length] += 1
        self.unread.update(places.tolist())
        return bool((self.counts == self.row_length).all())

    def to_read(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the next forward reads.

        Returns:
            places int64 [T] to read, ascending; the place int64 [T] whose code is read there, another one where that
            stands in; and int64 [n], which of the T tell the next codes.
        """
        before = [place - 1 for place in self.next_places().tolist()]
        places = sorted({*self.unread, *before})
        stands_in = [place if self._is_drawn(place) else self._instead(place) for place in places]
        asked = [places.index(place) for place in before]
        self.unread.clear()
        return torch.tensor(places), torch.tensor(stands_in), torch.tensor(asked)

    def _is_drawn(self, place: int) -> bool:
        row, column = divmod(place, self.row_length)
        return column < int(self.counts[row])

    def _instead(self, place: int) -> int:
        """The place whose code stands in for the end of a row that is not drawn yet."""
        row = place // self.row_length
        if row % self.rows_per_image and self._is_drawn(place - self.row_length):
            return place - self.row_length
        return row * self.row_length + int(self.counts[row]) - 1


def _whole(cache: KVCache, side: str, room: int) -> list[torch.Tensor]:
    """Keys or values of everything the rows see, a tensor per layer [R, A, length + room, E].

    The room is zeros: attention multiplies what is masked by 0, and chance contents may be no numbers.
    """
    whole = []
    for layer, own in enumerate(getattr(cache, side)):
        parts = [
            torch.cat([piece.for_each(getattr(piece.cache, side), layer) for piece in level]) for level in cache.past
        ]
        rows, heads, _, dim = own.shape
        parts += [own[:, :, : cache.filled], own.new_zeros(rows, heads, room, dim)]
        whole.append(torch.cat(parts, dim=2))
    return whole
