"""Is a tokenizer training healthy? Numbers of a window of steps, bands they should lie in, and a line of advice each.

`health_parts` measures pictures and reconstructions of a micro-batch (cheap, no synchronization), `usage_values` names
the quantizer's numbers, `diagnose` compares a window's values with a table of bands. Values are called here what they
are called in the lines of metrics. Letters: B pictures, H W pixels, C code channels, h w grid, K codebook size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from openlvm.training.tokenizer.adversarial import LARGEST_ADAPTIVE, NO_INFORMATION, AdversarialConfig

COLORFUL = 40 / 255  # distance from gray from which a pixel has a hue (tests of the demo tokenizer, docs/log.md)
OUTSIDE_BY = 0.05  # the healthy demo tokenizer: beyond 0..1 are 74 % of the pixels of masks, beyond by this 1.2 %
ENOUGH_CODES = 4  # codes seen per code of the codebook: even use of all then leaves e^-4 = 2 % of them unseen
HEALTH_PARTS = ("input_low", "input_high", "outside", "saturation", "hue_degrees", "latents_over_codes")


@dataclass(frozen=True, kw_only=True)
class Band:
    """Where a value should lie, and what to do when it does not."""

    metric: str
    """Name of the value; `*` stands for any text, so that `*/psnr_below_best` is meant for every held-out set."""
    low: float = -math.inf
    """Smallest healthy value."""
    high: float = math.inf
    """Largest healthy value."""
    from_step: int = 0
    """Steps done before which it says nothing."""
    shown: str = "{:.3g}"
    """How the value is written."""
    advice: str
    """What is wrong and what to change, one line."""
    source: str
    """Where the limit comes from, or `chosen`."""


@dataclass(frozen=True)
class Alarm:
    """A value that left its band; a value that is not a number has left it too."""

    name: str
    """Of the value."""
    value: float
    message: str
    """One line: value and advice."""


COLLAPSE = (
    "codes collapse; revive more often (revive_every), lower the rate, or start from k-means (start=PatchStart())"
)
FALLEN = "reconstruction got worse; lower optim.lr or adversarial.weight, start the discriminator later, or go back"


def bands_of_quantizer(settle_steps: int) -> tuple[Band, ...]:
    """Bands of `usage_values` and of the latents, watched once `settle_steps` are done."""
    return (
        Band(metric="usage", low=0.30, shown="{:.0%}", from_step=settle_steps, advice=COLLAPSE,
             source="chosen: half of the 60 % a finished run must use"),
        Band(metric="perplexity_share", low=0.05, shown="{:.1%} of the codebook", from_step=settle_steps,
             advice="few codes do nearly all the work; " + COLLAPSE, source="chosen"),
        Band(metric="dead", high=0.40, shown="{:.0%}", from_step=settle_steps,
             advice="codes die faster than they are revived; " + COLLAPSE, source="chosen"),
        Band(metric="latents_over_codes", high=10.0, shown="{:.1f} times", from_step=settle_steps,
             advice="latents run away from the codes; raise loss.commitment or lower optim.lr", source="chosen"),
    )  # fmt: skip


def bands_of_pictures(settle_steps: int) -> tuple[Band, ...]:
    """Bands of what goes in, from the first step, and of what comes out, once `settle_steps` are done."""
    once = "the network expects 0..1; divide uint8 pixels by 255 exactly once"
    return (
        Band(metric="input_low", low=0.0, advice=f"pictures have negative pixels; {once}", source="range of pixels"),
        Band(metric="input_high", low=1.5 / 255, high=1.0, shown="{:.4g}",
             advice=f"the brightest pixels are not what a picture has (divided twice, or not at all); {once}",
             source="range of pixels; magvit2 issue 7: a wrong range paints one flat color"),
        Band(metric="outside", high=0.10, shown="{:.0%} of pixels", from_step=settle_steps,
             advice=f"reconstructions leave 0..1 by more than {OUTSIDE_BY}; check the input range, raise loss.squared "
             "or lower optim.lr", source="chosen; SEED-Voken issue 12: noise points"),
        Band(metric="saturation", low=0.50, shown="{:.0%} kept", from_step=settle_steps,
             advice="reconstructions turn gray; raise loss.shrunken, or add annotations in color to the mixture",
             source="chosen; the demo tokenizer keeps more than 70 %"),
        Band(metric="*/psnr_below_best", high=1.0, shown="{:.1f} dB", from_step=settle_steps, advice=FALLEN,
             source="chosen"),
    )  # fmt: skip


def bands_of_adversary(config: AdversarialConfig) -> tuple[Band, ...]:
    """Bands of the discriminator's loss, of the adaptive weight and of what the discriminator costs in PSNR."""
    nothing, judged_from = NO_INFORMATION[config.kind], config.start_step + config.patience
    return (
        Band(metric="discriminator", low=config.strongest, from_step=judged_from,
             advice="the discriminator is too strong; lower adversarial.discriminator_lr, raise adversarial.lecam or "
             "use fewer layers", source="AdversarialConfig.strongest"),
        Band(metric="discriminator", high=config.weakest * nothing, from_step=judged_from,
             advice=f"the discriminator tells nothing apart ({nothing:.3g} is guessing); raise "
             "adversarial.discriminator_lr, lower adversarial.lecam, or look whether it is trained at all",
             source="AdversarialConfig.weakest"),
        Band(metric="adaptive", high=LARGEST_ADAPTIVE / 10, from_step=config.start_step,
             advice="the adaptive weight is at its clamp; start the discriminator later or set adversarial.adaptive "
             "off with a small weight", source="one step in ten at the clamp; taming-transformers issue 93"),
        Band(metric="*/psnr_below_start", high=1.0, shown="{:.1f} dB", from_step=config.start_step,
             advice="the discriminator costs more than 1 dB; lower adversarial.weight or lengthen ramp_steps",
             source="acceptance of the recipes: less than 1 dB"),
    )  # fmt: skip


