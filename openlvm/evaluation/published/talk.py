"""The ten columns of LVM's talk: what one model does when it is shown three pairs, or seven views, and nothing else.

The talk names tasks and metrics; neither its data nor its numbers were found in a public source. Data, sizes and
prompts are chosen here, and each column states them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.annotators.normals import normals_of_depth
from openlvm.core.images import ImagePreparation
from openlvm.core.records import IMAGE, JOINTS, BadRecord, Depth, Keypoints, Record
from openlvm.evaluation.harness.classical import CLASSICAL
from openlvm.evaluation.harness.predictors import Predictor
from openlvm.evaluation.harness.questions import Column, Metric
from openlvm.evaluation.harness.records import Changed, FramesOf, PairsOf
from openlvm.evaluation.harness.scores import Reference
from openlvm.evaluation.harness.suite import Data, Plan, Suite
from openlvm.evaluation.measures.dense import NORMAL_ANGLE, NORMAL_WITHIN, depth_metrics
from openlvm.evaluation.measures.masks import class_iou, episode_iou
from openlvm.evaluation.measures.pictures import MSE, MSE_NORMALIZED, PSNR, SSIM
from openlvm.evaluation.measures.points import pck
from openlvm.evaluation.published import packaged
from openlvm.evaluation.published.painter import MARGIN, one_person, row_source, shown_joints
from openlvm.sentences.render import resized
from openlvm.sources.interface import Part, Source
from openlvm.sources.official.listed.folds import NUM_FOLDS, PascalFold
from openlvm.sources.official.listed.sidd import SiddBlocks

SHOTS = 3
"""Example pairs: with query and answer the 8 images that DeLVM's context holds, half of LVM's."""
VIEWS = 7
"""Frames before the one asked for: again 8 images."""
PREPARATION = ImagePreparation(size=256, fit="squash", filter="bicubic")
"""LVM's size and fit."""
DRAWN = 1000
"""Episodes of sets too large to be asked whole: ImageNet's 50,000 pictures, Objaverse's 8,000 held-out objects."""
TURN = 24
"""Views of an object."""
NYU_FOV = 63.3
"""Degrees across NYUv2's 640 pixels: 2 atan(320 / 518.86) (camera_params.m of its toolbox)."""
NYU_CELL = 4
"""Pixels a side over which depth is averaged before its slopes are taken: a Kinect's depth comes in steps."""


def _pairs(data: Data, source: Callable[[], Source], support: Callable[[], Source] | None, **options: Any) -> PairsOf:
    return PairsOf(
        source=source, support=support,
        **{"shots": SHOTS, "count": data.episodes, "preparation": PREPARATION, "seed": data.seed, **options},
    )  # fmt: skip


