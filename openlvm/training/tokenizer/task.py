"""Training a tokenizer, as a task of the loop (training/loop.py): what is learned from a batch of pictures.

One backward serves tokenizer and discriminator, and each has its own optimizer:

    absolute, squared, shrunken   the reconstruction (tokenizer/losses.py)
    commitment                    the quantizer's own loss
    perceptual                    distance of features (perceptual/distance.py)
    adversarial                   the tokenizer against the discriminator; discriminator, lecam: the other side

Everything that lasts from step to step lies in `modules`, so that a checkpoint holds it: discriminator, averaged
weights, anchors, use of the codes. Letters: B pictures, K codes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from openlvm.core.seeds import seed_of
from openlvm.perceptual.distance import FeatureDistance, load_lpips, offline_distance
from openlvm.tokenizer.losses import reconstruction_loss
from openlvm.tokenizer.patches import k_means
from openlvm.tokenizer.quantizers.ibq import IndexBackpropagationQuantizer
from openlvm.tokenizer.quantizers.interface import Quantized, rows_of
from openlvm.tokenizer.quantizers.vq import VectorQuantizer
from openlvm.tokenizer.vqgan import VQGAN, to_unit_range
from openlvm.training.config import OptimConfig
from openlvm.training.parallel.collectives import broadcast_modules, sum_over_ranks
from openlvm.training.task import MicroBatch, Review, TaskLoss
from openlvm.training.tokenizer.adversarial import (
    LeCam,
    adaptive_weight,
    discriminator_loss,
    frozen,
    generator_loss,
    ramp,
)
from openlvm.training.tokenizer.average import WeightAverage
from openlvm.training.tokenizer.config import LatentStart, PerceptualConfig, TokenizerTrainConfig
from openlvm.training.tokenizer.discriminator import PatchDiscriminator
from openlvm.training.tokenizer.health.diagnosis import (
    HEALTH_PARTS,
    diagnose,
    health_parts,
    make_bands,
    usage_values,
)
from openlvm.training.tokenizer.health.divergence import DivergenceLimits, psnr_falls, values_of, why_diverged
from openlvm.training.tokenizer.pictures import PictureBank

PICTURES_AT_ONCE = 64  # of the start from latents: bounds its memory
ADVERSARY_BETAS = (0.5, 0.9)  # of the discriminator's Adam, as in taming-transformers
USE_DECAY = 0.99  # per step, of the running use of each code
DEAD_BELOW = 0.01  # a code whose running use is below this share of an equal share counts as dead in the metrics
SETTLE_SHARE = 0.1  # of the steps, after which values are expected to be healthy
LOSSES = ("absolute", "squared", "shrunken")
LOGITS = ("real_logit", "fake_logit")
USE_PARTS = ("usage", "perplexity", "dead")
ADVERSARY_PARTS = ("adversarial", "adaptive", "discriminator", "lecam", *LOGITS)


class CodeUse(nn.Module):
    """Running share of every code among the codes chosen, float32 [K]; a buffer, so that a checkpoint holds it."""

    def __init__(self, codebook_size: int):
        super().__init__()
        self.register_buffer("share", torch.zeros(codebook_size))
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(codebook_size), persistent=False)  # since the last `follow`
        self.share: torch.Tensor
        self.weight: torch.Tensor
        self.seen: torch.Tensor
        self.register_load_state_dict_post_hook(_forget_seen)

    @torch.no_grad()
    def add(self, codes: torch.Tensor) -> None:
        """Count codes int64 [B, N] in."""
        self.seen += torch.bincount(codes.flatten(), minlength=len(self.seen))

    @torch.no_grad()
    def follow(self) -> None:
        """Move the running shares by all codes, of all ranks, since the last call; once after each step."""
        count = sum_over_ranks(self.seen.clone())
        self.seen.zero_()
        if count.any():
            self.share.lerp_(count / count.sum(), 1 - USE_DECAY)
            self.weight.lerp_(torch.ones_like(self.weight), 1 - USE_DECAY)

    def values(self) -> dict[str, torch.Tensor]:
        """Shares of codes used and dead, and perplexity, since about 100 steps."""
        share = self.share / self.weight.clamp(min=1e-12)
        entropy = -(share * share.clamp(min=1e-12).log()).sum()
        dead = (share * len(share) < DEAD_BELOW).float().mean()
        return {"usage": (share > 0).float().mean(), "dead": dead, "perplexity": entropy.exp()}


def _forget_seen(use: CodeUse, _: Any) -> None:
    """A step that was cut short is gone when a checkpoint is loaded."""
    use.seen.zero_()


class TokenizerTask:
    """Learn the pictures of a bank (a `Task`)."""

    unit = "images"

    def __init__(self, vqgan: VQGAN, bank: PictureBank, config: TokenizerTrainConfig):
        self.vqgan, self.bank, self.config = vqgan, bank, config
        self.use = CodeUse(vqgan.codebook_size)
        self.modules: dict[str, nn.Module] = {"vqgan": vqgan, "use": self.use}
        self.own_optim: Mapping[str, OptimConfig] = {}
        self.part_names = (*LOSSES, "commitment", "perceptual", *ADVERSARY_PARTS, *HEALTH_PARTS, *USE_PARTS)
        self.discriminator, self.lecam = None, LeCam()
        if (adversary := config.adversarial) is not None:
            layers = {"channels": adversary.channels, "layers": adversary.layers, "norm": adversary.norm}
            self.discriminator = PatchDiscriminator(**layers)  # type: ignore[arg-type]
            self.modules |= {"discriminator": self.discriminator, "lecam": self.lecam}
            optim = config.train.optim
            lr = optim.lr * adversary.discriminator_lr
            self.own_optim = {
                "discriminator": replace(optim, optimizer="adamw", lr=lr, betas=ADVERSARY_BETAS, weight_decay=0.0)
            }
        self.average = WeightAverage(vqgan, config.average_decay) if config.average_decay else None
        if self.average is not None:
            self.modules["average"] = self.average
        self.distance = make_distance(config.perceptual)
        self.bands = make_bands(settle_steps=int(SETTLE_SHARE * config.train.steps), adversarial=adversary)
        self._latents: torch.Tensor | None = None

    @property
    def best(self) -> VQGAN:
        """The tokenizer to evaluate and to keep: the averaged weights, where there are any."""
        best = self.vqgan if self.average is None else self.average.averaged
        assert isinstance(best, VQGAN)
        return best

    @property
    def device(self) -> torch.device:
        """Where the tokenizer is."""
        return self.vqgan.post_quant_conv.weight.device

    def micro_batches(self, step: int, positions: range) -> list[MicroBatch]:
        """The pictures at these positions, in forwards of `positions_per_forward`."""
        size = self.config.train.positions_per_forward
        chunks = [positions[start : start + size] for start in range(0, len(positions), size)]
        batches = [(self.bank.batch(chunk), step) for chunk in chunks]
        return [MicroBatch(data=data, weight=len(data[0]), units=len(data[0])) for data in batches]

    def loss(self, batch: MicroBatch) -> TaskLoss:
        """Sum over the pictures of everything that is learned from them."""
        pictures, step = batch.data
        pixels = to_unit_range(pictures.to(self.device))  # [B, 3, H, W]
        latents, quantized = self._quantized(pixels, step)
        painted = self.vqgan.paint(quantized.latents)
        total, parts = reconstruction_loss(painted, pixels, self.config.loss)
        if self.distance is not None and self.config.perceptual is not None:
            parts["perceptual"] = self.distance.to(self.device)(painted, pixels).mean()
            total = total + self.config.perceptual.weight * parts["perceptual"]
        if self.config.adversarial is not None and step >= self.config.adversarial.start_step:
            against, its_parts = self._adversary(pixels, painted, total, step)
            total, parts = total + against, parts | its_parts
        total = total + self.config.loss.commitment * quantized.loss
        parts["commitment"] = quantized.loss
        if step >= self.config.unquantized_steps:
            self.use.add(quantized.codes)
            parts |= self.use.values() if self.use.weight else {}
        if self._latents is None:
            self._latents = latents.detach()  # of the step's first pictures, which rank 0 has whatever the ranks
        sums: dict[str, tuple[torch.Tensor | float, torch.Tensor | float]]
        sums = {name: (value.detach() * batch.weight, batch.weight) for name, value in parts.items()}
        sums |= health_parts(pixels, painted.detach(), latents.detach(), quantized.latents.detach())
        return TaskLoss(total * batch.weight, sums)

    def _quantized(self, pixels: torch.Tensor, step: int) -> tuple[torch.Tensor, Quantized]:
        """Latents and what the quantizer makes of them; the latents themselves before there are codes."""
        is_frozen = step < self.config.frozen_codes_steps
        self.vqgan.quantize.train(not is_frozen)
        with torch.set_grad_enabled(not is_frozen):
            latents = self.vqgan.latents(pixels)
            if step < self.config.unquantized_steps:
                nothing = torch.zeros((), device=self.device)
                return latents, Quantized(latents, torch.empty(0, dtype=torch.int64), nothing)
            return latents, self.vqgan.quantize(latents)

    def _adversary(
        self, pixels: torch.Tensor, painted: torch.Tensor, reconstruction: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The tokenizer's term and the discriminator's loss together, and their parts."""
        config, discriminator = self.config.adversarial, self.discriminator
        assert config is not None and discriminator is not None
        with frozen(discriminator):
            adversarial = generator_loss(discriminator(painted), config.kind)
        share = ramp(step, config)
        adaptive = torch.ones((), device=self.device)
        if config.adaptive and share > 0:
            adaptive = adaptive_weight(reconstruction, adversarial, self.vqgan.decoder.conv_out.weight)
        real, fake = discriminator(pixels), discriminator(painted.detach())
        judged = discriminator_loss(real, fake, config.kind)
        lecam = self.lecam(real, fake)
        total = share * config.weight * adaptive * adversarial + judged + config.lecam * lecam
        values = (adversarial, adaptive, judged, lecam, real.mean(), fake.mean())
        return total, dict(zip(ADVERSARY_PARTS, values, strict=True))

    def after_step(self, step: int) -> None:
        """Codebook, averages and anchors follow; codes begin where a start from latents says so; dead ones are revived.

        Codes that k-means or a revival drew are rank 0's, everywhere.
        """
        config, done = self.config, step + 1
        self.vqgan.quantize.follow(sum_over_ranks)
        self.use.follow()
        if isinstance(config.start, LatentStart) and done == config.unquantized_steps:
            self._start_from_latents(config.start)
            broadcast_modules([self.vqgan.quantize])
        if config.revive_every and self._may_revive(done) and done % config.revive_every == 0:
            self._revive(step)
            broadcast_modules([self.vqgan.quantize])
        self._latents = None
        if self.average is not None:
            self.average.update(self.vqgan)
        if self.discriminator is not None:
            self.lecam.update()

    def _may_revive(self, done: int) -> bool:
        config = self.config
        first = max(config.frozen_codes_steps, config.unquantized_steps)
        return first < done <= config.revive_until * config.train.steps

    def _revive(self, step: int) -> None:
        quantizer = self.vqgan.quantize
        if isinstance(quantizer, VectorQuantizer | IndexBackpropagationQuantizer):
            assert self._latents is not None
            quantizer.revive(self._latents, torch.Generator().manual_seed(self._seed("revive", step)))

    @torch.no_grad()
    def _start_from_latents(self, start: LatentStart) -> None:
        """k-means over latents of the first pictures becomes the codebook; quantizers without one just begin."""
        quantizer = self.vqgan.quantize
        if not isinstance(quantizer, VectorQuantizer | IndexBackpropagationQuantizer):
            return
        count = min(len(self.bank.shown), -(-2 * start.num_latents // self.vqgan.codes_per_image))
        chunks = [range(first, min(first + PICTURES_AT_ONCE, count)) for first in range(0, count, PICTURES_AT_ONCE)]
        pictures = (to_unit_range(self.bank.batch(chunk).to(self.device)) for chunk in chunks)
        rows = torch.cat([rows_of(self.vqgan.latents(pixels)).float() for pixels in pictures]).cpu()
        generator = torch.Generator().manual_seed(self._seed("latents"))
        rows = rows[torch.randperm(len(rows), generator=generator)[: start.num_latents]]
        if self.vqgan.config.normalize_codes:
            rows = torch.nn.functional.normalize(rows, dim=1)
        centers = k_means(rows, quantizer.codebook_size, iterations=start.iterations, generator=generator)
        quantizer.set_codebook(centers.vectors, centers.count * (quantizer.codebook_size / centers.count.sum()))

    def _seed(self, *parts: str | int) -> int:
        return seed_of(*parts, self.config.train.seed) % 2**63

    def review(self, lines: Sequence[Mapping[str, Any]]) -> Review:
        """Alarms about the last line, and whether the run has diverged; told by all lines since the start."""
        adversary = self.config.adversarial
        values = values_of(lines[-1])
        values |= psnr_falls(lines, None if adversary is None else adversary.start_step)
        values |= self._usage(values)
        alarms = [alarm.message for alarm in diagnose(values, lines[-1]["step"], self.bands)]
        return Review(alarms, why_diverged(lines, DivergenceLimits(), losses=LOSSES, logits=LOGITS))

    def _usage(self, values: dict[str, float]) -> dict[str, float]:
        """The running use of the codes as the bands want it; taken out of `values`, where it may rest on too little."""
        used, perplexity, dead = (values.pop(name, None) for name in USE_PARTS)
        if used is None or perplexity is None or dead is None:
            return {}
        seen = int(self.config.train.positions_per_step * self.vqgan.codes_per_image / (1 - USE_DECAY))
        size = self.vqgan.codebook_size
        return usage_values(used=used, perplexity=perplexity, dead=dead, codes_seen=seen, codebook_size=size)


def make_distance(config: PerceptualConfig | None) -> FeatureDistance | None:
    """The perceptual distance a config asks for: LPIPS over the user's files, or the embedded network."""
    if config is None:
        return None
    return load_lpips(config.backbone, config.heads) if config.backbone else offline_distance()
