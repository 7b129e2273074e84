"""Settings of quantizers: defaults suit all, what has no effect is refused, every kind survives its folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from openlvm.tokenizer.folder import load_tokenizer, save_tokenizer
from openlvm.tokenizer.quantizers.interface import QuantizerTraining
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig, make_quantizer

TINY = VQGANConfig(
    image_size=16, width=8, multipliers=(1, 2), num_res_blocks=1, latent_channels=6, code_channels=4,
    codebook_size=16, norm_groups=4,
)  # fmt: skip
KINDS = {
    "vq": TINY,
    "vq at unit length": replace(TINY, normalize_codes=True),
    "fsq": replace(TINY, quantizer="fsq", fsq_levels=(4, 4), code_channels=2),
    "lfq": replace(TINY, quantizer="lfq"),
    "ibq": replace(TINY, quantizer="ibq"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_settings_by_default_suit_every_quantizer(kind):
    quantizer = make_quantizer(KINDS[kind])
    quantizer.train_with(QuantizerTraining())
    assert quantizer.codebook_size == 16


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("vq", {"entropy": 0.1}, r"\['entropy'\] have no effect with quantizer='vq'"),
        ("fsq", {"commitment": 1.0}, r"\['commitment'\] have no effect with quantizer='fsq'"),
        ("lfq", {"learn_by": "gradient", "ema_decay": 0.9}, r"\['learn_by', 'ema_decay'\] have no effect"),
        ("ibq", {"gradient": "rotation"}, r"\['gradient'\] have no effect with quantizer='ibq'"),
        ("vq", {"ema_decay": 1.0}, r"ema_decay=1.0 must lie in 0..1"),
        ("vq", {"commitment": -1.0}, r"commitment=-1.0 must be at least 0"),
    ],
)
def test_settings_reject_what_has_no_effect(kind, settings, words):
    with pytest.raises(ValueError, match=words):
        make_quantizer(KINDS[kind]).train_with(QuantizerTraining(**settings))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quantizer": "lfq", "codebook_size": 17}, "code_channels=4 means codebook_size=16, given 17"),
        ({"quantizer": "ibq", "normalize_codes": True}, "normalize_codes=True has no effect with quantizer='ibq'"),
        ({"quantizer": "lfq", "fsq_levels": (4, 4)}, "have no effect with quantizer='lfq'"),
    ],
)
def test_config_rejects_contradictions(settings, words):
    with pytest.raises(ValueError, match=words):
        replace(TINY, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_tokenizer_of_every_kind_survives_its_folder(kind, tmp_path):
    torch.manual_seed(0)
    vqgan = VQGAN(KINDS[kind]).eval()
    save_tokenizer(vqgan, tmp_path / "tok")
    again = load_tokenizer(tmp_path / "tok")
    pictures = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8))
    codes = again.encode(pictures)
    assert again.fingerprint == vqgan.fingerprint and len(codes.unique()) > 1
    assert torch.equal(codes, vqgan.encode(pictures)) and torch.equal(again.decode(codes), vqgan.decode(codes))
    with torch.no_grad():
        painted, quantized = vqgan(pictures.permute(0, 3, 1, 2) / 255)
    assert torch.equal(quantized.codes, codes)
    off = (painted.clamp(0, 1).permute(0, 2, 3, 1) * 255).round() - again.decode(codes).float()
    assert off.abs().max() <= 1


def test_unit_length_is_part_of_what_decides_codes():
    torch.manual_seed(0)
    plain = VQGAN(TINY)
    unit = VQGAN(replace(TINY, normalize_codes=True))
    unit.load_state_dict(plain.state_dict())
    assert plain.codes_fingerprint != unit.codes_fingerprint
    codes = torch.arange(16)
    assert torch.allclose(unit.quantize.vectors(codes).norm(dim=1), torch.ones(16))
    assert not torch.allclose(plain.quantize.vectors(codes).norm(dim=1), torch.ones(16))
