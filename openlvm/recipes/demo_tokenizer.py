"""The demo's tokenizer: 64 px, 8 x 8 codes of 1024, trained on the sample pack, started from k-means over patches."""

from openlvm.sources.pack import PackClips, PackPhotos, PackViews, Split
from openlvm.sources.pack_motion import PackMotion
from openlvm.tokenizer.losses import ReconstructionWeights
from openlvm.tokenizer.vqgan import VQGANConfig
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.tokenizer.pictures import PictureSet
from openlvm.training.tokenizer.task import PatchStart, TokenizerTrainConfig

ANNOTATIONS = ("mask", "depth", "normals", "edges")
ALTERED = ("gray", "holes", "noisy", "inverted")


def pictures(split: Split, scenes_per_object: int, clips: int) -> tuple[PictureSet, ...]:
    """Half natural pictures, half annotations and altered pictures, as the demo's sentences show them."""
    views = PackViews(split=split, background="mixed", scenes_per_object=scenes_per_object)
    return (
        PictureSet(name="scenes", source=views, slots=("image",), repeats=3),
        PictureSet(name="photos", source=PackPhotos(split=split), repeats=4),
        PictureSet(name="motion", source=PackMotion(split=split, frames=8, clips=clips)),
        PictureSet(name="clips", source=PackClips(split=split), repeats=2),
        *(PictureSet(name=slot, source=views, slots=(slot,), generated=("edges",)) for slot in ANNOTATIONS),
        PictureSet(name="altered", source=views, slots=ALTERED, generated=ALTERED),
    )


def demo_tokenizer(tiny: bool = False) -> TokenizerTrainConfig:
    """The tokenizer that `openlvm demo` loads (openlvm/assets/demo-tokenizer).

    Run:     openlvm tokenizer train demo_tokenizer --run runs/demo-tokenizer
    Smaller: openlvm tokenizer train demo_tokenizer --tiny
    Result:  docs/log.md, 2026-11-21
    """
    steps = 8 if tiny else 5000
    return TokenizerTrainConfig(
        model=VQGANConfig(
            image_size=64,
            width=8 if tiny else 16,
            multipliers=(1, 1, 1, 1) if tiny else (1, 2, 4, 6),
            num_res_blocks=1,
            latent_channels=64,
            code_channels=64,
            codebook_size=64 if tiny else 1024,
            norm_groups=8,
            patch_shortcut=True,
            filter="box",
        ),
        train=TrainConfig(
            steps=steps,
            positions_per_step=8 if tiny else 16,
            positions_per_forward=8 if tiny else 16,
            optim=OptimConfig(lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0, warmup_steps=steps // 40, final_share=0.02),
            precision="bf16",
            log_every=4 if tiny else 50,
            evaluate_every=0 if tiny else 500,
            checkpoint_every=4 if tiny else 250,
        ),
        mixture=pictures("train", scenes_per_object=1 if tiny else 2, clips=8 if tiny else 96),
        heldout=pictures("heldout", scenes_per_object=1, clips=8),
        start=PatchStart(num_patches=2_000, iterations=2) if tiny else PatchStart(),
        loss=ReconstructionWeights(),
        frozen_codes_steps=steps // 2 if tiny else steps,
    )
