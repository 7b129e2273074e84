"""How pictures look, told from their codes alone: short vectors whose scalar product is the likeness of two pictures.

A code stands for a patch of one color, near enough: a picture of one code alone, decoded, shows it. So codes are a
small picture, at most 15 cells wide. Its mean is taken away, so that brightness and plain backgrounds count for little,
and it is scaled to length 1. Nothing is decoded but the table of colors: a picture costs some microseconds. Counting
rare codes more was tried and found fewer copies and more strangers (docs/interchange.md).
Letters: B pictures, N codes per image, K codebook size.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import isqrt
from typing import NamedTuple

import numpy as np
import torch

from openlvm.core.seeds import rng
from openlvm.store.format import Store, image_numbers
from openlvm.store.rearrange.parts import codes_of_part
from openlvm.tokenizer.folder import code_vectors
from openlvm.tokenizer.interface import Tokenizer

MAX_DECODED = 1024
"""Codes of the largest codebook whose colors are all decoded."""
NUM_SAMPLED = 256
"""Codes of larger ones that are decoded; colors are then a linear function of the codes' vectors, fitted to these."""
MIN_CONTRAST = 0.06
"""Deviation of a picture's colors (0 .. 1) below which it is plain: like any other plain one, which says nothing."""
CELLS = 8
"""Wider grids of codes are averaged down to at least so many cells a side."""
BLOCK = 4096
"""Pictures that are looked at together."""


class Pictures(NamedTuple):
    """Some pictures of one slot of a store, in their order."""

    images: np.ndarray
    """int64 [B], their numbers in the store."""
    records: np.ndarray
    """int64 [B], the records they belong to."""
    steps: np.ndarray
    """int64 [B], which of the record's frames that are shown: 0, 1, ..."""
    codes: np.ndarray
    """int64 [B, N]."""


def walk(store: Store, slot: str, max_frames: int | None = None) -> Iterator[Pictures]:
    """All pictures of a slot, or at most `max_frames` of each record, evenly spread; block after block."""
    bit = np.uint64(store.slot_number(slot))
    for part in range(len(store.part_names)):
        start, end = store.part_records[part : part + 2]
        records = start + np.flatnonzero(store.records["slots"][start:end] >> bit & np.uint64(1))
        counts = store.records[records]["num_frames"].astype(np.int64)
        shown = counts if max_frames is None else np.minimum(counts, max_frames)
        records = np.repeat(records, shown)
        steps = np.arange(shown.sum()) - np.repeat(np.cumsum(shown) - shown, shown)
        images = images_of(store, slot, records, steps, max_frames)
        codes = codes_of_part(store, part)
        for cut in range(0, len(images), BLOCK):
            block = slice(cut, cut + BLOCK)
            found = codes[images[block] - store.part_images[part]].astype(np.int64)
            yield Pictures(images[block], records[block], steps[block], found)


def images_of(store: Store, slot: str, records: np.ndarray, steps: np.ndarray, max_frames: int | None) -> np.ndarray:
    """Numbers of the pictures that `walk` shows of records int64 [B] at steps int64 [B]: int64 [B]."""
    entries = store.records[records]
    counts = entries["num_frames"].astype(np.int64)
    shown = counts if max_frames is None else np.minimum(counts, max_frames)
    frames = (2 * steps + 1) * counts // (2 * shown)  # the middles of equal pieces
    return image_numbers(entries, np.full(len(records), store.slot_number(slot), dtype=np.uint64), frames)


def code_colors(tokenizer: Tokenizer) -> np.ndarray:
    """The mean color of a picture of each code alone: float32 [K, 3] in 0 .. 1."""
    num_codes = tokenizer.codebook_size
    shown = np.arange(num_codes)
    if num_codes > MAX_DECODED:
        shown = np.sort(rng("code colors").choice(num_codes, NUM_SAMPLED, replace=False))
    colors = np.concatenate([_decoded_colors(tokenizer, shown[cut : cut + 32]) for cut in range(0, len(shown), 32)])
    if num_codes <= MAX_DECODED:
        return colors
    vectors = code_vectors(tokenizer).double().numpy()  # type: ignore[arg-type]
    inputs = np.concatenate([vectors, np.ones((num_codes, 1))], axis=1)
    # a ridge: a codebook can have nearly as many channels as codes are decoded
    ridge = 1e-4 * np.trace(inputs.T @ inputs) / inputs.size * np.eye(inputs.shape[1])
    chosen = inputs[shown]
    linear = inputs @ np.linalg.solve(chosen.T @ chosen + len(shown) * ridge, chosen.T @ colors)
    return np.clip(linear, 0, 1).astype(np.float32)


def _decoded_colors(tokenizer: Tokenizer, codes: np.ndarray) -> np.ndarray:
    pictures = torch.from_numpy(codes)[:, None].expand(-1, tokenizer.codes_per_image).contiguous()
    with torch.inference_mode():
        pixels = tokenizer.decode(pictures).cpu().numpy()
    margin = pixels.shape[1] // 4  # the border of a picture may look different
    return pixels[:, margin:-margin, margin:-margin].mean(axis=(1, 2), dtype=np.float32) / 255


class Looks:
    """Turns codes into vectors of length 1, or 0 for plain pictures.

    Args:
        colors: float32 [K, 3], as `code_colors` gives them.
    """

    def __init__(self, colors: np.ndarray):
        self.colors = colors

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Codes int [B, N] -> float32 [B, 3 cells^2]."""
        means = _means_of_cells(codes.shape[1])  # [N, cells^2]
        vectors, variance = [], np.zeros(len(codes), dtype=np.float32)
        for channel in self.colors.T:
            values = np.ascontiguousarray(channel)[codes]  # [B, N]
            values -= values.mean(axis=1, keepdims=True)
            variance += np.einsum("bn,bn->b", values, values) / (3 * codes.shape[1])
            vectors.append(values @ means)
        found = np.concatenate(vectors, axis=1)
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)
        found[variance < MIN_CONTRAST**2] = 0
        return found


@lru_cache
def _means_of_cells(codes_per_image: int) -> np.ndarray:
    """What averages a grid of codes down to cells: float32 [N, cells^2]; the identity for a grid that is not wide."""
    side = isqrt(codes_per_image)
    pool = max(side // CELLS, 1)
    pool = pool if side % pool == 0 else 1
    line = np.repeat(np.eye(side // pool, dtype=np.float32), pool, axis=0) / pool
    return np.kron(line, line)
