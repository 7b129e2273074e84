"""A tokenizer and an LVM of a second's making, untrained, and pictures: what the verbs work on in tests."""

import json

import numpy as np
import pytest

from openlvm.cli.main import main
from openlvm.core.images import write_image


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


@pytest.fixture
def pictures(tmp_path):
    """A folder of six pictures, a.png to f.png, 20 x 16 pixels of one color each."""
    folder = tmp_path / "pictures"
    for number, name in enumerate("abcdef"):
        pixels = np.full((20, 16, 3), 40 * number, dtype=np.uint8)
        write_image(folder / f"{name}.png", pixels)
    return folder


@pytest.fixture
def openlvm_json(capsys):
    """Run a verb with --json; its result."""

    def run(*words):
        status = main([*map(str, words), "--json"])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return json.loads(printed.out)

    return run


@pytest.fixture
def openlvm_error(capsys):
    """Run a verb that must fail: exit status 2, nothing on stdout, one line on stderr, which is given back."""

    def run(*words):
        status = main([*map(str, words)])
        printed = capsys.readouterr()
        assert status == 2
        assert printed.out == ""
        assert printed.err.startswith("openlvm: error: ")
        assert printed.err.count("\n") == 1
        return printed.err.strip()

    return run
