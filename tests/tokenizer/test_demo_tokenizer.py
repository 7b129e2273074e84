"""The demo's tokenizer: better than the k-means it began from, and not blind to color, on held-out objects."""

import copy

import numpy as np
import pytest
import torch

from openlvm.evaluation.metrics import mask_iou, normal_angle
from openlvm.jobs.demo import drawn_scenes
from openlvm.sources.pack import PackObjects, PackPhotos
from openlvm.tokenizer.folder import load_tokenizer
from openlvm.tokenizer.vqgan import VQGAN


@pytest.fixture(scope="module")
def shipped() -> VQGAN:
    return load_tokenizer("demo")


@pytest.fixture(scope="module")
def floor(shipped: VQGAN) -> VQGAN:
    """The same codes painted by patches alone: k-means over patches, as the recipe starts (its codes are frozen)."""
    floor = copy.deepcopy(shipped)
    torch.nn.init.zeros_(floor.decoder.conv_out.weight)
    torch.nn.init.zeros_(floor.decoder.conv_out.bias)
    return floor


@pytest.fixture(scope="module")
def pictures(shipped: VQGAN) -> dict[str, np.ndarray]:
    """Slot -> uint8 [B, 64, 64, 3], held out; "photos" too."""
    scenes = list(drawn_scenes(PackObjects(split="heldout"), shipped.preparation, ()))
    slots = {slot: np.stack([scene[slot][0] for scene in scenes]) for slot in ("image", "mask", "normals")}
    photos = [scene["image"][0] for scene in drawn_scenes(PackPhotos(split="heldout"), shipped.preparation, ())]
    return {**slots, "photos": np.stack(photos)}


def painted(vqgan: VQGAN, pixels: np.ndarray) -> np.ndarray:
    return vqgan.decode(vqgan.encode(torch.from_numpy(pixels))).numpy()


def psnr_of(back: np.ndarray, pixels: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((back.astype(float) - pixels) ** 2)))


def chroma(pixels: np.ndarray) -> np.ndarray:
    """Distance from gray, float [B, H, W, 3]: color without luminance."""
    return pixels.astype(float) - pixels.mean(-1, keepdims=True)


def test_shipped_is_small_and_as_promised(shipped):
    state = shipped.shipped_state()
    assert (shipped.image_size, shipped.codes_per_image, shipped.codebook_size) == (64, 64, 1024)
    assert sum(value.numel() for value in state.values()) * 2 <= 4e6  # bytes of bfloat16


@pytest.mark.parametrize(("slot", "gain"), [("image", 0.8), ("photos", 0.7), ("mask", 0.8), ("normals", 1.0)])
def test_shipped_beats_k_means_over_patches(shipped, floor, pictures, slot, gain):
    """In dB. Both have the same codes, so this is what the decoder learned."""
    pixels = pictures[slot]
    assert psnr_of(painted(shipped, pixels), pixels) > psnr_of(painted(floor, pixels), pixels) + gain


def test_shipped_keeps_masks(shipped, pictures):
    scores = [mask_iou(*pair) for pair in zip(painted(shipped, pictures["mask"]), pictures["mask"], strict=True)]
    assert np.mean(scores) > 0.89  # k-means of facts: .893


def test_shipped_is_not_blind_to_color(shipped, pictures):
    """PSNR of masks hides a gray tokenizer; hue, saturation and the angle of normals do not."""
    truth, back = chroma(pictures["image"]), chroma(painted(shipped, pictures["image"]))
    size = np.linalg.norm(truth, axis=-1)
    colorful = size > 40
    along = (truth * back).sum(-1) / np.maximum(size, 1e-9)
    assert (along[colorful] / size[colorful]).mean() > 0.7  # saturation kept along the true hue; 0 if gray
    cosine = along[colorful] / np.maximum(np.linalg.norm(back, axis=-1)[colorful], 1e-9)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean() < 20  # of hue
    angles = [
        normal_angle(*pair) for pair in zip(painted(shipped, pictures["normals"]), pictures["normals"], strict=True)
    ]
    assert np.mean(angles) < 35  # 54 to 61 in the prototype's gray tokenizers


def test_a_gray_tokenizer_would_be_noticed(shipped, pictures):
    gray = np.repeat(painted(shipped, pictures["image"]).mean(-1, keepdims=True), 3, -1)
    truth, back = chroma(pictures["image"]), chroma(gray)
    assert ((truth * back).sum(-1) == 0).all()
    normals = np.repeat(painted(shipped, pictures["normals"]).mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    angles = [normal_angle(*pair) for pair in zip(normals, pictures["normals"], strict=True)]
    assert np.mean(angles) > 45
