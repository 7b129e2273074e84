"""Weights of eight bits: a whole number -127 .. 127 each, and one scale an output. A quarter of float32's memory.

Activations stay bfloat16. On a CPU a few rows at a time go through torch's kernel for such weights, which reads them as
they lie; many rows, and devices without the kernel, go through a bfloat16 copy of the one matrix at hand.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from openlvm.model.decoder import MLP, Attention, Decoder

FEW_ROWS = 16
"""Up to which the kernel is used: it takes 0.2 of the copy's time for one row, 0.5 for four (one thread)."""


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
        if len(rows) <= FEW_ROWS and kernel_works(x.device):
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
