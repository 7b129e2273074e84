"""The VQGAN: the released layout, its codes, its fingerprints, its folder."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from openlvm.tokenizer.folder import load_tokenizer, save_tokenizer
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig, to_unit_range

TINY = VQGANConfig(
    image_size=16, width=8, multipliers=(1, 2, 2), num_res_blocks=1, latent_channels=6, code_channels=4,
    codebook_size=24, norm_groups=4,
)  # fmt: skip


def numbered(model: torch.nn.Module) -> torch.nn.Module:
    """Fill all weights from NumPy, in the order of their names, so that a reference can be recorded."""
    chance = np.random.default_rng(7)
    for name, value in sorted(model.state_dict().items()):
        if not name.startswith("quantize.ema_"):
            value.copy_(torch.from_numpy(chance.normal(0, 0.25, value.shape).astype(np.float32)))
    return model


def pictures(count: int = 2, size: int = 16) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


@pytest.fixture
def tiny() -> VQGAN:
    return numbered(VQGAN(TINY)).eval()


def test_vqgan_matches_released_layout():
    """Counts of facts of the release: 146 244 675 parameters in 277 tensors (LVM's vqvae_ckpts)."""
    released = VQGANConfig(
        image_size=256, width=128, multipliers=(1, 2, 2, 4, 6), latent_channels=64, code_channels=64, codebook_size=8192
    )
    with torch.device("meta"):
        state = VQGAN(released).shipped_state()
    assert (sum(value.numel() for value in state.values()), len(state)) == (146_244_675, 277)
    assert state["decoder.up.3.block.0.nin_shortcut.weight"].shape == (512, 768, 1, 1)
    assert state["quantize.embedding.weight"].shape == (8192, 64)


def test_vqgan_matches_official_code():
    """Codes and pixels recorded from ytongbai/LVM b6de939 `vqvae_muse.py` with the weights of `numbered`."""
    reference = json.loads(Path(__file__).with_name("golden_muse.json").read_text())
    config = VQGANConfig(
        image_size=16, width=32, multipliers=(1, 2), num_res_blocks=1, latent_channels=6, code_channels=4,
        codebook_size=24, fit="squash",
    )  # fmt: skip
    ours = numbered(VQGAN(config)).eval()
    codes = ours.encode(pictures())
    assert codes.tolist() == reference["codes"]
    grid = ours.quantize.vectors(codes).view(2, 8, 8, 4).permute(0, 3, 1, 2)
    with torch.inference_mode():
        painted = ours.paint(grid)
    assert torch.allclose(painted[:, :, ::5, ::5].flatten(), torch.tensor(reference["pixels"]), atol=1e-5)


def test_vqgan_roundtrips_through_folder(tiny, tmp_path):
    save_tokenizer(tiny, tmp_path / "tok")
    loaded = load_tokenizer(tmp_path / "tok")
    assert loaded.fingerprint == tiny.fingerprint and loaded.config == tiny.config
    codes = tiny.encode(pictures())
    assert torch.equal(loaded.encode(pictures()), codes)
    assert torch.equal(loaded.decode(codes), tiny.decode(codes))


def test_fingerprint_of_rounded_weights_is_that_of_what_ships(tiny, tmp_path):
    save_tokenizer(tiny, tmp_path / "tok", dtype=torch.bfloat16)
    once = load_tokenizer(tmp_path / "tok")
    assert once.fingerprint != tiny.fingerprint
    save_tokenizer(once, tmp_path / "again", dtype=torch.bfloat16)
    assert load_tokenizer(tmp_path / "again").fingerprint == once.fingerprint


def test_codes_fingerprint_ignores_the_decoder_only(tiny):
    codes, everything = tiny.codes_fingerprint, tiny.fingerprint
    with torch.no_grad():
        tiny.decoder.conv_out.bias.add_(1)
    assert tiny.codes_fingerprint == codes and tiny.fingerprint != everything
    with torch.no_grad():
        tiny.encoder.conv_out.bias.add_(1)
    assert tiny.codes_fingerprint != codes


def test_encode_is_the_nearest_code(tiny):
    with torch.inference_mode():
        latents = tiny.latents(to_unit_range(pictures()))  # [B, C, h, w]
    rows = latents.permute(0, 2, 3, 1).reshape(-1, TINY.code_channels)
    slow = [int(((row - tiny.quantize.embedding.weight) ** 2).sum(1).argmin()) for row in rows]
    assert tiny.encode(pictures()).flatten().tolist() == slow


def test_encode_leaves_training_state_alone(tiny):
    tiny.train()
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    tiny.encode(pictures())
    assert tiny.training and all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())


