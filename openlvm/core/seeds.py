"""Chance as a value: every random choice is a function of named parts, never of what ran before."""

import hashlib

import numpy as np

Part = str | int


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
