"""The InceptionV3 of FID (Szegedy et al. 2015, arXiv 1512.00567; weights of 2015-12-05), pictures to pool3 features.

The weights are the user's file, `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid or a .safetensors of the same
names. FID's network differs from the published one: average pools leave the padding out, and the last block pools by
maximum. Parameter names are those of the file. Letters: B pictures, H W pixels, C channels.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from openlvm.perceptual.weights import fit, read_tensors

SIDE = 299  # pixels
UNUSED = ("fc.", "AuxLogits.")  # classifiers


class _Convolution(nn.Module):
    """Convolution without bias, batch normalization, ReLU: [B, C, H, W] -> [B, C', H', W']."""

    def __init__(self, channels: int, out: int, size: int | tuple[int, int], stride: int = 1):
        super().__init__()
        height, width = (size, size) if isinstance(size, int) else size
        padding = (0, 0) if stride == 2 else (height // 2, width // 2)
        self.conv = nn.Conv2d(channels, out, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _average(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _largest(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(x, 3, stride=1, padding=1)


class _BlockA(nn.Module):
    """1x1, 5x5, two 3x3 and a pool side by side (figure 5): C -> 224 + pooled."""

    def __init__(self, channels: int, pooled: int):
        super().__init__()
        self.branch1x1 = _Convolution(channels, 64, 1)
        self.branch5x5_1 = _Convolution(channels, 48, 1)
        self.branch5x5_2 = _Convolution(48, 64, 5)
        self.branch3x3dbl_1 = _Convolution(channels, 64, 1)
        self.branch3x3dbl_2 = _Convolution(64, 96, 3)
        self.branch3x3dbl_3 = _Convolution(96, 96, 3)
        self.branch_pool = _Convolution(channels, pooled, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_average(x))], 1)


class _BlockB(nn.Module):
    """Halving by 3x3, two 3x3 and a pool side by side: 288 -> 768 channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch3x3 = _Convolution(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Convolution(channels, 64, 1)
        self.branch3x3dbl_2 = _Convolution(64, 96, 3)
        self.branch3x3dbl_3 = _Convolution(96, 96, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, F.max_pool2d(x, 3, stride=2)], 1)


class _BlockC(nn.Module):
    """7x7 as 1x7 and 7x1, once and twice (figure 6): 768 -> 768 channels."""

    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.branch1x1 = _Convolution(channels, 192, 1)
        self.branch7x7_1 = _Convolution(channels, inner, 1)
        self.branch7x7_2 = _Convolution(inner, inner, (1, 7))
        self.branch7x7_3 = _Convolution(inner, 192, (7, 1))
        self.branch7x7dbl_1 = _Convolution(channels, inner, 1)
        self.branch7x7dbl_2 = _Convolution(inner, inner, (7, 1))
        self.branch7x7dbl_3 = _Convolution(inner, inner, (1, 7))
        self.branch7x7dbl_4 = _Convolution(inner, inner, (7, 1))
        self.branch7x7dbl_5 = _Convolution(inner, 192, (1, 7))
        self.branch_pool = _Convolution(channels, 192, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(_average(x))], 1)


class _BlockD(nn.Module):
    """Halving by 3x3, 7x7 and 3x3, and a pool side by side: 768 -> 1280 channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch3x3_1 = _Convolution(channels, 192, 1)
        self.branch3x3_2 = _Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Convolution(channels, 192, 1)
        self.branch7x7x3_2 = _Convolution(192, 192, (1, 7))
        self.branch7x7x3_3 = _Convolution(192, 192, (7, 1))
        self.branch7x7x3_4 = _Convolution(192, 192, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, F.max_pool2d(x, 3, stride=2)], 1)


class _BlockE(nn.Module):
    """1x1, split 3x3, 3x3 and split 3x3, and a pool side by side (figure 7): C -> 2048 channels."""

    def __init__(self, channels: int, *, pools_by_maximum: bool):
        super().__init__()
        self.pool = _largest if pools_by_maximum else _average
        self.branch1x1 = _Convolution(channels, 320, 1)
        self.branch3x3_1 = _Convolution(channels, 384, 1)
        self.branch3x3_2a = _Convolution(384, 384, (1, 3))
        self.branch3x3_2b = _Convolution(384, 384, (3, 1))
        self.branch3x3dbl_1 = _Convolution(channels, 448, 1)
        self.branch3x3dbl_2 = _Convolution(448, 384, 3)
        self.branch3x3dbl_3a = _Convolution(384, 384, (1, 3))
        self.branch3x3dbl_3b = _Convolution(384, 384, (3, 1))
        self.branch_pool = _Convolution(channels, 192, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        three = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        wide = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        wider = [self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)]
        return torch.cat([self.branch1x1(x), *wide, *wider, self.branch_pool(self.pool(x))], 1)


class InceptionFeatures(nn.Module):
    """Pictures uint8 [B, H, W, 3] of any one size -> pool3 features float32 [B, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, 3)
        self.Conv2d_2a_3x3.conv.padding = (0, 0)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = _Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, 3)
        self.Conv2d_4a_3x3.conv.padding = (0, 0)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b = _BlockC(768, 128)
        self.Mixed_6c = _BlockC(768, 160)
        self.Mixed_6d = _BlockC(768, 160)
        self.Mixed_6e = _BlockC(768, 192)
        self.Mixed_7a = _BlockD(768)
        self.Mixed_7b = _BlockE(1280, pools_by_maximum=False)
        self.Mixed_7c = _BlockE(2048, pools_by_maximum=True)

    @torch.inference_mode()
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Resized to 299 x 299 as pytorch-fid does (bilinear, corners not aligned, not antialiased), then features."""
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
            raise ValueError(f"pictures must be uint8 [B, H, W, 3], given {pixels.dtype} {list(pixels.shape)}")
        x = pixels.to(self.Conv2d_1a_3x3.conv.weight.device).permute(0, 3, 1, 2).float() / 255
        x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        return self.pooled(x * 2 - 1)

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures float [B, 3, 299, 299] in -1..1 -> float [B, 2048]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # [B, 64, 147, 147]
        x = F.max_pool2d(x, 3, stride=2)  # [B, 64, 73, 73]
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # [B, 192, 71, 71]
        x = F.max_pool2d(x, 3, stride=2)  # [B, 192, 35, 35]
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # [B, 288, 35, 35]
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))  # [B, 768, 17, 17]
        x = self.Mixed_6e(self.Mixed_6d(x))  # [B, 768, 17, 17]
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # [B, 2048, 8, 8]
        return x.mean((2, 3))  # [B, 2048]


def load_inception(at: Path | str) -> InceptionFeatures:
    """The user's FID weights (.pth by `weights_only`, or .safetensors); float32, frozen, on the CPU, for evaluation."""
    what = "FID's InceptionV3 (Conv2d_1a_3x3.conv.weight ... Mixed_7c.branch_pool.bn.running_var)"
    tensors = {name: value for name, value in read_tensors(at, what).items() if not name.startswith(UNUSED)}
    network = InceptionFeatures()
    fit(network, tensors, at, what)
    return network.eval().requires_grad_(False)