def make_bands(*, settle_steps: int, adversarial: AdversarialConfig | None) -> tuple[Band, ...]:
    """The whole table of a training.

    Args:
        settle_steps: steps done before values are expected to be healthy; a start from k-means settles at once.
        adversarial: None without a discriminator.
    """
    bands = bands_of_pictures(settle_steps) + bands_of_quantizer(settle_steps)
    return bands + bands_of_adversary(adversarial) if adversarial is not None else bands


def diagnose(values: Mapping[str, float], step: int, bands: Sequence[Band]) -> list[Alarm]:
    """What is out of its band after `step` steps, in the order of the table; values without a band are passed over."""
    alarms = []
    for band in bands:
        for name in (name for name in values if fnmatchcase(name, band.metric)):
            value = float(values[name])
            if step >= band.from_step and not band.low <= value <= band.high:
                shown = band.shown.format(value).replace("%", " %")
                alarms.append(Alarm(name, value, f"{name} {shown}: {band.advice}"))
    return alarms


def usage_values(
    *, used: float, perplexity: float, dead: float, codes_seen: int, codebook_size: int
) -> dict[str, float]:
    """The quantizer's values of a window, by the names of the bands; nothing when too few codes were seen to judge.

    Args:
        used: share of the codebook that occurred in the window, 0..1.
        perplexity: exponential of the entropy of the codes in the window, 1..K.
        dead: share of the codebook that the quantizer calls dead, 0..1.
        codes_seen: codes in the window.
        codebook_size: K.
    """
    if codes_seen < ENOUGH_CODES * codebook_size:
        return {}
    return {"usage": used, "perplexity_share": perplexity / codebook_size, "dead": dead}


@torch.no_grad()
def health_parts(
    pixels: torch.Tensor, painted: torch.Tensor, latents: torch.Tensor, quantized: torch.Tensor
) -> dict[str, tuple[torch.Tensor, torch.Tensor | float]]:
    """`HEALTH_PARTS` of a micro-batch as (sum, weight), which add up over micro-batches (`TaskLoss.parts`).

    Args:
        pixels: float [B, 3, H, W] as the network gets them; should be in 0..1.
        painted: float [B, 3, H, W], reconstructions, not clipped.
        latents: float [B, C, h, w], before quantization.
        quantized: float [B, C, h, w], after it.
    """
    pixels, painted = pixels.float(), painted.float()
    kept, degrees, colorful = _color_sums(painted, pixels)
    size = float(len(pixels))
    outside = ((painted < -OUTSIDE_BY) | (painted > 1 + OUTSIDE_BY)).any(1)  # [B, H, W]
    ratio = latents.float().square().mean().sqrt() / quantized.float().square().mean().sqrt().clamp(min=1e-12)
    return {
        "input_low": (pixels.flatten(1).amin(1).sum(), size),
        "input_high": (pixels.flatten(1).amax(1).sum(), size),
        "outside": (outside.sum(), float(outside.numel())),
        "saturation": (kept, colorful),
        "hue_degrees": (degrees, colorful),
        "latents_over_codes": (ratio * size, size),
    }


def saturation_kept(painted: torch.Tensor, pixels: torch.Tensor) -> float:
    """Share of saturation kept along the true hue, mean over colorful pixels: 1 if perfect, 0 if gray.

    Args:
        painted: float [B, 3, H, W], reconstructions; clipped to 0..1 here.
        pixels: float [B, 3, H, W] in 0..1; NaN when none of them is colorful.
    """
    kept, _, colorful = _color_sums(painted.float(), pixels.float())
    return float(kept / colorful)


def hue_error(painted: torch.Tensor, pixels: torch.Tensor) -> float:
    """Angle between the hues in degrees, mean over colorful pixels: 0 if perfect, 90 if gray; as `saturation_kept`."""
    _, degrees, colorful = _color_sums(painted.float(), pixels.float())
    return float(degrees / colorful)


@torch.no_grad()
def _color_sums(painted: torch.Tensor, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sums over colorful pixels of saturation kept and of hue error in degrees, and how many there are."""
    back = painted.clamp(0, 1)
    truth, back = (x - x.mean(1, keepdim=True) for x in (pixels, back))  # distance from gray
    size, its_size = (x.square().sum(1).sqrt() for x in (truth, back))  # [B, H, W]; Tensor.norm is 100 x slower here
    along = (truth * back).sum(1) / size.clamp(min=1e-9)
    cosine = along / its_size.clamp(min=1e-9)
    degrees = torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))
    colorful = (size > COLORFUL).float()
    return (along / size.clamp(min=1e-9) * colorful).sum(), (degrees * colorful).sum(), colorful.sum()
