"""Alarms: each fires when its value leaves its band and at no other time; and the measurements behind them."""

import math

import numpy as np
import pytest
import torch

from openlvm.sources.pack import PackObjects, PackPhotos
from openlvm.tokenizer.folder import load_tokenizer
from openlvm.tokenizer.vqgan import to_unit_range
from openlvm.training.tokenizer.adversarial import AdversarialConfig
from openlvm.training.tokenizer.health.diagnosis import (
    HEALTH_PARTS,
    diagnose,
    health_parts,
    hue_error,
    make_bands,
    saturation_kept,
    usage_values,
)
from openlvm.training.tokenizer.pictures import PictureSet, draw_pictures

ADVERSARY = AdversarialConfig(start_step=1000, patience=500)
BANDS = make_bands(settle_steps=200, adversarial=ADVERSARY)
HEALTHY = {
    "usage": 0.9, "perplexity_share": 0.5, "dead": 0.01, "latents_over_codes": 1.1,
    "input_low": 0.0, "input_high": 0.98, "outside": 0.01, "saturation": 0.8, "hue_degrees": 9.0,
    "discriminator": 1.4, "adaptive": 0.7, "loss": 1e9,
    "photos/psnr_below_best": 0.2, "photos/psnr_below_start": 0.6,
}  # fmt: skip


def names(values: dict[str, float], step: int = 5000) -> list[str]:
    return [alarm.name for alarm in diagnose(HEALTHY | values, step, BANDS)]


@pytest.mark.parametrize(
    ("name", "value", "said", "silent_until"),
    [
        ("usage", 0.11, "usage 11 %: codes collapse; revive more often (revive_every), lower the rate", 200),
        ("perplexity_share", 0.03, "perplexity_share 3.0 % of the codebook: few codes", 200),
        ("dead", 0.5, "dead 50 %: codes die faster", 200),
        ("latents_over_codes", 40.0, "40.0 times: latents run away", 200),
        ("input_low", -0.01, "negative pixels", 0),
        ("input_low", -1.0, "negative pixels", 0),
        ("input_high", 1 / 255, "input_high 0.003922: the brightest pixels", 0),
        ("input_high", 255.0, "divided twice, or not at all", 0),
        ("outside", 0.2, "outside 20 % of pixels: reconstructions leave 0..1", 200),
        ("saturation", 0.3, "saturation 30 % kept: reconstructions turn gray; raise loss.shrunken", 200),
        ("photos/psnr_below_best", 1.1, "photos/psnr_below_best 1.1 dB: reconstruction got worse", 200),
        ("photos/psnr_below_start", 1.2, "the discriminator costs more than 1 dB", 1000),
        ("discriminator", 0.05, "too strong", 1500),
        ("discriminator", 1.995, "tells nothing apart (2 is guessing)", 1500),
        ("adaptive", 9e3, "at its clamp", 1000),
        ("saturation", math.nan, "saturation nan % kept", 200),
    ],
)
def test_alarm_comes_when_a_value_leaves_its_band(name, value, said, silent_until):
    alarms = diagnose(HEALTHY | {name: value}, 5000, BANDS)
    assert [alarm.name for alarm in alarms] == [name] and said in alarms[0].message and "\n" not in alarms[0].message
    assert alarms[0].value == value or math.isnan(value)
    assert names({name: value}, silent_until) == [name]
    assert silent_until == 0 or names({name: value}, silent_until - 1) == []


def test_healthy_values_raise_no_alarm():
    assert names({}) == [] == diagnose({}, 5000, BANDS)


def test_discriminator_is_judged_by_the_scale_of_its_loss():
    """1.38 is guessing for the non-saturating loss (2 ln 2) and healthy for hinge."""
    other = make_bands(settle_steps=0, adversarial=AdversarialConfig(start_step=0, patience=0, kind="non-saturating"))
    assert names({"discriminator": 1.38}) == []
    assert "1.39 is guessing" in diagnose({"discriminator": 1.38}, 1, other)[0].message
    assert diagnose({"discriminator": 1.38}, 1, make_bands(settle_steps=0, adversarial=None)) == []


def test_every_band_says_where_it_is_from():
    assert all(band.source and band.advice and (band.low > -math.inf or band.high < math.inf) for band in BANDS)


def test_usage_is_not_judged_from_too_few_codes():
    numbers = {"used": 0.2, "perplexity": 12.8, "dead": 0.3}
    assert usage_values(**numbers, codes_seen=255, codebook_size=64) == {}
    expected = {"usage": 0.2, "perplexity_share": 0.2, "dead": 0.3}
    assert usage_values(**numbers, codes_seen=256, codebook_size=64) == pytest.approx(expected)


def pictures_and_paintings() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    pixels = torch.rand(4, 3, 8, 8)
    pixels[0] = 0.5  # nothing colorful
    return pixels, pixels + 0.2 * torch.randn(4, 3, 8, 8)


