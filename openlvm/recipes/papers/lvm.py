"""LVM (Bai et al., arXiv 2312.00785), five sizes: one epoch over 420 billion codes, on stores of one's own.

Where paper, README and code disagree, or say nothing, the recipes take what is said here:

    length      Paper: one epoch of 420 B codes (its appendix sums to 413 B, its figure to 430 B). The README's example
                stops after 400 000 micro-steps, 100 000 updates, 52 B codes: it is not the run. Here 420 B at most.
    rate        README: 8000 updates up to 1.5e-4, a cosine down to 3e-5 at update 288 000, 36 % of an epoch. Here the
                cosine ends with the training. Every size gets the 7B's rate, the only one published.
    batch       README: 32 sentences of 4096 codes, 4 accumulated: 524 288 codes an update.
    decay       0.1 on everything, norms and tables too (the code's exclusion list is empty).
    sentences   The release cuts an endless stream at the context, and attention crosses; here sentences are whole and
                see only themselves (`--decoder.layout stream` is theirs, for stores of one kind of sentence).
    special     BOS and EOS are 8192 and 8193 of the vocabulary of 8292. Theirs are not published.
    strides     Of videos 8, 12, 24 frames (release); the paper says 10, 20, 30.
    band        An alarm is raised where the training loss leaves what is expected: at first, after the warm-up, and at
                the end of the paper's epoch, half a nat above figure 3 to one below. Other data may lie elsewhere.
    precision   bf16 products; weights and optimizer stay float32 in checkpoints too (theirs round both to bfloat16).
"""

import math
from dataclasses import replace
from typing import Any

from openlvm.model.decoder import INIT_STD
from openlvm.model.sizes import SIZES
from openlvm.recipes.config import StoresConfig
from openlvm.recipes.papers.packaged import packaged_sources
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.decoder.train import DecoderTrainConfig
from openlvm.training.guards.expected import Band

SHARDED: dict[str, Any] = {"parallel": "hsdp", "activation_checkpointing": True}
EPOCH_CODES = 420e9  # paper, section 3.1
CODES_PER_UPDATE = 32 * 4 * 4096  # README: batch 32, accumulation 4
UPDATES = round(EPOCH_CODES / CODES_PER_UPDATE)
WARMUP = 8000  # README
LAST_LOSSES = {"300m": 5.6, "600m": 5.43, "1b": 5.32, "3b": 5.1}  # paper, figure 3, read by eye
STRIDES = (8, 12, 24)  # the release's names kinetics700_s8, _s12, _s24


def _expected(size: str) -> tuple[Band, ...]:
    """Where the training loss belongs: at first that of knowing nothing, ln V, and what random logits add to it."""
    shape = SIZES[size]
    first = math.log(shape.vocab_size) + INIT_STD**2 * shape.hidden_size / 2
    bands = ((1, first - 0.2, first + 0.2), (WARMUP, 3.0, 8.5))
    if size not in LAST_LOSSES:
        return bands
    return (*bands, (UPDATES, LAST_LOSSES[size] - 1, LAST_LOSSES[size] + 0.5))


def _lvm(size: str, *, tiny: bool, **training: Any) -> StoresConfig:
    if tiny:
        return _tiny()
    return StoresConfig(
        tokenizer="data/tokenizer",
        strides=STRIDES,
        decoder=DecoderTrainConfig(
            model=SIZES[size],
            components=(),
            layout="packed",
            compile=True,
            train=TrainConfig(
                steps=UPDATES,
                positions_per_step=CODES_PER_UPDATE // 4096,
                optim=OptimConfig(lr=1.5e-4, warmup_steps=WARMUP, final_share=0.2, decay_all=True),
                precision="bf16",
                evaluate_every=1000,
                expected_loss=_expected(size),
                **training,
            ),
        ),
    )


