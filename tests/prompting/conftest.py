"""A tokenizer that loses nothing and a decoder with opinions, small enough to check the engine against slow loops."""

import numpy as np
import pytest
import torch

from openlvm.bundle import Bundle, SpecialIds
from openlvm.core.images import ImagePreparation
from openlvm.model.decoder import Decoder, DecoderConfig

K = 16


class ColorTokenizer:
    """8 x 8 pictures of 2 x 2 squares in one of 16 colors: 4 codes, exactly invertible."""

    image_size, codes_per_image, codebook_size = 8, 4, K
    fingerprint = codes_fingerprint = "colors"
    preparation = ImagePreparation(size=8, fit="squash", filter="box")
    palette = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (K, 3), dtype=np.uint8))

    def encode(self, pixels):
        cells = pixels[:, 1::4, 1::4].reshape(len(pixels), 4, 1, 3).int()
        return (cells - self.palette.int()).abs().sum(-1).argmin(-1)

    def decode(self, codes):
        assert 0 <= int(codes.min()) <= int(codes.max()) < K
        cells = self.palette[codes].view(len(codes), 2, 2, 3)
        return cells.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)


def make_decoder(vocab_size: int = K + 5, context: int = 33) -> Decoder:
    config = DecoderConfig(
        vocab_size=vocab_size, hidden_size=32, num_layers=2, num_heads=2, mlp_size=48, context=context
    )
    decoder = Decoder(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for weight in decoder.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3 + (weight.ndim == 1))
    return decoder


@pytest.fixture
def decoder() -> Decoder:
    return make_decoder()


@pytest.fixture
def tokenizer() -> ColorTokenizer:
    return ColorTokenizer()


@pytest.fixture
def bundle(decoder, tokenizer) -> Bundle:
    """8 images of 4 codes, with a BOS."""
    return Bundle(tokenizer=tokenizer, decoder=decoder, special=SpecialIds.after(K), context=33)


@pytest.fixture
def bare_bundle(tokenizer) -> Bundle:
    """8 images of 4 codes, no special ids at all, as released models."""
    return Bundle(tokenizer=tokenizer, decoder=make_decoder(K, 32), special=SpecialIds(), context=32)


@pytest.fixture
def pictures(tokenizer) -> list[np.ndarray]:
    """Ten pictures uint8 [8, 8, 3] that the tokenizer reproduces."""
    codes = torch.randint(0, K, (10, 4), generator=torch.Generator().manual_seed(3))
    return list(tokenizer.decode(codes).numpy())
