"""The papers' recipes: what they promise about batch, rate, length and first loss."""

import numpy as np
import pytest
import torch

from openlvm.model.decoder import Decoder
from openlvm.model.sizes import SIZES
from openlvm.recipes import RECIPES
from openlvm.training.guards.expected import alarm_of, band_at

LVM = ("lvm_300m", "lvm_600m", "lvm_1b", "lvm_3b", "lvm_7b")
DELVM = ("delvm_80m", "delvm_300m", "delvm_1b", "delvm_kd_1b_to_300m")


@pytest.mark.parametrize("name", LVM)
def test_lvm_trains_one_epoch_of_420_billion_codes(name):
    config = RECIPES[name]()
    train, optim = config.decoder.train, config.decoder.train.optim
    assert train.steps * train.positions_per_step * 4096 == pytest.approx(420e9, rel=1e-6)
    assert train.positions_per_step * 4096 == 524_288 and train.positions_per_step % train.positions_per_forward == 0
    assert (optim.lr, optim.lr * optim.final_share, optim.warmup_steps) == (1.5e-4, pytest.approx(3e-5), 8000)
    assert optim.decay_all and optim.weight_decay == 0.1 and config.one_epoch and config.decoder.max_passes == 1
    assert config.model == SIZES[name.removeprefix("lvm_")]
    assert (train.parallel != "ddp") == (config.model.num_parameters > 2e9)


@pytest.mark.parametrize("name", DELVM)
def test_delvm_trains_as_its_configuration_says(name):
    config = RECIPES[name]()
    train, optim = config.decoder.train, config.decoder.train.optim
    assert train.positions_per_step * 16 * 256 == 262_144 and train.steps == 40_000
    assert (optim.lr, optim.lr * optim.final_share, optim.warmup_steps) == (1.5e-4, pytest.approx(1.5e-5), 224)
    assert config.max_images == 8 and config.model.context == 8 * 256 + 1 and config.decoder.embedding == "codebook"
    assert (config.decoder.distill is not None) == (name == "delvm_kd_1b_to_300m")


@torch.no_grad()
def test_first_loss_of_a_fresh_decoder_lies_in_the_band():
    """Narrower than the 300M: a decoder of one layer of its width has logits of the same spread."""
    shape = SIZES["300m"]
    small = type(shape)(**{**vars(shape), "num_layers": 1})
    codes = torch.randint(0, 8192, (1, 257), generator=torch.Generator().manual_seed(0))
    losses = torch.nn.functional.cross_entropy(Decoder(small)(codes[:, :-1])[0], codes[0, 1:])
    bands = RECIPES["lvm_300m"]().decoder.train.expected_loss
    assert alarm_of(bands, 1, float(losses)) == ""
    low, high = band_at(bands, 1)
    assert np.log(8292) < float(losses) < high and high - low < 0.5
    assert "above the band" in alarm_of(bands, 801_086, 6.2) and alarm_of(bands, 801_086, 5.6) == ""


@pytest.mark.parametrize("name", [*LVM, *DELVM, "ladder_10m", "ladder_300m"])
def test_docstrings_say_what_a_reader_needs(name):
    doc = RECIPES[name].__doc__
    needed = ("Run:", "Smaller:", "Result:") if "ladder" in name else ("Paper:", "Run:", "Smaller:", "Cost:", "Expect:")
    assert all(word in doc for word in needed) and name in doc


def test_ladders_rise_and_toys_differ_in_size_alone():
    ladder = [RECIPES[f"ladder_{size}"]() for size in ("10m", "30m", "100m", "300m")]
    sizes = [config.model.num_parameters for config in ladder]
    assert sizes == sorted(sizes)
    for config, size in zip(ladder, (10e6, 30e6, 100e6, 300e6), strict=True):
        assert config.model.num_parameters == pytest.approx(size, rel=0.05)
        assert config.decoder.train.positions_per_step % config.decoder.train.positions_per_forward == 0
    toys = [RECIPES[f"toy_{size}"]() for size in ("300k", "1m", "3m")]
    assert len({toy.decoder.train for toy in toys}) == 1
    assert toys[0].decoder.train.steps == 625
    assert len({toy.decoder.components for toy in toys}) == len({toy.decoder.heldout for toy in toys}) == 1
    splits = {store.name: store.source.split for store in toys[0].stores}
    assert {splits[str(part.store)] for part in toys[0].decoder.components} == {"train"}
    assert {splits[str(part.store)] for part in toys[0].decoder.heldout} == {"heldout"}
