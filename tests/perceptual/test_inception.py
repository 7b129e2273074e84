"""FID's Inception against outputs recorded from torch-fidelity 0.4.0's network with the same made-up weights."""

import pytest
import torch

from openlvm.perceptual.inception import InceptionFeatures, load_inception

# FeatureExtractorInceptionV3 of torch-fidelity 0.4.0 with `made_up` weights, on `made_up_picture`.
PLACES = [0, 320, 500, 1000, 1500, 2047]
RECORDED = [0.0, 0.0, 0.2110021710395813, 21.553112030029297, 1.2758148908615112, 8.46110725402832]
RECORDED_MEAN, RECORDED_DEVIATION = 2.874943256378174, 5.104324817657471


def made_up(name: str, shape: torch.Size) -> torch.Tensor:
    values = ((torch.arange(shape.numel()) * 7919 + sum(map(ord, name))) % 1009).float().div(1009).view(shape)
    if name.endswith(("running_var", "bn.weight")):
        return 0.5 + values
    if name.endswith(("bias", "running_mean")):
        return (values - 0.5) * 0.2
    return (values - 0.5) * (12 / shape[1:].numel()) ** 0.5 * 1.5


def made_up_picture() -> torch.Tensor:
    """uint8 [1, 3, 299, 299]."""
    return ((torch.arange(3 * 299 * 299) * 7919) % 256).view(1, 3, 299, 299).to(torch.uint8)


@pytest.fixture(scope="module")
def weights_at(tmp_path_factory):
    """A file in the layout of pytorch-fid's, with its classifier."""
    names = {name: value.shape for name, value in InceptionFeatures().state_dict().items() if value.ndim}
    state = {name: made_up(name, shape) for name, shape in names.items()}
    at = tmp_path_factory.mktemp("inception") / "pt_inception.pth"
    torch.save({**state, "fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, at)
    return at


def test_features_match_those_recorded(weights_at):
    network = load_inception(weights_at)
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_785_568
    with torch.no_grad():
        features = network.pooled((made_up_picture().float() - 128) / 128)[0]
    assert features[PLACES].tolist() == pytest.approx(RECORDED, rel=1e-3, abs=1e-3)
    assert features.mean().item() == pytest.approx(RECORDED_MEAN, rel=1e-4)
    assert features.std().item() == pytest.approx(RECORDED_DEVIATION, rel=1e-4)


def test_pictures_are_scaled_and_resized(weights_at):
    network = load_inception(weights_at)
    picture = made_up_picture()
    with torch.no_grad():
        expected = network.pooled(picture.float() / 255 * 2 - 1)
    assert torch.allclose(network(picture.permute(0, 2, 3, 1)), expected, atol=1e-4)
    small = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    small[0, :, 1] = 255  # a step, smoothed over the middle
    column = (((torch.arange(299) + 0.5) * 2 / 299 - 0.5).clamp(0, 1) * 2 - 1).expand(1, 3, 299, 299)
    with torch.no_grad():
        assert torch.allclose(network(small), network.pooled(column), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match=r"uint8 \[B, H, W, 3\]"):
        network(torch.zeros(1, 8, 8, 3))


def test_another_file_is_refused(weights_at, tmp_path):
    state = torch.load(weights_at, weights_only=True)
    state["Mixed_9z.conv.weight"] = state.pop("Mixed_7c.branch_pool.conv.weight")
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"1 missing \(Mixed_7c.branch_pool.conv.weight\), 1 not expected \(Mixed_9z"):
        load_inception(tmp_path / "odd.pth")
