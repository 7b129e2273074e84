"""Weights laid out for drawing one code at a time, where reading them is nearly all the work.

A row times a matrix of many outputs goes through memory in order if the matrix lies [in, out]; one that lies [out, in],
as a Linear keeps it, is read at half that rate on a CPU (benchmarks/records). Queries, keys and values are one product,
and so are the gate and what it gates. Nothing is stored twice: the parameters become views of what is laid out.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from openlvm.core.picking import pick
from openlvm.model.decoder import MLP, Attention, Decoder
from openlvm.model.int8 import Int8Linear, to_int8

DTYPES: dict[str, Callable[[Decoder], Decoder]] = {
    "float32": lambda decoder: decoder.float(),
    "bfloat16": lambda decoder: decoder.to(torch.bfloat16),
    "int8": to_int8,
}
"""What weights can be rounded to: float32 as stored, half of its memory, or a quarter for the products."""


def with_dtype(decoder: Decoder, dtype: str) -> Decoder:
    """A decoder's weights rounded to `dtype`, a name in `DTYPES`, in place; int8 cannot be undone."""
    return pick(DTYPES, dtype, "dtype")(decoder)


class Packed:
    """Several Linears of one input as one product: float [..., in] -> float [..., sum of outs].

    Not a module: parameters and buffers stay those of the Linears, whose contents are views of this one's.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None):
        self.weight = weight  # [sum of outs, in], lying as [in, sum of outs]
        self.bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """float [..., in] -> float [..., sum of outs]."""
        return F.linear(x, self.weight, self.bias)


@torch.no_grad()
def pack(decoder: Decoder) -> Decoder:
    """Lay a decoder's weights out for drawing, in place, unless they are; what it computes changes by rounding only.

    Only calls without gradients use it, and moving the decoder to another device or dtype undoes it.
    """
    if any(isinstance(part, Attention) and part.packed is not None for part in decoder.modules()):
        return decoder
    for part in decoder.modules():
        if isinstance(part, Attention):
            part.packed = _together([part.q_proj, part.k_proj, part.v_proj])
        elif isinstance(part, MLP):
            part.packed = _together([part.gate_proj, part.up_proj])
    table = getattr(decoder, "lm_head", decoder.model.embed_tokens)
    if isinstance(table, nn.Linear | nn.Embedding):
        table.weight.data = table.weight.data.t().contiguous().t()
    return decoder


def _together(linears: Sequence[nn.Module]) -> "Packed | Int8Linear":
    """One product in place of several, and the several as views of it."""
    if isinstance(linears[0], Int8Linear):
        return Int8Linear.joined(cast(Sequence[Int8Linear], linears))
    several = cast(Sequence[nn.Linear], linears)
    wide = torch.cat([linear.weight.data for linear in several]).t().contiguous().t()  # [outs, in], lying [in, outs]
    bias = None
    if several[0].bias is not None:
        bias = torch.cat([linear.bias.data for linear in several])
        for linear, part in zip(several, bias.split([linear.out_features for linear in several]), strict=True):
            linear.bias.data = part
    for linear, rows in zip(several, wide.split([linear.out_features for linear in several]), strict=True):
        linear.weight.data = rows
    return Packed(wide, bias)
