"""A VQGAN made ready to encode and decode, nothing else: the same codes in less time, or nearly the same in bfloat16.

On the CPU, float32 takes Winograd's convolutions where maps are large and folds each upsampling into the convolution
after it: the codes stay those of the plain VQGAN but for ties to within float rounding. bfloat16 keeps the weights and
maps of encoder and decoder in bfloat16, the quantizer and what touches it in float32, and changes a share of the codes:
`compare_precisions` measures it. On other devices only the precision changes. Letters: B pictures, N codes per picture.
"""

import copy
import math
import threading
from collections.abc import Callable
from typing import Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn

from openlvm.tokenizer.blocks import Level, ResBlock, Upsample
from openlvm.tokenizer.interface import check_codes, check_pixels
from openlvm.tokenizer.speed.layers import FoldedUpsample, InBfloat16, Scratch, fast
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig

Precision = Literal["fp32", "bf16"]

Replacement = Callable[[nn.Module, int], nn.Module | None]
"""What stands for a layer, given it and the side of the maps of its level; None keeps it."""

PIXELS_AT_ONCE = {"cpu": 2**16, "cuda": 2**20}  # a batch is worked off in parts: one picture of 256 x 256, or sixteen


class PrecisionChange(NamedTuple):
    """What bfloat16 changes."""

    share_equal: float
    """Of the codes."""
    psnr_change: float
    """Of the pictures after encoding and decoding, dB (over the mean of the squared errors); below 0 is worse."""


class PreparedVQGAN(VQGAN):
    """A tokenizer (see `interface.Tokenizer`) for inference only; a batch of any size takes the memory of one part."""

    def __init__(self, vqgan: VQGAN, precision: Precision):
        nn.Module.__init__(self)  # the networks are taken over, not made
        self.config, self.preparation, self.precision = vqgan.config, vqgan.preparation, precision
        self._fingerprints = vqgan.fingerprint, vqgan.codes_fingerprint
        self._scratch, self._one_at_a_time = Scratch(), threading.Lock()
        on_cpu = vqgan.post_quant_conv.weight.device.type == "cpu"
        exact = precision == "fp32"
        for name, part in vqgan.named_children():
            is_network = name in ("encoder", "decoder")
            self.add_module(name, self._network(part, exact, on_cpu) if is_network else copy.deepcopy(part))
        self._part = max(1, PIXELS_AT_ONCE["cpu" if on_cpu else "cuda"] // self.image_size**2)
        self.eval().requires_grad_(False)

    def _network(self, network: nn.Module, exact: bool, on_cpu: bool) -> nn.Module:
        def replacement(layer: nn.Module, side: int) -> nn.Module | None:
            if on_cpu and isinstance(layer, Upsample):
                return FoldedUpsample(layer, torch.float32 if exact else torch.bfloat16)
            if on_cpu and exact and isinstance(layer, ResBlock):
                own = cast(ResBlock, _twin(layer, self.config, lambda *_: None, _as_it_is))
                return fast(own, side, self._scratch)
            return None

        twin = _twin(network, self.config, replacement, _as_it_is if exact else _in_bfloat16)
        return twin if exact else InBfloat16(twin)

    @property
    def fingerprint(self) -> str:
        """Of the VQGAN this was made from."""
        return self._fingerprints[0]

    @property
    def codes_fingerprint(self) -> str:
        """Of the VQGAN this was made from, in either precision: its codes mean the same."""
        return self._fingerprints[1]

    def shipped_state(self) -> dict[str, Tensor]:
        """Refused: the weights are no longer in the form that is stored."""
        raise ValueError("a tokenizer prepared for inference cannot be saved; save the one it was prepared from")

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """uint8 [B, H, W, 3] -> int64 [B, N]."""
        check_pixels(pixels, self.image_size)
        return self._in_parts(super().encode, pixels)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, N] -> uint8 [B, H, W, 3]."""
        check_codes(codes, self.codes_per_image, self.codebook_size)
        return self._in_parts(super().decode, codes)

    def _in_parts(self, step: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        with self._one_at_a_time:  # the parts share one scratch
            made = torch.cat([step(part) for part in batch.split(self._part)])
            self._scratch.clear()
        return made


def prepare_for_inference(vqgan: VQGAN, precision: Precision = "fp32") -> PreparedVQGAN:
    """The same tokenizer, faster; it shares weights with the given one, which can be dropped.

    Args:
        vqgan: on the device it is to work on; its weights must not change afterwards.
        precision: fp32 gives the codes of the plain VQGAN; bf16 nearly.

    Raises:
        ValueError: not a VQGAN, or an unknown precision.
    """
    if not isinstance(vqgan, VQGAN) or isinstance(vqgan, PreparedVQGAN):
        raise ValueError(f"only a VQGAN can be prepared for inference, and once; given {type(vqgan).__name__}")
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {get_args(Precision)}, given {precision!r}")
    return PreparedVQGAN(vqgan, precision)


def compare_precisions(vqgan: VQGAN, pixels: Tensor) -> PrecisionChange:
    """What bf16 changes of the codes and the pictures of uint8 [B, H, W, 3], beside fp32."""
    found = []
    for precision in get_args(Precision):
        prepared = prepare_for_inference(vqgan, precision)
        codes = prepared.encode(pixels)
        error = (prepared.decode(codes).to(pixels.device).double() - pixels).square().mean().item()
        found.append((codes, 10 * math.log10(255**2 / max(error, 1e-12))))
    (exact, psnr_exact), (rounded, psnr_rounded) = found
    return PrecisionChange((exact == rounded).double().mean().item(), psnr_rounded - psnr_exact)


def _as_it_is(weight: Tensor) -> Tensor:
    return weight


def _in_bfloat16(weight: Tensor) -> Tensor:
    format = torch.channels_last if weight.ndim == 4 else torch.contiguous_format
    return weight.to(torch.bfloat16, memory_format=format)


def _twin(
    network: nn.Module, config: VQGANConfig, replacement: Replacement, weight_of: Callable[[Tensor], Tensor]
) -> nn.Module:
    """A network once more, with layers replaced and weights converted; memory of what is not converted is shared."""
    lowest = config.grid
    top = lowest << (len(config.multipliers) - 1)

    def rebuilt(module: nn.Module, side: int) -> nn.Module:
        other = replacement(module, side)
        if other is not None:
            return other
        twin = copy.copy(module)
        twin.__dict__.update({name: copy.copy(value) for name, value in vars(module).items() if "hooks" in name})
        twin._parameters = {
            name: value if value is None else nn.Parameter(weight_of(value.detach()), requires_grad=False)
            for name, value in module._parameters.items()
        }
        children = {name: child for name, child in module._modules.items() if child is not None}
        twin._modules = {
            name: rebuilt(child, top >> int(name) if isinstance(child, Level) else side)
            for name, child in children.items()
        }
        return twin

    return rebuilt(network, lowest)
