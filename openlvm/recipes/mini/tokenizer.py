"""Tokenizers of `mini`: a code is the nearest of k-means over patches and depends on its own patch alone.

Such codes are easy to predict: a mask, a recoloring, a copy is a map from code to code (docs/log.md, 2026-11-21).
"""

from pathlib import Path

from openlvm.sources.pack import PackMotion, PackPhotos, PackPoses, PackViews, Split
from openlvm.sources.worlds.matrices import MatricesWorld
from openlvm.sources.worlds.primitives import PrimitivesWorld
from openlvm.sources.worlds.shapes import ShapesWorld
from openlvm.tokenizer.vqgan import VQGANConfig
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.tokenizer.config import PatchStart, TokenizerTrainConfig
from openlvm.training.tokenizer.pictures import PictureSet

DATA = Path("data/mini")
"""The pack that tools/build_mini_data.py makes, relative to the folder a command runs in."""

ALTERED = ("gray", "holes", "noisy", "inverted", "dark", "rainy", "hue:90", "hue:210")


def pictures(split: Split, at: Path | None, objects: int, share: int = 1) -> tuple[PictureSet, ...]:
    """Natural pictures, annotations, altered pictures and worlds; `share` divides what is unlimited."""
    views = PackViews(split=split, background="mixed", objects=objects, at=at)
    shapes = ShapesWorld(split=split, instances=48 // share, records_per_instance=4)
    solids = PrimitivesWorld(split=split, count=1000 // share)
    poses = PackPoses(split=split, background="mixed", at=at)
    return (
        PictureSet(name="scenes", source=views, repeats=4),
        PictureSet(name="photos", source=PackPhotos(split=split, at=at), repeats=6),
        PictureSet(name="motion", source=PackMotion(split=split, clips=200 // share, at=at)),
        PictureSet(name="people", source=poses, repeats=2),
        PictureSet(name="poses", source=poses, slots=("pose",), repeats=2),
        PictureSet(name="mask", source=views, slots=("mask",), repeats=2),
        PictureSet(name="depth", source=views, slots=("depth",)),
        PictureSet(name="normals", source=views, slots=("normals",), repeats=3),
        PictureSet(name="edges", source=views, slots=("edges",), generated=("edges",), repeats=2),
        PictureSet(name="altered", source=views, slots=ALTERED, generated=ALTERED),
        PictureSet(name="shapes", source=shapes, slots=("image", "answer")),
        PictureSet(name="matrices", source=MatricesWorld(split=split, count=140 // share)),
        PictureSet(name="solids", source=solids),
        PictureSet(name="solid_depth", source=solids, slots=("depth",)),
        PictureSet(name="solid_normals", source=solids, slots=("normals",)),
    )


def _recipe(*, size: int, codes: int, width: int, steps: int, batch: int, tiny: bool) -> TokenizerTrainConfig:
    steps, batch = (8, 8) if tiny else (steps, batch)
    at = None if tiny else DATA
    return TokenizerTrainConfig(
        model=VQGANConfig(
            image_size=size,
            stem=4,
            width=8 if tiny else width,
            multipliers=(1, 1) if tiny else (1, 2),
            num_res_blocks=1,
            latent_channels=64,
            code_channels=64,
            codebook_size=64 if tiny else codes,
            norm_groups=8,
            patch_shortcut=True,
            patches_only=True,
            filter="box",
        ),
        train=TrainConfig(
            steps=steps,
            positions_per_step=batch,
            positions_per_forward=min(batch, 64),
            optim=OptimConfig(lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0, warmup_steps=steps // 40, final_share=0.02),
            precision="bf16",
            log_every=4 if tiny else 50,
            evaluate_every=0 if tiny else 500,
            checkpoint_every=4 if tiny else 250,
        ),
        mixture=pictures("train", at, objects=6 if tiny else 500, share=8 if tiny else 1),
        heldout=pictures("heldout", at, objects=3 if tiny else 30, share=8),
        start=PatchStart(
            num_patches=2_000 if tiny else 250_000, iterations=2 if tiny else 30, frozen_codes_steps=steps
        ),
        keep="bfloat16",
    )  # fmt: skip


def mini_tokenizer(tiny: bool = False) -> TokenizerTrainConfig:
    """64 px, 8 x 8 codes of 1024: the tokenizer inside `mini`, also loaded by that name.

    Run:     python tools/build_mini_data.py --at data/mini
             openlvm tokenizer train mini_tokenizer --run runs/mini-tokenizer
    Smaller: openlvm tokenizer train mini_tokenizer --tiny
    Cost:    10 minutes of one CPU core
    Result:  openlvm/assets/mini/README.md
    """
    return _recipe(size=64, codes=1024, width=48, steps=5000, batch=16, tiny=tiny)


def mini_128_tokenizer(tiny: bool = False) -> TokenizerTrainConfig:
    """128 px, 16 x 16 codes of 4096: the tokenizer of `mini_128`, for a GPU.

    Run:     openlvm tokenizer train mini_128_tokenizer --run runs/mini-128-tokenizer --device cuda
    Smaller: openlvm tokenizer train mini_128_tokenizer --tiny
    Result:  not trained yet; docs/gpu.md
    """
    return _recipe(size=128, codes=4096, width=64, steps=6000, batch=64, tiny=tiny)
