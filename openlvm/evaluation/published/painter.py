"""Painter's benchmarks (Wang et al., CVPR 2023) in Python alone: depth, segmentation, pose, and four restorations.

What its scripts do (github.com/baaivision/Painter, eval/) is followed; where they need MATLAB, detectors or files that
the rows of the catalogue do not have, the column says what is done instead.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from openlvm.core.images import ImagePreparation
from openlvm.core.records import IMAGE, Depth, Keypoints, Record
from openlvm.core.seeds import seed_of
from openlvm.evaluation.harness.classical import CLASSICAL
from openlvm.evaluation.harness.predictors import Predictor
from openlvm.evaluation.harness.questions import Column, Episode, Metric, Question
from openlvm.evaluation.harness.records import Changed, PairsOf, record_of
from openlvm.evaluation.harness.scores import Reference
from openlvm.evaluation.harness.suite import Data, Plan, Suite
from openlvm.evaluation.measures.dense import depth_metrics, metric_depth
from openlvm.evaluation.measures.masks import semantic_iou
from openlvm.evaluation.measures.pictures import PSNR, PSNR_LUMA, SSIM, SSIM_LUMA
from openlvm.evaluation.measures.points import oks_recall
from openlvm.evaluation.published import packaged
from openlvm.sentences.render import read_keypoints, resized
from openlvm.sources.catalog.table import CATALOG
from openlvm.sources.interface import Source
from openlvm.sources.official.listed.sidd import SiddBlocks

SHOTS = 1
"""Painter is shown one pair."""
PREPARATION = ImagePreparation(size=448, fit="squash", filter="bicubic")
"""Painter's input."""
FAR = 10.0
"""Meters at white in NYUv2, and the largest that counts (--max_depth_eval of Painter's eval.sh)."""
PACKAGED_FAR = 5.0
"""Meters; packaged objects and people are nearer."""
NYU_SIZE = (480, 640)
EIGEN_CROP = (slice(45, 471), slice(41, 601))
"""Rows and columns that count in NYUv2 (--eigen_crop of eval_with_pngs.py)."""
ADE_CLASSES = range(1, 151)
MARGIN = 1.25
"""Side of the square around a person over the longer side of the joints' box; MMPose pads boxes so."""
LEAST_SIDE = 16
"""Pixels; a single joint has no box."""
AREA_OF_BOX = 0.53
"""Of the joints' box, as toolkits guess a person's area where no outline is known (MMPose)."""


def row_source(name: str, data: Data, split: str) -> Callable[[], Source]:
    """The source of a row's split in the folder of a suite's data."""
    return lambda: CATALOG[name].source(data.at(name), split)


def _pairs(data: Data, source: Callable[[], Source], support: Callable[[], Source] | None, **options: Any) -> PairsOf:
    return PairsOf(
        source=source, support=support, shots=SHOTS, count=data.episodes, preparation=PREPARATION, seed=data.seed,
        **options,
    )  # fmt: skip


def at_own_size(pairs: PairsOf) -> Callable[[Episode], Question]:
    """Questions whose truth, a picture, keeps its own size: answers are resized to it."""

    def question(episode: Episode) -> Question:
        truth = record_of(pairs.source(), episode.query).slots[pairs.asked][0]
        assert isinstance(truth, np.ndarray)
        return replace(pairs.question(episode), truth=truth, payload=truth)

    return question


# -------------------------------------------------------------------------------------------------------------- depth


def painted_depth(record: Record, far: float) -> Record:
    """The record with its depth as Painter draws it in the slot "painted": gray in proportion to meters."""
    depth = record.slots["depth"][0]
    assert isinstance(depth, Depth)
    gray = np.rint(255 * np.clip(np.nan_to_num(depth.meters) / far, 0, 1)).astype(np.uint8)
    painted = np.repeat(gray[..., None], 3, axis=-1)
    return Record(key=record.key, slots={**record.slots, "painted": [painted]}, label=record.label)


def counted_depth(depth: Depth) -> Depth:
    """Depth where eval_with_pngs.py looks: below `FAR`, and in the crop if it is of NYUv2's size; 0 elsewhere."""
    meters = np.zeros_like(depth.meters)
    crop = EIGEN_CROP if depth.meters.shape == NYU_SIZE else (slice(None), slice(None))
    meters[crop] = np.where(depth.meters < FAR, depth.meters, 0)[crop]
    return Depth(meters)


