"""Averaged weights: a copy of the trained module that follows it slowly and paints better than any single step.

Polyak & Juditsky 1992 as an exponential average, which GANs need most (Yazici et al., arXiv 1806.04498). A checkpoint
holds it like any other module.
"""

import copy

import torch
from torch import nn

WARM_UP = 10  # (1 + n) / (10 + n): the averages of TensorFlow's ExponentialMovingAverage with num_updates


class WeightAverage(nn.Module):
    """`averaged` is a module like the one given, whose trained weights are exponential averages.

    Averaged: floating parameters that require a gradient at the time of the update. Everything else is copied as it is:
    frozen parameters, a codebook that follows the latents by itself (its rows jump when dead codes are revived, and the
    mean of two places is no code), buffers of any dtype. Make it after the module has its first weights.

    Args:
        module: what is trained; copied, not kept.
        decay: of the average in the long run. In update n (from 0) it is at most (1 + n) / (10 + n), so that the random
            start is forgotten.
    """

    def __init__(self, module: nn.Module, decay: float = 0.999):
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay} of the averaged weights must lie in 0..1, below 1, as in 0.999")
        self.decay = decay
        self.averaged = copy.deepcopy(module).requires_grad_(False)
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.int64))
        self.num_updates: torch.Tensor

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move towards the weights of `module`; after every optimizer step."""
        done = int(self.num_updates)
        decay = min(self.decay, (1 + done) / (WARM_UP + done))
        averages: list[torch.Tensor] = []
        values: list[torch.Tensor] = []
        own, given = dict(self.averaged.named_parameters()), dict(module.named_parameters())
        _refuse_other_names(set(own), set(given))
        for name, value in given.items():
            if value.requires_grad and value.is_floating_point():
                averages.append(own[name])
                values.append(value)
            else:
                own[name].copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay)
        _copy_buffers(module, self.averaged)
        self.num_updates += 1

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Overwrite all weights and buffers of `module` with the averaged ones."""
        own, given = dict(self.averaged.named_parameters()), dict(module.named_parameters())
        _refuse_other_names(set(own), set(given))
        for name, value in given.items():
            value.copy_(own[name])
        _copy_buffers(self.averaged, module)


def _copy_buffers(source: nn.Module, target: nn.Module) -> None:
    found, given = dict(target.named_buffers()), dict(source.named_buffers())
    _refuse_other_names(set(found), set(given))
    for name, value in given.items():
        found[name].copy_(value)


def _refuse_other_names(own: set[str], given: set[str]) -> None:
    if own != given:
        raise ValueError(
            f"the module does not fit its averaged weights: {sorted(own ^ given)[:5]} occur in one of them only; build "
            "WeightAverage from a module of the same shape"
        )
