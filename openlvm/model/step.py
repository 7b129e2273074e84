"""One new position of every row, drawing's inner loop: in few calls on a CPU, as one CUDA graph on a GPU.

A step of 15M parameters is some thirty products and several hundred small calls, and the calls were a quarter of its
time on a CPU. `next_hidden` is `Decoder.hidden` for one position of packed float32 weights, without dimensions of one,
without modules around products, and with what they all would check checked once: a fifth less time outside of products
and attention (docs/log.md). On a GPU nearly all of a step is launching kernels; a graph launches them at once.
"""

import warnings
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F

from openlvm.model.cache import KVCache
from openlvm.model.decoder import Block, Decoder, rotate
from openlvm.model.products import FEW_ROWS, Packed, turned_product

WORTH_CAPTURING = 16
"""Steps from which a CUDA graph is captured, which itself runs three."""

Step = Callable[[torch.Tensor], torch.Tensor]
"""Codes int64 [B], one more a row -> logits float32 [B, K] of the ones after; the next call may overwrite them."""


def step_of(decoder: Decoder, cache: KVCache, *, num_codes: int, num_steps: int) -> Step:
    """The quickest way to go on from a cache by `num_steps` codes a row."""
    if cache.keys[0].is_cuda and num_steps >= WORTH_CAPTURING:
        try:
            return CapturedStep(decoder, cache, num_codes)
        except RuntimeError as error:
            cache.place = None
            warnings.warn(f"drawing without a CUDA graph, several times slower: {error}", stacklevel=2)
    return lambda codes: decoder.head(next_hidden(decoder, codes, cache), num_codes=num_codes)


def next_hidden(decoder: Decoder, codes: torch.Tensor, cache: KVCache) -> torch.Tensor:
    """What stands before the head after one more code a row; the cache grows by it.

    Args:
        codes: int64 [B], one a row.

    Returns:
        float [B, D], normed.
    """
    trunk, num_rows = decoder.model, len(codes)
    weights = cast(Block, trunk.layers[0]).self_attn.packed
    quick = isinstance(weights, Packed) and weights.weight.is_cpu and weights.weight.dtype == torch.float32
    if not quick or num_rows > FEW_ROWS or torch.is_grad_enabled():
        return decoder.hidden(codes[:, None], cache=cache)[:, 0]
    num_heads, head_dim = decoder.config.num_heads, decoder.config.head_dim
    cos, sin = trunk.rope(None, cache.position, 1)  # [1, 1, E] or [B, 1, 1, E]
    x = trunk.embed_tokens(codes)  # [B, D]
    for layer, block in enumerate(cast(list[Block], trunk.layers)):
        attention, mlp = block.self_attn, block.mlp
        wide, gated = cast(Packed, attention.packed), cast(Packed, mlp.packed)
        heads = turned_product(block.input_layernorm(x), wide.weight, wide.bias).view(num_rows, -1, 1, head_dim)
        turned, value = heads.split([2 * num_heads, num_heads], dim=1)
        query, key = rotate(turned, cos, sin).split(num_heads, dim=1)  # [B, A, 1, E]
        mixed = cache.attend(layer, query, key, value).view(num_rows, -1)  # [B, D]
        x = x + turned_product(mixed, attention.o_proj.weight, attention.o_proj.bias)
        gate, up = turned_product(block.post_attention_layernorm(x), gated.weight, gated.bias).chunk(2, dim=1)
        x = x + turned_product(F.silu(gate).mul_(up), mlp.down_proj.weight, None)
    cache.advance(1)
    return trunk.norm(x)


class CapturedStep:
    """A step as a CUDA graph: its kernels recorded once and launched together from then on.

    Raises:
        RuntimeError: what the decoder does cannot be recorded.
    """

    def __init__(self, decoder: Decoder, cache: KVCache, num_codes: int):
        self.decoder, self.cache, self.num_codes = decoder, cache, num_codes
        self.codes = torch.zeros(cache.rows, dtype=torch.int64, device=cache.keys[0].device)
        cache.keep_place()
        beside = torch.cuda.Stream(self.codes.device)
        beside.wait_stream(torch.cuda.current_stream(self.codes.device))
        with torch.cuda.stream(beside):  # libraries choose their kernels and memory before the recording
            self._run()
            self._run()
        torch.cuda.current_stream(self.codes.device).wait_stream(beside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.logits = self._run()

    def _run(self) -> torch.Tensor:
        """Logits [B, K]; the cache is left as it was, but for what lies behind its filled positions."""
        filled = self.cache.filled
        hidden = self.decoder.hidden(self.codes[:, None], cache=self.cache)[:, 0]
        self.cache.rewind(filled)
        return self.decoder.head(hidden, num_codes=self.num_codes)

    def __call__(self, codes: torch.Tensor) -> torch.Tensor:
        """As `Step`."""
        cache = self.cache
        if cache.place is None or cache.filled == cache.room:
            raise ValueError(f"the cache is freed, or full with {cache.room} positions; draw no further")
        self.codes.copy_(codes)
        cache.place.fill_(cache.filled)
        self.graph.replay()
        cache.advance(1)
        return self.logits
