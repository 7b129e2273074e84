"""The suite `mini`: what a small LVM is asked on held-out pictures, fixed before any training.

Listed are the packaged tasks, on objects, clips and people that no training saw; worlds are families of flat scenes,
their instances never trained on, two families of them unknown altogether.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from openlvm.core.records import IMAGE, Record
from openlvm.evaluation.scenes import object_of
from openlvm.evaluation.tasks import PromptTask
from openlvm.prompting.sampling import Sampling
from openlvm.sources.interface import Source
from openlvm.sources.pack import PackMotion, PackObjects, PackPoses, PackTurns
from openlvm.sources.worlds.families import HELDOUT_FAMILIES
from openlvm.sources.worlds.shapes import TRAINING_FAMILIES, ShapesWorld

NUM_PAIRS = 3
"""Example pairs of a prompt; with query and answer, the 8 images of the sentences trained on."""
SHOWN_FRAMES = 7
"""Frames of a sequence before the one that is asked for."""
EXAMPLE_COUNTS = (0, 1, 2, 3, 5, 7)
"""Examples before the answer whose perplexity is measured."""
FRAME_COUNTS = (1, 3, 5, 7, 11, 15)
"""Frames before the one whose perplexity is measured; as many as the records and the context hold."""
PUZZLES = 300
"""Of each reasoning test."""
SAMPLING = Sampling(temperature=0.7)
"""How answers are drawn; the likeliest code each time gives mostly black masks (docs/log.md, 2026-11-21)."""
TRAINING_SCENES = 48
"""From which the mean training answers are taken."""

SEEN_MAPPINGS = ("recolored:brg", "inverted", "hue:90")
UNSEEN_MAPPINGS = ("recolored:rbg", "hue:150", "hue:270")
"""Recolorings that training never shows."""

Split = Literal["train", "heldout"]


@dataclass(frozen=True, kw_only=True)
class SuiteTask:
    """A task of the suite. A query takes the next of `targets` in turn, and so do its examples."""

    name: str
    pool: str = "objects"
    """Where its scenes come from, a name in `POOLS`."""
    targets: tuple[str, ...] = ()
    """Slots of the answers: one, or the mappings that a task mixes; empty for a sequence."""
    source: str = IMAGE
    wrong: tuple[str, str] = (IMAGE, "")
    """Slots of the task whose examples mislead."""
    wrong_pool: str = ""
    """Where the misleading examples come from; "" for the same scenes."""
    metric: str = "psnr"
    region: Literal["all", "changed"] = "all"
    group: Literal["listed", "worlds"] = "listed"

    @property
    def is_sequence(self) -> bool:
        """Frames are shown, not pairs."""
        return not self.targets

    def prompt_task(self, number: int = 0) -> PromptTask:
        """The task of query `number`."""
        return PromptTask(
            name=self.name,
            style="sequence" if self.is_sequence else "analogy",
            source=self.source,
            target=self.targets[number % len(self.targets)] if self.targets else "",
            metric=self.metric,
            region=self.region,
        )


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Held-out scenes, and training scenes for the mean answer."""

    source: Callable[[Split], Source]
    subject: Callable[[Record], str] = object_of
    grouped: bool = False
    """Examples come from the query's label."""


_MASK, _EDGES, _DEPTH = (IMAGE, "mask"), (IMAGE, "edges"), (IMAGE, "depth")

LISTED: tuple[SuiteTask, ...] = (
    SuiteTask(name="segmentation", targets=("mask",), wrong=(IMAGE, "inverted"), metric="iou"),
    SuiteTask(name="depth", targets=("depth",), wrong=_EDGES, metric="abs_rel"),
    SuiteTask(name="normals", targets=("normals",), wrong=_MASK, metric="normal_degrees"),
    SuiteTask(name="edges", targets=("edges",), wrong=_DEPTH, metric="edge_f1"),
    SuiteTask(name="keypoints", pool="poses", targets=("pose",), wrong=_EDGES, metric="keypoints"),
    SuiteTask(name="colorization", source="gray", targets=(IMAGE,), wrong=(IMAGE, "normals")),
    SuiteTask(name="inpainting", source="holes", targets=(IMAGE,), wrong=_MASK, region="changed"),
    SuiteTask(name="denoising", source="noisy", targets=(IMAGE,), wrong=_EDGES),
    SuiteTask(name="deraining", source="rainy", targets=(IMAGE,), wrong=_MASK),
    SuiteTask(name="low light", source="dark", targets=(IMAGE,), wrong=_EDGES),
    SuiteTask(name="deblurring", source="blurred", targets=(IMAGE,), wrong=_DEPTH),
    SuiteTask(name="flip", targets=("flipped",), wrong=_EDGES),
    SuiteTask(name="rotation", targets=("rotated",), wrong=_MASK),
    SuiteTask(name="next view", pool="turns", region="changed"),
    SuiteTask(name="next frame", pool="motion", region="changed"),
    SuiteTask(name="recoloring (seen)", targets=SEEN_MAPPINGS, wrong=_EDGES, metric="pixels_right"),
    SuiteTask(name="recoloring (unseen)", targets=UNSEEN_MAPPINGS, wrong=_EDGES, metric="pixels_right"),
)
"""The packaged tasks."""

_MISLEADS = {"recoloring": "outline", "outline": "color", "color": "outline"}
WORLDS: tuple[SuiteTask, ...] = tuple(
    SuiteTask(
        name=f"shapes: {family}{' (new)' if family in HELDOUT_FAMILIES else ''}",
        pool=f"shapes {family}",
        targets=("answer",),
        wrong=(IMAGE, "answer"),
        wrong_pool=f"shapes {_MISLEADS.get(family, 'recoloring')}",
        metric="changed_right",
        group="worlds",
    )
    for family in (*TRAINING_FAMILIES, *HELDOUT_FAMILIES)
)
"""Flat scenes: instances never trained on, and two families never trained on, which are called new."""

TASKS = (*LISTED, *WORLDS)


def _whole_key(record: Record) -> str:
    return record.key


def _shapes(family: str) -> Pool:
    def source(split: Split) -> Source:
        known = (family,) if split == "heldout" or family not in HELDOUT_FAMILIES else TRAINING_FAMILIES
        return ShapesWorld(split=split, tasks=known, instances=32, records_per_instance=8)

    return Pool(source=source, subject=_whole_key, grouped=True)


POOLS: Mapping[str, Pool] = {
    "objects": Pool(source=lambda split: PackObjects(split=split, scenes_per_object=2)),
    "poses": Pool(source=lambda split: PackPoses(split=split), subject=lambda record: record.label),
    "turns": Pool(source=lambda split: PackTurns(split=split, scenes_per_object=2)),
    "motion": Pool(
        source=lambda split: PackMotion(split=split, clips=96), subject=lambda record: record.key.split("/")[1]
    ),
    "long motion": Pool(
        source=lambda split: PackMotion(split=split, clips=96, frames=16),
        subject=lambda record: record.key.split("/")[1],
    ),
    **{f"shapes {family}": _shapes(family) for family in (*TRAINING_FAMILIES, *HELDOUT_FAMILIES)},
}
"""Where scenes come from, by name."""
