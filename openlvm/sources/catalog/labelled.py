"""Rows of pictures with annotation files: objects, instances and people's joints; COCO, MPII, SA-1B, PASCAL.

Where the papers took a model's answers, there is a row with the ground truth and one with a model of today: MMDetection
and MMPose themselves cannot be installed beside current PyTorch.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from openlvm.sources.catalog.row import Row
from openlvm.sources.layouts import ImageFolder
from openlvm.sources.official.coco import CocoAnnotations, CocoPanoptic
from openlvm.sources.official.pascal3d import Pascal3D
from openlvm.sources.official.people import LvMhp, Mpii, UniteThePeople
from openlvm.sources.official.rle import SegmentAnything
from openlvm.sources.official.voc import VocBoxes
from openlvm.sources.pairs import PairedFolders

_DETECTOR = "PekingU/rtdetr_r50vd"
_POSER = f"pose=hf:usyd-community/vitpose-base-simple,detector={_DETECTOR}"
_OPENPOSE = {"pose": "openpose"}
_POSE_TOKENS = 950.79  # one number for all pictures of people
_POSE_ROWS = ("coco_pose", "coco_pose_predicted", "lv_mhp", "mpii", "unite_the_people")


def _others(name: str) -> str:
    """The rows that share the tokens of `name`, one of `_POSE_ROWS`."""
    return ", ".join(other for other in _POSE_ROWS if other != name)


def _coco(annotations: str, *annotated: str) -> dict[str, Callable[[Path], CocoAnnotations]]:
    """The sources of both splits, of annotations/NAME_train2017.json and NAME_val2017.json."""

    def of(split: str) -> Callable[[Path], CocoAnnotations]:
        file = f"annotations/{annotations}_{split}2017.json"
        return lambda at: CocoAnnotations(at=at, pictures=f"{split}2017", annotations=file, annotated=annotated)

    return {split: of(split) for split in ("train", "val")}


_DETECTION = Row(
    name="coco_detection",
    dataset="COCO 2017",
    sentence="pairs",
    annotation="boxes",
    annotated_by="ground truth (LVM: MMDetection)",
    tokens=363.0,
    tokens_shared="coco_detection_predicted",
    licence="annotations CC-BY 4.0; pictures under their owners' terms at Flickr",
    home="https://cocodataset.org",
    layout="""
train2017/000000000009.jpg, ...      pictures without an annotated object are left out
val2017/000000000139.jpg, ...
annotations/instances_train2017.json, instances_val2017.json""",
    layout_source="https://mmdetection.readthedocs.io/en/latest/user_guides/dataset_prepare.html",
    splits=_coco("instances", "boxes"),
    promised={"train": 117_266, "val": 4_952},
    generated=("over:boxes",),
)
_PREDICTED = replace(
    _DETECTION,
    name="coco_detection_predicted",
    annotated_by="RT-DETR (LVM: MMDetection)",
    tokens_shared="coco_detection",
    layout="""
train2017/000000000009.jpg, ...
val2017/000000000139.jpg, ...""",
    splits={"train": lambda at: ImageFolder(at=at / "train2017"), "val": lambda at: ImageFolder(at=at / "val2017")},
    promised={"train": 118_287, "val": 5_000},
    annotators=(f"boxes=hf:{_DETECTOR}",),
)
_INSTANCES = replace(
    _DETECTION,
    name="coco_instances",
    annotation="classes and instances of objects",
    annotated_by="ground truth",
    tokens=None,
    tokens_shared="",
    paper="evaluation",
    splits=_coco("instances", "segmentation", "instances"),
    generated=(),
)


def _panoptic(split: str) -> Callable[[Path], CocoPanoptic]:
    file = f"annotations/panoptic_{split}2017.json"
    return lambda at: CocoPanoptic(at=at, pictures=f"{split}2017", annotations=file)


_PANOPTIC = replace(
    _INSTANCES,
    name="coco_panoptic",
    annotation="classes of things and stuff, instances",
    layout="""
train2017/000000000009.jpg, ..., val2017/000000000139.jpg, ...
annotations/panoptic_train2017.json, panoptic_val2017.json
annotations/panoptic_train2017/000000000009.png, ..., panoptic_val2017/..., there or beside annotations/""",
    layout_source="https://github.com/facebookresearch/detectron2/blob/main/datasets/README.md",
    splits={split: _panoptic(split) for split in ("train", "val")},
    promised={"train": 118_287, "val": 5_000},
)

_POSE = replace(
    _DETECTION,
    name="coco_pose",
    annotation="joints of people",
    annotated_by="ground truth (LVM: MMPose)",
    tokens=_POSE_TOKENS,
    tokens_shared=_others("coco_pose"),
    layout="""
