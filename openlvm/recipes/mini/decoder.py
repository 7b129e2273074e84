"""`mini`, the LVM inside OpenLVM: a 2.8M-parameter decoder that learns every task of the report from free pictures.

What is held out: the objects, photographs, films and motions of the pack's split "heldout"; one in five instances of
each family of drawn tasks, and two families whole (sources/worlds); the suite's `UNSEEN_MAPPINGS`.
"""

from dataclasses import replace
from typing import Any

from openlvm.evaluation.suites.mini import SAMPLING, UNSEEN_MAPPINGS
from openlvm.model.sizes import SIZES
from openlvm.recipes.config import LVMConfig, StoreConfig
from openlvm.recipes.mini.tokenizer import DATA
from openlvm.sentences.grammar import Category, ClipPairs, FreeForm, Kind, Pairs, Sequence, Single, Views
from openlvm.sources.pack import (
    PackClips,
    PackGame,
    PackMotion,
    PackPhotos,
    PackPoses,
    PackStamps,
    PackTurns,
    PackViews,
)
from openlvm.sources.worlds.matrices import MatricesWorld
from openlvm.sources.worlds.primitives import PrimitivesWorld
from openlvm.sources.worlds.shapes import TRAINING_FAMILIES, ShapesWorld
from openlvm.store.plan import Component
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.decoder.rows import LossConfig
from openlvm.training.decoder.train import DecoderTrainConfig

ALTERED = ("gray", "holes", "noisy", "rainy", "dark", "blurred")
RECOLORINGS = (
    "inverted",
    *(f"recolored:{order}" for order in ("brg", "gbr", "grb", "bgr")),
    *(f"hue:{degrees}" for degrees in range(30, 360, 30) if f"hue:{degrees}" not in UNSEEN_MAPPINGS),
)
GENERATED = ("edges", *ALTERED, "flipped", "rotated", *RECOLORINGS)
CHANGES = ("color", "shape", "size")
DRAWN = tuple(name for name in TRAINING_FAMILIES if name not in ("recoloring", *CHANGES))

_PAIRS: tuple[tuple[str, str, str, float], ...] = (
    ("views", "image", "mask", 0.05),
    ("views", "image", "depth", 0.04),
    ("views", "image", "normals", 0.04),
    ("views", "image", "edges", 0.03),
    ("views", "gray", "image", 0.03),
    ("views", "holes", "image", 0.035),
    ("views", "noisy", "image", 0.025),
    ("views", "rainy", "image", 0.025),
    ("views", "dark", "image", 0.025),
    ("views", "blurred", "image", 0.02),
    ("views", "image", "flipped", 0.035),
    ("views", "image", "rotated", 0.035),
    *(("views", "image", name, 0.008) for name in RECOLORINGS),
    ("stamps", "image", "mask", 0.015),
    ("people", "image", "pose", 0.03),
    ("people", "image", "mask", 0.01),
    ("solids", "image", "mask", 0.01),
    ("solids", "image", "depth", 0.01),
    ("solids", "image", "normals", 0.01),
)
"""Store, given slot, asked slot, share of the positions with four pairs a sentence."""
_LONG = ("mask", "depth", "normals", "edges", "flipped", "inverted", "hue:90")
_LONG_SHARE = 0.012
"""Annotations that come with eight pairs a sentence too, and the share of each."""
_DRAWN_SHARES = (("recoloring", 0.05), ("changes", 0.05), ("drawn", 0.07))
_MORE = {"changes": 3.2, "matrices": 1.7, "recoloring": 1.2}
"""How many times their share of the first training these stores have in longer ones."""
_OTHERS: tuple[tuple[str, Kind, float], ...] = (
    ("photos", Single(), 0.005),
    ("clips", Sequence(num_images=8, strides=(1,)), 0.005),
    ("motion", Sequence(num_images=8), 0.05),
    ("turns", Views(num_images=8), 0.05),
    ("matrices", Sequence(num_images=9), 0.05),
    ("views", Category(classes=2, per_class=4), 0.005),
    ("views", FreeForm(candidates=("image", "mask", "depth", "normals"), slots_per_record=4, records=2), 0.01),
    ("motion", ClipPairs(target="mask", frames=4, arrangement="interleaved"), 0.01),
    ("motion", ClipPairs(target="mask", frames=4, arrangement="separate"), 0.01),
    ("game", ClipPairs(target="depth", frames=4, arrangement="interleaved"), 0.01),
)
"""Store, kind, share of the positions."""


