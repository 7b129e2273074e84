"""LVM's own evaluation (arXiv 2312.00785, section 4): perplexity by task and by frames shown, keypoints of PASCAL3D+.

Scaling (figure 4) and the ablation of data (figure 5) are the same four columns over several models: give them all to
one run. Published numbers were read in the notes yusijin02/notes-LVM, which show the paper's figures, not in the paper.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch

from openlvm.annotators.interface import Annotator, annotated
from openlvm.annotators.load import load_annotator
from openlvm.annotators.spec import slot_of
from openlvm.core.images import ImagePreparation
from openlvm.core.records import BadRecord, Record
from openlvm.evaluation.harness.questions import Column, Episode
from openlvm.evaluation.harness.records import Changed, FramesOf, PairsOf
from openlvm.evaluation.harness.scores import Reference
from openlvm.evaluation.harness.suite import Data, Plan, Suite
from openlvm.evaluation.measures.codes import ACCURACY, LOSS, PERPLEXITY, PERPLEXITY_OF_MEAN
from openlvm.evaluation.measures.points import pck
from openlvm.evaluation.prompt_sheets import SHEETS
from openlvm.evaluation.published import packaged
from openlvm.evaluation.published.painter import shown_joints
from openlvm.sources.catalog.table import CATALOG
from openlvm.sources.interface import Part, Source, split_into_parts
from openlvm.sources.official.pascal3d import Pascal3D
from openlvm.sources.video import VideoFiles

PREPARATION = ImagePreparation(size=256, fit="squash", filter="bicubic")
"""LVM's size and fit (tokenize_examples of its release)."""
TASKS = ("segmentation", "depth", "normals", "edges")
"""Of figures 4 and 5."""
METRICS = (PERPLEXITY, PERPLEXITY_OF_MEAN, LOSS, ACCURACY)
SHOTS = 5
"""Pairs before the query in figure 4."""
KEYPOINT_SHOTS = 7
"""As in figure 8: with query and answer, LVM's 16 images. How many its table of keypoints shows is not known."""
DRAWN = 1000
"""Episodes of ImageNet's and Kinetics' validation sets; the paper does not say how many it asked."""
FRAMES = (1, 3, 7, 11, 15)
"""Shown in figure 7."""
STRIDE = 8
"""Frames from one to the next (eval_video_perplexity.py of LVM's release, whose other numbers are unknown)."""
PCK_AT = 0.1
_COUNTED = (
    "perplexity of the true answer's codes, the true ones before them given: natural base, softmax over the whole "
    "vocabulary, the mean over answers (as EVAL.md of LVM) and that of the mean loss. It compares models of one "
    "tokenizer alone; the published ones have 256 codes an image, of 8192"
)


def _drawn(data: Data) -> int:
    """Episodes of a set that is too large to be asked whole."""
    return DRAWN if data.episodes is None else data.episodes


# ---------------------------------------------------------------------------------------------------- tasks (figure 4)


@cache
def _annotator(text: str) -> Annotator:
    return load_annotator(text, device="cuda" if torch.cuda.is_available() else "cpu")


def _with_annotation(record: Record, text: str) -> Record:
    (done,) = annotated([record], [_annotator(text)], batch_size=1)
    if isinstance(done, BadRecord):
        raise ValueError(f"{done.key}: {done.reason}. Mend it; an evaluation without it would be another one")
    return done


def pseudo_labelled(data: Data, annotators: tuple[str, ...]) -> Source:
    """ImageNet's validation pictures, annotated as they are read by "depth=hf:Intel/dpt-large" and others."""
    source: Source = CATALOG["imagenet"].source(data.at("imagenet"), "val")
    for text in annotators:
        source = Changed(
            source=source, slots=(*source.slots, slot_of(text)), change=partial(_with_annotation, text=text)
        )
    return source


