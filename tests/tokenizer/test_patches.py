"""Starting a VQGAN from k-means over patches."""

from dataclasses import replace

import pytest
import torch

from openlvm.tokenizer.patches import k_means, nearest_center, patches_of, principal_axes, start_from_patches
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig, to_unit_range

CONFIG = VQGANConfig(
    image_size=16, width=8, multipliers=(1, 1, 1), num_res_blocks=1, latent_channels=48, code_channels=48,
    codebook_size=32, norm_groups=4, patch_shortcut=True,
)  # fmt: skip


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def flat_pictures(count: int = 64) -> torch.Tensor:
    """Pictures of 4 x 4 flat squares in one of 8 colors each: 8 different patches in all."""
    table = torch.randint(0, 256, (8, 3), generator=generator(), dtype=torch.uint8)
    squares = table[torch.randint(0, 8, (count, 4, 4), generator=generator())]
    return squares.repeat_interleave(4, 1).repeat_interleave(4, 2)


def test_patches_match_a_slow_loop():
    pixels = to_unit_range(flat_pictures(2)) + torch.rand(2, 3, 16, 16, generator=generator())
    slow = [
        pixels[b, :, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].flatten()
        for b in range(2) for y in range(4) for x in range(4)
    ]  # fmt: skip
    assert torch.equal(patches_of(pixels, 4), torch.stack(slow))


def test_k_means_finds_separate_clusters():
    points = torch.cat([torch.randn(50, 2, generator=generator()) * 0.01 + center for center in (0, 5, 10)])
    centers = k_means(points, 3, iterations=20, generator=torch.Generator().manual_seed(4))
    assert sorted(centers.vectors.mean(1).round().tolist()) == [0, 5, 10]
    assert centers.count.tolist() == [50, 50, 50]
    with pytest.raises(ValueError, match="200 centers need at least as many patches, given 150"):
        k_means(points, 200, iterations=1, generator=generator())


def test_principal_axes_match_svd():
    points = torch.randn(500, 6, generator=generator()) @ torch.diag(torch.tensor([5.0, 4, 3, 2, 1, 0.1]))
    mean, axes = principal_axes(points, 2)
    _, _, reference = torch.linalg.svd(points - points.mean(0), full_matrices=False)
    assert torch.allclose((axes @ reference[:2].T).abs(), torch.eye(2), atol=1e-3)
    assert torch.allclose(mean, points.mean(0))


def test_start_equals_k_means_over_patches():
    pictures = flat_pictures()
    vqgan = VQGAN(CONFIG).eval()
    start_from_patches(vqgan, pictures, num_patches=600, iterations=10, generator=generator())
    back = vqgan.decode(vqgan.encode(pictures))
    assert (back.int() - pictures.int()).abs().max() <= 3  # 8 kinds of patches, 32 centers
    latents = vqgan.patch_embed(to_unit_range(pictures)).permute(0, 2, 3, 1).reshape(-1, 48)
    assert torch.equal(vqgan.encode(pictures).flatten(), nearest_center(latents, vqgan.quantize.embedding.weight))


def test_start_without_an_encoder_gives_the_same_codes():
    pictures = flat_pictures()
    whole, lean = VQGAN(CONFIG).eval(), VQGAN(replace(CONFIG, patches_only=True)).eval()
    for vqgan in (whole, lean):
        start_from_patches(vqgan, pictures, num_patches=600, iterations=10, generator=generator())
    assert torch.equal(lean.encode(pictures), whole.encode(pictures))
    assert torch.equal(lean.decode(lean.encode(pictures)), whole.decode(whole.encode(pictures)))
    assert not any(name.startswith(("encoder.", "quant_conv.")) for name in lean.shipped_state())


def test_start_leaves_the_networks_a_gradient():
    vqgan = VQGAN(CONFIG).train()
    start_from_patches(vqgan, flat_pictures(), num_patches=600, iterations=5, generator=generator())
    pixels = torch.rand(2, 3, 16, 16, generator=generator())
    painted, quantized = vqgan(pixels)
    ((painted - pixels).square().mean() + quantized.loss).backward()
    assert vqgan.decoder.conv_out.weight.grad.abs().max() > 0
    assert vqgan.quant_conv.weight.grad.abs().max() > 0


def test_start_rejects_a_vqgan_without_shortcut():
    with pytest.raises(ValueError, match="needs patch_shortcut=True"):
        start_from_patches(
            VQGAN(replace(CONFIG, patch_shortcut=False)), flat_pictures(), num_patches=9, iterations=1,
            generator=generator(),
        )  # fmt: skip
