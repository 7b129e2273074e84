"""LPIPS against its equation in loops, and the offline distance against what a distance must do."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from openlvm.perceptual.distance import FeatureDistance, load_lpips, offline_distance
from openlvm.perceptual.vgg import IMAGENET_MEAN, IMAGENET_STD, VGGFeatures
from openlvm.sources.pack import PackPhotos


def random_network(num_blocks: int) -> VGGFeatures:
    torch.manual_seed(0)
    return VGGFeatures(IMAGENET_MEAN, IMAGENET_STD, num_blocks).requires_grad_(False)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    source = PackPhotos(split="heldout")
    record = next(iter(source.read(source.parts()[0])))
    return torch.from_numpy(record.slots["image"][0][:64, :64].copy()).permute(2, 0, 1)[None].float() / 255


def slow_distance(network: VGGFeatures, weights: list[torch.Tensor], one: torch.Tensor, other: torch.Tensor) -> float:
    """Equation 1 of the paper, pixel by pixel."""
    total = 0.0
    for first, second, weight in zip(network(one), network(other), weights, strict=True):
        a, b = (maps[0].double().numpy() for maps in (first, second))
        height, width = a.shape[1:]
        for row in range(height):
            for column in range(width):
                u, v = a[:, row, column], b[:, row, column]
                apart = u / (np.linalg.norm(u) + 1e-10) - v / (np.linalg.norm(v) + 1e-10)
                total += float((weight.numpy() * apart**2).sum()) / (height * width)
    return total


def test_distance_matches_the_equation():
    network, generator = random_network(3), torch.Generator().manual_seed(1)
    one, other = torch.rand(2, 1, 3, 16, 16, generator=generator)
    weights = [torch.rand(count, generator=generator) for count in network.channels]
    expected = slow_distance(network, weights, one, other)
    assert FeatureDistance(network, weights)(one, other).item() == pytest.approx(expected, rel=1e-5)
    even = [torch.full((count,), 1 / count) for count in network.channels]
    assert FeatureDistance(network)(one, other).item() == pytest.approx(
        slow_distance(network, even, one, other), rel=1e-5
    )


def test_published_files_give_the_equation_with_their_heads(tmp_path):
    network, generator = random_network(5), torch.Generator().manual_seed(2)
    heads = {
        f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1, generator=generator) for i, c in enumerate(network.channels)
    }
    torch.save(network.state_dict(), tmp_path / "vgg16.pth")
    torch.save(heads, tmp_path / "heads.pth")
    lpips = load_lpips(tmp_path / "vgg16.pth", tmp_path / "heads.pth")
    one, other = torch.rand(2, 1, 3, 16, 16, generator=generator)
    expected = slow_distance(network, [head.flatten() for head in heads.values()], one, other)
    assert lpips(one, other).item() == pytest.approx(expected, rel=1e-5)
    assert lpips.name == "LPIPS (VGG16)"
    del heads["lin4.model.1.weight"]
    torch.save(heads, tmp_path / "heads.pth")
    with pytest.raises(ValueError, match="does not hold LPIPS heads"):
        load_lpips(tmp_path / "vgg16.pth", tmp_path / "heads.pth")


def test_negative_or_misshapen_weights_are_refused():
    network = random_network(1)
    with pytest.raises(ValueError, match="negative"):
        FeatureDistance(network, [-torch.ones(64)])
    with pytest.raises(ValueError, match=r"shapes \[\(3,\)\]"):
        FeatureDistance(network, [torch.ones(3)])
    with pytest.raises(ValueError, match="one shape"):
        FeatureDistance(network)(torch.zeros(1, 3, 8, 8), torch.zeros(2, 3, 8, 8))


def test_offline_distance_is_none_to_itself_and_grows(photo):
    distance, generator = offline_distance(), torch.Generator().manual_seed(0)
    noise = torch.randn(photo.shape, generator=generator)
    few, many = ((photo + share * noise).clamp(0, 1) for share in (0.05, 0.2))
    blurred = F.interpolate(F.avg_pool2d(photo, 4), scale_factor=4, mode="bilinear")
    slightly = F.interpolate(F.avg_pool2d(photo, 2), scale_factor=2, mode="bilinear")
    values = [distance(photo, other).item() for other in (photo, few, many, slightly, blurred, photo.flip(2))]
    assert values[0] == 0
    assert 0 < values[1] < values[2] and 0 < values[3] < values[4]
    assert max(values[:5]) < values[5]  # another picture
    assert distance.name == "feature distance (HED-VGG)" and "LPIPS" not in distance.name


def test_offline_distance_is_a_loss_that_can_be_descended(photo):
    distance = offline_distance()
    painted = F.interpolate(F.avg_pool2d(photo, 4), scale_factor=4, mode="bilinear").requires_grad_()
    before = distance(painted, photo).sum()
    before.backward()
    assert painted.grad.isfinite().all()
    step = painted.detach() - 0.05 * painted.grad / painted.grad.abs().max()
    assert distance(step, photo).item() < before.item()
    black = torch.zeros_like(photo, requires_grad=True)  # flat, as annotations are
    distance(black, black.detach()).sum().backward()
    assert black.grad.isfinite().all()
