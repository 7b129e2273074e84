"""The convolutions of VGG16 as a ladder of feature maps (Simonyan & Zisserman, arXiv 1409.1556, table 1, column D).

Two sets of weights fit: a file of the user's in the layout of torchvision's `vgg16`, and the first three blocks of an
edge detector's VGG16 that ship with the package (assets/ATTRIBUTION.md), so that nothing has to be downloaded.
Letters: B pictures, H W pixels, C channels of a map.
"""

from importlib.resources import files
from pathlib import Path

import torch
from torch import nn

from openlvm.perceptual.weights import fit, read_tensors

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of each block."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EDGE_MEAN, EDGE_STD = (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)
"""Of the embedded network, as of the first VGG16: values 0..255 less the mean color."""
EMBEDDED = "perceptual/hed-vgg16-3.safetensors"


class VGGFeatures(nn.Module):
    """Pictures float [B, 3, H, W] in 0..1 -> the map after the last ReLU of each block.

    Map i has [B, C_i, H / 2^i, W / 2^i], C = 64, 128, 256, 512, 512: relu1_2, relu2_2, relu3_3, relu4_3, relu5_3.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], num_blocks: int = len(WIDTHS)):
        """A network with random weights.

        Args:
            mean, std: of R, G and B; taken off the pictures, and divided by.
            num_blocks: 1 .. 5, each ending with one map.
        """
        super().__init__()
        layers: list[nn.Module] = []
        self.ends: list[int] = []
        width = 3
        for block in WIDTHS[:num_blocks]:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for channels in block:
                layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU(inplace=True)]
                width = channels
            self.ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)  # places, and so names, as in torchvision: features.28.weight
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    mean: torch.Tensor
    std: torch.Tensor

    @property
    def channels(self) -> tuple[int, ...]:
        """C of each map."""
        return tuple(block[-1] for block in WIDTHS[: len(self.ends)])

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The maps, each [B, C, h, w]."""
        smallest = 2 ** (len(self.ends) - 1)
        if (
            pixels.ndim != 4
            or pixels.shape[1] != 3
            or not pixels.is_floating_point()
            or min(pixels.shape[2:]) < smallest
        ):
            raise ValueError(
                f"pictures must be float [B, 3, H, W] in 0..1, {smallest} pixels or more a side; "
                f"given {pixels.dtype} {list(pixels.shape)}"
            )
        x = (pixels - self.mean) / self.std
        maps = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.ends:
                maps.append(x)
        return maps


def load_vgg(at: Path | str) -> VGGFeatures:
    """The user's VGG16: names `features.N.weight` as torchvision writes them (.pth by `weights_only`, or .safetensors).

    The classifier's tensors are not needed and may be absent. float32, frozen, in evaluation mode, on the CPU.
    """
    what = "VGG16 weights in torchvision's layout (features.0.weight ... features.28.bias)"
    tensors = {name: value for name, value in read_tensors(at, what).items() if not name.startswith("classifier.")}
    network = VGGFeatures(IMAGENET_MEAN, IMAGENET_STD)
    fit(network, tensors, at, what)
    return network.eval().requires_grad_(False)


def embedded_features() -> VGGFeatures:
    """The network that ships: three blocks (1 735 488 parameters) of a VGG16 that was tuned to find edges.

    float32 (stored as float16), frozen, in evaluation mode, on the CPU. It is not the VGG16 of LPIPS.
    """
    at = Path(str(files("openlvm") / "assets" / EMBEDDED))
    network = VGGFeatures(EDGE_MEAN, EDGE_STD, num_blocks=3)
    fit(network, read_tensors(at, "the embedded feature network"), at, "the embedded feature network")
    return network.eval().requires_grad_(False)
