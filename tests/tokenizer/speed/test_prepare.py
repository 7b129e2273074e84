"""A tokenizer prepared for inference is the tokenizer: equal codes, pictures, names; bfloat16 nearly."""

import copy

import pytest
import torch

from openlvm.sources.pack import PackPhotos
from openlvm.tokenizer.folder import load_tokenizer, save_tokenizer
from openlvm.tokenizer.quantizers.interface import rows_of
from openlvm.tokenizer.speed import prepare
from openlvm.tokenizer.speed.layers import FastResBlock, FoldedUpsample
from openlvm.tokenizer.speed.prepare import PreparedVQGAN, compare_precisions, prepare_for_inference
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig, to_unit_range

LARGE_MAPS = VQGANConfig(
    image_size=128, width=64, multipliers=(1, 2, 2), num_res_blocks=1, latent_channels=8, code_channels=8,
    codebook_size=256, attention_at=(32,), mid_attention=True, pixel_range="-1..1", patch_shortcut=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randint(0, 256, (3, 3, 16, 16), generator=generator).float()
    smooth = torch.nn.functional.interpolate(coarse, size=128, mode="bilinear")
    return smooth.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@pytest.fixture(scope="module")
def plain(pixels: torch.Tensor) -> VQGAN:
    """Random weights; the codes are latents of the pictures, so that many are used."""
    torch.manual_seed(0)
    vqgan = VQGAN(LARGE_MAPS).eval()
    for value in vqgan.parameters():
        value.data += 0.05 * torch.randn(value.shape) * value.data.abs().mean()
    with torch.inference_mode():
        rows = rows_of(vqgan.latents(to_unit_range(pixels[:1])))
    vqgan.quantize.set_codebook(rows[torch.randperm(len(rows))[: LARGE_MAPS.codebook_size]])
    return vqgan


def kinds(module: torch.nn.Module) -> set[type]:
    return {type(layer) for layer in module.modules()}


def test_prepared_gives_equal_codes_and_pictures(plain, pixels):
    """Codes equal, pixels within 1e-4; attention, signed pixels and the patch shortcut included; in one part."""
    prepared = prepare_for_inference(plain)
    assert {FastResBlock, FoldedUpsample} <= kinds(prepared) and prepared._part == 4
    codes = plain.encode(pixels)
    assert codes.unique().numel() > 50
    assert torch.equal(prepared.encode(pixels), codes)
    vectors = plain.quantize.vectors(codes).view(3, 32, 32, -1).permute(0, 3, 1, 2)
    with torch.inference_mode():
        assert (prepared.paint(vectors) - plain.paint(vectors)).abs().max() < 1e-4
    assert (prepared.decode(codes).int() - plain.decode(codes)).abs().max() <= 1  # where rounding falls


def test_prepared_has_the_names_and_leaves_the_given_as_it_is(plain, pixels):
    given = copy.deepcopy(plain).train()
    before = {name: value.clone() for name, value in given.state_dict().items()}
    prepared = prepare_for_inference(given)
    assert (prepared.fingerprint, prepared.codes_fingerprint) == (plain.fingerprint, plain.codes_fingerprint)
    assert prepared.image_size == 128 and prepared.codes_per_image == 1024 and prepared.codebook_size == 256
    prepared.decode(prepared.encode(pixels[:1]))
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    assert given.training and given.encoder.down[0].block[0].norm1.weight.requires_grad
    assert not prepared.training and not any(value.requires_grad for value in prepared.parameters())
    assert FastResBlock not in kinds(given)


def test_prepared_shares_the_weights_that_stay(plain):
    prepared = prepare_for_inference(plain)
    assert prepared.encoder.conv_in.weight.data_ptr() == plain.encoder.conv_in.weight.data_ptr()


def test_batches_are_worked_off_in_parts(plain, pixels, monkeypatch):
    monkeypatch.setitem(prepare.PIXELS_AT_ONCE, "cpu", 2 * 128**2)
    prepared = prepare_for_inference(plain)
    seen = []
    prepared.encoder.register_forward_hook(lambda _, given, made: seen.append(len(made)))
    assert torch.equal(prepared.encode(pixels), plain.encode(pixels)) and seen == [2, 1]
    assert prepared._scratch._block.numel() == 0


def test_bf16_rounds_weights_once_and_keeps_the_quantizer(plain, pixels):
    prepared = prepare_for_inference(plain, "bf16")
    assert prepared.encoder.network.conv_in.weight.dtype == torch.bfloat16
    assert prepared.quantize.embedding.weight.dtype == torch.float32
    folded = prepared.decoder.network.up[1].upsample.weight
    whole = FoldedUpsample(plain.decoder.up[1].upsample, torch.float32).weight
    assert torch.equal(folded, whole.bfloat16())
    share = (prepared.encode(pixels) == plain.encode(pixels)).float().mean()
    assert 0.7 < share < 1


def test_compare_precisions_of_the_shipped_tokenizer():
    """Held-out photographs: at most a twentieth of the codes change, and the pictures by less than 0.05 dB."""
    shipped = load_tokenizer("demo")
    source = PackPhotos(split="heldout")
    records = [record for record in source.read(source.parts()[0])][:8]
    photos = torch.stack([torch.tensor(shipped.preparation(record.slots["image"][0])) for record in records])
    change = compare_precisions(shipped, photos)
    assert 0.95 < change.share_equal <= 1 and abs(change.psnr_change) < 0.05
    exact, rounded = (prepare_for_inference(shipped, precision) for precision in ("fp32", "bf16"))
    assert change.share_equal == (exact.encode(photos) == rounded.encode(photos)).double().mean().item()


def test_what_cannot_be_prepared_or_saved_says_so(plain, tmp_path):
    prepared = prepare_for_inference(plain)
    assert isinstance(prepared, PreparedVQGAN)
    with pytest.raises(ValueError, match="only a VQGAN can be prepared for inference, and once; given PreparedVQGAN"):
        prepare_for_inference(prepared)
    with pytest.raises(ValueError, match="precision must be one of .*given 'fp16'"):
        prepare_for_inference(plain, "fp16")
    with pytest.raises(ValueError, match="save the one it was prepared from"):
        save_tokenizer(prepared, tmp_path / "tok")
