"""What a tokenizer is to the rest of the system: uint8 pictures in, integer codes out, and back.

Knows no network. Letters: B pictures, H W pixels, N codes per picture, K codebook size.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from openlvm.core.images import ImagePreparation


class Tokenizer(Protocol):
    """Anything that turns pictures into codes `0 .. K-1` on a square grid, row by row, and back."""

    preparation: ImagePreparation
    """How a picture of any size becomes the tokenizer's square."""

    @property
    def image_size(self) -> int:
        """Side of the square, pixels."""

    @property
    def codes_per_image(self) -> int:
        """N, a square number."""

    @property
    def codebook_size(self) -> int:
        """K."""

    @property
    def fingerprint(self) -> str:
        """Names all weights and settings: equal fingerprints give equal codes and equal pictures."""

    @property
    def codes_fingerprint(self) -> str:
        """Names what decides the codes (encoder, quantizer, preparation): stores of codes are guarded by it."""

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Codes of prepared pictures: uint8 [B, H, W, 3] -> int64 [B, N] in 0 .. K-1."""

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Pictures of codes: int64 [B, N] in 0 .. K-1 -> uint8 [B, H, W, 3]."""


def check_pixels(pixels: torch.Tensor, image_size: int) -> None:
    """Refuse anything but uint8 [B, image_size, image_size, 3]; floats in particular, whose range is anyone's guess."""
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
        raise ValueError(f"pictures must be uint8 [B, H, W, 3], given {pixels.dtype} {list(pixels.shape)}")
    if pixels.shape[1:3] != (image_size, image_size):
        raise ValueError(
            f"pictures must be {image_size} x {image_size} pixels, given {pixels.shape[1]} x {pixels.shape[2]}; "
            "bring them to size with tokenizer.preparation(picture)"
        )


def check_codes(codes: torch.Tensor, codes_per_image: int, codebook_size: int) -> None:
    """Refuse anything but int64 [B, N] with values in 0 .. K-1: a special id must never become a picture."""
    if codes.dtype != torch.int64 or codes.ndim != 2 or codes.shape[1] != codes_per_image:
        raise ValueError(f"codes must be int64 [B, {codes_per_image}], given {codes.dtype} {list(codes.shape)}")
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < codebook_size:
        raise ValueError(f"codes must lie in 0 .. {codebook_size - 1}, given {int(codes.min())} .. {int(codes.max())}")


def fingerprint_of(tensors: Mapping[str, torch.Tensor], settings: Mapping[str, Any]) -> str:
    """SHA-256 of named tensors (as float32 values) and JSON-able settings; independent of order and storage type."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in sorted(tensors):
        values = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{list(values.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
