"""Permutations of range(n) that are computed, not stored: order without shuffle buffers or index files.

A Feistel network on pairs (left, right) of Z_a x Z_b with a * b just above n, made a bijection of range(n) by walking
its cycles until a number below n appears (Black and Rogaway, CT-RSA 2002). Constant memory for any n.
"""

import math
from typing import overload

import numpy as np

from openlvm.core.seeds import GOLDEN, Part, mix64, seed_of

ROUNDS = 6
"""Feistel rounds; each changes one half. Distances of neighbors are uniform (chi-square) from 5 on (tests/core)."""
MAX_SIZE = 1 << 52
"""Largest n: square roots must be exact in float64, and halves fit 32 bits."""

_MASK = (1 << 64) - 1
_STEP = np.uint64(ROUNDS * int(GOLDEN) & _MASK)
_1, _32 = np.uint64(1), np.uint64(32)


class Permutation:
    """A bijection of range(n), chosen by `parts`; `permutation(3)` or `permutation(np.array([3, 4]))`.

    Args:
        n: size, 1 .. 2^52.
        parts: what the permutation depends on, as in `seed_of(*parts)`.
    """

    def __init__(self, n: int, *parts: Part):
        if not 1 <= n <= MAX_SIZE:
            raise ValueError(f"a permutation has a size of 1 to 2^52, given {n}")
        self.n = n
        self.seed = seed_of(*parts)

    def __len__(self) -> int:
        return self.n

    @overload
    def __call__(self, index: int) -> int: ...

    @overload
    def __call__(self, index: np.ndarray) -> np.ndarray: ...

    def __call__(self, index: int | np.ndarray) -> int | np.ndarray:
        """Where `index` goes: an int for an int, int64 of the same shape for an array; each in range(n)."""
        if isinstance(index, np.ndarray):
            if index.size and not 0 <= index.min() <= index.max() < self.n:
                raise IndexError(f"numbers {index.min()} to {index.max()} outside range({self.n})")
            return permute(index, np.array(self.n), np.array(self.seed, dtype=np.uint64))
        if not 0 <= index < self.n:
            raise IndexError(f"{index} is outside range({self.n})")
        while (index := self._once(int(index))) >= self.n:
            pass
        return index

    def _once(self, index: int) -> int:
        """The Feistel network on plain integers; `_feistel` is the same on arrays."""
        wide, high = _sides(self.n)
        left, right = index % wide, index // wide
        for number in range(ROUNDS):
            if number % 2 == 0:
                left = (left + _below(self.seed, right * ROUNDS + number, wide)) % wide
            else:
                right = (right + _below(self.seed, left * ROUNDS + number, high)) % high
        return right * wide + left


def permute(index: np.ndarray, n: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Many permutations at once: where `index` goes in the permutation of range(n) chosen by the seed beside it.

    Args:
        index: int64, any shape, each in range(n).
        n: int64, 1 .. 2^52; broadcasts against `index`.
        seeds: uint64; broadcasts against `index`.

    Returns:
        int64 of the broadcast shape. For seeds made by `seed_of` this equals `Permutation(n, ...)(index)`.
    """
    n, seeds = np.atleast_1d(n), np.atleast_1d(seeds)
    shape = np.broadcast_shapes(index.shape, n.shape, seeds.shape)
    moved = _feistel(np.broadcast_to(index, shape), n, seeds)
    outside = np.nonzero(moved >= n)
    while outside[0].size:  # rare: a * b - n < sqrt(n)
        walked = _feistel(moved[outside], np.broadcast_to(n, shape)[outside], np.broadcast_to(seeds, shape)[outside])
        moved[outside] = walked
        outside = np.nonzero(moved >= n)
    return moved


def _sides(n: int) -> tuple[int, int]:
    """(a, b) with n <= a * b < n + a, a just above the root of n: with a = 1, b = 3 there would only be rotations."""
    wide = int(math.sqrt(n - 1)) + 1
    return wide, -(-n // wide)


def _feistel(index: np.ndarray, n: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The network on arrays: every half is moved by `_below(seed, other * ROUNDS + number, limit)`.

    In place and in uint64, because this is where the time of the data loader goes; sums wrap as they do in SplitMix64.
    """
    wide = np.sqrt(n - 1).astype(np.uint64) + _1
    high = (n.astype(np.uint64) + wide - _1) // wide
    right = index.astype(np.uint64)
    left = right % wide
    right //= wide
    for number in range(ROUNDS):
        moved, other, limit = (left, right, wide) if number % 2 == 0 else (right, left, high)
        words = other * _STEP
        words += seeds + np.uint64((number + 1) * int(GOLDEN) & _MASK)
        words = mix64(words)
        words >>= _32
        words *= limit
        words >>= _32
        moved += words
        np.minimum(moved, moved - limit, out=moved)  # modulo: what is below `limit` wraps to a huge number
    right *= wide
    right += left
    return right.astype(np.int64)


def _below(seed: int, number: int, limit: int) -> int:
    """`chance.draw` on plain integers."""
    word = (seed + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((word ^ (word >> 31)) >> 32) * limit >> 32
