"""Chance as a value: every random choice is a function of named parts, never of what ran before.

`rng` gives a generator for one choice; `derive` and `draw` make many small choices at once, on arrays of 64-bit seeds.
Their hash is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), a bijection of 64-bit integers: different numbers under one
seed never collide. Everything is the same on every machine.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

Part = str | int

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, the increment of SplitMix64
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # Stafford's variant 13
_30, _27, _31, _32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)

Words = np.ndarray
"""uint64 array of any shape."""


def seed_of(*parts: Part) -> int:
    """A 64-bit seed that depends on the parts and their order alone, the same on every machine.

    Args:
        parts: strings and integers, as in `seed_of("order", 7, "pass", 0)`; 1 and "1" give different seeds.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        if not isinstance(part, str | int | np.integer):
            raise ValueError(f"a seed is made of str and int, not {type(part).__name__} ({part!r})")
        text = f"str:{part}" if isinstance(part, str) else f"int:{int(part)}"
        digest.update(text.encode(errors="surrogateescape") + b"\x00")  # names of files need not be UTF-8
    return int.from_bytes(digest.digest(), "little")


def rng(*parts: Part) -> np.random.Generator:
    """A NumPy generator seeded by `seed_of(*parts)`."""
    return np.random.default_rng(seed_of(*parts))


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


def nothing_drawn() -> AbstractContextManager[Any]:
    """A context in which the random draws of torch.nn.init do nothing: for networks whose weights come from a file.

    On the device "meta" drawing would do nothing and import half of torch first, for about a second.
    """
    from torch.overrides import TorchFunctionMode

    class NothingDrawn(TorchFunctionMode):
        def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
            kwargs = kwargs or {}
            if getattr(func, "__module__", None) == "torch.nn.init":
                return kwargs["tensor"] if "tensor" in kwargs else args[0]
            return func(*args, **kwargs)

    return NothingDrawn()
