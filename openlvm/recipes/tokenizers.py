"""Tokenizers trained from nothing on photographs and drawn annotations, by size of picture and of patch; fine-tuning.

All begin without quantization, then with k-means over latents (docs/log.md, 2026-11-21); the curve and the ceilings of
each are in docs/tokenizers.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from openlvm.sources.layouts import ImageFolder
from openlvm.sources.pack import PackClips, PackPhotos, PackViews, Split
from openlvm.sources.pack.motion import PackMotion
from openlvm.tokenizer.losses import ReconstructionWeights
from openlvm.tokenizer.quantizers.interface import QuantizerTraining
from openlvm.tokenizer.vqgan import VQGANConfig
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.tokenizer.adversarial import AdversarialConfig
from openlvm.training.tokenizer.config import LatentStart, PerceptualConfig, TokenizerStart, TokenizerTrainConfig
from openlvm.training.tokenizer.pictures import PictureSet

ANNOTATIONS = {"mask": 1, "depth": 1, "normals": 2, "edges": 1}
"""Slot -> how often a pass shows each picture; normals need most codes."""
ALTERED = ("gray", "holes", "noisy", "inverted")


def pictures(
    split: Split,
    scenes_per_object: int,
    clips: int,
    objects: int | None = None,
    annotations: Mapping[str, int] = ANNOTATIONS,
) -> tuple[PictureSet, ...]:
    """Half natural pictures, half annotations and altered pictures, as sentences show them; `objects` None is all."""
    views = PackViews(split=split, background="mixed", scenes_per_object=scenes_per_object, objects=objects)
    return (
        PictureSet(name="scenes", source=views, slots=("image",), repeats=3),
        PictureSet(name="photos", source=PackPhotos(split=split), repeats=4),
        PictureSet(name="motion", source=PackMotion(split=split, frames=8, clips=clips)),
        PictureSet(name="clips", source=PackClips(split=split), repeats=2),
        *(
            PictureSet(name=slot, source=views, slots=(slot,), generated=("edges",), repeats=repeats)
            for slot, repeats in annotations.items()
        ),
        PictureSet(name="altered", source=views, slots=ALTERED, generated=ALTERED),
    )


def _recipe(model: VQGANConfig, *, steps: int, batch: int, lr: float, tiny: bool) -> TokenizerTrainConfig:
    steps, batch = (8, 8) if tiny else (steps, batch)
    return TokenizerTrainConfig(
        model=model,
        train=TrainConfig(
            steps=steps,
            positions_per_step=batch,
            positions_per_forward=min(batch, 16),
            optim=OptimConfig(lr=lr, betas=(0.9, 0.99), weight_decay=0.0, warmup_steps=steps // 80, final_share=0.02),
            precision="bf16",
            log_every=4 if tiny else 50,
            evaluate_every=0 if tiny else 1000,
            checkpoint_every=4 if tiny else 250,
            max_roll_backs=3,
        ),
        mixture=pictures("train", 1, clips=2, objects=6) if tiny else pictures("train", 2, clips=96),
        heldout=pictures("heldout", 1, clips=2, objects=3) if tiny else pictures("heldout", 1, clips=8),
        start=LatentStart(unquantized_steps=2, num_latents=2_000, iterations=2) if tiny else LatentStart(
            unquantized_steps=min(1_000, steps // 5)
        ),
        loss=ReconstructionWeights(absolute=3.0),
        quantizer=QuantizerTraining(gradient="rotation", dead_below=0.01),
        average_decay=0.9 if tiny else 0.999,
        keep="bfloat16",
    )  # fmt: skip


def _model(tiny: bool, *, image_size: int, width: int, multipliers: tuple[int, ...], codes: int) -> VQGANConfig:
    return VQGANConfig(
        image_size=image_size,
        stem=4,
        width=8 if tiny else width,
        multipliers=tuple(1 for _ in multipliers) if tiny else multipliers,
        num_res_blocks=1,
        latent_channels=64,
        code_channels=16,
        codebook_size=64 if tiny else codes,
        norm_groups=8,
        filter="box",
    )


def tokenizer_64_f8(tiny: bool = False) -> TokenizerTrainConfig:
    """64 px, 8 x 8 codes of 1024 (openlvm/assets/tokenizer-64-f8, embedded under its name).

    Run:     openlvm tokenizer train tokenizer_64_f8
    Smaller: openlvm tokenizer train tokenizer_64_f8 --tiny
    Cost:    an hour of one CPU core, in any number of pieces (--resume)
    Result:  docs/tokenizers.md
    """
    model = _model(tiny, image_size=64, width=64, multipliers=(1, 2), codes=1024)
    return _recipe(model, steps=20_000, batch=16, lr=1.5e-3, tiny=tiny)


def tokenizer_64_f16(tiny: bool = False) -> TokenizerTrainConfig:
    """64 px, 4 x 4 codes of 1024: the shortest sentences.

    Run:     openlvm tokenizer train tokenizer_64_f16
    Smaller: openlvm tokenizer train tokenizer_64_f16 --tiny
    Cost:    about two hours of one CPU core (estimated)
    Result:  docs/tokenizers.md
    """
    model = _model(tiny, image_size=64, width=64, multipliers=(1, 2, 3), codes=1024)
    return _recipe(model, steps=20_000, batch=16, lr=1.5e-3, tiny=tiny)


def tokenizer_128_f8(tiny: bool = False) -> TokenizerTrainConfig:
    """128 px, 16 x 16 codes of 4096.

    Run:     openlvm tokenizer train tokenizer_128_f8 --device cuda
    Smaller: openlvm tokenizer train tokenizer_128_f8 --tiny
    Cost:    about 12 hours of one CPU core (estimated); a GPU is better
    Result:  docs/tokenizers.md
    """
    model = _model(tiny, image_size=128, width=96, multipliers=(1, 2), codes=4096)
    return _recipe(model, steps=40_000, batch=16, lr=1e-3, tiny=tiny)


def tokenizer_128_f16(tiny: bool = False) -> TokenizerTrainConfig:
    """128 px, 8 x 8 codes of 4096.

    Run:     openlvm tokenizer train tokenizer_128_f16 --device cuda
    Smaller: openlvm tokenizer train tokenizer_128_f16 --tiny
    Cost:    about 12 hours of one CPU core (estimated); a GPU is better
    Result:  docs/tokenizers.md
    """
    model = _model(tiny, image_size=128, width=96, multipliers=(1, 2, 3), codes=4096)
    return _recipe(model, steps=40_000, batch=16, lr=1e-3, tiny=tiny)


def tokenizer_256_f8(tiny: bool = False) -> TokenizerTrainConfig:
    """256 px, 32 x 32 codes of 8192: for restoration, where f16 is the ceiling; a GPU.

    Run:     openlvm tokenizer train tokenizer_256_f8 --device cuda
    Smaller: openlvm tokenizer train tokenizer_256_f8 --tiny
    Result:  docs/tokenizers.md
    """
    model = _model(tiny, image_size=256, width=128, multipliers=(1, 2), codes=8192)
    return _recipe(model, steps=100_000, batch=32, lr=1e-3, tiny=tiny)


def tokenizer_256_f16(tiny: bool = False) -> TokenizerTrainConfig:
    """256 px, 16 x 16 codes of 8192: the grid of LVM; a GPU.

    Run:     openlvm tokenizer train tokenizer_256_f16 --device cuda
    Smaller: openlvm tokenizer train tokenizer_256_f16 --tiny
    Result:  docs/tokenizers.md
    """
    model = _model(tiny, image_size=256, width=128, multipliers=(1, 2, 4), codes=8192)
    return _recipe(model, steps=100_000, batch=32, lr=1e-3, tiny=tiny)


def fine_tune(
    tokenizer: str,
    model: VQGANConfig,
    folders: tuple[Path, ...],
    *,
    part: Literal["decoder", "whole"],
    steps: int,
    batch: int = 16,
    lr: float = 2e-4,
    seed: int = 0,
    heldout_share: float = 0.05,
    rehearse: bool = True,
    sharpen: bool = False,
    keep: Literal["float32", "bfloat16"] = "float32",
) -> TokenizerTrainConfig:
    """Adapt a tokenizer to folders of pictures, some of which are held out.

    Args:
        model: shape of the tokenizer.
        folders: of pictures; none for the sample pack alone.
        part: `decoder` keeps codes and stores valid; `whole` makes another tokenizer.
        heldout_share: of each folder's pictures, by key; scored and never trained on.
        rehearse: show the sample pack's pictures and annotations too, so that annotations are not forgotten.
        sharpen: add a perceptual and an adversarial loss.
    """
    own = tuple(
        PictureSet(
            name=f"pictures-{n}" if n else "pictures", source=ImageFolder(at=at), keep="train",
            heldout_share=heldout_share,
        )
        for n, at in enumerate(folders)
    )  # fmt: skip
    heldout = tuple(replace(part, keep="heldout") for part in own)
    pack = pictures("train", scenes_per_object=1, clips=16) if rehearse or not folders else ()
    pack_heldout = pictures("heldout", scenes_per_object=1, clips=8) if pack else ()
    return TokenizerTrainConfig(
        model=model,
        train=TrainConfig(
            steps=steps,
            positions_per_step=batch,
            positions_per_forward=min(batch, 16),
            optim=OptimConfig(lr=lr, betas=(0.9, 0.99), weight_decay=0.0, warmup_steps=steps // 20, final_share=0.1),
            precision="bf16",
            seed=seed,
            log_every=max(1, min(50, steps // 20)),
            evaluate_every=max(1, min(500, steps // 8)),
            checkpoint_every=max(1, min(250, steps // 4)),
            max_roll_backs=3,
        ),
        mixture=(*own, *pack),
        heldout=(*heldout, *pack_heldout),
        start=TokenizerStart(tokenizer=tokenizer, part=part),
        perceptual=PerceptualConfig(weight=5.0) if sharpen else None,
        adversarial=AdversarialConfig(
            start_step=steps // 8, ramp_steps=steps // 4, weight=2.0, layers=2, channels=32, patience=steps // 2
        ) if sharpen else None,
        average_decay=0.99,
        keep=keep,
    )  # fmt: skip