train2017/000000000036.jpg, ...      pictures without a person's joints are left out
val2017/000000000139.jpg, ...
annotations/person_keypoints_train2017.json, person_keypoints_val2017.json""",
    layout_source="https://mmpose.readthedocs.io/en/latest/dataset_zoo/2d_body_keypoint.html",
    splits=_coco("person_keypoints", "pose"),
    promised={"train": 56_599, "val": 2_346},
    generated=("over:pose:openpose",),
    styles=_OPENPOSE,
)
_POSE_PREDICTED = replace(
    _PREDICTED,
    name="coco_pose_predicted",
    annotation="joints of people",
    annotated_by="ViTPose (LVM: MMPose)",
    tokens=_POSE_TOKENS,
    tokens_shared=_others("coco_pose_predicted"),
    generated=("over:pose:openpose",),
    annotators=(_POSER,),
    styles=_OPENPOSE,
)
_POSE_DELVM = replace(
    _POSE_PREDICTED,
    name="coco_pose_delvm",
    dataset="COCO-Pose: the pictures of COCO 2017 for training",
    annotated_by="ViTPose (DeLVM: RTMO-l)",
    tokens=None,
    tokens_shared="",
    paper="DeLVM",
    splits={"train": _PREDICTED.splits["train"]},
    promised={"train": 118_287},
    generated=(),
)

_MPII = Row(
    name="mpii",
    dataset="MPII Human Pose",
    sentence="pairs",
    annotation="joints of people",
    annotated_by="ground truth (LVM: MMPose)",
    tokens=_POSE_TOKENS,
    tokens_shared=_others("mpii"),
    licence="simplified BSD; pictures out of films at YouTube",
    home="http://human-pose.mpi-inf.mpg.de",
    layout="""
images/015601864.jpg, ...            pictures without annotated people, and those of the test, are left out
mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat""",
    layout_source="https://github.com/bearpaw/pytorch-pose/blob/master/miscs/gen_mpii.m",
    splits={"train": lambda at: Mpii(at=at)},
    generated=("over:pose:openpose",),
    styles=_OPENPOSE,
)
_MPII_DELVM = replace(
    _MPII,
    name="mpii_delvm",
    dataset="MPII Human Pose, the part held out by Tompson et al.",
    annotated_by="ground truth",
    tokens=None,
    tokens_shared="",
    paper="evaluation",
    layout="""
images/005808361.jpg, ...
annotations/mpii_train.json, mpii_val.json      lists of people: image, joints, joints_vis""",
    layout_source="https://mmpose.readthedocs.io/en/latest/dataset_zoo/2d_body_keypoint.html",
    splits={
        "val": lambda at: Mpii(at=at, annotations="annotations/mpii_val.json"),
        "train": lambda at: Mpii(at=at, annotations="annotations/mpii_train.json"),
    },
    generated=(),
)
_LV_MHP = replace(
    _MPII,
    name="lv_mhp",
    dataset="LV-MHP, version 2",
    tokens_shared=_others("lv_mhp"),
    licence="non-commercial research",
    home="https://lv-mhp.github.io",
    layout="""
LV-MHP-v2/list/train.txt, val.txt
LV-MHP-v2/train/images/96.jpg, LV-MHP-v2/train/pose_annos/96.mat, ...; the same below val/""",
    layout_source="https://github.com/ZhaoJ9014/Multi-Human-Parsing",
    splits={
        "train": lambda at: LvMhp(at=at / "LV-MHP-v2", split="train"),
        "val": lambda at: LvMhp(at=at / "LV-MHP-v2", split="val"),
    },
    promised={"train": 15_403, "val": 5_000},
)
_UNITE = replace(
    _MPII,
    name="unite_the_people",
    dataset="Unite the People (UP-3D)",
    tokens_shared=_others("unite_the_people"),
    licence="CC BY-NC 4.0; pictures of LSP, MPII and FashionPose under their own terms",
    home="https://files.is.tue.mpg.de/classner/up/",
    layout="""
