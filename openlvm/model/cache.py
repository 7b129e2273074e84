"""Keys and values of past positions, so that each new code costs one position and not the whole sentence.

Each layer has its own preallocated tensors (one stacked tensor with views per layer makes compiled decoding many times
slower). What several rows begin with is kept once, and read once a step for all of them: a cache looks back to pieces
of other caches, level by level of a tree of beginnings, which may be of unequal lengths.
Letters beside the project's own: A heads, E head dim, L positions of a piece, C rows that continue the same row.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F

FEW = 16
"""New positions up to which shared keys are read where they lie; for more, each row gets a copy, once a layer, because
the fused kernels then save more than the copy costs."""


class Freed(Protocol):
    """What holds keys and values."""

    def free(self) -> None:
        """Let go of them."""


@contextmanager
def freed_on_error(held: Freed) -> Iterator[None]:
    """Free what holds keys and values when a drawing fails or is cancelled: the exception's traceback would keep it."""
    try:
        yield
    except BaseException:
        held.free()
        raise


class Piece(NamedTuple):
    """The first `length` positions of some rows of a cache, each seen by C rows of another one."""

    cache: "KVCache"
    rows: slice
    """Of `cache`."""
    seen_by: slice
    """Rows of the other cache, C for each of `rows`, in order."""
    length: int
    """L."""

    @property
    def copies(self) -> int:
        """C."""
        return (self.seen_by.stop - self.seen_by.start) // (self.rows.stop - self.rows.start)

    def of(self, tensors: list[torch.Tensor], layer: int) -> torch.Tensor:
        """Keys or values of one layer, a view: [rows, A, L, E]."""
        return tensors[layer][self.rows, :, : self.length]

    def for_each(self, tensors: list[torch.Tensor], layer: int) -> torch.Tensor:
        """The same, copied for every row that sees it: [rows * C, A, L, E]."""
        return self.of(tensors, layer).repeat_interleave(self.copies, dim=0)


Level = Sequence[Piece]
"""Pieces that different rows see."""


