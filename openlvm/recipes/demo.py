"""The demo's LVM: a 2.4M-parameter decoder that learns every kind of sentence from the sample pack in 15 core-minutes.

Tasks and conditions of its report are fixed here, before any training.
"""

from openlvm.evaluation.tasks import PromptTask
from openlvm.model.sizes import SIZES
from openlvm.prompting.sampling import Sampling
from openlvm.recipes.config import LVMConfig, StoreConfig
from openlvm.sentences.grammar import Category, ClipPairs, FreeForm, Kind, Pairs, Sequence, Single, Views
from openlvm.sources.pack import PackClips, PackPhotos, PackTurns, PackViews
from openlvm.sources.pack.motion import PackMotion
from openlvm.store.plan import Component
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.decoder.rows import LossConfig
from openlvm.training.decoder.train import DecoderTrainConfig

RECOLORINGS = tuple(f"recolored:{order}" for order in ("brg", "gbr", "grb", "bgr", "rbg"))
GENERATED = ("edges", "gray", "holes", "inverted", *RECOLORINGS)

TASKS = (
    PromptTask(name="segmentation", target="mask", metric="iou"),
    PromptTask(name="depth", target="depth", metric="depth_error"),
    PromptTask(name="normals", target="normals", metric="normal_degrees"),
    PromptTask(name="edges", target="edges", metric="edge_f1"),
    PromptTask(name="colorization", source="gray", target="image"),
    PromptTask(name="inpainting", source="holes", target="image", region="changed"),
    PromptTask(name="inversion", target="inverted"),
    PromptTask(name="recoloring brg", target="recolored:brg"),
    PromptTask(name="recoloring gbr", target="recolored:gbr"),
    PromptTask(name="next view", style="sequence", source="image", region="changed"),
    PromptTask(name="next frame", style="sequence", source="image", region="changed"),
)
"""What the demo's report measures, on held-out objects before held-out photographs."""

WRONG = {
    "segmentation": "inversion",
    "depth": "edges",
    "normals": "segmentation",
    "edges": "depth",
    "colorization": "normals",
    "inpainting": "segmentation",
    "inversion": "colorization",
    "recoloring brg": "edges",
    "recoloring gbr": "inversion",
}
"""Whose examples mislead in the condition `wrong`: task -> other task."""

SAMPLING = Sampling(temperature=0.7)
"""How answers are drawn. The likeliest code each time (greedy) gives mostly black masks, IoU 0.15 against 0.33
(docs/log.md, 2026-11-21)."""

NUM_PAIRS = 3
"""Example pairs of a prompt; with query and answer, the 8 images of the sentences trained on."""

_TASK_PAIRS: tuple[tuple[str, str], ...] = (
    ("image", "mask"),
    ("image", "depth"),
    ("image", "normals"),
    ("image", "edges"),
    ("gray", "image"),
    ("holes", "image"),
    ("image", "inverted"),
    *(("image", recoloring) for recoloring in RECOLORINGS),
)
_PAIRS_SHARE = 0.70
_OTHERS: tuple[tuple[str, Kind, float], ...] = (
    ("photos", Single(), 0.005),
    ("clips", Sequence(num_images=8, strides=(1,)), 0.005),
    ("motion", Sequence(num_images=8), 0.10),
    ("turns", Views(num_images=8), 0.10),
    ("views", Category(classes=2, per_class=4), 0.02),
    ("views", FreeForm(candidates=("image", "mask", "depth", "normals"), slots_per_record=4, records=2), 0.03),
    ("motion", ClipPairs(target="mask", frames=4, arrangement="interleaved"), 0.02),
    ("motion", ClipPairs(target="mask", frames=4, arrangement="separate"), 0.02),
)
"""Store, kind, share of the positions."""


def _components() -> tuple[Component, ...]:
    pairs = [
        Component("views", Pairs(source=source, target=target, pairs=NUM_PAIRS + 1),
                  _PAIRS_SHARE / len(_TASK_PAIRS), f"{source} to {target}")
        for source, target in _TASK_PAIRS
    ]  # fmt: skip
    others = [
        Component(store, kind, share, f"{store}: {kind.name} {number}")
        for number, (store, kind, share) in enumerate(_OTHERS)
    ]
    return (*pairs, *others)


def demo(tiny: bool = False) -> LVMConfig:
    """The decoder that `openlvm demo --train` trains, on the sample pack.

    Run:     openlvm demo --train, or openlvm train demo --run runs/demo
    Smaller: openlvm train demo --tiny
    Result:  docs/log.md, 2026-11-21
    """
    steps = 6 if tiny else 900
    scenes, objects = (1, 16) if tiny else (2, None)
    return LVMConfig(
        tokenizer="demo",
        sampling=SAMPLING,
        workers=0 if tiny else 2,
        stores=(
            StoreConfig(name="views", source=PackViews(background="mixed", scenes_per_object=scenes, objects=objects),
                        generated=GENERATED),
            StoreConfig(name="turns", source=PackTurns(background="mixed", scenes_per_object=scenes, objects=objects)),
            StoreConfig(name="motion", source=PackMotion(clips=8 if tiny else 400)),
            StoreConfig(name="clips", source=PackClips(frames_per_record=8)),
            StoreConfig(name="photos", source=PackPhotos()),
        ),  # fmt: skip
        decoder=DecoderTrainConfig(
            model=SIZES["demo"],
            train=TrainConfig(
                steps=steps,
                positions_per_step=4,
                positions_per_forward=4,
                optim=OptimConfig(
                    optimizer="muon", lr=2e-3, muon_lr=0.02, weight_decay=0.01, schedule="wsd",
                    warmup_steps=2 if tiny else 40, decay_steps=steps // 3, final_share=0.05,
                ),
                precision="bf16",
                log_every=1 if tiny else 20,
                checkpoint_every=2 if tiny else 100,
            ),
            components=_components(),
            max_passes=5,
            loss=LossConfig(answer=1.0, query=0.1, context=0.3),
        ),
    )  # fmt: skip
