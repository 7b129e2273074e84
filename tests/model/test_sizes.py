"""Shapes for a number of parameters, and what a token of training costs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.sizes import SIZES, flops_per_token, shape_near


@pytest.mark.parametrize("parameters", [3e5, 1e6, 3e6, 1e7, 1e8, 1e9, 7e9, 3e10])
@pytest.mark.parametrize("tie", [False, True])
def test_shapes_come_near_the_parameters_asked_for(parameters, tie):
    if not tie and parameters < 3e6:
        pytest.skip("two tables of 8292 rows are more than that")
    shape = shape_near(parameters, vocab_size=8292 if not tie else 1124, context=4097, tie_embeddings=tie)
    assert 0.9 < shape.num_parameters / parameters < 1.1
    assert 1 / 3 < shape.hidden_size / (64 * shape.num_layers) < 3
    assert shape.head_dim == (32 if shape.hidden_size < 256 else 64 if shape.hidden_size < 1024 else 128)
    assert 8 / 3 <= shape.mlp_size / shape.hidden_size < 8 / 3 + 32 / shape.hidden_size
    assert (shape.context, shape.tie_embeddings) == (4097, tie)


def test_shapes_grow_with_the_parameters():
    sizes = [shape_near(2**power, vocab_size=1124, context=1025).num_parameters for power in range(19, 34)]
    assert sizes == sorted(set(sizes))


def test_shape_near_rejects_too_few_parameters():
    with pytest.raises(ValueError, match="give at least 100,000"):
        shape_near(99_999, vocab_size=60, context=40)


def test_delvm_80m_counts_as_delvm_counts():
    """Without its code table of 8192 rows, with a projection of 64 channels in its place."""
    shape = SIZES["delvm_80m"]
    assert round((shape.num_parameters - 8192 * 512 + 64 * 512) / 1e6, 1) == 79.3


def test_flops_per_token_matches_torch_counter():
    """The counter knows no causal attention: it counts all T x T, and the backward of attention in its own way."""
    shape = DecoderConfig(vocab_size=60, hidden_size=32, num_layers=3, num_heads=2, mlp_size=48, context=40)
    decoder, codes = Decoder(shape), torch.zeros(1, 40, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        decoder(codes).sum().backward()
    products = sum(count for op, count in counter.get_flop_counts()["Global"].items() if "attention" not in str(op))
    assert products / 40 == flops_per_token(shape, length=0)
    forward = 2 * 2 * 40 * 40 * 32 / 2  # two products of [T, E] and [E, T] in each head, half of them masked
    attention = flops_per_token(shape, length=40) - flops_per_token(shape, length=0)
    assert attention == pytest.approx(3 * shape.num_layers * forward / 40)
