"""Guesses of an answer before anything is drawn: pictures of the prompt that the answer may repeat, code by code.

A guess costs little: `speculate` keeps what the decoder agrees with. Tried on held-out tasks of the demo model and
left out, as they saved no forward (2026-11-21, shares of codes equal to the answer's): the query mapped code by code as
the examples map theirs (0.10 where the query itself has 0.29, in recoloring), older answers, the frame before the last
(0.42 beside 0.77), and the last frame moved on as it came from the one before (0.73).
Letters beside the project's own: D drafts.
"""

import math
from typing import Literal

import torch

Style = Literal["analogy", "sequence"]


def drafts_for(images: torch.Tensor, *, style: Style) -> torch.Tensor:
    """Drafts of the image that follows a prompt, the likeliest first.

        analogy   a A b B q   q, B
        sequence  f0 … f6     f6

    Args:
        images: int64 [S, N], the codes of the prompt's images in order; a prompt without images has no drafts.
        style: analogy: pairs, then the query, S is odd (several groups of pairs are just pairs). sequence: frames.

    Returns:
        int64 [D, N].
    """
    if images.ndim != 2:
        raise ValueError(f"images must be codes [S, N], given shape {list(images.shape)}")
    if style not in ("analogy", "sequence"):
        raise ValueError(f"style={style!r} must be 'analogy' or 'sequence'")
    if style == "analogy" and len(images) % 2 == 0:
        raise ValueError(f"an analogy is pairs and a query, an odd number of images; given {len(images)}")
    return images[-1:] if style == "sequence" else images[-2:].flip(0)


def lags_of(codes_per_image: int) -> tuple[int, ...]:
    """Distances at which the codes of pictures tend to repeat: the one before, the one above, that of the last image.

    The one above is left out where N is no square number.
    """
    side = math.isqrt(codes_per_image)
    above = (side,) if side * side == codes_per_image and side > 1 else ()
    return (1, *above, codes_per_image)
