"""Keys and values of past positions, so that each new code costs one position and not the whole sentence.

Each layer has its own preallocated tensors (one stacked tensor with views per layer makes compiled decoding many times
slower). A cache can be forked: many rows then continue one prefix, whose keys are kept, and read at each step, once.
Letters beside the project's own: A heads, E head dim, L positions of one cache, C rows that continue the same row.
"""

import math

import torch
import torch.nn.functional as F


class KVCache:
    """Room for the keys and values of B rows that come after those of `prefix`, another cache, if there is one.

    Args:
        keys, values: a tensor per layer, float [B, A, room, E], whose contents do not matter.
        prefix: the cache that these rows continue, filled; its number of rows divides ours: row i
            continues row i // C of it.
    """

    def __init__(self, keys: list[torch.Tensor], values: list[torch.Tensor], *, prefix: "KVCache | None" = None):
        self.keys = keys
        self.values = values
        self.rows, _, self.room, _ = keys[0].shape
        self.prefix = prefix
        self.filled = 0

    @property
    def length(self) -> int:
        """Positions a next code can look back to."""
        return self.filled + (self.prefix.length if self.prefix else 0)

    def fork(self, copies: int, *, room: int) -> "KVCache":
        """A cache of B * `copies` rows that continue ours; row i continues row i // copies. Nothing is copied."""
        _, heads, _, dim = self.keys[0].shape
        shape = (self.rows * copies, heads, room, dim)
        keys, values = ([tensor.new_empty(shape) for tensor in side] for side in (self.keys, self.values))
        return KVCache(keys, values, prefix=self)

    def part(self, start: int, stop: int) -> "KVCache":
        """An empty cache that writes into our rows start .. stop - 1, for reading a large batch in parts."""
        assert self.filled == 0 and (self.prefix is None or self.prefix.rows == 1)
        keys, values = ([tensor[start:stop] for tensor in side] for side in (self.keys, self.values))
        return KVCache(keys, values, prefix=self.prefix)

    def advance(self, num_positions: int) -> None:
        """Count positions as filled; called once a forward, after every layer has written."""
        self.filled += num_positions

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Write the T new keys and values of one layer, and let the T queries look at everything up to themselves.

        Args:
            query, key, value: float [B, A, T, E], of the positions that follow the filled ones.

        Returns:
            float [B, A, T, E].
        """
        end = self.filled + query.shape[2]
        if end > self.room:
            raise ValueError(f"the cache has room for {self.room} positions, {end} are needed; make it with room={end}")
        self.keys[layer][:, :, self.filled : end] = key
        self.values[layer][:, :, self.filled : end] = value
        keys, values = self.keys[layer][:, :, :end], self.values[layer][:, :, :end]  # [B, A, filled + T, E]
        if self.prefix is None:
            return attend_to_past(query, keys, values)
        before = self._ancestors()
        if query.shape[2] == 1:
            far = [
                (cache.keys[layer][:, :, : cache.filled], cache.values[layer][:, :, : cache.filled]) for cache in before
            ]
            return attend_once([*far, (keys, values)], query)
        keys = torch.cat([*(cache.spread(cache.keys[layer], self.rows) for cache in before), keys], dim=2)
        values = torch.cat([*(cache.spread(cache.values[layer], self.rows) for cache in before), values], dim=2)
        return attend_to_past(query, keys, values)

    def _ancestors(self) -> list["KVCache"]:
        """The caches we continue, the first one first."""
        return [] if self.prefix is None else [*self.prefix._ancestors(), self.prefix]

    def spread(self, tensor: torch.Tensor, rows: int) -> torch.Tensor:
        """The filled part of our keys or values as each of `rows` descendants sees it: [rows, A, filled, E]."""
        return tensor[:, :, : self.filled].repeat_interleave(rows // self.rows, dim=0)


def attend_once(pieces: list[tuple[torch.Tensor, torch.Tensor]], query: torch.Tensor) -> torch.Tensor:
    """Attention of one new position a row to a past in pieces that several rows share.

    The C rows that share a piece are C queries of one matrix product, so its keys are read once and not C times.

    Args:
        pieces: (keys, values), float [B / C, A, L, E] each, C and L its own; row i of the queries sees row i // C.
        query: float [B, A, 1, E].

    Returns:
        float [B, A, 1, E].
    """
    rows, heads, _, dim = query.shape
    scaled = query.reshape(rows, heads, dim) * (1 / math.sqrt(dim))
    scores = []
    for keys, _ in pieces:
        grouped = scaled.view(len(keys), rows // len(keys), heads, dim).transpose(1, 2)  # [B / C, A, C, E]
        scores.append((grouped @ keys.transpose(2, 3)).transpose(1, 2).reshape(rows, heads, -1))  # [B, A, L]
    weights = torch.cat(scores, dim=2).float().softmax(dim=2).to(query.dtype)
    mixed = torch.zeros_like(scaled)
    for part, (_, values) in zip(weights.split([score.shape[2] for score in scores], dim=2), pieces, strict=True):
        grouped = part.reshape(len(values), rows // len(values), heads, -1).transpose(1, 2)  # [B / C, A, C, L]
        mixed = mixed + (grouped @ values).transpose(1, 2).reshape(rows, heads, dim)
    return mixed[:, :, None]


def attend_to_past(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Causal attention of the LAST T of L positions: query [B, A, T, E], keys, values [B, A, L, E] -> [B, A, T, E]."""
    num_new, num_all = query.shape[2], keys.shape[2]
    if num_new == num_all:
        return F.scaled_dot_product_attention(query, keys, values, is_causal=num_new > 1)
    if num_new == 1:
        return F.scaled_dot_product_attention(query, keys, values)
    mask = torch.ones(num_new, num_all, dtype=torch.bool, device=query.device).tril(num_all - num_new)
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
