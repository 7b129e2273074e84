"""How differently two pictures look: LPIPS (Zhang et al. 2018, arXiv 1801.03924, eq. 1) over a ladder of feature maps.

Published LPIPS needs two files of the user's, a VGG16 and the heads. `offline_distance` needs none: the same formula
without heads over the embedded network. Its numbers compare with each other, not with anybody's LPIPS.
Letters: B pictures, H W pixels, C channels of a map.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from openlvm.perceptual.vgg import VGGFeatures, embedded_features, load_vgg
from openlvm.perceptual.weights import read_tensors

EPS = 1e-10  # added to the length of a feature vector, as in the authors' code
LPIPS, OFFLINE = "LPIPS (VGG16)", "feature distance (HED-VGG)"


class FeatureDistance(nn.Module):
    """Distance of pictures float [B, 3, H, W] in 0..1 -> float32 [B]; 0 for equal pictures, and differentiable."""

    def __init__(self, features: VGGFeatures, weights: Sequence[torch.Tensor] | None = None, name: str = OFFLINE):
        """A distance over the maps of `features`.

        Args:
            weights: of the squared differences of each map's channels, >= 0, [C] each; None is 1 / C, their mean.
            name: what reports call it.
        """
        super().__init__()
        self.features = features
        self.name = name
        given = [torch.full((count,), 1 / count) for count in features.channels] if weights is None else list(weights)
        shapes = [tuple(weight.shape) for weight in given]
        if shapes != [(count,) for count in features.channels]:
            raise ValueError(f"weights of shapes {shapes} given, for maps of {features.channels} channels")
        if any(bool((weight < 0).any()) for weight in given):
            raise ValueError("a weight of a channel is negative: more difference would count as less distance")
        for place, weight in enumerate(given):
            self.register_buffer(f"weights_{place}", weight.float().view(1, -1, 1, 1), persistent=False)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """The distance of each pair of pictures, float32 [B]."""
        if first.shape != second.shape:
            raise ValueError(f"pictures of one shape expected, given {list(first.shape)} and {list(second.shape)}")
        total = torch.zeros(len(first), device=first.device)
        for place, (one, other) in enumerate(zip(self.features(first), self.features(second), strict=True)):
            difference = _unit(one.float()) - _unit(other.float())  # [B, C, h, w]
            weighted = difference.square() * self.get_buffer(f"weights_{place}")
            total = total + weighted.sum(1).mean((1, 2))
        return total


def _unit(features: torch.Tensor) -> torch.Tensor:
    """Every pixel's vector of channels with length 1, zero vectors left alone: [B, C, h, w]."""
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + EPS)


def offline_distance() -> FeatureDistance:
    """The distance that needs no file of the user's: equal weights over the embedded network, three maps.

    Sees texture and edges at 1, 2 and 4 pixels. float32, frozen, in evaluation mode, on the CPU. Never call it LPIPS.
    """
    return FeatureDistance(embedded_features(), name=OFFLINE).eval()


def load_lpips(backbone: Path | str, heads: Path | str) -> FeatureDistance:
    """Published LPIPS 0.1 with VGG16, for pictures in 0..1 (the authors' scaling of -1..1 is ImageNet's of 0..1).

    Args:
        backbone: VGG16 in torchvision's layout.
        heads: the five 1 x 1 convolutions, `lin0.model.1.weight` [1, C, 1, 1] and on, of the package `lpips` (vgg.pth).
    """
    what = "LPIPS heads (lin0.model.1.weight ... lin4.model.1.weight)"
    tensors, features = read_tensors(heads, what), load_vgg(backbone)
    names = [f"lin{place}.model.1.weight" for place in range(len(features.channels))]
    shapes = [tuple(tensors[name].shape) if name in tensors else None for name in names]
    expected = [(1, count, 1, 1) for count in features.channels]
    if shapes != expected or len(tensors) != len(names):
        raise ValueError(
            f"{heads} does not hold {what}: shapes {shapes} of {len(tensors)} tensors, expected {expected}"
        )
    return FeatureDistance(features, [tensors[name].flatten() for name in names], name=LPIPS).eval()
