"""The autoregressive transformer: codes in, logits of the next code out.

A Llama (arXiv 2302.13971) with the parameter names and the half-split rotary layout of Hugging Face's LlamaForCausalLM,
so that its state dict is that model's. Knows nothing of images: a sentence is a row of codes.
Letters beside the project's own: A heads, E head dim.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from openlvm.core.seeds import seed_of
from openlvm.model.cache import KVCache, Level, attend_to_past
from openlvm.model.products import Linear, product

INIT_STD = 0.02  # LLaMA's and LVM's initializer_range


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The shape of a decoder, stated whole."""

    vocab_size: int
    """Codes and special ids, V."""
    hidden_size: int
    """Width, D."""
    num_layers: int
    """Blocks."""
    num_heads: int
    """Attention heads; each has its own keys and values."""
    mlp_size: int
    """Width inside a block's SwiGLU."""
    context: int
    """Largest number of positions, BOS included."""
    rope_theta: float = 10_000.0
    """Base of the rotary wavelengths."""
    rope_scales: tuple[float, ...] = ()
    """Positions in which each of the E / 2 pairs of channels turns by one radian; empty means theta^(2i / E)."""
    rms_eps: float = 1e-6
    """Added to the mean square in the norms."""
    attention_bias: bool = False
    """Biases on q, k, v and o (DeLVM)."""
    tie_embeddings: bool = False
    """One table for the codes coming in and for the logits going out."""

    def __post_init__(self):
        if self.hidden_size % self.num_heads or self.head_dim % 2:
            raise ValueError(
                f"hidden_size={self.hidden_size} over num_heads={self.num_heads} must give an even whole number"
            )
        if self.rope_scales and (len(self.rope_scales) != self.head_dim // 2 or min(self.rope_scales) <= 0):
            raise ValueError(
                f"rope_scales must be {self.head_dim // 2} numbers above 0 for heads of {self.head_dim} channels, "
                f"given {self.rope_scales}"
            )
        if self.rope_scales and self.rope_theta != 10_000.0:
            raise ValueError(f"rope_scales take the place of rope_theta={self.rope_theta}; give one of them")

    @property
    def head_dim(self) -> int:
        """E."""
        return self.hidden_size // self.num_heads

    def rope_frequencies(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """Radians by which each pair of channels turns from one position to the next, float32 [E / 2]."""
        if self.rope_scales:
            return 1.0 / torch.tensor(self.rope_scales, dtype=torch.float32, device=device)
        half = torch.arange(0, self.head_dim, 2, device=device).float() / self.head_dim
        return 1.0 / self.rope_theta**half

    @property
    def num_parameters(self) -> int:
        """Numbers that are learned."""
        d, f, layers = self.hidden_size, self.mlp_size, self.num_layers
        tables = (1 if self.tie_embeddings else 2) * self.vocab_size * d
        biases = 4 * d if self.attention_bias else 0
        return tables + layers * (4 * d * d + 3 * d * f + 2 * d + biases) + d


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, in float32 (arXiv 1910.07467)."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float [..., D] -> float [..., D]."""
        if x.is_cuda or torch.is_grad_enabled():  # one kernel there; on a CPU it keeps less for the backward than ours
            return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps) * self.weight.float()).to(x.dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary position, half-split: coordinate i of x [..., E] turns together with i + E/2.

    The tables broadcast with x and are those of `Trunk.build_rope`: every angle twice, first with its sine negative.
    """
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin).to(x.dtype)


class Attention(nn.Module):
    """Causal attention of every position to itself and the ones before it."""

    def __init__(self, config: DecoderConfig, layer: int):
        super().__init__()
        size = config.hidden_size
        self.q_proj = Linear(size, size, bias=config.attention_bias)
        self.k_proj = Linear(size, size, bias=config.attention_bias)
        self.v_proj = Linear(size, size, bias=config.attention_bias)
        self.o_proj = Linear(size, size, bias=config.attention_bias)
        self.head_dim = config.head_dim
        self.layer = layer
        self.packed: Callable[[torch.Tensor], torch.Tensor] | None = None
        """q, k and v as one product, for inference (model/packed.py)."""

    def forward(
        self,
        x: torch.Tensor,
        rope: tuple[torch.Tensor, torch.Tensor],
        cache: KVCache | None,
        mask: Any,
        num_last: int | None = None,
    ) -> torch.Tensor:
        """float [B, T, D] -> float [B, T, D], or [B, num_last, D]: of the last positions only, which look at all."""
        rows, _, size = x.shape
        num_heads = size // self.head_dim
        shape = (rows, -1, num_heads, self.head_dim)
        if self.packed is not None and not torch.is_grad_enabled() and num_last is None:
            wide = self.packed(x).view(rows, -1, 3 * num_heads, self.head_dim)
            turned, value = wide.split([2 * num_heads, num_heads], dim=2)
            query, key = rotate(turned, *rope).split(num_heads, dim=2)  # [B, T, A, E]
        else:
            last = slice(None) if num_last is None else slice(-num_last, None)
            query = rotate(self.q_proj(x[:, last]).view(shape), *(table[..., last, :, :] for table in rope))
            key = rotate(self.k_proj(x).view(shape), *rope)  # [B, T, A, E]
            value = self.v_proj(x).view(shape)  # [B, T, A, E]
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)  # [B, A, T, E]
        if cache is not None:
            kept = cache.keys[0].dtype
            mixed = cache.attend(self.layer, query.to(kept), key, value).to(x.dtype)
        elif num_last is not None:
            mixed = attend_to_past(query, key, value)
        else:
            mixed = attend(query, key, value, mask)
        return self.o_proj(mixed.transpose(1, 2).reshape(rows, -1, size))  # [B, T, D]


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any) -> torch.Tensor:
    """Attention within rows, all [B, A, T, E]: causal, or as a bool mask or a FlexAttention BlockMask says."""
    if mask is None or isinstance(mask, torch.Tensor):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
    from torch.nn.attention.flex_attention import flex_attention  # 0.3 s to import; only CUDA training comes here

    return flex_attention(query, key, value, block_mask=mask)


class GatedLinear(torch.autograd.Function):
    """(silu(gate) * up) @ weight.T, which keeps its inputs for the backward and nothing between.

    Autograd would keep silu(gate) and the product, a third of what a block keeps; computing them anew costs two of a
    step's hundred passes.
    """

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """float [..., mlp_size] twice and float [D, mlp_size] -> float [..., D]."""
        ctx.save_for_backward(gate, up, weight)
        return F.linear(F.silu(gate) * up, weight)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradients of gate, up and weight; products in the dtype of the forward's, as autograd has them."""
        gate, up, weight = ctx.saved_tensors
        opened = F.silu(gate)
        inner = (opened * up).flatten(0, -2)  # [B * T, mlp_size]
        of_inner = grad @ weight.to(grad.dtype)  # [B, T, mlp_size]
        of_weight = (grad.flatten(0, -2).t() @ inner.to(grad.dtype)).to(weight.dtype)  # [D, mlp_size]
        of_inner = of_inner.to(gate.dtype)
        return torch.ops.aten.silu_backward(of_inner * up, gate), of_inner * opened, of_weight


class MLP(nn.Module):
    """SwiGLU (arXiv 2002.05202)."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.mlp_size, bias=False)
        self.up_proj = Linear(config.hidden_size, config.mlp_size, bias=False)
        self.down_proj = Linear(config.mlp_size, config.hidden_size, bias=False)
        self.packed: Callable[[torch.Tensor], torch.Tensor] | None = None
        """Gate and up as one product, for inference (model/packed.py)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float [B, T, D] -> float [B, T, D]."""
        if self.packed is None or torch.is_grad_enabled():
            return GatedLinear.apply(self.gate_proj(x), self.up_proj(x), self.down_proj.weight)
        gate, up = self.packed(x).chunk(2, dim=-1)  # [B, T, mlp_size]
        return self.down_proj(F.silu(gate).mul_(up))


def for_products(x: torch.Tensor) -> torch.Tensor:
    """In autocast's dtype, if that is on: once, where it would cast, and keep, a copy for every product of x."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


class Block(nn.Module):
    """Attention, then SwiGLU, each behind its norm and added to the stream."""

    def __init__(self, config: DecoderConfig, layer: int):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_eps)
        self.mlp = MLP(config)

    def forward(
        self,
        x: torch.Tensor,
        rope: tuple[torch.Tensor, torch.Tensor],
        cache: KVCache | None,
        mask: Any,
        num_last: int | None = None,
    ) -> torch.Tensor:
        """float [B, T, D] -> float [B, T, D], or [B, num_last, D]."""
        mixed = self.self_attn(for_products(self.input_layernorm(x)), rope, cache, mask, num_last)
        x = (x if num_last is None else x[:, -num_last:]) + mixed
        return x + self.mlp(for_products(self.post_attention_layernorm(x)))