def _column(name: str, of: PairsOf | FramesOf, metrics: tuple[Metric, ...], data: str, protocol: str) -> Column:
    shown = f"{of.shown} frames" if isinstance(of, FramesOf) else f"{of.shots} pairs"
    size = of.preparation.size
    return Column(
        name=name, metrics=metrics, episodes=of.episodes, question=of.question, data=data,
        protocol=f"{protocol}; {shown} shown, scored at {size} x {size} ({of.preparation.fit})",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------ pictures that are restored


def _of_imagenet(data: Data, given: str) -> PairsOf:
    train = row_source("imagenet", data, "train") if data.support == "train" else None
    count = DRAWN if data.episodes is None else data.episodes
    return _pairs(data, row_source("imagenet", data, "val"), train,
                  given=given, asked=IMAGE, generated=(given,), count=count)  # fmt: skip


def _inpainting(data: Data) -> Column:
    of = packaged.photo_pairs(data, "holes", shots=SHOTS) if data.is_packaged else _of_imagenet(data, "holes")
    what = packaged.about("photographs with holes") if data.is_packaged else "ImageNet, validation"
    return _column("inpainting", of, (MSE, PSNR), what, "holes of LVM's own script; colors in 0..1, all pixels count")


def _colorization(data: Data) -> Column:
    of = packaged.photo_pairs(data, "gray", shots=SHOTS) if data.is_packaged else _of_imagenet(data, "gray")
    what = packaged.about("photographs without color") if data.is_packaged else "ImageNet, validation"
    protocol = (
        "squared error of colors divided by ImageNet's deviations, the space of the published numbers; MSE in 0..1"
    )
    return _column("colorization", of, (MSE_NORMALIZED, MSE, PSNR), what, protocol)


def _denoising(data: Data) -> Column:
    if data.is_packaged:
        of, what = packaged.photo_pairs(data, "noisy", shots=SHOTS), packaged.about("photographs with noise")
    else:
        of = _pairs(data, lambda: SiddBlocks(at=data.at("sidd")), None, asked="clean",
                    cluster_of=lambda item: item.split("/")[0])  # fmt: skip
        what = "SIDD, validation blocks (sRGB), 1280 squares of 256 pixels; examples of its other pictures"
    return _column("denoising", of, (PSNR, SSIM), what, "colors in 8 bits, mean over pictures")


def _deraining(data: Data) -> Column:
    if data.is_packaged:
        of, what = packaged.photo_pairs(data, "rainy", shots=SHOTS), packaged.about("photographs with rain")
    else:
        of = _pairs(data, row_source("did_mdn", data, "test"), row_source("did_mdn", data, "train"), asked="clean")
        what = "DID-MDN, test (Rain1200); examples of its training set, of all densities"
    return _column("deraining", of, (PSNR, SSIM), what, "colors in 8 bits, mean over pictures")


def _low_light(data: Data) -> Column:
    if data.is_packaged:
        of, what = packaged.photo_pairs(data, "dark", shots=SHOTS), packaged.about("photographs made dark")
    else:
        of = _pairs(data, row_source("lol", data, "test"), row_source("lol", data, "train"), asked="clean")
        what = "LOL, eval15; examples of our485"
    return _column("low-light", of, (PSNR, SSIM), what, "colors in 8 bits, mean over pictures")


# ------------------------------------------------------------------------------------------------------------ geometry


def _depth(data: Data) -> Column:
    if data.is_packaged:
        of, what = packaged.view_pairs(data, "depth", shots=SHOTS), packaged.about("depth of objects")
    else:
        of = _pairs(data, row_source("nyuv2", data, "test"), row_source("nyuv2", data, "train"), asked="depth")
        what = "NYUv2, official test split (ground truth; LVM was trained on a network's depth)"
    protocol = (
        "colors in 0..1 of depth drawn white where nearest and dark where farthest in its picture; AbsRel, delta1 and "
        "RMSE with both ends told"
    )
    return _column("depth", of, (MSE, *depth_metrics()), what, protocol)


def with_normals(record: Record) -> Record:
    """A record of NYUv2 with normals computed of its depth, averaged over cells of `NYU_CELL` pixels."""
    depth = record.slots["depth"][0]
    assert isinstance(depth, Depth)
    rows, columns = (length // NYU_CELL for length in depth.meters.shape)
    cells = depth.meters[: rows * NYU_CELL, : columns * NYU_CELL].reshape(rows, NYU_CELL, columns, NYU_CELL)
    normals = normals_of_depth(Depth(cells.mean(axis=(1, 3))), fov=NYU_FOV)
    return Record(key=record.key, slots={**record.slots, "normals": [normals]}, label=record.label)


def _rooms(data: Data, split: str) -> Callable[[], Source]:
    def source() -> Source:
        rooms = row_source("nyuv2", data, split)()
        return Changed(source=rooms, slots=(*rooms.slots, "normals"), change=with_normals)

    return source


def _normals(data: Data) -> Column:
    if data.is_packaged:
        of, what = packaged.view_pairs(data, "normals", shots=SHOTS), packaged.about("normals of objects")
    else:
        of = _pairs(data, _rooms(data, "test"), _rooms(data, "train"), asked="normals")
        what = (
            "NYUv2, official test split, normals computed of its depth (cells of 4 pixels, holes filled by the "
            "publisher): not those of Ladicky et al., which papers score, and not a network's, on which LVM was trained"
        )
    protocol = (
        "colors in 0..1 of x, y, z drawn red, green, blue; angles of the vectors read back, over all known pixels"
    )
    return _column("normals", of, (MSE, NORMAL_ANGLE, NORMAL_WITHIN), what, protocol)


def _rotation(data: Data) -> Column:
    if data.is_packaged:
        of, what = packaged.turn_frames(data, shown=VIEWS), packaged.about("half turns of objects")
    else:
        count = DRAWN if data.episodes is None else data.episodes
        of = FramesOf(source=row_source("objaverse", data, "heldout"), shown=VIEWS, frames_each=TURN, count=count,
                      preparation=PREPARATION, seed=data.seed)  # fmt: skip
        what = "Objaverse, 16 % of its objects held out, drawn by OpenLVM's renderer"
    return _column("rotation", of, (MSE, PSNR), what, "the next view of a turn in steps of 15 degrees; colors in 0..1")


# -------------------------------------------------------------------------------------------------- objects and people


@dataclass(frozen=True, kw_only=True)
class AllFolds:
    """The evaluation lists of Pascal-5i's four folds as one."""

    at: Path
    slots: tuple[str, ...] = (IMAGE, "mask")

    def describe(self) -> dict[str, Any]:
        """Layout, without the place on disk."""
        return {"layout": "pascal_folds"}

    def parts(self) -> list[Part]:
        """Fold by fold."""
        return [part for fold in range(NUM_FOLDS) for part in PascalFold(at=self.at, fold=fold).parts()]

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """An item holds its class and its paths: any fold reads it."""
        return PascalFold(at=self.at, fold=0).read(part)


def class_of(item: str) -> str:
    """The class of an item of a fold, "KEY//CLASS//PATH//PATH"."""
    return item.split("//")[1]


def _segmentation(data: Data) -> Column:
    if data.is_packaged:
        told: Mapping[str, Any] = {"class": "object"}
        of = packaged.view_pairs(data, "mask", shots=SHOTS, told=lambda record, frame: told)
        what = packaged.about("objects")
    else:
        of = _pairs(data, lambda: AllFolds(at=data.at("pascal5i")), None, asked="mask", label_of=class_of)
        what = (
            "Pascal-5i, each entry of its four lists once; examples of the query's class, of the same lists; outlines "
            "that are not labelled count as background (the protocol of Bar et al. in full is the suite bar2022)"
        )
    protocol = (
        "white pixels by the nearer of white and black; IoU of each picture, then the mean; and accumulated by class"
    )
    return _column("segmentation", of, (episode_iou(), class_iou()), what, protocol)


def head_length(record: Record, frame: int) -> Mapping[str, Any]:
    """MPII's head segment in pixels of the prepared picture, from the upper neck to the head's top; 0 if unknown."""
    pose = resized(record.slots["pose"][frame], PREPARATION)
    assert isinstance(pose, Keypoints)
    ends = [JOINTS["mpii"].index(name) for name in ("upper_neck", "head_top")]
    if not pose.visible[0, ends].all():
        return {"head": 0.0}
    return {"head": float(np.linalg.norm(pose.points[0, ends[0]] - pose.points[0, ends[1]]))}


def _keypoints(data: Data) -> Column:
    if data.is_packaged:
        return _column(
            "keypoints", packaged.pose_pairs(data, shots=SHOTS),
            (pck(shown_joints, alpha=0.1, by="box", name="PCK@0.1"),), packaged.about("people and their 17 joints"),
            "joints within a tenth of the longer side of the joints' box; COCO's joints have no head to measure by",
        )  # fmt: skip
    val, train = (one_person(row_source("mpii_delvm", data, split)) for split in ("val", "train"))
    of = _pairs(data, val, train, asked="pose", told=head_length)
    protocol = (
        "joints within half the head's length; of each picture the person whose joints reach farthest, cut out of it "
        f"(the square of {MARGIN} times the true box). The head is measured from upper neck to top (MPII: 0.6 of the "
        "diagonal of a head box, which the lists of people do not have); who lacks one of the two does not count. Of "
        "joints drawn over one another the lower is lost, which the ceiling shows"
    )
    return _column("keypoints", of, (pck(shown_joints, alpha=0.5, by="head", name="PCKh@0.5"),),
                   "MPII, validation list of Tompson et al.; examples of its training list", protocol)  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- suite


def _one(name: str) -> tuple[Predictor, ...]:
    return (CLASSICAL[name],)


SUITE = Suite(
    name="talk",
    about=(
        "The ten columns of LVM's talk beside rows of Bar et al., Painter and LVM. The talk's own numbers were not "
        "found in a public source: the rows come from papers and repositories, and have gaps where these have none"
    ),
    plans=(
        Plan(name="inpainting", datasets=("imagenet",), make=_inpainting, classical=partial(_one, "Telea")),
        Plan(name="colorization", datasets=("imagenet",), make=_colorization),
        Plan(name="depth", datasets=("nyuv2",), make=_depth),
        Plan(name="normals", datasets=("nyuv2",), make=_normals),
        Plan(name="rotation", datasets=("objaverse",), make=_rotation),
        Plan(name="segmentation", datasets=("pascal5i",), make=_segmentation, classical=partial(_one, "Otsu")),
        Plan(name="keypoints", datasets=("mpii_delvm",), make=_keypoints),
        Plan(name="denoising", datasets=("sidd",), make=_denoising, classical=partial(_one, "non-local means")),
        Plan(name="deraining", datasets=("did_mdn",), make=_deraining, classical=partial(_one, "median")),
        Plan(name="low-light", datasets=("lol",), make=_low_light, classical=partial(_one, "CLAHE")),
    ),
    references=(
        Reference(
            name="MAE-VQGAN (Bar et al. 2022)",
            values={"segmentation": 0.2717, "colorization": 0.67},
            source="mean of the four splits 27.83, 30.44, 26.15, 24.25, and MSE: Table 1 of LVM (arXiv 2312.00785), "
            "from notes of it. One pair, cells of 111 pixels, 1000 episodes a split, other pictures: suite bar2022",
        ),
        Reference(
            name="LVM (Bai et al. 2024)",
            values={"segmentation": 0.4968, "colorization": 0.51},
            source="mean of the four splits 48.94, 51.29, 47.66, 50.82, and MSE: the same table and notes. Its number "
            "of pairs and how its answers become masks are not known",
        ),
        Reference(
            name="Painter (ViT-L)",
            values={"denoising": 38.66, "low-light": 22.34},
            source="README of github.com/baaivision/Painter, read there; one pair, an input of 448 pixels. Its depth, "
            "segmentation and deraining are other data or metrics: suite painter",
        ),
    ),
)
