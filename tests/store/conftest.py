"""Makes the modules beside it importable, in spawned workers too; a tiny tokenizer and pictures that tests share."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from openlvm.core.images import write_image
from openlvm.sources.layouts import ImageFolder
from openlvm.tokenizer.folder import save_tokenizer
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig


@pytest.fixture(scope="session")
def tiny_vqgan(tmp_path_factory) -> Path:
    """A random VQGAN of 16 x 16 pixels, as a folder."""
    torch.manual_seed(0)
    shape = VQGANConfig(
        image_size=16,
        width=8,
        multipliers=(1, 1, 1),
        num_res_blocks=1,
        latent_channels=8,
        code_channels=4,
        codebook_size=32,
        norm_groups=4,
    )
    at = tmp_path_factory.mktemp("tokenizer") / "vqgan"
    save_tokenizer(VQGAN(shape), at)
    return at


@pytest.fixture
def picture_folder(tmp_path) -> ImageFolder:
    """12 random pictures in parts of 3."""
    chance = np.random.default_rng(0)
    for number in range(12):
        write_image(tmp_path / "pictures" / f"{number}.png", chance.integers(0, 256, (20, 24, 3), dtype=np.uint8))
    return ImageFolder(at=tmp_path / "pictures", records_per_part=3)