def test_patch_shortcut_adds_its_part(tiny):
    wide = numbered(VQGAN(replace(TINY, patch_shortcut=True))).eval()
    plain = VQGAN(TINY).eval()
    plain.load_state_dict(wide.shipped_state(), strict=False)
    pixels = to_unit_range(pictures())
    with torch.inference_mode():
        assert torch.allclose(wide.latents(pixels), plain.latents(pixels) + wide.patch_embed(pixels))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.rand(1, 16, 16, 3), "must be uint8 .* given torch.float32"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), r"must be uint8 \[B, H, W, 3\]"),
        (torch.zeros(1, 16, 20, 3, dtype=torch.uint8), "must be 16 x 16 pixels, given 16 x 20"),
    ],
)
def test_encode_rejects_wrong_pictures(tiny, given, words):
    with pytest.raises(ValueError, match=words):
        tiny.encode(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.full((1, 16), 24), "must lie in 0 .. 23, given 24 .. 24"),
        (torch.full((1, 16), -1), "must lie in 0 .. 23, given -1 .. -1"),
        (torch.zeros(1, 9, dtype=torch.int64), r"must be int64 \[B, 16\]"),
    ],
)
def test_decode_rejects_foreign_codes(tiny, given, words):
    with pytest.raises(ValueError, match=words):
        tiny.decode(given)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_size": 18}, "image_size=18 is not divisible by 4"),
        ({"norm_groups": 5}, "norm_groups=5 does not divide"),
        ({"quantizer": "fsq", "fsq_levels": (3, 3)}, "code_channels=2 and codebook_size=9, given 4 and 24"),
        ({"fsq_levels": (3, 3)}, "have no effect"),
        ({"patches_only": True}, "leaves no encoder"),
    ],
)
def test_config_rejects_contradictions(settings, words):
    with pytest.raises(ValueError, match=words):
        replace(TINY, **settings)


def test_load_rejects_damaged_folders(tiny, tmp_path):
    at = tmp_path / "tok"
    with pytest.raises(FileNotFoundError, match="no tokenizer folder at"):
        load_tokenizer(at)
    with pytest.raises(ValueError, match="no tokenizer .* called 'dmeo'; did you mean demo"):
        load_tokenizer("dmeo")
    save_tokenizer(tiny, at)
    weights = (at / "model.safetensors").read_bytes()
    (at / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(ValueError, match="damaged or not a safetensors file"):
        load_tokenizer(at)
    (at / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no tokenizer weights at"):
        load_tokenizer(at)
    (at / "model.safetensors").write_bytes(weights)
    stored = json.loads((at / "config.json").read_text())
    (at / "config.json").write_text(json.dumps(stored | {"num_res_blocks": 2}))
    with pytest.raises(ValueError, match="does not fit its config: missing .*block.1"):
        load_tokenizer(at)
    (at / "config.json").write_text(json.dumps(stored | {"codebook_size": 25}))
    with pytest.raises(ValueError, match=r"shapes .*\[24, 4\], \[25, 4\]"):
        load_tokenizer(at)
    (at / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not a readable tokenizer config"):
        load_tokenizer(at)
