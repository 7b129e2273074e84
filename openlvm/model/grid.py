"""Rotary scales for sentences of square images: positions that know the place inside an image.

A Llama's positions are one line. If most pairs of channels turn a whole number of times from an image to the next, a
head can look for "the same place of any image" or "one row up" by rotation alone; the rest turn slowly, and tell the
images apart. Still a plain Llama: transformers calls it rope_type "longrope" (model/folder.py).
Letters: N codes per image, E channels of a head.
"""

import math

SLOW_SHARE = 0.31  # of the pairs of channels tell images apart: 10 of 32
SLOWER = 1.6  # ratio of the wavelengths of two neighbors among them


def grid_scales(codes_per_image: int, head_dim: int) -> tuple[float, ...]:
    """Rotary scales (`DecoderConfig.rope_scales`), E / 2 of them, the fastest first.

    Fast pairs turn k times an image for whole k: first the numbers up to two turns a row (where in the image), then
    multiples of the grid's side (where in the row), then what lies between. Wavelengths of slow pairs grow from 1.6 N.
    """
    half, grid = head_dim // 2, math.isqrt(codes_per_image)
    if grid * grid != codes_per_image:
        raise ValueError(f"codes_per_image={codes_per_image} is not a square; grid scales are for square images")
    num_slow = max(1, round(SLOW_SHARE * half))
    wanted = [*range(1, grid + 1), *range(grid, codes_per_image // 2 + 1, grid), *range(grid + 1, codes_per_image // 2)]
    turns = list(dict.fromkeys(wanted))[: half - num_slow]
    slow = [1 / SLOWER ** (number + 1) for number in range(half - len(turns))]
    return tuple(codes_per_image / (2 * math.pi * turn) for turn in sorted([*turns, *slow], reverse=True))
