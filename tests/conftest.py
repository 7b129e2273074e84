"""Fixtures that many tests share; what they are made of is in fakes.py."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # makes `fakes` importable, in spawned workers too
from fakes import FakeTokenizer, StoreMaker


@pytest.fixture
def fake_tokenizer() -> FakeTokenizer:
    """A tokenizer of 4 codes over 16 colors."""
    return FakeTokenizer()


@pytest.fixture
def make_store(tmp_path: Path) -> StoreMaker:
    """Call with parts of `Shape`s."""
    return StoreMaker(tmp_path)


@pytest.fixture(scope="session")
def tokenizer_at(tmp_path_factory):
    """A folder with a tokenizer of 4 codes an image of 16 pixels."""
    import torch

    from openlvm.tokenizer.folder import save_tokenizer
    from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig

    torch.manual_seed(0)
    shape = VQGANConfig(
        image_size=16,
        width=8,
        multipliers=(1, 1, 1, 1),
        num_res_blocks=1,
        latent_channels=4,
        code_channels=4,
        codebook_size=32,
        norm_groups=4,
    )
    at = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(VQGAN(shape).eval(), at)
    return at


@pytest.fixture(scope="session")
def lvm_at(tokenizer_at, tmp_path_factory):
    """A bundle folder of that tokenizer and a random decoder of 16 images."""
    from openlvm.bundle import SpecialIds, save_bundle, vocab_size_for
    from openlvm.model.decoder import Decoder, DecoderConfig
    from openlvm.tokenizer.folder import load_tokenizer

    tokenizer = load_tokenizer(tokenizer_at)
    context = 16 * tokenizer.codes_per_image + 1
    vocab = vocab_size_for(tokenizer.codebook_size)
    shape = DecoderConfig(
        vocab_size=vocab, hidden_size=16, mlp_size=32, num_layers=1, num_heads=2, context=context, tie_embeddings=True
    )
    at = tmp_path_factory.mktemp("bundles") / "lvm"
    special = SpecialIds.after(tokenizer.codebook_size)
    save_bundle(at, tokenizer=tokenizer, decoder=Decoder(shape), special=special, context=context, card="A test.")
    return at


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of small tensors are faster so, and their processes inherit it."""
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
