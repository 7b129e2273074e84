"""Rotary scales of square images: places repeat from image to image, images are told apart, look-back works."""

import math

import pytest
import torch

from openlvm.model.decoder import Decoder
from openlvm.model.grid import grid_scales
from openlvm.model.sizes import SIZES
from openlvm.training.decoder.starts import look_back, same_place

N = 64


def turns(scales: tuple[float, ...]) -> list[float]:
    """Of each pair of channels from an image to the next."""
    return [N / (2 * math.pi * scale) for scale in scales]


def test_fast_pairs_turn_whole_times_an_image_and_slow_ones_less_than_once():
    found = turns(grid_scales(N, 64))
    fast, slow = found[:22], found[22:]
    assert len(found) == 32 and all(abs(turn - round(turn)) < 1e-9 and 1 <= turn <= 32 for turn in fast)
    assert {1, 8, 16, 24, 32} <= {round(turn) for turn in fast}  # where in the image, and where in the row
    assert slow[0] == pytest.approx(1 / 1.6) and all(a > b for a, b in zip(slow, slow[1:], strict=False))
    assert slow[-1] < 1 / 16  # turns less than once in a sentence: tells 16 images apart


def test_grid_scales_reject_what_is_no_square():
    with pytest.raises(ValueError, match="codes_per_image=60 is not a square"):
        grid_scales(60, 64)


@torch.no_grad()
def test_look_back_finds_the_same_place_of_the_image_before():
    """The image before gets most; the same place of older images, which fast pairs cannot tell from it, less each."""
    decoder = Decoder(SIZES["mini"])
    look_back(decoder, same_place(N))
    attention = decoder.model.layers[1].self_attn
    frequencies, place = SIZES["mini"].rope_frequencies(), 8 * N
    query, key = (proj.bias[:64].view(2, 32) for proj in (attention.q_proj, attention.k_proj))
    back = torch.arange(place)
    angles = back[:, None] * frequencies  # of query against key, that far behind it
    turned = torch.complex(query[0], query[1]) * torch.polar(torch.ones_like(angles), angles)
    share = ((turned * torch.complex(key[0], key[1]).conj()).real.sum(-1) / 64**0.5).softmax(0)
    assert share.argmax() == N - 1
    assert share[N - 1] > 4 * share[2 * N - 1] > 4 * share[3 * N - 1]
    assert share[[N - 1, 2 * N - 1]].sum() > 0.9
