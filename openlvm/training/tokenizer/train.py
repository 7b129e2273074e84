"""A tokenizer training from its config to a tokenizer folder: start, evaluation, panels of reconstructions, export."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from openlvm.core.images import write_image
from openlvm.core.ranks import ranks_from_environment
from openlvm.core.seeds import seed_of
from openlvm.core.sheets import contact_sheet
from openlvm.tokenizer.folder import load_tokenizer, save_tokenizer
from openlvm.tokenizer.patches import start_from_patches
from openlvm.tokenizer.quantizers.usage import CodeUsage
from openlvm.tokenizer.vqgan import CODES_DEPEND_ON, VQGAN
from openlvm.training.loop import train
from openlvm.training.task import Evaluator
from openlvm.training.tokenizer.config import PatchStart, TokenizerStart, TokenizerTrainConfig
from openlvm.training.tokenizer.pictures import PictureBank, PictureSet, make_bank
from openlvm.training.tokenizer.task import TokenizerTask

START_PICTURES = 4096  # pictures from which the patches of k-means are cut, at most
PICTURES_AT_ONCE = 64  # of the evaluation: bounds its memory
PANEL_PICTURES = 6  # of every held-out set
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def train_tokenizer(config: TokenizerTrainConfig, at: Path | str, *, resume: bool = False, device: str = "cpu") -> Path:
    """Train a tokenizer in the run folder `at`; returns the folder of the finished tokenizer.

    at/pictures/   what was drawn once, so that a resumed run sees the same pictures
    at/panels/     reconstructions of held-out pictures at every evaluation, PNG
    at/tokenizer/  the result: the averaged weights, where the config asks for an average
    """
    at, seed = Path(at), config.train.seed
    vqgan = fresh_tokenizer(config)
    bank = make_bank(
        config.mixture, preparation=vqgan.preparation, margin=config.margin, seed=seed, at=at / "pictures" / "train"
    )
    if isinstance(config.start, PatchStart) and not (at / "checkpoints").exists():
        start_from_patches(
            vqgan,
            bank.batch(range(min(START_PICTURES, len(bank.shown)))),
            num_patches=config.start.num_patches,
            iterations=config.start.iterations,
            generator=torch.Generator().manual_seed(seed_of("patches", seed) % 2**63),
        )
    codes_before = vqgan.codes_fingerprint
    torch.manual_seed(seed_of("discriminator weights", seed) % 2**63)
    task = TokenizerTask(vqgan, bank, config)
    evaluators = [heldout_evaluator(task, config.heldout, seed, at)]
    train(
        config.train, task, at, evaluators=evaluators, whole_config=config, resume=resume, device=device,
        name="tokenizer",
    )  # fmt: skip
    best = task.best.cpu()
    if isinstance(config.start, TokenizerStart) and config.start.part == "decoder":
        assert best.codes_fingerprint == codes_before, "a decoder-only training changed the codes"
    if ranks_from_environment().is_main:
        save_tokenizer(best, at / "tokenizer", dtype=DTYPES[config.keep])
    return at / "tokenizer"


def fresh_tokenizer(config: TokenizerTrainConfig) -> VQGAN:
    """The tokenizer a training starts from, with gradients where something is to be learned."""
    start = config.start
    if isinstance(start, TokenizerStart):
        vqgan = load_tokenizer(start.tokenizer)
        if not isinstance(vqgan, VQGAN) or vqgan.config != config.model:
            raise ValueError(f"{start.tokenizer} is not a tokenizer of the shape in `model`; take the shape from it")
        vqgan.requires_grad_(True)
    else:
        torch.manual_seed(seed_of("tokenizer weights", config.train.seed) % 2**63)
        vqgan = VQGAN(config.model)
    vqgan.quantize.train_with(config.quantizer)  # decides whether the codebook has a gradient: before the freezing
    if isinstance(start, TokenizerStart) and start.part == "decoder":
        _keep_codes(vqgan, config)
    if isinstance(start, PatchStart):
        for layer in (vqgan.patch_embed, vqgan.patch_paint):
            layer.requires_grad_(False)  # stay as k-means made them: Adam's steps are large beside their small weights
    return vqgan


def _keep_codes(vqgan: VQGAN, config: TokenizerTrainConfig) -> None:
    """Freeze what decides the codes, and refuse a rounding that would change it."""
    for name, param in vqgan.named_parameters():
        if name.startswith(CODES_DEPEND_ON):
            param.requires_grad_(False)
            if not torch.equal(param.to(DTYPES[config.keep]).to(param.dtype), param):
                raise ValueError(f"keep={config.keep!r} would round {name} and so change the codes; use keep='float32'")


def reconstruction_scores(vqgan: VQGAN, name: str, pictures: np.ndarray) -> Iterator[tuple[str, float]]:
    """PSNR in dB of the mean squared error, share of codes used and their perplexity, on uint8 [B, H, W, 3]."""
    squared, usage = 0.0, CodeUsage(vqgan.codebook_size)
    for start in range(0, len(pictures), PICTURES_AT_ONCE):
        pixels = torch.from_numpy(np.array(pictures[start : start + PICTURES_AT_ONCE]))
        codes = vqgan.encode(pixels)
        error = vqgan.decode(codes).cpu().float() - pixels.float()
        squared += float(error.square().sum())
        usage.add(codes)
    yield f"{name}/psnr", 10 * float(np.log10(255**2 / (squared / pictures.size)))
    yield f"{name}/used", usage.used
    yield f"{name}/perplexity", usage.perplexity


def heldout_evaluator(task: TokenizerTask, heldout: Sequence[PictureSet], seed: int, at: Path) -> Evaluator:
    """An evaluator of the loop: `reconstruction_scores` of every held-out set, and a panel of reconstructions.

    The sets are drawn once into `at`/pictures. Before there are codes there is nothing to score.
    """
    banks = [
        make_bank(
            [part], preparation=task.vqgan.preparation, margin=0, seed=seed, at=at / "pictures" / f"heldout-{number}"
        )
        for number, part in enumerate(heldout)
    ]

    def evaluate(step: int) -> Iterator[tuple[str, float]]:
        if step >= task.config.unquantized_steps:
            if ranks_from_environment().is_main:
                write_image(at / "panels" / f"step-{step:08d}.png", panel(task.best, heldout, banks))
            for part, bank in zip(heldout, banks, strict=True):
                yield from reconstruction_scores(task.best, part.name, bank.pictures)

    return evaluate


def panel(vqgan: VQGAN, heldout: Sequence[PictureSet], banks: Sequence[PictureBank]) -> np.ndarray:
    """First pictures of every held-out set, each above its reconstruction: uint8 [height, width, 3]."""
    rows, titles = [], []
    for part, bank in zip(heldout, banks, strict=True):
        pictures = np.array(bank.pictures[:PANEL_PICTURES])
        painted = vqgan.decode(vqgan.encode(torch.from_numpy(pictures))).cpu().numpy()
        rows += [list(pictures), list(painted)]
        titles += [part.name, "painted"]
    return contact_sheet(rows, titles=titles)
