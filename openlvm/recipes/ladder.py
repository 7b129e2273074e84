"""Ladders: decoders of rising size, each from one dial (dial.py), 40 codes a parameter, twice Chinchilla's 20.

`ladder_*` climb on one GPU with stores of one's own. `toy_*` climb on a CPU with the sample pack, one epoch, and a
held-out loss; benchmarks/ladder.py trains them over several seeds and `openlvm report` draws them.
"""

from dataclasses import replace

from openlvm.recipes.config import LVMConfig, StoreConfig, StoresConfig
from openlvm.recipes.dial import dial
from openlvm.recipes.papers.packaged import packaged_sources
from openlvm.sentences.grammar import Kind, Pairs, Sequence, Views
from openlvm.sources.pack import PackMotion, PackTurns, PackViews, Split
from openlvm.store.plan import Component
from openlvm.training.config import OptimConfig
from openlvm.training.decoder.train import DecoderTrainConfig

TOKENS_PER_PARAMETER = 40


def _ladder(parameters: float, *, tiny: bool, positions_per_forward: int) -> StoresConfig:
    if tiny:
        chosen = dial(1.5e5, tokens=8 * 1024, codes_per_image=64, vocab_size=1124, tie_embeddings=True)
        train = replace(chosen.train, log_every=1, checkpoint_every=2, precision="bf16")
        decoder = DecoderTrainConfig(model=chosen.model, components=(), train=train)
        return StoresConfig(tokenizer="demo", sources=packaged_sources(), workers=0, decoder=decoder)
    chosen = dial(parameters, tokens=TOKENS_PER_PARAMETER * parameters)
    train = replace(
        chosen.train,
        positions_per_forward=min(positions_per_forward, chosen.positions_per_step),
        precision="bf16",
        evaluate_every=1000,
    )
    return StoresConfig(
        tokenizer="data/tokenizer",
        strides=(8, 12, 24),
        codebook_start=True,
        decoder=DecoderTrainConfig(model=chosen.model, components=(), layout="packed", compile=True, train=train),
    )


def ladder_10m(tiny: bool = False) -> StoresConfig:
    """First rung on one GPU: 10M parameters, 0.4 billion codes.

    Run:     openlvm train ladder_10m --device cuda --tokenizer T --stores A B --heldout C
    Smaller: openlvm train ladder_10m --tiny
    Result:  not trained here
    """
    return _ladder(10e6, tiny=tiny, positions_per_forward=32)


def ladder_30m(tiny: bool = False) -> StoresConfig:
    """Second rung on one GPU: 30M parameters, 1.2 billion codes.

    Run:     openlvm train ladder_30m --device cuda --tokenizer T --stores A B --heldout C
    Smaller: openlvm train ladder_30m --tiny
    Result:  not trained here
    """
    return _ladder(30e6, tiny=tiny, positions_per_forward=32)


def ladder_100m(tiny: bool = False) -> StoresConfig:
    """Third rung on one GPU: 100M parameters, 4 billion codes.

    Run:     openlvm train ladder_100m --device cuda --tokenizer T --stores A B --heldout C
    Smaller: openlvm train ladder_100m --tiny
    Result:  not trained here
    """
    return _ladder(100e6, tiny=tiny, positions_per_forward=16)


def ladder_300m(tiny: bool = False) -> StoresConfig:
    """Last rung on one GPU: 300M parameters, 12 billion codes.

    Run:     openlvm train ladder_300m --device cuda --tokenizer T --stores A B --heldout C
    Smaller: openlvm train ladder_300m --tiny
    Result:  not trained here
    """
    return _ladder(300e6, tiny=tiny, positions_per_forward=8)


_PAIRS = (("image", "mask"), ("image", "edges"), ("gray", "image"), ("image", "inverted"))
_GENERATED = ("edges", "gray", "inverted")
TOY_CODES = 640_000
"""Nearly one epoch of the toy data: sentences of 8 images of 64 codes."""


def _toy_data(split: Split, *, tiny: bool) -> tuple[tuple[StoreConfig, ...], tuple[Component, ...]]:
    """Pairs of four annotations, turns and moving objects of a split; objects and photographs are of one split only."""
    views, turns, motion = (f"{name}-{split}" for name in ("views", "turns", "motion"))
    objects = 8 if tiny else None
    clips = {"train": 200, "heldout": 40}[split]
    stores = (
        StoreConfig(name=views, source=PackViews(split=split, objects=objects), generated=_GENERATED),
        StoreConfig(name=turns, source=PackTurns(split=split, objects=objects)),
        StoreConfig(name=motion, source=PackMotion(split=split, clips=16 if tiny else clips)),
    )
    kinds: list[tuple[str, Kind, str]] = [
        (views, Pairs(source=source, target=target, pairs=4), f"{source} to {target}") for source, target in _PAIRS
    ]
    kinds += [(turns, Views(num_images=8), "turns"), (motion, Sequence(num_images=8), "motion")]
    return stores, tuple(Component(store, kind, name=f"{split}: {name}") for store, kind, name in kinds)


def _toy(parameters: float, *, tiny: bool) -> LVMConfig:
    """A rung at toy scale: plain Llamas of equal construction, so that size is all that differs.

    Muon, with the rates of demo and mini: in so few steps AdamW at the dial's rate leaves the larger ones behind
    (docs/log.md, "A ladder of three toys").
    """
    chosen = dial(
        parameters, tokens=8 * 1024 if tiny else TOY_CODES, codes_per_image=64, vocab_size=1124, tie_embeddings=True
    )
    (stores, components), (heldout_stores, heldout) = (_toy_data(split, tiny=tiny) for split in ("train", "heldout"))
    train = replace(
        chosen.train,
        optim=OptimConfig(
            optimizer="muon", lr=2e-3, weight_decay=0.01, warmup_steps=chosen.steps // 20, final_share=0.01
        ),
        precision="bf16",
        log_every=1 if tiny else 25,
        evaluate_every=2 if tiny else 320,
        checkpoint_every=2 if tiny else 250,
    )
    return LVMConfig(
        tokenizer="demo",
        stores=(*stores, *heldout_stores),
        workers=0,
        codebook_start=True,
        look_back=False,
        decoder=DecoderTrainConfig(
            model=chosen.model, train=train, components=components, heldout=heldout, heldout_positions=1000
        ),
    )


def toy_300k(tiny: bool = False) -> LVMConfig:
    """First rung of the toy ladder: 0.3M parameters on a CPU, one epoch of the sample pack.

    Run:     python benchmarks/ladder.py --toy runs/toy-ladder, or openlvm train toy_300k
    Smaller: openlvm train toy_300k --tiny
    Result:  docs/log.md, "A ladder of three toys"
    """
    return _toy(0.3e6, tiny=tiny)


def toy_1m(tiny: bool = False) -> LVMConfig:
    """Second rung of the toy ladder: 1M parameters.

    Run:     python benchmarks/ladder.py --toy runs/toy-ladder, or openlvm train toy_1m
    Smaller: openlvm train toy_1m --tiny
    Result:  docs/log.md, "A ladder of three toys"
    """
    return _toy(1e6, tiny=tiny)


def toy_3m(tiny: bool = False) -> LVMConfig:
    """Last rung of the toy ladder: 3M parameters.

    Run:     python benchmarks/ladder.py --toy runs/toy-ladder, or openlvm train toy_3m
    Smaller: openlvm train toy_3m --tiny
    Result:  docs/log.md, "A ladder of three toys"
    """
    return _toy(3e6, tiny=tiny)