def _task(name: str, data: Data) -> Column:
    row = CATALOG[f"imagenet_{name}"]
    slot = "mask" if data.is_packaged and name == "segmentation" else name
    options: dict[str, Any] = {"asked": slot, "generated": row.generated, "shots": SHOTS}
    if data.is_packaged:
        pairs = packaged.view_pairs(data, **options)
    else:
        pairs = PairsOf(
            source=partial(pseudo_labelled, data, row.annotators),
            count=_drawn(data), preparation=PREPARATION, styles=row.styles, seed=data.seed, **options,
        )  # fmt: skip
    truth = "true annotations" if data.is_packaged and not row.generated else f"labels by {row.annotated_by}"
    return Column(
        name=name,
        asks="likelihood",
        metrics=METRICS,
        episodes=pairs.episodes,
        question=pairs.question,
        data=packaged.about(f"{name} of objects") if data.is_packaged else f"ImageNet validation, {truth}",
        protocol=(
            f"{SHOTS} pairs, then a query; {truth}, as OpenLVM draws them (LVM's drawings are not published); pictures "
            f"squashed to {pairs.preparation.size} pixels a side; episodes are drawn; {_COUNTED}"
        ),
    )


# --------------------------------------------------------------------------------------------------- frames (figure 7)


@cache
def _clip_episodes(data: Data) -> list[Episode]:
    """The same clips for every number of frames; finding them reads each once."""
    return _clips(data, max(FRAMES)).episodes()


def _clips(data: Data, shown: int) -> FramesOf:
    if data.is_packaged:
        return packaged.clip_frames(data, shown=shown, longest=max(FRAMES))
    return FramesOf(
        source=partial(VideoFiles, at=data.at("kinetics700") / "val"),
        shown=shown, longest=max(FRAMES), stride=STRIDE, count=_drawn(data), preparation=PREPARATION, seed=data.seed,
    )  # fmt: skip


def _frames(shown: int, data: Data) -> Column:
    return Column(
        name=_column_of(shown),
        asks="likelihood",
        metrics=METRICS,
        episodes=partial(_clip_episodes, data),
        question=_clips(data, shown).question,
        data=packaged.about("clips of moving objects")
        if data.is_packaged
        else "Kinetics-700, the films of val/ that are there",
        protocol=(
            f"{shown} frames before the one asked about, {1 if data.is_packaged else STRIDE} frames from one to the "
            f"next; the same target frames for {', '.join(map(str, FRAMES))} frames shown; where they lie is drawn; "
            f"films that are too short are left out; {_COUNTED}"
        ),
        curve=("context frames", shown),
    )


def _column_of(shown: int) -> str:
    return f"frames {shown}"


# ----------------------------------------------------------------------------------------------------------- keypoints


