"""Training a tokenizer by reconstruction, as a task of the loop (training/loop.py).

The adversarial and perceptual parts join `TokenizerTask.loss`; everything else stays as it is. Letters: B pictures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from openlvm.core.ranks import ranks_from_environment
from openlvm.core.seeds import seed_of
from openlvm.tokenizer.folder import save_tokenizer
from openlvm.tokenizer.losses import ReconstructionWeights, reconstruction_loss
from openlvm.tokenizer.patches import start_from_patches
from openlvm.tokenizer.quantizers.vq import VectorQuantizer
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig, to_unit_range
from openlvm.training.config import TrainConfig
from openlvm.training.loop import train
from openlvm.training.task import Evaluator, MicroBatch, TaskLoss
from openlvm.training.tokenizer.pictures import PictureBank, PictureSet, make_bank

START_PICTURES = 4096  # pictures from which the patches of k-means are cut, at most
PICTURES_AT_ONCE = 64  # of the evaluation: bounds its memory


@dataclass(frozen=True, kw_only=True)
class PatchStart:
    """k-means over patches as the start (tokenizer/patches.py)."""

    num_patches: int = 200_000
    """Patches drawn for k-means."""
    iterations: int = 30
    """Of Lloyd's algorithm."""


@dataclass(frozen=True, kw_only=True)
class TokenizerTrainConfig:
    """A whole tokenizer training."""

    model: VQGANConfig
    """Shape of the tokenizer."""
    train: TrainConfig
    """Steps, batch, optimizer; a position is a picture."""
    mixture: tuple[PictureSet, ...]
    """Training pictures: photographs and drawn annotations."""
    heldout: tuple[PictureSet, ...]
    """Pictures of the evaluation, disjoint from the mixture; one score for each set."""
    margin: int = 8
    """Pixels by which kept pictures are larger than the square, so that cuts move."""
    start: PatchStart | None = None
    """Start from k-means over patches; None starts from random weights."""
    loss: ReconstructionWeights
    """Weights of the loss."""
    frozen_codes_steps: int = 0
    """Steps at the beginning during which only the decoder learns: after a start from patches, an encoder that moves
    before the decoder can paint makes the codes worse."""
    revive_every: int = 100
    """Steps between revivals of dead codes; VQ only."""


class TokenizerTask:
    """Reconstruct the pictures of a bank (a `Task`)."""

    unit = "images"
    part_names = ("absolute", "squared", "shrunken", "commitment")

    def __init__(self, vqgan: VQGAN, bank: PictureBank, config: TokenizerTrainConfig):
        if ranks_from_environment().world_size > 1:
            raise ValueError("tokenizer training runs in one process; start it without torchrun")
        self.vqgan, self.bank, self.config = vqgan, bank, config
        self.modules = {"vqgan": vqgan}
        self._latents: torch.Tensor | None = None

    def micro_batches(self, step: int, positions: range) -> list[MicroBatch]:
        """The pictures at these positions, in forwards of `positions_per_forward`."""
        size = self.config.train.positions_per_forward
        chunks = [positions[start : start + size] for start in range(0, len(positions), size)]
        frozen = step < self.config.frozen_codes_steps
        batches = [(self.bank.batch(chunk), frozen) for chunk in chunks]
        return [MicroBatch(data=data, weight=len(data[0]), units=len(data[0])) for data in batches]

    def loss(self, batch: MicroBatch) -> TaskLoss:
        """Sum over the pictures of the reconstruction loss."""
        device = self.vqgan.quant_conv.weight.device
        pictures, frozen = batch.data
        pixels = to_unit_range(pictures.to(device))  # [B, 3, H, W]
        self.vqgan.quantize.train(not frozen)
        with torch.set_grad_enabled(not frozen):
            latents = self.vqgan.latents(pixels)
            quantized = self.vqgan.quantize(latents)
        weights = self.config.loss
        loss, parts = reconstruction_loss(self.vqgan.paint(quantized.latents), pixels, weights)
        loss = loss + weights.commitment * quantized.loss
        self._latents = latents.detach()
        means = {
            **{name: float(value.detach()) for name, value in parts.items()},
            "commitment": float(quantized.loss.detach()),
        }
        sums = {name: (value * batch.weight, batch.weight) for name, value in means.items()}
        return TaskLoss(loss * batch.weight, sums)

    def after_step(self, step: int) -> None:
        """Revive dead codes now and then, on latents of the batch just seen."""
        quantizer = self.vqgan.quantize
        is_due = step >= self.config.frozen_codes_steps and (step + 1) % self.config.revive_every == 0
        if not isinstance(quantizer, VectorQuantizer) or not is_due:
            return
        generator = torch.Generator().manual_seed(seed_of("revive", self.config.train.seed, step) % 2**63)
        assert self._latents is not None
        quantizer.revive(self._latents, generator)


