"""The tokenizer `tokenizer_64_f8` that ships: better than k-means over patches, not blind to color; all held out."""

import numpy as np
import pytest
import torch

from openlvm.evaluation.metrics import hue_error, mask_iou, normal_angle, saturation_kept
from openlvm.evaluation.tokenizer_pictures import kmeans_floor
from openlvm.jobs.demo import drawn_scenes
from openlvm.sources.pack import PackObjects, PackPhotos
from openlvm.tokenizer.folder import load_tokenizer
from openlvm.tokenizer.vqgan import VQGAN


@pytest.fixture(scope="module")
def shipped() -> VQGAN:
    return load_tokenizer("tokenizer_64_f8")


@pytest.fixture(scope="module")
def floor(shipped: VQGAN) -> VQGAN:
    """k-means over patches with as many codes, smaller than in `evaluate --floor` (0.2 dB worse on scenes)."""
    return kmeans_floor(64, 8, shipped.codebook_size, records=120, patches=40_000, iterations=8)


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


def test_shipped_is_small_and_as_promised(shipped):
    state = shipped.shipped_state()
    assert (shipped.image_size, shipped.codes_per_image, shipped.codebook_size) == (64, 64, 1024)
    assert sum(value.numel() for value in state.values()) * 2 <= 6e6  # bytes of bfloat16


@pytest.mark.parametrize(("slot", "gain"), [("image", 1.0), ("photos", 1.0), ("mask", 0.8), ("normals", 1.5)])
def test_shipped_beats_k_means_over_patches(shipped, floor, pictures, slot, gain):
    """In dB, by more than the small floor is short of the whole one."""
    pixels = pictures[slot]
    assert psnr_of(painted(shipped, pixels), pixels) > psnr_of(painted(floor, pixels), pixels) + gain + 0.2


def test_shipped_keeps_masks_and_normals(shipped, pictures):
    """The acceptance of the recipe: IoU 0.90, 20 degrees."""
    back = {slot: painted(shipped, pictures[slot]) for slot in ("mask", "normals")}
    iou = [mask_iou(*pair) for pair in zip(back["mask"], pictures["mask"], strict=True)]
    degrees = [normal_angle(*pair) for pair in zip(back["normals"], pictures["normals"], strict=True)]
    assert np.mean(iou) > 0.94 and np.mean(degrees) < 20


def test_shipped_uses_its_codes(shipped, pictures):
    codes = np.concatenate([shipped.encode(torch.from_numpy(pixels)).flatten() for pixels in pictures.values()])
    assert len(np.unique(codes)) > 0.6 * shipped.codebook_size


def test_shipped_is_not_blind_to_color(shipped, pictures):
    """PSNR of masks hides a gray tokenizer; hue, saturation and the angle of normals do not."""
    back = painted(shipped, pictures["image"])
    assert saturation_kept(back, pictures["image"]) > 0.8
    assert hue_error(back, pictures["image"]) < 15


def test_a_gray_tokenizer_would_be_noticed(shipped, pictures):
    gray = np.repeat(painted(shipped, pictures["image"]).mean(-1, keepdims=True), 3, -1)
    assert abs(saturation_kept(gray, pictures["image"])) < 1e-6 and hue_error(gray, pictures["image"]) > 80
    normals = np.repeat(painted(shipped, pictures["normals"]).mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    angles = [normal_angle(*pair) for pair in zip(normals, pictures["normals"], strict=True)]
    assert np.mean(angles) > 45
