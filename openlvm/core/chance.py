"""Chance in bulk: many small draws at once, each a function of a 64-bit seed and a number (`seeds.py` for single ones).

The hash is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), which is a bijection of 64-bit integers: different numbers
under one seed never collide. Everything works on uint64 scalars and arrays alike and is the same on every machine.
"""

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, the increment of SplitMix64
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # Stafford's variant 13
_30, _27, _31, _32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)

Words = np.ndarray
"""uint64 array of any shape."""


def mix64(words: Words) -> Words:
    """SplitMix64's finalizer: a bijection of uint64 in which every input bit moves every output bit."""
    mixed = words >> _30
    mixed ^= words
    mixed *= _MIX_1
    mixed ^= mixed >> _27
    mixed *= _MIX_2
    mixed ^= mixed >> _31
    return mixed


def derive(seeds: Words, numbers: Words | int) -> Words:
    """The seed of sub-choice `numbers` under `seeds`, uint64 of their broadcast shape, at least one axis.

    Args:
        seeds: uint64, as given by `seed_of` or by this function.
        numbers: integers >= 0.
    """
    steps = np.atleast_1d(np.asarray(numbers, dtype=np.uint64)) + np.uint64(1)  # arrays wrap silently, scalars warn
    return mix64(seeds + steps * GOLDEN)


def below(words: Words, limits: Words | int) -> Words:
    """Map hashes uint64 to integers int64 in [0, limits); limits in 1 .. 2^32."""
    return (((words >> _32) * np.asarray(limits, dtype=np.uint64)) >> _32).astype(np.int64)


def draw(seeds: Words, number: Words | int, limits: Words | int) -> Words:
    """Draw number `number` of each seed: int64 in [0, limits), uniform to within limits / 2^32."""
    return below(derive(seeds, number), limits)
