"""What an answer tells beside its picture: how certain each code was, and the mask or the depth that it shows."""

import math

import numpy as np

from openlvm.prompting.answers import Answer

SCALE = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float64)
"""Colors from 0 to 1 at equal distances: five of viridis (van der Walt and Smith 2015)."""
TINT = 0.6
"""Share of the color where it is laid over a picture."""
DIMMED = 0.25
"""Brightness of what a mask leaves out."""
NEAR, FAR = 1.0, 2.0
"""Ends of a drawn depth: the picture does not tell them, so it is read as relative."""


def layers(answer: Answer, query: np.ndarray | None, c: int, f: int) -> dict[str, np.ndarray]:
    """Views of candidate c, frame f: uint8 [H, W, 3] by their names; "picture" is the answer itself.

    Args:
        query: uint8 [H, W, 3], what a mask is laid over; None shows it black and white.
    """
    picture = answer.images[c, f]
    found = {"picture": picture}
    if math.isqrt(answer.entropies.shape[2]) ** 2 == answer.entropies.shape[2]:  # codes have places
        found["entropy"] = over(picture, 1 - answer.confidence(c, f))
    mask = answer.mask(c, f)[..., None]
    found["mask"] = np.where(mask, 255, np.zeros_like(picture)) if query is None else lit(query, mask)
    depth = answer.depth(NEAR, FAR, c, f)
    near = colored((FAR - depth) / (FAR - NEAR))
    found["depth"] = np.where(depth[..., None] == 0, np.uint8(0), near)
    return found


def colored(values: np.ndarray) -> np.ndarray:
    """Values [H, W] in 0 .. 1 as colors uint8 [H, W, 3]."""
    places = np.clip(values, 0, 1) * (len(SCALE) - 1)
    channels = [np.interp(places, np.arange(len(SCALE)), SCALE[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def over(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Colors of values [H, W] laid over the grays of a picture uint8 [H, W, 3]."""
    gray = picture.mean(axis=-1, keepdims=True)
    return (TINT * colored(values) + (1 - TINT) * gray).round().astype(np.uint8)


def lit(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A picture uint8 [H, W, 3] that is dark where its mask bool [H, W, 1] is false."""
    return np.where(mask, picture, (picture * DIMMED).astype(np.uint8))
