"""Depth is what transformers computes, in meters or by the stated convention, however pictures are batched."""

import numpy as np
import pytest
import torch

from openlvm.annotators.huggingface.depth import FAR, NEAR, meters_of_inverse
from openlvm.annotators.load import load_annotator
from openlvm.annotators.normals import normals_of_depth


def _published(at, image):
    """The plane that transformers' own classes and post-processing give, float32 [H, W], without its overshoot."""
    from transformers import AutoModelForDepthEstimation, DPTImageProcessorPil

    processor = DPTImageProcessorPil.from_pretrained(at)
    with torch.no_grad():
        outputs = AutoModelForDepthEstimation.from_pretrained(at)(**processor(images=[image], return_tensors="pt"))
    (told,) = processor.post_process_depth_estimation(outputs, target_sizes=[image.shape[:2]])
    raw = outputs.predicted_depth.numpy()
    return told["predicted_depth"].numpy().clip(raw.min(), raw.max())


def test_inverse_depth_matches_transformers_and_spans_one_to_ten_meters(network_at, images):
    annotator = load_annotator(f"depth=hf:{network_at('dpt')}")
    assert annotator.describe()["unit"] == (
        "inverse depth of unknown scale and shift; nearest put at 1.0 m, farthest at 10.0 m"
    )
    for image, depth in zip(images, annotator.annotate(images), strict=True):
        inverse = _published(network_at("dpt"), image)
        assert depth.meters.shape == image.shape[:2] and depth.meters.dtype == np.float32
        nearness = (inverse - inverse.min()) / np.ptp(inverse)
        np.testing.assert_allclose((1 / depth.meters - 1 / FAR) / (1 / NEAR - 1 / FAR), nearness, atol=1e-3)
        assert depth.meters.min() == pytest.approx(NEAR) and depth.meters.max() == pytest.approx(FAR, rel=1e-5)


def test_metric_depth_matches_transformers(network_at, images):
    annotator = load_annotator(f"depth=hf:{network_at('depth_anything')}")
    assert annotator.describe()["unit"] == "meters"
    for image, depth in zip(images, annotator.annotate(images), strict=True):
        np.testing.assert_allclose(depth.meters, _published(network_at("depth_anything"), image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["dpt", "depth_anything"])
def test_depth_of_a_batch_equals_depth_one_by_one(network_at, images, name):
    annotator = load_annotator(f"depth=hf:{network_at(name)}")
    for image, depth in zip(images, annotator.annotate(images), strict=True):
        np.testing.assert_allclose(annotator.annotate([image])[0].meters, depth.meters, rtol=1e-4)


def test_flat_inverse_depth_is_near():
    assert (meters_of_inverse(np.full((3, 4), 0.7, np.float32)) == NEAR).all()


def test_unit_can_be_corrected(network_at, images):
    network = network_at("dpt")
    depth = load_annotator(f"depth=hf:{network},unit=meters").annotate(images[:1])[0]
    np.testing.assert_allclose(depth.meters, _published(network, images[0]), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="option unit=feet of depth=hf: no unit of depth called 'feet'"):
        load_annotator(f"depth=hf:{network},unit=feet")


def test_bfloat16_is_near_float32(network_at, images):
    network = network_at("depth_anything")
    exact, rounded = (
        load_annotator(f"depth=hf:{network}", precision=precision) for precision in ("float32", "bfloat16")
    )
    first, second = exact.annotate(images)[0].meters, rounded.annotate(images)[0].meters
    assert second.dtype == np.float32 and not np.array_equal(first, second)
    assert np.abs(first - second).mean() < 0.05 * first.mean()
    assert rounded.describe()["precision"] == "bfloat16"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_depth_on_a_gpu_is_near_that_of_the_cpu(network_at, images):
    network = network_at("depth_anything")
    here, there = (load_annotator(f"depth=hf:{network}", device=device) for device in ("cpu", "cuda"))
    for first, second in zip(here.annotate(images), there.annotate(images), strict=True):
        np.testing.assert_allclose(second.meters, first.meters, rtol=2e-2)  # convolutions round to TF32 there


def test_normals_are_those_of_the_depth(network_at, images):
    network = network_at("depth_anything")
    depth = load_annotator(f"depth=hf:{network}")
    normals = load_annotator(f"normals=depth:hf:{network},fov=40,unit=meters")
    assert normals.describe()["depth"] == depth.describe() and normals.describe()["fov"] == 40.0
    told = normals.annotate(images)
    expected = normals_of_depth(depth.annotate(images)[3], fov=40)
    np.testing.assert_array_equal(told[3].vectors, expected.vectors)
    with pytest.raises(ValueError, match="fov=wide"):
        load_annotator(f"normals=depth:hf:{network},fov=wide")


def test_pictures_that_cannot_be_prepared_are_told(network_at):
    annotator = load_annotator(f"depth=hf:{network_at('depth_anything')}")
    with pytest.raises(ValueError, match="Size must contain"):  # one pixel high at the network's size
        annotator.annotate([np.zeros((3, 300, 3), np.uint8)])


def test_a_network_that_pads_is_rejected(network_at, tmp_path):
    import json
    import shutil

    at = shutil.copytree(network_at("dpt"), tmp_path / "padding")
    said = json.loads((at / "preprocessor_config.json").read_text())
    (at / "preprocessor_config.json").write_text(json.dumps({**said, "do_pad": True, "size_divisor": 16}))
    with pytest.raises(ValueError, match="padding pads pictures, so that its depth would be shifted"):
        load_annotator(f"depth=hf:{at}")
