"""Decoders by name: every line states a whole shape; shapes for any number of parameters; what a token costs.

LVM's are Table 2 of arXiv 2312.00785 and its code; their context here has one position more than the published 4096,
for BOS before 16 images of 256 codes. DeLVM's are its configs (arXiv 2402.04841), but for delvm_80m, which is not
published: 22 layers as its siblings, of the width at which DeLVM's way of counting (no code table) gives 79 M. Ours are
demo and mini (16 images of 64 codes out of 1024), mini_128 (of 256 out of 4096) and nano.
"""

import math
from bisect import bisect_left
from dataclasses import replace
from functools import partial

from openlvm.model.decoder import DecoderConfig
from openlvm.model.grid import grid_scales

_lvm = partial(DecoderConfig, vocab_size=8292, context=16 * 256 + 1, rms_eps=1e-6)
_delvm = partial(DecoderConfig, vocab_size=8192, context=8 * 256, rms_eps=1e-5, attention_bias=True)
_demo = partial(DecoderConfig, vocab_size=1124, context=16 * 64 + 1, tie_embeddings=True)

SIZES: dict[str, DecoderConfig] = {
    "demo": _demo(hidden_size=192, mlp_size=512, num_layers=5, num_heads=3, rope_theta=100.0, attention_bias=True),
    "mini": _demo(
        hidden_size=192, mlp_size=512, num_layers=6, num_heads=3, rope_scales=grid_scales(64, 64), attention_bias=True
    ),
    "mini_128": _lvm(
        vocab_size=4196,
        hidden_size=320,
        mlp_size=864,
        num_layers=6,
        num_heads=5,
        rope_scales=grid_scales(256, 64),
        attention_bias=True,
        tie_embeddings=True,
    ),
    "debug": _lvm(hidden_size=128, mlp_size=256, num_layers=2, num_heads=4),
    "nano": _lvm(hidden_size=320, mlp_size=864, num_layers=8, num_heads=5),
    "100m": _lvm(hidden_size=640, mlp_size=1664, num_layers=22, num_heads=10),
    "300m": _lvm(hidden_size=1024, mlp_size=2688, num_layers=22, num_heads=8),
    "600m": _lvm(hidden_size=1536, mlp_size=4096, num_layers=22, num_heads=16),
    "1b": _lvm(hidden_size=2048, mlp_size=5504, num_layers=22, num_heads=16),
    "3b": _lvm(hidden_size=3200, mlp_size=8640, num_layers=26, num_heads=32),
    "7b": _lvm(hidden_size=4096, mlp_size=11008, num_layers=32, num_heads=32),
    "13b": _lvm(hidden_size=5120, mlp_size=13824, num_layers=40, num_heads=40),
    "20b": _lvm(hidden_size=6144, mlp_size=16128, num_layers=46, num_heads=48),
    "30b": _lvm(hidden_size=6656, mlp_size=17920, num_layers=60, num_heads=52),
    "delvm_80m": _delvm(hidden_size=512, mlp_size=1536, num_layers=22, num_heads=4),
    "delvm_300m": _delvm(hidden_size=1024, mlp_size=2816, num_layers=22, num_heads=8),
    "delvm_1b": _delvm(hidden_size=2048, mlp_size=5632, num_layers=22, num_heads=16),
}
"""Name -> shape; look one up with `core.picking.pick(SIZES, name, "decoder size")`."""

WIDTH_PER_LAYER = 64
"""Width over depth of `shape_near`: nanochat's; by arXiv 2001.08361, figure 5, it hardly matters from 30 to 300."""

_WIDTHS = (*range(32, 256, 32), *range(256, 1024, 64), *range(1024, 16_385, 128))  # of whole heads


def shape_near(parameters: float, *, vocab_size: int, context: int, tie_embeddings: bool = False) -> DecoderConfig:
    """The Llama nearest to a number of parameters, of any scale.

    Heads have 32 channels below a width of 256, 64 below 1024, then 128 (LVM's from 300M on); the SwiGLU is 8/3 of the
    width, rounded up to a multiple of 32. Of all depths, each with the width of whole heads that comes nearest in
    parameters, the best is taken: a tenth of parameters too many counts as much as a width 2.7 times as large or small
    as `WIDTH_PER_LAYER` layers ask for.

    Args:
        parameters: numbers that are learned, tables included; at least 100 000.
        vocab_size, context, tie_embeddings: of the decoder.
    """
    if parameters < 100_000:
        raise ValueError(f"a decoder of {parameters:,.0f} parameters was asked for; give at least 100,000")
    plain = DecoderConfig(
        vocab_size=vocab_size, context=context, tie_embeddings=tie_embeddings,
        hidden_size=32, mlp_size=96, num_layers=1, num_heads=1,
    )  # fmt: skip
    shapes = [shape for layers in range(2, 97) for shape in _nearest_widths(plain, layers, parameters)]

    def distance(shape: DecoderConfig) -> float:
        aspect = shape.hidden_size / (WIDTH_PER_LAYER * shape.num_layers)
        return abs(math.log(shape.num_parameters / parameters)) + 0.1 * abs(math.log(aspect))

    return min(shapes, key=distance)


def _nearest_widths(plain: DecoderConfig, layers: int, parameters: float) -> list[DecoderConfig]:
    """The widest shape of so many layers with fewer parameters, and the narrowest with as many or more."""
    place = bisect_left(_WIDTHS, parameters, key=lambda width: _with_width(plain, width, layers).num_parameters)
    return [_with_width(plain, width, layers) for width in _WIDTHS[max(0, place - 1) : place + 1]]


def _with_width(plain: DecoderConfig, width: int, layers: int) -> DecoderConfig:
    head_dim = 32 if width < 256 else 64 if width < 1024 else 128
    mlp_size = -(-8 * width // (3 * 32)) * 32
    return replace(plain, hidden_size=width, mlp_size=mlp_size, num_layers=layers, num_heads=width // head_dim)


def flops_per_token(shape: DecoderConfig, length: float) -> float:
    """Floating-point operations of training (forward and backward) per token of sentences of `length` tokens.

    6 N + 6 V D + 6 L D T: N the weights of the blocks' matrices, the head once, causal attention counted once.
    """
    width, layers = shape.hidden_size, shape.num_layers
    blocks = layers * (4 * width**2 + 3 * width * shape.mlp_size)
    return 6.0 * (blocks + shape.vocab_size * width + layers * width * length)
