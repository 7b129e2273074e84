"""The demo's tokenizer: 64 px, 8 x 8 codes of 1024 from k-means over patches, and a decoder that learned them."""

from openlvm.recipes.tokenizers import ANNOTATIONS, pictures
from openlvm.tokenizer.vqgan import VQGANConfig
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.tokenizer.config import PatchStart, TokenizerTrainConfig


def demo_tokenizer(tiny: bool = False) -> TokenizerTrainConfig:
    """The tokenizer that `openlvm demo --train` loads (openlvm/assets/demo-tokenizer).

    Its codes tell less of a picture than those of `tokenizer_64_f8` and are easier to predict: early in the demo's
    training a decoder has half the loss on them (docs/log.md, 2026-11-21).

    Run:     openlvm tokenizer train demo_tokenizer
    Smaller: openlvm tokenizer train demo_tokenizer --tiny
    Cost:    27 minutes of one CPU core
    Result:  docs/log.md, 2026-11-21
    """
    steps = 8 if tiny else 5000
    once = dict.fromkeys(ANNOTATIONS, 1)
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
        mixture=pictures("train", 1, clips=2, objects=6) if tiny else pictures("train", 2, clips=96, annotations=once),
        heldout=pictures("heldout", 1, clips=2, objects=3) if tiny else pictures("heldout", 1, clips=8),
        start=PatchStart(
            num_patches=2_000 if tiny else 200_000,
            iterations=2 if tiny else 30,
            frozen_codes_steps=steps // 2 if tiny else steps,
        ),
        keep="bfloat16",
    )