def _tiny() -> StoresConfig:
    """The same chain on the sample pack: LVM's `debug` shape, four steps."""
    return StoresConfig(
        tokenizer="demo",
        sources=packaged_sources(),
        strides=STRIDES,
        workers=0,
        decoder=DecoderTrainConfig(
            model=replace(SIZES["debug"], vocab_size=1124, context=16 * 64 + 1),
            components=(),
            train=TrainConfig(
                steps=4,
                positions_per_step=4,
                positions_per_forward=4,
                optim=OptimConfig(lr=1.5e-3, warmup_steps=1, final_share=0.2, decay_all=True),
                precision="bf16",
                log_every=1,
                checkpoint_every=2,
            ),
        ),
    )


def lvm_300m(tiny: bool = False) -> StoresConfig:
    """LVM-300M on stores of your own, one epoch of at most 420 billion codes.

    Paper:   arXiv 2312.00785, table 2; what it leaves open is decided at the top of this file
    Run:     torchrun --nproc-per-node 8 -m -- openlvm train lvm_300m --device cuda --tokenizer T --stores A B
    Smaller: openlvm train lvm_300m --tiny
    Cost:    openlvm train lvm_300m --dry-run --gpus 8
    Expect:  training loss 5.6 after 420 B codes (figure 3, by eye); perplexity of masks after five examples 23.1
    Result:  not trained here
    """
    return _lvm("300m", tiny=tiny, positions_per_forward=8)


def lvm_600m(tiny: bool = False) -> StoresConfig:
    """LVM-600M: as lvm_300m, of twice the size; heads of 96 channels.

    Paper:   arXiv 2312.00785, table 2
    Run:     torchrun --nproc-per-node 8 -m -- openlvm train lvm_600m --device cuda --tokenizer T --stores A B
    Smaller: openlvm train lvm_600m --tiny
    Cost:    openlvm train lvm_600m --dry-run --gpus 8
    Expect:  training loss 5.43 after 420 B codes (figure 3, by eye); perplexity of masks after five examples 18.8
    Result:  not trained here
    """
    return _lvm("600m", tiny=tiny, positions_per_forward=4)


def lvm_1b(tiny: bool = False) -> StoresConfig:
    """LVM-1B: as lvm_300m, of four times the size.

    Paper:   arXiv 2312.00785, table 2
    Run:     torchrun --nproc-per-node 8 -m -- openlvm train lvm_1b --device cuda --tokenizer T --stores A B
    Smaller: openlvm train lvm_1b --tiny
    Cost:    openlvm train lvm_1b --dry-run --gpus 32
    Expect:  training loss 5.32 after 420 B codes (figure 3, by eye); perplexity of masks after five examples 16.8
    Result:  not trained here
    """
    return _lvm("1b", tiny=tiny, positions_per_forward=4)


def lvm_3b(tiny: bool = False) -> StoresConfig:
    """LVM-3B: the largest the paper compares; heads of 100 channels, sharded over the GPUs.

    Paper:   arXiv 2312.00785, table 2
    Run:     torchrun --nnodes 8 --nproc-per-node 8 -m -- openlvm train lvm_3b --device cuda --tokenizer T --stores A B
    Smaller: openlvm train lvm_3b --tiny
    Cost:    openlvm train lvm_3b --dry-run --gpus 64
    Expect:  training loss 5.1 after 420 B codes (figure 3, by eye); perplexity of masks after five examples 14.0
    Result:  not trained here
    """
    return _lvm("3b", tiny=tiny, **SHARDED)


def lvm_7b(tiny: bool = False) -> StoresConfig:
    """LVM-7B: the size whose weights were released, and whose rate and batch the README gives; sharded over the GPUs.

    Paper:   arXiv 2312.00785; its README and EasyLM/models/llama/llama_model.py
    Run:     torchrun --nnodes 16 --nproc-per-node 8 -m -- openlvm train lvm_7b --device cuda --tokenizer T --stores A B
    Smaller: openlvm train lvm_7b --tiny
    Cost:    openlvm train lvm_7b --dry-run --gpus 128
    Expect:  no loss was published; below the 3B's 5.1
    Result:  not trained here
    """
    return _lvm("7b", tiny=tiny, **SHARDED)
