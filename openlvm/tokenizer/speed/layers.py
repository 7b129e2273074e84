"""Layers of a VQGAN whose weights no longer change, each with the interface of the one it stands for in blocks.py.

Letters: B pictures, D channels, H W size. Maps are [B, D, H, W] with the channels last in memory.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openlvm.tokenizer.blocks import ResBlock, Upsample
from openlvm.tokenizer.speed.winograd import KERNELS_AT_ONCE, TILE, Winograd3x3

VALUES_AT_ONCE = 2**17  # of a map, while its mean and variance are taken: half a MiB, which stays in cache
LEAST_SCRATCH = 2**23  # values: untouched pages cost nothing, growing leaves holes behind
ROWS_AT_ONCE = 32  # of a map before upsampling; bounds the copies that the transposed convolution makes
LEAST_SIDE, LEAST_CHANNELS = 128, 64  # where Winograd's form pays for its weights, 4 times those of the kernels
PLANES_FROM = 512  # channels from which small float32 maps are a tenth faster channel by channel; below, slower


class Scratch:
    """One block of memory that layers take turns to use; fresh pages for every large map cost as much as its norm."""

    def __init__(self) -> None:
        self._block = torch.empty(0)

    def take(self, *shape: int) -> Tensor:
        """Uninitialized float32 of that shape, valid until the next call."""
        size = torch.Size(shape).numel()
        if self._block.numel() < size:
            self._block = torch.empty(0)  # before the new one, so that the two never stand side by side
            self._block = torch.empty(max(size, LEAST_SCRATCH))
        return self._block[:size].view(shape)

    def clear(self) -> None:
        """Give the memory back."""
        self._block = torch.empty(0)


class FastResBlock(nn.Module):
    """A `ResBlock` in float32 on the CPU; overwrites its input where the width stays. Needs H and W multiples of 4."""

    def __init__(self, block: ResBlock, scratch: Scratch):
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.conv1, self.conv2 = (Winograd3x3(conv.weight, _bias(conv)) for conv in (block.conv1, block.conv2))
        self.shortcut = block.nin_shortcut if block.changes_width else None
        self._scratch = scratch

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, channels_in, H, W] -> [B, channels_out, H, W]."""
        rows = x.permute(0, 2, 3, 1).contiguous()  # [B, H, W, channels_in]; copies only what is not channels last
        width = self.conv1.bias.numel()
        hidden = self._scratch.take(*rows.shape[:3], width)
        self.conv1(rows, hidden, affine_of(self.norm1, rows), adds=False)
        if self.shortcut is not None:
            rows = F.linear(rows, self.shortcut.weight[:, :, 0, 0], self.shortcut.bias)
        self.conv2(hidden, rows, affine_of(self.norm2, hidden), adds=True)
        return rows.permute(0, 3, 1, 2)


class FoldedUpsample(nn.Module):
    """An `Upsample` as one transposed convolution: 4 of its 9 products a pixel, since repeated pixels share them.

    Doubling by repetition and a kernel (w0, w1, w2) along one axis is the kernel (w2, w1 + w2, w0 + w1, w0) with
    stride 2; along both axes 16 products make 4 pixels, where 9 made one.
    """

    def __init__(self, upsample: Upsample, dtype: torch.dtype):
        super().__init__()
        kernels = upsample.conv.weight.detach()  # [D_out, D_in, 3, 3]
        fold = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=kernels.dtype, device=kernels.device)
        folded = torch.empty(kernels.shape[1], len(kernels), 4, 4, dtype=dtype, device=kernels.device)
        folded = folded.to(memory_format=torch.channels_last)
        for first in range(0, len(kernels), KERNELS_AT_ONCE):
            some = slice(first, first + KERNELS_AT_ONCE)
            folded[:, some] = torch.einsum("ka,ocab,lb->cokl", fold, kernels[some], fold).to(dtype)
        self.register_buffer("weight", folded)
        self.register_buffer("bias", _bias(upsample.conv).detach().to(dtype))
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, H, W] -> [B, D, 2H, 2W]."""
        batch, channels, height, width = x.shape
        out = torch.empty(
            (batch, channels, 2 * height, 2 * width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
        )
        for top in range(0, height, ROWS_AT_ONCE):
            below = min(height, top + ROWS_AT_ONCE)
            first, last = max(0, top - 1), min(height, below + 1)  # a row above and below has a part in the strip
            made = F.conv_transpose2d(x[:, :, first:last], self.weight, self.bias, stride=2, padding=1)
            out[:, :, 2 * top : 2 * below] = made[:, :, 2 * (top - first) : 2 * (below - first)]
        return out


class InBfloat16(nn.Module):
    """A network whose weights are bfloat16, between float32 ends."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """float32 -> float32."""
        return self.network(x.bfloat16()).float()


class InPlanes(nn.Module):
    """A block whose input is laid out channel by channel."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, H, W] -> what the block makes of it."""
        return self.block(x.contiguous())


def fast(block: ResBlock, side: int, scratch: Scratch) -> nn.Module:
    """The faster form of a float32 block on the CPU at maps of side `side`; the block itself where there is none."""
    channels = min(block.conv1.in_channels, block.conv1.out_channels)
    if side % TILE == 0 and side >= LEAST_SIDE and channels >= LEAST_CHANNELS:
        return FastResBlock(block, scratch)
    return InPlanes(block) if channels >= PLANES_FROM else block


def affine_of(norm: nn.GroupNorm, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a GroupNorm does to this map, as scale and shift [B, 1, 1, D] each; x float32 [B, H, W, D], contiguous."""
    batch, height, width, channels = x.shape
    strips = x.view(batch, height * width, channels).split(max(1, VALUES_AT_ONCE // (batch * channels)), dim=1)
    group = (batch, norm.num_groups, channels // norm.num_groups)

    def mean_of(sums: list[Tensor]) -> Tensor:
        """Means over pixels and the channels of a group, from sums [B, D]; float64 [B, D]."""
        means = torch.stack(sums).double().sum(0).view(group).mean(2, keepdim=True) / (height * width)
        return means.expand(group).reshape(batch, channels)

    mean = mean_of([strip.sum(1) for strip in strips])
    center = mean.float()[:, None]
    spread = mean_of([(strip - center).square_().sum(1) for strip in strips])
    scale = norm.weight * (spread + norm.eps).rsqrt()
    shift = norm.bias - mean * scale
    return scale.float()[:, None, None], shift.float()[:, None, None]


def _bias(conv: nn.Conv2d) -> Tensor:
    return torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
