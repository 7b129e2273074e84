"""The classical start of a tokenizer: k-means over patches of pixels, put into the weights of a VQGAN.

Half a minute of k-means beats minutes of training (docs/log.md, 2026-11-21), so a VQGAN with `patch_shortcut` begins as
exactly that: its linear shortcut projects patches onto principal axes, its codebook holds the centers, and its
convolutions, whose last layers begin at zero, learn what the shortcut misses. Letters: P patches, E pixel values of a
patch, C code channels, K centers.
"""

from dataclasses import dataclass

import torch
from torch import nn

from openlvm.tokenizer.quantizers.vq import VectorQuantizer
from openlvm.tokenizer.vqgan import VQGAN, to_unit_range

ROWS_AT_ONCE = 16_384  # bounds the [rows, K] matrix of distances: 64 MiB at 1024 centers


@dataclass(frozen=True, eq=False)
class Centers:
    """k-means centers float32 [K, C] and how many points chose each, float32 [K]."""

    vectors: torch.Tensor
    count: torch.Tensor


def patches_of(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """Cut pictures into squares: float [B, 3, H, W] -> [B*h*w, 3*size*size], channel first as convolutions order it."""
    squares = pixels.unfold(2, size, size).unfold(3, size, size)  # [B, 3, h, w, size, size]
    return squares.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * size * size)


def nearest_center(points: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """Index of the nearest center: float [P, C], [K, C] -> int64 [P]."""
    half_norm = centers.square().sum(1) / 2
    chunks = points.split(ROWS_AT_ONCE)
    return torch.cat([torch.addmm(half_norm, chunk, centers.T, alpha=-1).argmin(1) for chunk in chunks])


def k_means(points: torch.Tensor, num_centers: int, *, iterations: int, generator: torch.Generator) -> Centers:
    """Lloyd's k-means; a center that nobody chose moves to a random point.

    Args:
        points: float32 [P, C], P at least num_centers.
        generator: the only source of chance.
    """
    if len(points) < num_centers:
        raise ValueError(
            f"{num_centers} centers need at least as many patches, given {len(points)}; give more pictures"
        )
    centers = points[torch.randperm(len(points), generator=generator)[:num_centers]].clone()
    count = torch.ones(num_centers)
    for _ in range(iterations):
        chosen = nearest_center(points, centers)
        count = torch.bincount(chosen, minlength=num_centers).float()
        total = torch.zeros_like(centers).index_add_(0, chosen, points)
        centers = total / count.clamp(min=1)[:, None]
        empty = torch.nonzero(count == 0)[:, 0]
        centers[empty] = points[torch.randint(len(points), (len(empty),), generator=generator)]
    return Centers(centers, count)


def principal_axes(points: torch.Tensor, num_axes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [E] and the num_axes orthonormal directions [num_axes, E] of largest variance of float32 points [P, E]."""
    mean = points.mean(0)
    centered = points - mean
    _, vectors = torch.linalg.eigh(centered.T @ centered / len(points))  # ascending
    return mean, vectors.flip(1)[:, :num_axes].T.contiguous()


@torch.no_grad()
def start_from_patches(
    vqgan: VQGAN, pictures: torch.Tensor, *, num_patches: int, iterations: int, generator: torch.Generator
) -> None:
    """Make a fresh VQGAN equal to k-means over patches; its networks add nothing yet.

    Args:
        vqgan: with `patch_shortcut` and the VQ quantizer.
        pictures: uint8 [B, H, W, 3], a sample of the training pictures.
        num_patches: patches drawn from them for k-means.
        iterations: of Lloyd's algorithm.
        generator: the only source of chance.
    """
    config = vqgan.config
    if not config.patch_shortcut or not isinstance(vqgan.quantize, VectorQuantizer):
        raise ValueError("starting from patches needs patch_shortcut=True and quantizer='vq'")
    size, channels = config.patch_size, config.code_channels
    patches = patches_of(to_unit_range(pictures), size)  # [P, E]
    patches = patches[torch.randperm(len(patches), generator=generator)[:num_patches]]
    mean, axes = principal_axes(patches, channels)
    projected = (patches - mean) @ axes.T  # [P, C]
    centers = k_means(projected, config.codebook_size, iterations=iterations, generator=generator)

    vqgan.quantize.set_codebook(centers.vectors, centers.count * (config.codebook_size / centers.count.sum()))
    _fill(vqgan.patch_embed, axes.view(channels, 3, size, size), -axes @ mean)
    # A ConvTranspose2d has one bias a channel: of the mean patch (flat, over many pictures) it paints those means.
    _fill(vqgan.patch_paint, axes.view(channels, 3, size, size), mean.view(3, -1).mean(1))
    networks_end = [vqgan.decoder.conv_out] if config.patches_only else [vqgan.quant_conv, vqgan.decoder.conv_out]
    for layer in networks_end:
        _fill(layer, torch.zeros_like(layer.weight), torch.zeros(1))
    _whiten_input_of_decoder(vqgan, projected.std(0))


def _fill(layer: nn.Conv2d | nn.ConvTranspose2d, weight: torch.Tensor, bias: torch.Tensor) -> None:
    assert layer.bias is not None
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def _whiten_input_of_decoder(vqgan: VQGAN, spread: torch.Tensor) -> None:
    """Let the convolutions of the decoder see code channels of equal size, [C] being their standard deviations."""
    layer = vqgan.post_quant_conv
    if vqgan.config.latent_channels == vqgan.config.code_channels:
        _fill(layer, torch.diag(1 / spread.clamp(min=1e-3))[:, :, None, None], torch.zeros(1))