def _painting(source: Callable[[], Source], far: float) -> Callable[[], Source]:
    return lambda: Changed(source=source(), slots=(*source().slots, "painted"), change=partial(painted_depth, far=far))


def _depth(data: Data) -> Column:
    far = PACKAGED_FAR if data.is_packaged else FAR
    if data.is_packaged:
        pairs = packaged.view_pairs(data, "painted", shots=SHOTS)
        support = pairs.support and _painting(pairs.support, far)
        pairs = replace(pairs, source=_painting(pairs.source, far), support=support)
    else:
        test, train = row_source("nyuv2", data, "test"), row_source("nyuv2", data, "train")
        pairs = _pairs(data, _painting(test, far), _painting(train, far), asked="painted")

    def question(episode: Episode) -> Question:
        slots = record_of(pairs.source(), episode.query).slots
        (painted,), (depth,) = slots["painted"], slots["depth"]
        assert isinstance(painted, np.ndarray) and isinstance(depth, Depth)
        return replace(pairs.question(episode), truth=painted, payload=counted_depth(depth))

    return Column(
        name="depth",
        metrics=depth_metrics(metric_depth(far), over="pictures", far=far),
        episodes=pairs.episodes,
        question=question,
        data=packaged.about("depth of objects") if data.is_packaged else "NYUv2, official test split",
        protocol=(
            f"gray is depth / {far:g} m (mean of RGB); answers are resized to the picture (bilinear) and set into "
            f"0.001..{far:g} m; known pixels of each picture, then the mean over pictures"
            + ("" if data.is_packaged else _NYU)
        ),
    )


_NYU = (
    ". As eval_with_pngs.py of BTS and Painter, with its Eigen crop (rows 45..470, columns 41..600 of 640 x 480). "
    "Other than there: depth with the publisher's filled holes (theirs is raw), pictures with their white frames, an "
    "example of the training split drawn for each query (theirs is one for all), answers in 8 bits"
)


# ------------------------------------------------------------------------------------------------------- segmentation


def _segmentation(data: Data) -> Column:
    if data.is_packaged:
        pairs = packaged.view_pairs(data, "mask", shots=SHOTS)
        ids, what = range(2), packaged.about("objects and background")
    else:
        pairs = _pairs(
            data, row_source("ade20k", data, "val"), row_source("ade20k", data, "train"), asked="segmentation"
        )
        ids, what = ADE_CLASSES, "ADE20K, validation, 150 classes"
    return Column(
        name="segmentation",
        metrics=(semantic_iou(ids),),
        episodes=pairs.episodes,
        question=pairs.question,
        data=what,
        protocol=(
            "the class of the nearest color, pixels accumulated over all pictures, not labelled ones left out, then "
            f"the mean over classes that occur in truth or answer; {pairs.preparation.size} pixels a side"
            + ("" if data.is_packaged else _ADE)
        ),
    )


_ADE = (
    ", in the colors of OpenLVM's palette (Painter: its own colors, at the picture's size); one example of the "
    "training split drawn for each query, which cannot show the colors of all 150 classes"
)


# --------------------------------------------------------------------------------------------------------------- pose