class KVCache:
    """Room for the keys and values of B rows.

    Args:
        keys, values: a tensor per layer, float [B, A, room, E], whose contents do not matter.
        past: what the rows look back to before their own positions, the first level first.
    """

    def __init__(self, keys: list[torch.Tensor], values: list[torch.Tensor], *, past: Sequence[Level] = ()):
        self.keys = keys
        self.values = values
        self.rows, _, self.room, _ = keys[0].shape
        self.past = [list(level) for level in past]
        self.filled = 0
        self.place: torch.Tensor | None = None
        """Number of the next own position as int64 [1] on the device, when steps are recorded (model/step.py): then one
        position a row is written there, and tensors are of one shape in every step."""
        self._before = self._lengths_of_past()
        self.even = all(self._covers(level) for level in self.past)
        """Whether all rows see equally many positions, level by level."""

    @property
    def length(self) -> int:
        """Positions a next code can look back to; where rows differ, the most of any."""
        before = self._before if isinstance(self._before, int) else int(self._before.max())
        return before + self.filled

    @property
    def position(self) -> int | torch.Tensor:
        """Number of the next position; where rows differ, int64 [B, 1]."""
        return self._before + (self.filled if self.place is None else self.place)

    def fork(self, copies: int, *, room: int) -> "KVCache":
        """A cache of B * `copies` rows that continue ours as it is now; row i continues row i // copies."""
        past = [
            [
                piece._replace(seen_by=slice(piece.seen_by.start * copies, piece.seen_by.stop * copies))
                for piece in level
            ]
            for level in self.past
        ]
        mine = Piece(self, slice(0, self.rows), slice(0, self.rows * copies), self.filled)
        _, heads, _, dim = self.keys[0].shape
        shape = (self.rows * copies, heads, room, dim)
        keys, values = ([tensor.new_empty(shape) for tensor in side] for side in (self.keys, self.values))
        return KVCache(keys, values, past=[*past, [mine]])

    def part(self, start: int, stop: int, *, past: Sequence[Level] = ()) -> "KVCache":
        """An empty cache that writes into our rows start .. stop - 1, for reading a large batch in parts."""
        assert self.filled == 0
        keys, values = ([tensor[start:stop] for tensor in side] for side in (self.keys, self.values))
        return KVCache(keys, values, past=past)

    def advance(self, num_positions: int) -> None:
        """Count positions as filled; called once a forward, after every layer has written."""
        self.filled += num_positions

    def keep_place(self) -> None:
        """Keep the place in a tensor from now on, so that every step has the same shapes and can be recorded.

        All our room is looked at then, with weight 0 where nothing is filled; what lies there must be numbers, since
        0 times NaN is NaN.
        """
        self.place = torch.tensor([self.filled], device=self.keys[0].device)
        for tensor in (*self.keys, *self.values):
            tensor[:, :, self.filled :] = 0

    def rewind(self, filled: int) -> None:
        """Forget our own positions from `filled` on; the next forward writes over them."""
        if not 0 <= filled <= self.filled:
            raise ValueError(f"a cache of {self.filled} positions cannot be rewound to {filled}")
        self.filled = filled

    def free(self) -> None:
        """Let go of all keys and values, our own and those we look back to, whoever still holds this object."""
        for level in self.past:
            for piece in level:
                piece.cache.free()
        self.keys, self.values, self.past, self.room, self.place = [], [], [], 0, None

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Write the T new keys and values of one layer, and let the T queries look at everything up to themselves.

        Args:
            query, key, value: float [B, A, T, E], of the positions that follow the filled ones; of the queries only
                the last may be given.

        Returns:
            As the queries.
        """
        num_new = key.shape[2]
        end = self.filled + num_new
        if end > self.room:
            raise ValueError(f"the cache has room for {self.room} positions, {end} are needed; make it with room={end}")
        if self.place is not None:
            return self._attend_at_place(layer, query, key, value)
        self.keys[layer].narrow(2, self.filled, num_new).copy_(key)
        self.values[layer].narrow(2, self.filled, num_new).copy_(value)
        keys, values = self.keys[layer].narrow(2, 0, end), self.values[layer].narrow(2, 0, end)  # [B, A, filled + T, E]
        if not self.past:
            return attend_to_past(query, keys, values)
        if query.shape[2] <= FEW or not self.even:
            return attend_to_pieces(query, keys, values, self.past, layer)
        spread_keys = [torch.cat([p.for_each(p.cache.keys, layer) for p in level]) for level in self.past]
        spread_values = [torch.cat([p.for_each(p.cache.values, layer) for p in level]) for level in self.past]
        keys, values = torch.cat([*spread_keys, keys], dim=2), torch.cat([*spread_values, values], dim=2)
        return attend_to_past(query, keys, values)

    def _attend_at_place(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """The same for one position a row; all of the room is looked at, and what is not filled is masked."""
        assert self.place is not None and key.shape[2] == 1
        keys, values = self.keys[layer], self.values[layer]
        keys.index_copy_(2, self.place, key.to(keys.dtype))
        values.index_copy_(2, self.place, value.to(values.dtype))
        seen = torch.arange(self.room, device=keys.device) <= self.place  # [room]
        if not self.past:
            return F.scaled_dot_product_attention(query, keys, values, attn_mask=seen.view(1, 1, 1, -1))
        return attend_to_pieces(query, keys, values, self.past, layer, seen=seen)

    def _lengths_of_past(self) -> int | torch.Tensor:
        """Positions before our own: a number, or int64 [B, 1] where rows differ."""
        lengths = [0] * self.rows
        for level in self.past:
            for piece in level:
                for row in range(piece.seen_by.start, piece.seen_by.stop):
                    lengths[row] += piece.length
        if len(set(lengths)) == 1:
            return lengths[0]
        return torch.tensor(lengths, device=self.keys[0].device)[:, None]

    def _covers(self, level: Level) -> bool:
        """Whether every row sees equally many positions of a level, in the order of its pieces."""
        stops = [0, *(piece.seen_by.stop for piece in level)]
        starts = [*(piece.seen_by.start for piece in level), self.rows]
        return stops == starts and len({piece.length for piece in level}) == 1


def attend_to_pieces(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    past: Sequence[Level],
    layer: int,
    *,
    seen: torch.Tensor | None = None,
) -> torch.Tensor:
    """Causal attention of the last T positions to their rows' own keys, and to a past that rows share.

    The C rows that share a piece are C queries of one matrix product, so its keys are read once and not C times; one
    softmax, in float32, runs over everything a row sees.

    Args:
        query: float [B, A, T, E].
        keys, values: float [B, A, L, E], the T new positions being the last of L.
        seen: bool [L], which of them one query sees; by default those up to itself.

    Returns:
        float [B, A, T, E].
    """
    num_new, num_own = query.shape[2], keys.shape[2]
    scaled = query * (1 / math.sqrt(query.shape[3]))
    own = scaled @ keys.transpose(2, 3)  # [B, A, T, L]
    if seen is not None:
        own = own.masked_fill(~seen, -torch.inf)
    elif num_new > 1:
        later = torch.ones(num_new, num_own, dtype=torch.bool, device=query.device).triu(num_own - num_new + 1)
        own = own.masked_fill(later, -torch.inf)
    scores = [*(_scores(scaled, level, layer) for level in past), own]
    shares = torch.cat(scores, dim=3).float().softmax(dim=3).to(query.dtype)
    *of_levels, of_own = shares.split([each.shape[3] for each in scores], dim=3)
    mixed = of_own @ values  # [B, A, T, E]
    for part, level in zip(of_levels, past, strict=True):
        for piece in level:
            grouped = _grouped(part[piece.seen_by, :, :, : piece.length], piece.copies)  # [B / C, A, C * T, L]
            mixed[piece.seen_by] += _apart(grouped @ piece.of(piece.cache.values, layer), piece.copies)
    return mixed


def _scores(scaled: torch.Tensor, level: Level, layer: int) -> torch.Tensor:
    """Products of queries [B, A, T, E] with the keys of a level, [B, A, T, longest L]; -inf where a row has no key."""
    found = []
    for piece in level:
        grouped = _grouped(scaled[piece.seen_by], piece.copies)  # [B / C, A, C * T, E]
        products = piece.of(piece.cache.keys, layer) @ grouped.transpose(2, 3)  # as model/products.py turns products
        found.append(_apart(products.transpose(2, 3), piece.copies))
    if len(found) == 1 and len(found[0]) == len(scaled):
        return found[0]
    scores = scaled.new_full((*scaled.shape[:3], max(piece.length for piece in level)), -torch.inf)
    for piece, products in zip(level, found, strict=True):
        scores[piece.seen_by, :, :, : piece.length] = products
    return scores


def _grouped(x: torch.Tensor, copies: int) -> torch.Tensor:
    """Rows that continue the same row, side by side: [B, A, T, X] -> [B / C, A, C * T, X]."""
    rows, heads, num_new, size = x.shape
    if copies == 1:
        return x
    return x.reshape(rows // copies, copies, heads, num_new, size).transpose(1, 2).flatten(2, 3)


def _apart(x: torch.Tensor, copies: int) -> torch.Tensor:
    """The inverse: [B / C, A, C * T, X] -> [B, A, T, X]."""
    if copies == 1:
        return x
    return x.unflatten(2, (copies, -1)).transpose(1, 2).flatten(0, 1)


def attend_to_past(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Causal attention of the LAST T of L positions: query [B, A, T, E], keys, values [B, A, L, E] -> [B, A, T, E]."""
    num_new, num_all = query.shape[2], keys.shape[2]
    if num_new == num_all:
        return F.scaled_dot_product_attention(query, keys, values, is_causal=num_new > 1)
    if num_new == 1:
        return F.scaled_dot_product_attention(query, keys, values)
    mask = torch.ones(num_new, num_all, dtype=torch.bool, device=query.device).tril(num_all - num_new)
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
