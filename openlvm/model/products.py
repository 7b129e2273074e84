"""Products of rows with weights, which are nearly all of the work of drawing: float weights, and weights of eight bits.

A weight of eight bits is a whole number -127 .. 127, with one scale an output: a quarter of float32's memory.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

FEW_ROWS = 8
"""Up to which a product is turned around on any CPU."""
TURN_FROM, TURN_TO = 16, 256
"""Between which two threads gain by it, and one does not."""
FEW_INT8_ROWS = 16
"""Up to which int8 weights are multiplied as they lie: that takes 0.2 of a bfloat16 copy's time for one row, 0.5 for
four (one thread)."""


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x [..., in] times a weight [out, in], plus a bias [out]: [..., out]; F.linear, on a CPU faster for few rows."""
    if torch.is_grad_enabled() or not x.is_cpu or x.dtype != torch.float32:
        return F.linear(x, weight, bias)
    *shape, size = x.shape
    num_rows = math.prod(shape)
    if 1 <= num_rows <= FEW_ROWS or (TURN_FROM <= num_rows <= TURN_TO and torch.get_num_threads() > 1):
        return turned_product(x.reshape(num_rows, size), weight, bias).reshape(*shape, -1)
    return F.linear(x, weight, bias)


def turned_product(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The same of rows [M, in], as weight @ rows.T, so that the weights are read at the memory's speed: [M, out].

    F.linear reads them at a third of it. One row is worth doubling for that. All weights of a decoder of 100M
    parameters, two threads, F.linear against this: 1 row 30 ms, 13 ms; 4 rows 41, 16; 8 rows 37, 29; 32 rows 100, 58
    (float32, Zen 4, MKL 2024.2; docs/log.md).
    """
    if len(rows) == 1:
        y = torch.mm(weight, torch.cat([rows, rows]).t()).select(1, 0).unsqueeze(0)  # [1, out]
        return y if bias is None else y + bias
    y = torch.mm(weight, rows.t()) if bias is None else torch.addmm(bias[:, None], weight, rows.t())  # [out, M]
    return y.t()


class Linear(nn.Linear):
    """A linear layer whose forward is `product`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """float [..., in] -> float [..., out]."""
        return product(input, self.weight, self.bias)


class Packed:
    """Several Linears of one input as one product: float [..., in] -> float [..., sum of outs].

    Not a module: parameters and buffers stay those of the Linears, whose contents are views of this one's.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None):
        self.weight = weight  # [sum of outs, in]
        self.bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """float [..., in] -> float [..., sum of outs]."""
        return product(x, self.weight, self.bias)


class Int8Linear(nn.Module):
    """A Linear with weights int8 [out, in] and scales [out]: y = x @ (weight * scale) + bias.

    Args:
        weight: float [out, in], which is rounded here: each output's largest absolute weight becomes 127.
        bias: float [out], or none.
    """

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None):
        super().__init__()
        # The scale is rounded before the weights are divided by it, so that its own rounding costs nothing.
        scale = (weight.float().abs().amax(dim=1) / 127).clamp(min=1e-12).bfloat16()  # [out]
        whole = (weight.float() / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
        self.register_buffer("weight", whole)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.bfloat16())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """bfloat16 [..., in] -> bfloat16 [..., out]."""
        return self.first(x, len(self.weight))

    def first(self, x: torch.Tensor, num_outputs: int) -> torch.Tensor:
        """The first `num_outputs` outputs only."""
        weight, scale = self.weight[:num_outputs], self.scale[:num_outputs]
        rows = x.reshape(-1, x.shape[-1])
        if len(rows) <= FEW_INT8_ROWS and kernel_works(x.device):
            y = torch._weight_int8pack_mm(rows, weight, scale)
        else:
            y = F.linear(rows, weight.to(x.dtype)) * scale
        y = y if self.bias is None else y + self.bias[:num_outputs]
        return y.view(*x.shape[:-1], num_outputs)

    @classmethod
    def joined(cls, several: Sequence["Int8Linear"]) -> "Int8Linear":
        """Several of one input as one, of which they become views."""
        one = cls.__new__(cls)
        nn.Module.__init__(one)
        for name in ("weight", "scale", "bias"):
            parts = [getattr(each, name) for each in several]
            whole = None if parts[0] is None else torch.cat(parts)
            one.register_buffer(name, whole)
            if whole is not None:
                for each, part in zip(several, whole.split([len(part) for part in parts]), strict=True):
                    setattr(each, name, part)
        return one


_works: dict[str, bool] = {}


def kernel_works(device: torch.device) -> bool:
    """Whether this torch multiplies by int8 weights as they lie on this kind of device."""
    if device.type not in _works:
        try:
            ones = torch.ones(1, 32, dtype=torch.bfloat16, device=device)
            weight = torch.ones(32, 32, dtype=torch.int8, device=device)
            y = torch._weight_int8pack_mm(ones, weight, ones[0])
            _works[device.type] = bool((y == 32).all())
        except (AttributeError, NotImplementedError, RuntimeError):  # a torch or a device without it: the copy is used
            _works[device.type] = False
    return _works[device.type]