def _pairs(store: str, source: str, target: str, share: float, pairs: int) -> Component:
    length = "8 pairs, " if pairs == 8 else ""
    drawn = store in dict(_DRAWN_SHARES)
    name = f"{length}{store}" if drawn else f"{length}{store}: {source} to {target}"
    return Component(store, Pairs(source=source, target=target, pairs=pairs, by_label=drawn), share, name)


def _others(tiny: bool) -> list[Component]:
    """What is not pairs; the embedded pack's films have 8 frames."""
    game = ("game", Sequence(num_images=8 if tiny else 16), 0.03)
    return [
        Component(store, kind, share, f"{store}: {kind.name} {number}")
        for number, (store, kind, share) in enumerate((*_OTHERS[:4], game, *_OTHERS[4:]))
    ]


def _components(tiny: bool) -> tuple[Component, ...]:
    """Four pairs a sentence, and of some annotations eight."""
    drawn = [(store, "image", "answer", share) for store, share in _DRAWN_SHARES]
    long = [
        replace(_pairs("views", "image", target, _LONG_SHARE, pairs=8), name=f"8 pairs: image to {target}")
        for target in _LONG
    ]
    return (
        *(_pairs(*task, pairs=4) for task in _PAIRS),
        *long,
        *(_pairs(*task, pairs=4) for task in drawn),
        *_others(tiny),
    )


def _longer_components(tiny: bool) -> tuple[Component, ...]:
    """Half of all pairs stand in sentences of eight.

    With `_components` answers to tasks that never come so get less likely from four examples on, and the puzzles are
    chosen hardly better than by chance (docs/log.md).
    """
    tasks = (*_PAIRS, *((store, "image", "answer", share) for store, share in _DRAWN_SHARES))
    halves = [(store, source, target, share / 2) for store, source, target, share in tasks]
    components = (*(_pairs(*task, pairs=pairs) for pairs in (4, 8) for task in halves), *_others(tiny))
    return tuple(
        replace(component, weight=float(component.weight) * _MORE.get(str(component.store), 1.0))
        for component in components
    )


