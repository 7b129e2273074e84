"""DeLVM (Hao et al., arXiv 2402.04841): little data, small decoders, and a large one that teaches a small one.

As its configurations say: sentences of at most 8 images (3 examples, query, answer), 262 144 codes an update, 40 000
updates, 1.5e-4 down to 1.5e-5 after 224 updates of warm-up, AdamW that decays everything by 0.1, clip 1, and for an
embedding the tokenizer's codebook, frozen, behind a learned matrix. Where it is silent, or we differ:

    vocabulary  BOS, EOS, PAD and 97 spare rows behind the 8192 codes (theirs: codes alone), and so one more position
    sentences   8 images; theirs are pairs of 2, joined by 6 to 12 images and cut at the context of 8
    precision   bf16 products, float32 weights; theirs were fp16 with a loss scale
    code 0      counts; theirs was never a target (labels of 0 were masked)
    80M         its shape is not published: 22 layers as its siblings, width 512 (79 M without table, as DeLVM counts)
    1B          no configuration of its training is published; that of 300M
    teacher     runs beside the student, on every position, the whole distribution, weight 1, temperature 1
    balance     the scarce tasks get more variants when they are tokenized (docs/delvm.md)
"""

from dataclasses import replace
from typing import Any

from openlvm.model.decoder import DecoderConfig
from openlvm.model.sizes import SIZES
from openlvm.recipes.config import StoresConfig
from openlvm.recipes.papers.packaged import packaged_sources
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.decoder.distill import DistillConfig
from openlvm.training.decoder.train import DecoderTrainConfig

MAX_IMAGES = 8  # context 2048 / 256
CODES_PER_UPDATE = 8 * 16 * 2048  # GPUs x rows x context
WARMUP_SHARE = 0.0056


def _shape(size: str, *, vocab_size: int, codes_per_image: int) -> DecoderConfig:
    """A size of DeLVM with room for special ids."""
    return replace(SIZES[size], vocab_size=vocab_size, context=MAX_IMAGES * codes_per_image + 1)


def _delvm(size: str, *, tiny: bool, teacher: str = "", **training: Any) -> StoresConfig:
    if tiny:
        return _tiny(teacher="mini" if teacher else "")
    steps = 40_000
    return StoresConfig(
        tokenizer="data/tokenizer",
        max_images=MAX_IMAGES,
        strides=(1,),
        teacher_size="delvm_1b" if teacher else "",
        decoder=DecoderTrainConfig(
            model=_shape(size, vocab_size=8292, codes_per_image=256),
            components=(),
            embedding="codebook",
            layout="packed",
            compile=True,
            distill=DistillConfig(teacher=teacher) if teacher else None,
            train=TrainConfig(
                steps=steps,
                positions_per_step=CODES_PER_UPDATE // 4096,
                optim=OptimConfig(lr=1.5e-4, warmup_steps=round(steps * WARMUP_SHARE), decay_all=True),
                precision="bf16",
                evaluate_every=1000,
                **training,
            ),
        ),
    )


def _tiny(teacher: str) -> StoresConfig:
    """The same chain on the sample pack, with a decoder of two layers; the embedded LVM is the teacher."""
    shape = _shape("delvm_80m", vocab_size=1124, codes_per_image=64)
    return StoresConfig(
        tokenizer="mini",
        sources=packaged_sources(),
        max_images=MAX_IMAGES,
        workers=0,
        decoder=DecoderTrainConfig(
            model=replace(shape, hidden_size=128, mlp_size=384, num_layers=2, num_heads=4),
            components=(),
            embedding="codebook",
            distill=DistillConfig(teacher=teacher) if teacher else None,
            train=TrainConfig(
                steps=4,
                positions_per_step=4,
                positions_per_forward=4,
                optim=OptimConfig(lr=1.5e-3, warmup_steps=1, decay_all=True),
                precision="bf16",
                log_every=1,
                checkpoint_every=2,
            ),
        ),
    )


def delvm_80m(tiny: bool = False) -> StoresConfig:
    """DeLVM-80M on stores of your own, from scratch.

    Paper:   arXiv 2402.04841, table 6
    Run:     torchrun --nproc-per-node 8 -m -- openlvm train delvm_80m --device cuda --tokenizer T --stores A B C
    Smaller: openlvm train delvm_80m --tiny
    Cost:    openlvm train delvm_80m --dry-run --gpus 8 --gpu a100
    Expect:  no loss of its three tasks could be found
    Result:  not trained here; docs/delvm.md has the comparisons in miniature
    """
    return _delvm("delvm_80m", tiny=tiny, positions_per_forward=8)


def delvm_300m(tiny: bool = False) -> StoresConfig:
    """DeLVM-300M on stores of your own, from scratch: its pretrain_300m.py.

    Paper:   arXiv 2402.04841; configs/pretrain_300m.py of its release
    Run:     torchrun --nproc-per-node 8 -m -- openlvm train delvm_300m --device cuda --tokenizer T --stores A B C
    Smaller: openlvm train delvm_300m --tiny
    Cost:    openlvm train delvm_300m --dry-run --gpus 8 --gpu a100
    Expect:  held-out loss 4.83 of segmentation after one epoch over 1 % of SA-1B (0.34 B codes), 4.64 over 10 %
    Result:  not trained here; docs/delvm.md has the comparisons in miniature
    """
    return _delvm("delvm_300m", tiny=tiny, positions_per_forward=8)


def delvm_1b(tiny: bool = False) -> StoresConfig:
    """DeLVM-1B, the teacher of the small ones.

    Paper:   arXiv 2402.04841
    Run:     torchrun --nproc-per-node 8 -m -- openlvm train delvm_1b --device cuda --tokenizer T --stores A B C
    Smaller: openlvm train delvm_1b --tiny
    Cost:    openlvm train delvm_1b --dry-run --gpus 16 --gpu a100
    Expect:  below the 300M's loss; no number could be found
    Result:  not trained here; docs/delvm.md has the comparisons in miniature
    """
    return _delvm("delvm_1b", tiny=tiny, positions_per_forward=4)


def delvm_kd_1b_to_300m(tiny: bool = False) -> StoresConfig:
    """DeLVM-300M distilled from DeLVM-1B: its kd_1b_to_300m.py. Train delvm_1b first, or name a teacher.

    Paper:   arXiv 2402.04841; configs/kd_1b_to_300m.py of its release
    Run:     torchrun --nproc-per-node 8 -m -- openlvm train delvm_kd_1b_to_300m --device cuda --tokenizer T \
                 --stores A B C --decoder.distill.teacher runs/delvm-1b/bundle
    Smaller: openlvm train delvm_kd_1b_to_300m --tiny
    Cost:    openlvm train delvm_kd_1b_to_300m --dry-run --gpus 8 --gpu a100
    Expect:  below delvm_300m's loss at equal steps; no number could be found
    Result:  not trained here; docs/delvm.md has the comparison in miniature
    """
    return _delvm("delvm_300m", tiny=tiny, teacher="runs/delvm-1b/bundle", positions_per_forward=8)