def reconstruction_scores(vqgan: VQGAN, name: str, pictures: np.ndarray) -> Iterator[tuple[str, float]]:
    """PSNR in dB of the mean squared error, share of codes used and their perplexity, on uint8 [B, H, W, 3]."""
    squared, count = 0.0, np.zeros(vqgan.codebook_size)
    for start in range(0, len(pictures), PICTURES_AT_ONCE):
        pixels = torch.from_numpy(pictures[start : start + PICTURES_AT_ONCE])
        codes = vqgan.encode(pixels)
        error = vqgan.decode(codes).cpu().float() - pixels.float()
        squared += float(error.square().sum())
        count += np.bincount(codes.flatten().cpu().numpy(), minlength=vqgan.codebook_size)
    share = count[count > 0] / count.sum()
    yield f"{name}/psnr", 10 * float(np.log10(255**2 / (squared / pictures.size)))
    yield f"{name}/used", float((count > 0).mean())
    yield f"{name}/perplexity", float(np.exp(-(share * np.log(share)).sum()))


def heldout_evaluator(vqgan: VQGAN, heldout: Sequence[PictureSet], seed: int, at: Path) -> Evaluator:
    """An evaluator of the loop: `reconstruction_scores` of every held-out set, drawn once into the folder `at`."""
    banks = [
        make_bank([part], preparation=vqgan.preparation, margin=0, seed=seed, at=at / f"heldout-{number}.npz")
        for number, part in enumerate(heldout)
    ]

    def evaluate(step: int) -> Iterator[tuple[str, float]]:
        for part, bank in zip(heldout, banks, strict=True):
            yield from reconstruction_scores(vqgan, part.name, bank.pictures)

    return evaluate


def train_tokenizer(config: TokenizerTrainConfig, at: Path | str, *, resume: bool = False, device: str = "cpu") -> Path:
    """Train a tokenizer in the run folder `at`; returns the tokenizer folder, weights rounded to bfloat16.

    The pictures are drawn once and kept in the run folder, so that a resumed run sees the same ones.
    """
    at, seed = Path(at), config.train.seed
    torch.manual_seed(seed_of("tokenizer weights", seed) % 2**63)
    vqgan = VQGAN(config.model)
    bank = make_bank(
        config.mixture, preparation=vqgan.preparation, margin=config.margin, seed=seed, at=at / "pictures" / "train.npz"
    )
    evaluator = heldout_evaluator(vqgan, config.heldout, seed, at / "pictures")
    if config.start is not None and not (at / "checkpoints").exists():
        generator = torch.Generator().manual_seed(seed_of("patches", seed) % 2**63)
        start_from_patches(
            vqgan,
            bank.batch(range(min(START_PICTURES, len(bank.shown)))),
            num_patches=config.start.num_patches,
            iterations=config.start.iterations,
            generator=generator,
        )
    for layer in [vqgan.patch_embed, vqgan.patch_paint] if config.start is not None else []:
        layer.requires_grad_(False)  # stay as k-means made them: Adam's steps are large beside their small weights
    task = TokenizerTask(vqgan, bank, config)
    train(
        config.train, task, at, evaluators=[evaluator], whole_config=config, resume=resume, device=device,
        name="tokenizer",
    )  # fmt: skip
    save_tokenizer(vqgan, at / "tokenizer", dtype=torch.bfloat16)
    return at / "tokenizer"