def largest_person(record: Record) -> Record:
    """The person whose joints reach farthest: the square around them cut out, black beyond the picture."""
    image, people = record.slots[IMAGE][0], record.slots["pose"][0]
    assert isinstance(image, np.ndarray) and isinstance(people, Keypoints)
    sizes = [_longer_side(points[seen]) for points, seen in zip(people.points, people.visible, strict=True)]
    person = int(np.argmax(sizes))
    known = people.points[person, people.visible[person]]
    side = max(int(np.ceil(MARGIN * sizes[person])), LEAST_SIDE)
    left, top = np.rint((known.min(axis=0) + known.max(axis=0)) / 2 - side / 2).astype(int)
    height, width = image.shape[:2]
    cut = np.zeros((side, side, 3), np.uint8)
    rows, columns = slice(max(top, 0), min(top + side, height)), slice(max(left, 0), min(left + side, width))
    cut[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image[rows, columns]
    points = (people.points[person] - [left, top]).astype(np.float32)
    pose = Keypoints(points[None], people.visible[person][None], (side, side), people.joints)
    return Record(key=record.key, slots={IMAGE: [cut], "pose": [pose]}, label=record.label)


def _longer_side(points: np.ndarray) -> float:
    """Of the box around points [J, 2]; -1 without any."""
    return float(np.ptp(points, axis=0).max()) if len(points) else -1.0


def one_person(source: Callable[[], Source]) -> Callable[[], Source]:
    """A source of pictures of people as one of single persons."""
    return lambda: Changed(source=source(), slots=(IMAGE, "pose"), change=largest_person)


def shown_joints(answer: np.ndarray, question: Question) -> Keypoints:
    """The joints that an answer shows, in the truth's set."""
    truth = question.payload
    assert isinstance(truth, Keypoints)
    return read_keypoints(answer, num_joints=truth.points.shape[1], joints=truth.joints)


def _area(preparation: ImagePreparation, record: Record, frame: int) -> Mapping[str, Any]:
    pose = resized(record.slots["pose"][frame], preparation)
    assert isinstance(pose, Keypoints)
    width, height = np.ptp(pose.points[0, pose.visible[0]], axis=0)
    return {"area": max(AREA_OF_BOX * float(width * height), 1.0)}


def _pose(data: Data) -> Column:
    if data.is_packaged:
        told = partial(_area, packaged.PREPARATION)
        pairs = packaged.pose_pairs(data, shots=SHOTS, told=told)
    else:
        val, train = (one_person(row_source("coco_pose", data, split)) for split in ("val", "train"))
        pairs = _pairs(data, val, train, asked="pose", told=partial(_area, PREPARATION))
    metric = oks_recall(shown_joints)
    return Column(
        name="pose",
        metrics=(metric,),
        episodes=pairs.episodes,
        question=pairs.question,
        data=packaged.about("people and their joints") if data.is_packaged else "COCO 2017, validation, people",
        protocol=(
            "average recall over OKS thresholds 0.50..0.95 of the one person that an answer shows, each joint where "
            f"its color is; area {AREA_OF_BOX} of the joints' box. Of joints drawn over one another the lower is lost, "
            "which the ceiling shows" + ("" if data.is_packaged else _COCO)
        ),
    )


_COCO = (
    ". Of each picture the person whose joints reach farthest, cut out of it (the square of "
    f"{MARGIN} times the true box). Not the AP of Painter's table, which needs a detector's boxes, heat maps and scores"
)


# -------------------------------------------------------------------------------------------------------- restoration

_OWN_SIZE = "answers are resized to the picture (bilinear) and scored at its own size, mean over pictures"


def _restored(
    name: str, pairs: Callable[[Data], PairsOf], generated: str, metrics: tuple[Metric, ...], what: str,
    how: str, differs: str,
) -> Callable[[Data], Column]:  # fmt: skip
    """What makes a column of degraded pictures, from `pairs` or, packaged, with the slot `generated` as query.

    Args:
        what: the official data.
        how: the metrics are taken.
        differs: of the official data, from what Painter does.
    """

    def make(data: Data) -> Column:
        own = seed_of(name, data.seed)  # packaged, columns of one task are two draws and not twice the same one
        of = packaged.photo_pairs(data, generated, shots=SHOTS, seed=own) if data.is_packaged else pairs(data)
        return Column(
            name=name,
            metrics=metrics,
            episodes=of.episodes,
            question=at_own_size(of),
            data=packaged.about(f"photographs made {generated}") if data.is_packaged else what,
            protocol=f"{how}; {_OWN_SIZE}; one example drawn for each query"
            + ("" if data.is_packaged else f", {differs}"),
        )

    return make


def _sidd(data: Data) -> PairsOf:
    return _pairs(data, lambda: SiddBlocks(at=data.at("sidd")), None, asked="clean", cluster_of=_first_of_key)


def _test2800(data: Data) -> PairsOf:
    is_packed = (data.at("test2800") / "test").is_dir()
    source = row_source("test2800", data, "test" if is_packed else "published")
    return _pairs(data, source, None, asked="clean", cluster_of=rain_scene)


def _test1200(data: Data) -> PairsOf:
    return _pairs(data, row_source("did_mdn", data, "test"), None, asked="clean")


def _lol(data: Data) -> PairsOf:
    return _pairs(data, row_source("lol", data, "test"), row_source("lol", data, "train"), asked="clean")


def _first_of_key(item: str) -> str:
    """The picture of one of SIDD's squares."""
    return item.split("/")[0]


def rain_scene(item: str) -> str:
    """The scene of one of Test2800's pictures, "901" of "901_14//..." or, as published, "901/14//...": of 14 rains."""
    return re.split("[_/]", item, maxsplit=1)[0]


_COLORS = (PSNR, SSIM)
_LUMA = (PSNR_LUMA, SSIM_LUMA)
_IN_COLOR = "colors in 8 bits, SSIM of R, G and B apart"
_IN_LUMA = (
    "luma as MATLAB's rgb2ycbcr, peak 255, SSIM with 11 x 11 Gaussian windows inside the picture (MPRNet's "
    "evaluate_PSNR_SSIM.m, which Painter uses)"
)
_OTHER_SCENES = "of another scene of the test set (Painter: of Rain13K)"


def _restoration(
    name: str, dataset: str, pairs: Callable[[Data], PairsOf], generated: str, method: str, what: str, differs: str
) -> Plan:
    metrics, how = (_LUMA, _IN_LUMA) if generated == "rainy" else (_COLORS, _IN_COLOR)
    return Plan(
        name=name,
        datasets=(dataset,),
        make=_restored(name, pairs, generated, metrics, what, how, differs),
        classical=partial(_classical, method),
    )


def _classical(method: str) -> tuple[Predictor, ...]:
    return (CLASSICAL[method],)


SUITE = Suite(
    name="painter",
    about=(
        "Benchmarks of Painter (Wang et al., CVPR 2023), scored without MATLAB. Not here: COCO's panoptic quality (two "
        "predictions fused by detectron2), and Rain100L, Rain100H and Test100, which its mean of deraining has too"
    ),
    plans=(
        Plan(name="depth", datasets=("nyuv2",), make=_depth),
        Plan(name="segmentation", datasets=("ade20k",), make=_segmentation),
        Plan(name="pose", datasets=("coco_pose",), make=_pose),
        _restoration(
            "denoising",
            "sidd",
            _sidd,
            "noisy",
            "non-local means",
            "SIDD, validation blocks (sRGB), 1280 squares of 256 pixels",
            "of another picture of the validation set (Painter: of training; eval_sidd.m takes answers as they are "
            "before rounding, and SSIM with the colors as a third axis)",
        ),
        _restoration("deraining-test2800", "test2800", _test2800, "rainy", "median", "Test2800", _OTHER_SCENES),
        _restoration(
            "deraining-test1200",
            "did_mdn",
            _test1200,
            "rainy",
            "median",
            "Test1200, the test set of DID-MDN",
            _OTHER_SCENES,
        ),
        _restoration("low-light", "lol", _lol, "dark", "CLAHE", "LOL, eval15", "of our485, as Painter's"),
    ),
    references=(
        Reference(
            name="Painter (ViT-L)",
            values={"depth": 0.080, "segmentation": 0.499, "denoising": 38.66, "low-light": 22.34},
            source="README of github.com/baaivision/Painter, read there: AbsRel (RMSE 0.288, delta1 0.950), mIoU, PSNR "
            "(SSIM 0.954 and 0.872). One example for all queries; the differences of each column are in its protocol. "
            "Its deraining, 29.42 dB and 0.867, is the mean of five sets, its pose, 72.1, is AP: no columns here",
        ),
        Reference(
            name="LaVin-DiT (3.4B)",
            values={"depth": 0.062},
            source="second hand, of arXiv 2411.11505: AbsRel on NYUv2; its crop and its examples are not known",
        ),
        Reference(
            name="LVM, as run for LaVin-DiT",
            values={"depth": 0.302},
            source="second hand, of arXiv 2411.11505, as the row of LaVin-DiT",
        ),
        Reference(
            name="Marigold (a specialist)",
            values={"depth": 0.060},
            source="second hand, of arXiv 2411.11505, as the row of LaVin-DiT",
        ),
        Reference(
            name="SegGPT",
            values={"segmentation": 0.396},
            source="second hand: 0.396 to 0.399, by source; another reading of classes",
        ),
    ),
)
