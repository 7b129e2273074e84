"""Decoders by name: every line states a whole shape.

LVM's are Table 2 of arXiv 2312.00785 and its code; their context here has one position more than the published 4096,
for BOS before 16 images of 256 codes. DeLVM's are its configs (arXiv 2402.04841). Ours are demo and mini (16 images of
64 codes out of 1024), mini_128 (of 256 out of 4096) and nano.
"""

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
    "delvm_300m": _delvm(hidden_size=1024, mlp_size=2816, num_layers=22, num_heads=8),
    "delvm_1b": _delvm(hidden_size=2048, mlp_size=5632, num_layers=22, num_heads=16),
}
"""Name -> shape; look one up with `core.picking.pick(SIZES, name, "decoder size")`."""