@dataclass(frozen=True, kw_only=True)
class Objects:
    """PASCAL3D+ by object: an item is a record's key, "car_pascal/2008_000027#0", since a picture may show several."""

    source: Pascal3D

    @property
    def slots(self) -> tuple[str, ...]:
        """Those of the source."""
        return self.source.slots

    def describe(self) -> dict[str, Any]:
        """The source's own."""
        return self.source.describe()

    def parts(self) -> list[Part]:
        """All keys; finding them reads every picture once.

        Raises:
            ValueError: a picture or its annotation cannot be read.
        """
        return split_into_parts(list(_keys_of(self.source)), self.source.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """The records of the keys."""
        for key in part.items:
            found = self.source.read(Part(part.name, (picture_of(key),)))
            yield from (record for record in found if isinstance(record, BadRecord) or record.key == key)


@cache
def _keys_of(source: Pascal3D) -> tuple[str, ...]:
    keys = []
    for record in (record for part in source.parts() for record in source.read(part)):
        if isinstance(record, BadRecord):
            raise ValueError(f"{record.key}: {record.reason}. Mend it; an evaluation without it would be another one")
        keys.append(record.key)
    return tuple(keys)


def _objects(data: Data, split: str) -> Source:
    source = CATALOG["pascal3d"].source(data.at("pascal3d"), split)
    assert isinstance(source, Pascal3D)
    return Objects(source=source)


def category_of(key: str) -> str:
    """Of an object: "car_pascal/2008_000027#0" -> "car"."""
    return key.partition("_")[0]


def picture_of(key: str) -> str:
    """Of an object: objects of one picture are no independent draws."""
    return key.rpartition("#")[0]


def _side(record: Record, frame: int) -> Mapping[str, Any]:
    """The longer side of the object's box is that of its picture, which was cut out so."""
    return {"size": PREPARATION.size}


def _keypoints(data: Data) -> Column:
    if data.is_packaged:
        pairs = packaged.pose_pairs(data, shots=KEYPOINT_SHOTS)
        length = "a tenth of the longer side of the box around the visible joints"
    else:
        support: Callable[[], Source] | None = partial(_objects, data, "train") if data.support == "train" else None
        pairs = PairsOf(
            source=partial(_objects, data, "val"), support=support, asked="pose", shots=KEYPOINT_SHOTS,
            count=data.episodes, label_of=category_of, cluster_of=picture_of, preparation=PREPARATION, told=_side,
            seed=data.seed,
        )  # fmt: skip
        length = "a tenth of the longer side of the object's box"
    return Column(
        name="keypoints",
        metrics=(pck(shown_joints, alpha=PCK_AT, by="box", name=f"PCK@{PCK_AT}"),),
        episodes=pairs.episodes,
        question=pairs.question,
        data=packaged.about("people and their joints") if data.is_packaged else "PASCAL3D+ 1.1, Pascal VOC 2012 val",
        protocol=(
            f"visible keypoints within {length}, over all keypoints together; objects cut out of their pictures, "
            f"without those marked difficult; {KEYPOINT_SHOTS} examples of the category, each keypoint drawn as a disc "
            "of its own color and read back. LVM's examples, drawings and reading are not published; StarMap's set "
            "(getPascal3DDataset.py) has difficult objects too"
        ),
    )


# --------------------------------------------------------------------------------------------------- published numbers

_NOTES = "in the notes yusijin02/notes-LVM"


def _by_task(name: str, values: tuple[float, float, float, float], source: str) -> Reference:
    return Reference(name=name, values=dict(zip(TASKS, values, strict=True)), source=f"{source}, {_NOTES}")


REFERENCES = (
    _by_task("LVM 300M", (23.1, 21.1, 15.9, 282.4), "figure 4"),
    _by_task("LVM 600M", (18.8, 17.5, 14.1, 215.7), "figure 4"),
    _by_task("LVM 1B", (16.8, 15.9, 13.2, 193.0), "figure 4"),
    _by_task("LVM 3B", (14.0, 13.5, 12.0, 155.0), "figure 4"),
    _by_task("LVM 3B, video only", (67, 58, 48, 1150), "bars of figure 5, read by eye"),
    _by_task("LVM 3B, annotated images only", (36, 22, 14.3, 290), "bars of figure 5, read by eye"),
    _by_task("LVM 3B, annotated images and video", (18, 16, 12.3, 195), "bars of figure 5, read by eye"),
    Reference(
        name="LVM",
        values=dict(zip(map(_column_of, FRAMES), (62.1, 55.0, 49.8, 48.4, 49.5), strict=True)) | {"keypoints": 0.812},
        source=f"figure 7 (Kinetics-700 val) and the table of keypoints, {_NOTES}",
    ),
    *(
        Reference(name=name, values={"keypoints": value}, source=f"LVM's table of keypoints, {_NOTES}; trained on them")
        for name, value in (("Stacked Hourglass", 0.680), ("MSS-Net", 0.689), ("StarMap", 0.786))
    ),
)

SUITE = Suite(
    name="lvm",
    about=(
        "LVM's perplexities by task (figure 4; over models of several data, figure 5) and by frames shown (figure 7), "
        "its keypoints, and sheets of its kinds of prompts"
    ),
    plans=(
        *(Plan(name=name, datasets=("imagenet",), make=partial(_task, name)) for name in TASKS),
        *(Plan(name=_column_of(shown), datasets=("kinetics700",), make=partial(_frames, shown)) for shown in FRAMES),
        Plan(name="keypoints", datasets=("pascal3d",), make=_keypoints),
    ),
    references=REFERENCES,
    sheets=SHEETS,
)
"""Perplexities, keypoints, sheets."""