def _stores(tiny: bool) -> tuple[StoreConfig, ...]:
    at = None if tiny else DATA
    scenes, objects, many = (1, 24, 16) if tiny else (2, None, 1)

    def shapes(tasks: tuple[str, ...], instances: int, records: int, seed: int = 0) -> ShapesWorld:
        return ShapesWorld(
            tasks=tasks, instances=max(2, instances // many), records_per_instance=max(8, records // many), seed=seed
        )

    return (
        StoreConfig(name="views", generated=GENERATED,
                    source=PackViews(background="mixed", scenes_per_object=scenes, objects=objects, at=at)),
        StoreConfig(name="turns",
                    source=PackTurns(background="mixed", scenes_per_object=scenes, objects=objects, at=at)),
        StoreConfig(name="motion", source=PackMotion(clips=3000 // many, at=at)),
        StoreConfig(name="game", source=PackGame(at=at)),
        StoreConfig(name="clips", source=PackClips(frames_per_record=8, at=at)),
        StoreConfig(name="photos", source=PackPhotos(at=at)),
        StoreConfig(name="people", source=PackPoses(background="mixed", scenes_per_picture=scenes, at=at)),
        StoreConfig(name="stamps", source=PackStamps(background="mixed", at=at)),
        StoreConfig(name="recoloring", source=shapes(("recoloring",), 400, 16)),
        StoreConfig(name="changes", source=shapes(CHANGES, 100, 32)),
        StoreConfig(name="drawn", source=shapes(DRAWN, 60, 24)),
        StoreConfig(name="matrices", source=MatricesWorld(count=4000 // many)),
        StoreConfig(name="solids", source=PrimitivesWorld(count=2500 // many)),
    )  # fmt: skip


def _training(size: str, *, steps: int, positions: int, tiny: bool, **settings: Any) -> DecoderTrainConfig:
    """The training of a decoder of a size: warm-up, stable, decay over the last third."""
    settings = dict[str, Any](components=_components(tiny), max_passes=40) | settings
    steps, positions = (6, 4) if tiny else (steps, positions)
    return DecoderTrainConfig(
        model=SIZES[size],
        train=TrainConfig(
            steps=steps,
            positions_per_step=positions,
            positions_per_forward=min(positions, 16),
            optim=OptimConfig(
                optimizer="muon", lr=2e-3, muon_lr=0.02, weight_decay=0.01, schedule="wsd",
                warmup_steps=2 if tiny else 100, decay_steps=steps // 3, final_share=0.03,
            ),
            precision="bf16",
            log_every=1 if tiny else 20,
            checkpoint_every=2 if tiny else 100,
        ),
        loss=LossConfig(answer=1.0, query=0.1, context=0.3),
        **settings,
    )  # fmt: skip


def mini(tiny: bool = False) -> LVMConfig:
    """The embedded LVM: 2.9M parameters, 64 px.

    Run:     python tools/build_mini_data.py --at data/mini
             openlvm tokenizer train mini_tokenizer --run runs/mini-tokenizer
             openlvm train mini --run runs/mini
    Smaller: openlvm train mini --tiny
    Cost:    an hour of two CPU cores
    Result:  openlvm/assets/mini/README.md
    """
    return LVMConfig(
        tokenizer="demo" if tiny else "runs/mini-tokenizer/tokenizer",
        workers=0 if tiny else 2,
        stores=_stores(tiny),
        sampling=SAMPLING,
        decoder=_training("mini", steps=4200, positions=4, tiny=tiny),
    )


def mini_more(tiny: bool = False) -> LVMConfig:
    """A continuation of the embedded LVM: its weights, a fresh optimizer, a rate warmed up anew, other sentences.

    Run:     openlvm train mini_more --run runs/mini-more
    Smaller: openlvm train mini_more --tiny
    Cost:    two hours of two CPU cores, in any number of pieces (--resume)
    Result:  openlvm/assets/mini/README.md
    """
    training = _training("mini", steps=4200, positions=8, tiny=tiny)
    train = replace(training.train, positions_per_forward=4, seed=1)
    training = replace(training, components=_longer_components(tiny), max_passes=60, train=train)
    return replace(mini(tiny), tokenizer="mini", start="mini", decoder=training)


def mini_128(tiny: bool = False) -> LVMConfig:
    """The shape of LVM's sentences for a GPU: 128 px, 16 images of 256 codes, 8.8M parameters.

    Run:     openlvm tokenizer train mini_128_tokenizer --run runs/mini-128-tokenizer --device cuda
             openlvm train mini_128 --run runs/mini-128 --device cuda
    Smaller: openlvm train mini_128 --tiny
    Result:  not trained yet; docs/gpu.md
    """
    on_gpu: dict[str, Any] = {} if tiny else {"layout": "packed", "compile": True, "max_passes": 200}
    return LVMConfig(
        tokenizer="demo" if tiny else "runs/mini-128-tokenizer/tokenizer",
        workers=0 if tiny else 16,
        stores=_stores(tiny),
        sampling=SAMPLING,
        decoder=_training(
            "mini" if tiny else "mini_128",
            steps=2000,
            positions=32,
            tiny=tiny,
            components=_longer_components(tiny),
            **on_gpu,
        ),
    )