class Trunk(nn.Module):
    """Everything below the logits; `model` in a state dict."""

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_eps)
        self.config = config
        if not self.embed_tokens.weight.is_meta:
            self.build_rope(self.embed_tokens.weight.device)

    def build_rope(self, device: torch.device | str) -> None:
        """Make the rotary tables, float32 [context, E] each, on `device`; needed after building on "meta"."""
        positions = torch.arange(self.config.context, device=device).float()
        angles = torch.outer(positions, self.config.rope_frequencies(device))
        self.register_buffer("cos", torch.cat([angles.cos(), angles.cos()], dim=1), persistent=False)
        self.register_buffer("sin", torch.cat([-angles.sin(), angles.sin()], dim=1), persistent=False)

    def rope(
        self, positions: torch.Tensor | None, start: int | torch.Tensor, num_new: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of the rotary tables: [T, 1, E], or [B, T, 1, E] for positions given per row.

        Args:
            positions: int64 [T] or [B, T]; by default counted on from `start`, a number or int64 [B, 1].
        """
        context = self.config.context
        rows: torch.Tensor | slice
        if positions is not None:
            rows = positions
        elif isinstance(start, torch.Tensor):
            rows = start + torch.arange(num_new, device=start.device)  # [B, T]
        elif start + num_new > context:
            raise ValueError(f"{start + num_new} positions are more than the decoder's context of {context}")
        else:
            rows = slice(start, start + num_new)
        return self.cos[rows].unsqueeze(-2), self.sin[rows].unsqueeze(-2)


class Decoder(nn.Module):
    """Codes int64 [B, T] -> logits of the next code, float32 [B, T, V].

    Args:
        config: the shape.
        seed: of the initial weights: N(0, 0.02), those that write into the stream divided by sqrt(2 * layers).
    """

    def __init__(self, config: DecoderConfig, *, seed: int = 0):
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        if not config.tie_embeddings:
            self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        if not self.model.embed_tokens.weight.is_meta:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Draw all weights anew, on the CPU, so that a seed means the same weights on every device."""
        generator = torch.Generator().manual_seed(seed_of("decoder weights", seed))
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif weight.ndim == 1:  # a norm
                weight.fill_(1.0)
            else:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = INIT_STD / math.sqrt(2 * self.config.num_layers) if writes else INIT_STD
                weight.copy_(torch.randn(weight.shape, generator=generator) * std)

    def _apply(self, *args: Any, **how: Any) -> "Decoder":
        """To another device or dtype: what was packed is no longer what the weights are."""
        for part in self.modules():
            if isinstance(part, Attention | MLP):
                part.packed = None
        return super()._apply(*args, **how)

    def hidden(
        self,
        codes: torch.Tensor,
        *,
        cache: KVCache | None = None,
        mask: Any = None,
        positions: torch.Tensor | None = None,
        num_last: int | None = None,
    ) -> torch.Tensor:
        """What stands before the head.

        Args:
            codes: int64 [B, T].
            cache: past positions; the T new ones are added to it.
            mask: who sees whom, for packed rows; by default everyone sees itself and all before. Bool, broadcastable to
                [B, A, T, T], true where seen (on any device), or a FlexAttention BlockMask (CUDA, compiled).
            positions: int64 [T] or [B, T], 0 .. context - 1; by default counted on from the cache.
            num_last: of how many positions, 1 .. T, the states are wanted; the last block computes no others.

        Returns:
            float [B, T, D], or [B, num_last, D]; normed.
        """
        if mask is not None and (cache is not None or num_last is not None):
            raise ValueError("a cache and num_last are causal; give neither with a mask")
        if num_last is not None and not 1 <= num_last <= codes.shape[1]:
            raise ValueError(f"num_last={num_last} must lie in 1 .. {codes.shape[1]}, the number of codes")
        rope = self.model.rope(positions, cache.position if cache else 0, codes.shape[1])
        x = self.model.embed_tokens(codes)  # [B, T, D]
        *before, last = self.model.layers
        for block in before:
            x = block(x, rope, cache, mask)  # [B, T, D]
        x = last(x, rope, cache, mask, num_last)  # [B, T or num_last, D]
        if cache is not None:
            cache.advance(codes.shape[1])
        return self.model.norm(x)

    def head(self, hidden: torch.Tensor, *, num_codes: int | None = None) -> torch.Tensor:
        """Logits float32 [..., V] of `hidden` [..., D]; with num_codes=K only those of codes 0 .. K - 1, [..., K]."""
        table = getattr(self, "lm_head", self.model.embed_tokens)
        if not isinstance(table, nn.Linear | nn.Embedding):  # rounded to int8 (model/packed.py)
            return table.first(hidden, num_codes or self.config.vocab_size).float()
        weight = table.weight
        return product(hidden, weight if num_codes is None else weight[:num_codes]).float()

    def forward(
        self,
        codes: torch.Tensor,
        *,
        cache: KVCache | None = None,
        mask: Any = None,
        positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """int64 [B, T] -> float32 [B, T, V]; arguments as in `hidden`."""
        return self.head(self.hidden(codes, cache=cache, mask=mask, positions=positions))

    def new_cache(self, *, rows: int, room: int, past: Sequence[Level] = ()) -> KVCache:
        """An empty cache for `rows` rows of up to `room` positions, on the decoder's device and of its dtype.

        On a CPU it is float32 whatever the decoder is: attention of one query is 3 times slower in bfloat16 there.

        Args:
            past: pieces of other caches that the rows continue.
        """
        weight = self.model.embed_tokens.weight
        dtype = torch.float32 if weight.device.type == "cpu" else weight.dtype
        shape = (rows, self.config.num_heads, room, self.config.head_dim)
        keys, values = ([weight.new_empty(shape, dtype=dtype) for _ in self.model.layers] for _ in range(2))
        return KVCache(keys, values, past=past)
