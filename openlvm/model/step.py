"""One new position of a few rows on a CPU, in as few calls as it takes.

A step of 15M parameters is a hundred products and several hundred small calls; the calls were a quarter of its time.
This is `Decoder.hidden` for one position of packed float32 weights, without dimensions of one, without modules around
products, and with what they all would check checked once (a fifth less time outside of products and attention;
docs/log.md).
"""

import torch
import torch.nn.functional as F

from openlvm.model.cache import KVCache
from openlvm.model.decoder import Decoder, rotate
from openlvm.model.products import FEW_ROWS, Packed, turned_product


def next_hidden(decoder: Decoder, codes: torch.Tensor, cache: KVCache) -> torch.Tensor:
    """What stands before the head after one more code a row; the cache grows by it.

    Args:
        codes: int64 [B], one a row.

    Returns:
        float [B, D], normed.
    """
    trunk = decoder.model
    weights = trunk.layers[0].self_attn.packed
    quick = isinstance(weights, Packed) and weights.weight.is_cpu and weights.weight.dtype == torch.float32
    if not quick or len(codes) > FEW_ROWS or torch.is_grad_enabled():
        return decoder.hidden(codes[:, None], cache=cache)[:, 0]
    num_rows, num_heads, head_dim = len(codes), decoder.config.num_heads, decoder.config.head_dim
    cos, sin = trunk.rope(None, cache.position, 1)  # [1, 1, E] or [B, 1, 1, E]
    x = trunk.embed_tokens(codes)  # [B, D]
    for layer, block in enumerate(trunk.layers):
        attention, mlp = block.self_attn, block.mlp
        wide = attention.packed
        heads = turned_product(block.input_layernorm(x), wide.weight, wide.bias).view(num_rows, -1, 1, head_dim)
        turned, value = heads.split([2 * num_heads, num_heads], dim=1)
        query, key = rotate(turned, cos, sin).split(num_heads, dim=1)  # [B, A, 1, E]
        mixed = cache.attend(layer, query, key, value).view(num_rows, -1)  # [B, D]
        x = x + turned_product(mixed, attention.o_proj.weight, attention.o_proj.bias)
        gate, up = turned_product(block.post_attention_layernorm(x), mlp.packed.weight, None).chunk(2, dim=1)
        x = x + turned_product(F.silu(gate).mul_(up), mlp.down_proj.weight, None)
    cache.advance(1)
    return trunk.norm(x)
