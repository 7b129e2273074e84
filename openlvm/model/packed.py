"""Weights made ready for drawing: rounded if asked for, and those of one input as one product.

Queries, keys and values are one product, and so are the gate and what it gates, since at a row a time calls cost as
much as arithmetic. Nothing is stored twice: the parameters become views of the joined weights.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn

from openlvm.core.picking import pick
from openlvm.model.decoder import MLP, Attention, Decoder
from openlvm.model.products import Int8Linear, Packed


@torch.no_grad()
def to_int8(decoder: Decoder) -> Decoder:
    """Round the weights of all products to int8, in place, and everything else to bfloat16; only for inference."""
    decoder.to(torch.bfloat16)
    for part in decoder.modules():
        if isinstance(part, Attention | MLP):
            for name, linear in list(part.named_children()):
                if isinstance(linear, nn.Linear):
                    setattr(part, name, Int8Linear(linear.weight.data, linear.bias))
    table = getattr(decoder, "lm_head", decoder.model.embed_tokens)
    decoder.add_module("lm_head", Int8Linear(table.weight.data))
    return decoder


DTYPES: dict[str, Callable[[Decoder], Decoder]] = {
    "float32": lambda decoder: decoder.float(),
    "bfloat16": lambda decoder: decoder.to(torch.bfloat16),
    "int8": to_int8,
}
"""What weights can be rounded to: float32 as stored, half of its memory, or a quarter for the products."""


def with_dtype(decoder: Decoder, dtype: str) -> Decoder:
    """A decoder's weights rounded to `dtype`, a name in `DTYPES`, in place; int8 cannot be undone."""
    return pick(DTYPES, dtype, "dtype")(decoder)


@torch.no_grad()
def pack(decoder: Decoder) -> Decoder:
    """Join a decoder's weights for drawing, in place, unless they are; what it computes changes by rounding only.

    Only calls without gradients use it, and moving the decoder to another device or dtype undoes it.
    """
    if any(isinstance(part, Attention) and part.packed is not None for part in decoder.modules()):
        return decoder
    for part in decoder.modules():
        if isinstance(part, Attention):
            part.packed = _together([part.q_proj, part.k_proj, part.v_proj])
        elif isinstance(part, MLP):
            part.packed = _together([part.gate_proj, part.up_proj])
    return decoder


def _together(linears: Sequence[nn.Module]) -> Packed | Int8Linear:
    """One product in place of several, and the several as views of it."""
    if isinstance(linears[0], Int8Linear):
        return Int8Linear.joined(cast(Sequence[Int8Linear], linears))
    several = cast(Sequence[nn.Linear], linears)
    wide = torch.cat([linear.weight.data for linear in several])  # [sum of outs, in]
    bias = None
    if several[0].bias is not None:
        bias = torch.cat([linear.bias.data for linear in several])
        for linear, part in zip(several, bias.split([linear.out_features for linear in several]), strict=True):
            linear.bias.data = part
    for linear, rows in zip(several, wide.split([linear.out_features for linear in several]), strict=True):
        linear.weight.data = rows
    return Packed(wide, bias)