def test_color_matches_the_definition_in_numpy():
    """The obvious way, on uint8-scaled pixels, as tests/tokenizer/test_demo_tokenizer.py computes it."""
    pixels, painted = pictures_and_paintings()
    truth, back = (255 * x.clamp(0, 1).permute(0, 2, 3, 1).double().numpy() for x in (pixels, painted))
    truth, back = (x - x.mean(-1, keepdims=True) for x in (truth, back))
    size = np.linalg.norm(truth, axis=-1)
    colorful = size > 40
    along = (truth * back).sum(-1)[colorful] / size[colorful]
    cosine = along / np.linalg.norm(back, axis=-1)[colorful]
    assert 0 < colorful.mean() < 0.75
    assert saturation_kept(painted, pixels) == pytest.approx((along / size[colorful]).mean(), rel=1e-4)
    assert hue_error(painted, pixels) == pytest.approx(np.degrees(np.arccos(cosine)).mean(), rel=1e-4)


def test_color_knows_gray_and_perfect():
    pixels, _ = pictures_and_paintings()
    gray = pixels.mean(1, keepdim=True).expand_as(pixels)
    assert saturation_kept(gray, pixels) == pytest.approx(0, abs=1e-6) and hue_error(gray, pixels) == pytest.approx(90)
    assert saturation_kept(pixels, pixels) == pytest.approx(1) and hue_error(pixels, pixels) < 0.1
    assert math.isnan(saturation_kept(gray, gray)) and math.isnan(hue_error(gray, gray))


def means(parts: dict) -> dict[str, float]:
    return {name: float(total / weight) for name, (total, weight) in parts.items() if weight > 0}


def test_health_parts_add_up_over_micro_batches():
    """All but the last, a ratio of norms, which is averaged over the micro-batches."""
    pixels, painted = pictures_and_paintings()
    latents, quantized = torch.randn(4, 2, 3, 3) * 4, torch.randn(4, 2, 3, 3)
    whole = health_parts(pixels, painted, latents, quantized)
    halves = [health_parts(*(x[i : i + 2] for x in (pixels, painted, latents, quantized))) for i in (0, 2)]
    for name in HEALTH_PARTS[:-1]:
        total, weight = (sum(float(half[name][k]) for half in halves) for k in (0, 1))
        assert (float(whole[name][0]), float(whole[name][1])) == pytest.approx((total, weight), rel=1e-5), name
    assert tuple(whole) == HEALTH_PARTS
    found, low = means(whole), pixels.amin((1, 2, 3)).mean()
    assert found["input_low"] == pytest.approx(float(low)) and found["latents_over_codes"] == pytest.approx(4, rel=0.3)
    outside = [(painted[b, :, y, x] < -0.05).any() or (painted[b, :, y, x] > 1.05).any()
               for b in range(4) for y in range(8) for x in range(8)]  # fmt: skip
    assert found["outside"] == pytest.approx(np.mean(outside)) and 0 < found["outside"] < 1
    assert "saturation" not in means(health_parts(pixels[:1], painted[:1], latents, quantized))  # nothing colorful


def test_double_division_and_gray_are_noticed_from_pixels():
    pixels, painted = pictures_and_paintings()
    latents = torch.randn(4, 2, 3, 3)
    gray = painted.mean(1, keepdim=True).expand_as(painted).clamp(0, 1)
    found = means(health_parts(pixels / 255, gray, latents, latents))
    assert "input_high" in [alarm.name for alarm in diagnose(found, 5000, BANDS)]
    found = means(health_parts(pixels, gray, latents, latents))
    assert [alarm.name for alarm in diagnose(found, 5000, BANDS)] == ["saturation"]
    found = means(health_parts(pixels * 2 - 1, gray, latents, latents))
    assert "input_low" in [alarm.name for alarm in diagnose(found, 5000, BANDS)]


@torch.inference_mode()
def test_the_tokenizer_that_ships_raises_no_alarm():
    """On held-out photographs and annotations, masks included, whose black and white no decoder hits exactly."""
    vqgan, bad = load_tokenizer("demo").eval(), []
    sets = [PictureSet(name=slot, source=PackObjects(split="heldout"), slots=(slot,)) for slot in ("mask", "normals")]
    for part in [*sets, PictureSet(name="photos", source=PackPhotos(split="heldout"))]:
        drawn = list(draw_pictures(part, vqgan.preparation, seed=0, bad=bad))[:24]
        pixels = to_unit_range(torch.from_numpy(np.stack(drawn)))
        latents = vqgan.latents(pixels)
        quantized = vqgan.quantize(latents)
        found = means(health_parts(pixels, vqgan.paint(quantized.latents), latents, quantized.latents))
        assert diagnose(found, 5000, BANDS) == [] and not bad, part.name