up-3d/train.txt, val.txt, test.txt               lines such as /00001_image.png
up-3d/00001_image.png, 00001_joints.npy, ...""",
    layout_source="https://github.com/classner/up/blob/master/pose/tools/create_dataset.py",
    splits={
        "train": lambda at: UniteThePeople(at=at / "up-3d", split="train"),
        "val": lambda at: UniteThePeople(at=at / "up-3d", split="val"),
        "test": lambda at: UniteThePeople(at=at / "up-3d", split="test"),
    },
)

_SA1B = Row(
    name="sa1b",
    dataset="SA-1B (Segment Anything)",
    sentence="pairs",
    annotation="all masks, as instances by size",
    annotated_by="SAM (as published)",
    paper="DeLVM",
    licence="SA-1B Dataset Research License",
    home="https://ai.meta.com/datasets/segment-anything/",
    layout="""
sa_000000.tar, ...       1000 archives of 11 million pictures; in each sa_1.jpg, sa_1.json, ...; as they are, or
sa_000000/sa_1.jpg, sa_000000/sa_1.json, ...      unpacked""",
    layout_source="https://github.com/facebookresearch/segment-anything/blob/main/README.md",
    splits={"train": lambda at: SegmentAnything(at=at)},
)
_HAND14K = Row(
    name="hand14k",
    dataset="Hand14K: hand masks of EGTEA Gaze+",
    sentence="pairs",
    annotation="mask of hands",
    annotated_by="ground truth",
    tokens=1.96,
    licence="non-commercial research",
    home="https://cbs.ic.gatech.edu/fpv/",
    layout="""
Images/NAME.jpg, Masks/NAME.png, ...      hand14k.zip, unpacked; LVM lists it with films, but the frames are single""",
    layout_source="https://github.com/DPops99/FingertipDetectionAndTrackingForPatternRecognitionOfAirWritingInVideos",
    splits={
        "train": lambda at: PairedFolders(at=at, folders={"image": "Images", "mask": "Masks"}, kinds={"mask": "mask"})
    },
)


def _pascal3d(split: Literal["train", "val"], subset: Literal["pascal", "imagenet"]) -> Callable[[Path], Pascal3D]:
    return lambda at: Pascal3D(at=at / "PASCAL3D+_release1.1", split=split, subset=subset)


_PASCAL3D = Row(
    name="pascal3d",
    dataset="PASCAL3D+ 1.1",
    sentence="pairs",
    annotation="keypoints of objects",
    annotated_by="ground truth",
    paper="evaluation",
    licence="none stated; pictures of Pascal VOC and ImageNet under their own terms",
    home="https://cvgl.stanford.edu/projects/pascal3d.html",
    layout="""
PASCAL3D+_release1.1/Images/car_pascal/2008_000027.jpg, Images/car_imagenet/n02814533_10025.JPEG, ...
PASCAL3D+_release1.1/Annotations/car_pascal/2008_000027.mat, Annotations/car_imagenet/n02814533_10025.mat, ...
PASCAL3D+_release1.1/Image_sets/car_imagenet_train.txt, car_imagenet_val.txt, ...
PASCAL3D+_release1.1/PASCAL/VOCdevkit/VOC2012/ImageSets/Main/car_train.txt, car_val.txt, ...""",
    layout_source="https://github.com/wkentaro/pascal3d/blob/master/pascal3d/dataset.py",
    splits={
        "train": _pascal3d("train", "pascal"),
        "val": _pascal3d("val", "pascal"),
        "train_imagenet": _pascal3d("train", "imagenet"),
        "val_imagenet": _pascal3d("val", "imagenet"),
    },
)
_VOC2012 = Row(
    name="voc2012_detection",
    dataset="Pascal VOC 2012 detection",
    sentence="pairs",
    annotation="boxes",
    annotated_by="ground truth",
    paper="evaluation",
    licence="pictures under their owners' terms at Flickr",
    home="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    layout="""
VOCdevkit/VOC2012/JPEGImages/2008_000002.jpg, ...
VOCdevkit/VOC2012/Annotations/2008_000002.xml, ...
VOCdevkit/VOC2012/ImageSets/Main/train.txt, val.txt""",
    layout_source="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html",
    splits={
        "train": lambda at: VocBoxes(at=at / "VOCdevkit/VOC2012", names="ImageSets/Main/train.txt"),
        "val": lambda at: VocBoxes(at=at / "VOCdevkit/VOC2012", names="ImageSets/Main/val.txt"),
    },
    promised={"train": 5_717, "val": 5_823},
)

LABELLED: tuple[Row, ...] = (
    *(_DETECTION, _PREDICTED, _POSE, _POSE_PREDICTED, _LV_MHP, _MPII, _UNITE, _HAND14K),
    *(_SA1B, _POSE_DELVM),
    *(_MPII_DELVM, _INSTANCES, _PANOPTIC, _PASCAL3D, _VOC2012),
)
