"""Rows of moving pictures: films (and films.py), clips with annotations frame by frame, turns, rows of panels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from openlvm.sources.catalog.films import FILMS, listed
from openlvm.sources.catalog.row import Row
from openlvm.sources.clips.ava import AVABoxes
from openlvm.sources.clips.co3d import CO3D
from openlvm.sources.clips.frames import AnnotatedFrames, Marks
from openlvm.sources.clips.lists import ClipList
from openlvm.sources.interface import Source
from openlvm.sources.layouts import FrameFolders
from openlvm.sources.raven_npz import RavenProblems
from openlvm.sources.rendered.meshes import RenderedMeshes

_STCN = "https://github.com/hkchengrex/STCN/blob/main/dataset/vos_dataset.py"


def _ava(split: str) -> Callable[[Path], Source]:
    return listed("trainval", ClipList(files=f"ava_{split}_v2.2.csv", rows="cells"))


_AVA = Row(
    name="ava",
    dataset="AVA v2.2, films",
    sentence="sequence",
    tokens=117.96,
    licence="annotations CC-BY 4.0; films of YouTube users",
    home="https://research.google.com/ava/",
    layout="""
trainval/-5KQ66BBWC4.mkv, ...
ava_train_v2.2.csv, ava_val_v2.2.csv        films are named in the first column""",
    layout_source="https://github.com/cvdfoundation/ava-dataset",
    splits={"train": _ava("train"), "val": _ava("val")},
    promised={"train": 235, "val": 64},
)

_EGO4D = Row(
    name="ego4d",
    dataset="Ego4D",
    sentence="sequence",
    tokens=1152.12,
    licence="by agreement with the Ego4D consortium",
    home="https://ego4d-data.org/",
    layout="""
v2/full_scale/000786a7-3f9d-4fe6-bfb3-045b368f7d44.mp4, ...        as `ego4d --datasets full_scale` loads them
v2/full_scale/manifest.csv""",
    layout_source="https://ego4d-data.org/docs/CLI/",
    splits={
        "train": listed("v2/full_scale", ClipList(files="v2/full_scale/manifest.csv", rows="table", clip="{video_uid}"))
    },
)

_HD_VILA = Row(
    name="hd_vila_100m",
    dataset="HD-VILA-100M",
    sentence="sequence",
    paper="DeLVM",
    licence="research, Microsoft's terms; films of YouTube users, some of them gone",
    home="https://github.com/microsoft/XPretrain/tree/main/hd-vila-100m",
    layout="""
video_clips/QMi8x8o55Ns/QMi8x8o55Ns.1.mp4, ...        as the publisher's cut_videos.py writes them
metafiles/meta_part0.jsonl, ...""",
    layout_source="https://github.com/microsoft/XPretrain/blob/main/hd-vila-100m/src/cut_videos.py",
    splits={
        "train": listed(
            "video_clips", ClipList(files="metafiles/*.jsonl", rows="jsonl", inside="clip", clip="{clip_id}")
        )
    },
)


def _davis(split: str) -> ClipList:
    return ClipList(files=f"ImageSets/2017/{split}.txt")


_DAVIS = Row(
    name="davis",
    dataset="DAVIS 2017, frames",
    sentence="sequence",
    tokens=0.36,
    licence="CC-BY 4.0",
    home="https://davischallenge.org/",
    layout="""
JPEGImages/480p/bear/00000.jpg, ...
ImageSets/2017/train.txt, val.txt""",
    layout_source="https://github.com/davisvideochallenge/davis2017-evaluation/blob/master/davis2017/davis.py",
    splits={split: listed("JPEGImages/480p", _davis(split), "frames") for split in ("train", "val")},
    promised={"train": 60, "val": 30},
)


def _davis_objects(split: str) -> Callable[[Path], Source]:
    marks = {"instances": Marks(folder="Annotations/480p", kind="ids")}
    return lambda at: AnnotatedFrames(at=at, frames="JPEGImages/480p", marks=marks, listing=_davis(split))


_DAVIS_OBJECTS = Row(
    name="davis_objects",
    dataset="DAVIS 2017",
    sentence="clip_pairs",
    annotation="object masks",
    annotated_by="ground truth",
    licence="CC-BY 4.0",
    home="https://davischallenge.org/",
    layout="""
JPEGImages/480p/bear/00000.jpg, ...
Annotations/480p/bear/00000.png, ...        palette: 0 background, 1, 2 ... objects
ImageSets/2017/train.txt, val.txt""",
    layout_source="https://github.com/davisvideochallenge/davis2017-evaluation/blob/master/davis2017/davis.py",
    splits={"train": _davis_objects("train"), "val": _davis_objects("val")},
    promised={"train": 60, "val": 30},
)

_YOUTUBE_VOS = Row(
    name="youtube_vos",
    dataset="YouTube-VOS 2018, frames",
    sentence="sequence",
    tokens=63.70,
    licence="annotations CC-BY 4.0; films of YouTube users, research use",
    home="https://youtube-vos.org/dataset/vos/",
    layout="""
train/JPEGImages/003234408d/00000.jpg, 00005.jpg, ...
valid/JPEGImages/...""",
    layout_source=_STCN,
    splits={
        "train": lambda at: FrameFolders(at=at / "train" / "JPEGImages"),
        "val": lambda at: FrameFolders(at=at / "valid" / "JPEGImages"),
    },
    promised={"train": 3471, "val": 474},
)

_YOUTUBE_VOS_OBJECTS = Row(
    name="youtube_vos_objects",
    dataset="YouTube-VOS 2018",
    sentence="clip_pairs",
    annotation="object masks",
    annotated_by="ground truth",
    licence="annotations CC-BY 4.0; films of YouTube users, research use",
    home="https://youtube-vos.org/dataset/vos/",
    layout="""
train/JPEGImages/003234408d/00000.jpg, 00005.jpg, ...
train/Annotations/003234408d/00000.png, ...        palette: 0 background, 1, 2 ... objects; some frames have none""",
    layout_source=_STCN,
    splits={
        "train": lambda at: AnnotatedFrames(
            at=at,
            frames="train/JPEGImages",
            marks={"instances": Marks(folder="train/Annotations", kind="ids")},
            unmarked="left out",
        )
    },
    promised={"train": 3471},
)


def _vipseg(split: str) -> Callable[[Path], Source]:
    marks = {
        "segmentation": Marks(folder="panomasks", kind="vipseg classes"),
        "instances": Marks(folder="panomasks", kind="vipseg things"),
    }
    return lambda at: AnnotatedFrames(at=at, frames="imgs", marks=marks, listing=ClipList(files=f"{split}.txt"))


_VIPSEG = Row(
    name="vipseg",
    dataset="VIPSeg",
    sentence="clip_pairs",
    annotation="panoptic segmentation",
    annotated_by="ground truth",
    tokens=64.47,
    licence="non-commercial research",
    home="https://github.com/VIPSeg-Dataset/VIPSeg-Dataset",
    layout="""
imgs/1001_5z_ijQjUf_0/00000196.jpg, ...
panomasks/1001_5z_ijQjUf_0/00000196.png, ...        0 void, 1 to 124 stuff, class * 100 + number things
train.txt, val.txt""",
    layout_source="https://github.com/VIPSeg-Dataset/VIPSeg-Dataset/blob/main/README.md",
    splits={"train": _vipseg("train"), "val": _vipseg("val")},
    promised={"train": 2806, "val": 343},
)


def _jhmdb(slot: str, marks: Marks, mark: str) -> Callable[[Path], Source]:
    listing = ClipList(files="splits/*_test_split1.txt", only="{1}", equals=mark)
    return lambda at: AnnotatedFrames(
        at=at,
        frames="Rename_Images",
        marks={slot: marks},
        listing=listing,
        unmarked="last" if slot == "flow" else "refused",
    )


_PUPPET_FLOW = Marks(folder="puppet_flow_ann", kind="jhmdb flow", file="puppet_flow.mat")
_JHMDB_FLOW = Row(
    name="jhmdb_flow",
    dataset="JHMDB (split 1)",
    sentence="clip_pairs",
    annotation="optical flow of the person",
    annotated_by="ground truth (a puppet fitted by hand)",
    tokens=19.00,
    licence="research, by agreement",
    home="http://jhmdb.is.tue.mpg.de/",
    layout="""
Rename_Images/brush_hair/Brushing_my_waist_lenth_hair_brush_hair_u_nm_np1_ba_goo_0/00001.png, ...
puppet_flow_ann/brush_hair/..._0/puppet_flow.mat        u, v [240, 320, frames]; these names are not verified
splits/brush_hair_test_split1.txt, ...                  ..._0.avi 1     1 train, 2 test""",
    splits={"train": _jhmdb("flow", _PUPPET_FLOW, "1"), "test": _jhmdb("flow", _PUPPET_FLOW, "2")},
    promised={"train": 660, "test": 268},
)

_JHMDB_BROX = Row(
    name="jhmdb_flow_pictures",
    dataset="JHMDB, archive of the ACT detector",
    sentence="clip_pairs",
    annotation="optical flow, already drawn",
    annotated_by="Brox et al. 2004",
    licence="research, by agreement",
    home="https://github.com/MCG-NJU/MOC-Detector",
    layout="""
Frames/brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0/00001.png, ...
FlowBrox04/brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0/00001.jpg, ...
                                  one split: the lists are in a pickle, which is not opened""",
    layout_source="https://github.com/open-mmlab/mmaction2/blob/main/tools/data/jhmdb/README.md",
    splits={
        "train": lambda at: AnnotatedFrames(
            at=at, frames="Frames", marks={"flow": Marks(folder="FlowBrox04", kind="picture")}, unmarked="last"
        )
    },
    promised={"train": 928},
)

_JOINTS = Marks(folder="joint_positions", kind="jhmdb joints", file="joint_positions.mat")
_JHMDB_POSE = Row(
    name="jhmdb_pose",
    dataset="JHMDB (split 1)",
    sentence="clip_pairs",
    annotation="15 joints",
    annotated_by="ground truth",
    tokens=37.92,
    licence="research, by agreement",
    home="http://jhmdb.is.tue.mpg.de/",
    layout="""
Rename_Images/brush_hair/Brushing_my_waist_lenth_hair_brush_hair_u_nm_np1_ba_goo_0/00001.png, ...
joint_positions/brush_hair/..._0/joint_positions.mat    pos_img [2, 15, frames]
splits/brush_hair_test_split1.txt, ...                  ..._0.avi 1     1 train, 2 test""",
    layout_source="https://github.com/open-mmlab/mmpose/blob/main/docs/en/dataset_zoo/2d_body_keypoint.md",
    splits={"train": _jhmdb("pose", _JOINTS, "1"), "test": _jhmdb("pose", _JOINTS, "2")},
    promised={"train": 660, "test": 268},
    generated=("over:pose",),
)


def _ava_detection(split: str) -> Callable[[Path], Source]:
    annotations, excluded = f"ava_{split}_v2.2.csv", f"ava_{split}_excluded_timestamps_v2.2.csv"
    return lambda at: AVABoxes(at=at, annotations=annotations, excluded=excluded)


_AVA_DETECTION = Row(
    name="ava_detection",
    dataset="AVA v2.2",
    sentence="clip_pairs",
    annotation="boxes of people, by pose",
    annotated_by="ground truth",
    tokens=122.88,
    licence="annotations CC-BY 4.0; films of YouTube users",
    home="https://research.google.com/ava/",
    layout="""
trainval/-5KQ66BBWC4.mkv, ...                       whole films
ava_train_v2.2.csv, ava_val_v2.2.csv                film,second,left,top,right,bottom,action,person
ava_train_excluded_timestamps_v2.2.csv, ava_val_excluded_timestamps_v2.2.csv""",
    layout_source="https://github.com/cvdfoundation/ava-dataset",
    splits={"train": _ava_detection("train"), "val": _ava_detection("val")},
    promised={"train": 235, "val": 64},
    generated=("over:boxes",),
)

_CO3D = Row(
    name="co3d",
    dataset="Common Objects in 3D, version 2 (1 too: split all)",
    sentence="clip_pairs",
    annotation="object mask, depth",
    annotated_by="PointRend, COLMAP (published with it)",
    tokens=228.75,
    licence="CC-BY-NC 4.0",
    home="https://github.com/facebookresearch/co3d",
    layout="""
apple/frame_annotations.jgz, set_lists/set_lists_fewview_train.json, ...
apple/110_13051_23361/images/frame000001.jpg, ...
apple/110_13051_23361/{masks,depths,depth_masks}/...""",
    layout_source="https://github.com/facebookresearch/co3d/blob/main/co3d/dataset/data_types.py",
    splits={
        "train": lambda at: CO3D(at=at, subset="fewview_train"),
        "dev": lambda at: CO3D(at=at, subset="fewview_dev"),
        "all": lambda at: CO3D(at=at),
    },
)


def _sintel(rendering: str) -> Callable[[Path], Source]:
    flow = {"flow": Marks(folder="training/flow", kind="flo")}
    return lambda at: AnnotatedFrames(at=at, frames=f"training/{rendering}", marks=flow, unmarked="last")


_SINTEL_FLOW = Row(
    name="sintel_flow",
    dataset="MPI Sintel",
    sentence="clip_pairs",
    annotation="optical flow",
    annotated_by="ground truth",
    paper="evaluation",
    licence="CC-BY 3.0 (film), research use",
    home="http://sintel.is.tue.mpg.de/",
    layout="""
training/clean/alley_1/frame_0001.png, ...        final/ too: split final
training/flow/alley_1/frame_0001.flo, ...         the last frame has none""",
    layout_source="https://github.com/princeton-vl/RAFT/blob/master/core/datasets.py",
    splits={"train": _sintel("clean"), "final": _sintel("final")},
    promised={"train": 23, "final": 23},
)


def _objaverse(share: tuple[float, float]) -> Callable[[Path], Source]:
    return lambda at: RenderedMeshes(at=at, annotations=(), categories="lvis-annotations.json.gz", share=share)


_OBJAVERSE = Row(
    name="objaverse",
    dataset="Objaverse 1.0, 24 views of a turn drawn from each object",
    sentence="views",
    annotation="LVIS category, where there is one",
    annotated_by="ground truth",
    tokens=217.85,
    licence="each object has its own Creative Commons licence (metadata/)",
    home="https://objaverse.allenai.org/objaverse-1.0",
    layout="""
glbs/000-023/8476c4170df24cf5bbe6967222d1a42d.glb, ...        as the package objaverse loads them (hf-objaverse-v1)
lvis-annotations.json.gz""",
    layout_source="https://huggingface.co/datasets/allenai/objaverse",
    splits={"train": _objaverse((0.0, 0.84)), "heldout": _objaverse((0.84, 1.0))},  # 42 000 and 8 000 (LVM, 3.1)
)


def _raven(split: Literal["train", "val", "test"]) -> Callable[[Path], RavenProblems]:
    return lambda at: RavenProblems(at=at, split=split)


_RAVEN = Row(
    name="raven",
    dataset="RAVEN-10000",
    sentence="sequence",
    annotation="the right one of eight panels",
    annotated_by="ground truth",
    paper="evaluation",
    licence="none stated; research",
    home="http://wellyzhang.github.io/project/raven.html",
    layout="""
center_single/RAVEN_0_train.npz, RAVEN_6_val.npz, RAVEN_8_test.npz, ...      image [16, 160, 160], target
distribute_four/..., distribute_nine/..., left_center_single_right_center_single/...
up_center_single_down_center_single/..., in_center_single_out_center_single/...
in_distribute_four_out_center_single/...""",
    layout_source="https://github.com/WellyZhang/RAVEN/blob/master/assets/README.md",
    splits={split: _raven(split) for split in ("train", "val", "test")},
    promised={"train": 42_000, "val": 14_000, "test": 14_000},
)
_I_RAVEN = replace(
    _RAVEN,
    name="i_raven",
    dataset="I-RAVEN: RAVEN with impartial options",
    licence="none stated; research (its authors publish the program that writes it)",
    home="https://github.com/husheng12345/SRAN",
    layout_source="https://github.com/husheng12345/SRAN/blob/master/SRAN/utility/RAVENdataset_utility.py",
)

MOVING: tuple[Row, ...] = (
    *FILMS,
    *(_AVA, _EGO4D, _HD_VILA, _DAVIS, _DAVIS_OBJECTS, _YOUTUBE_VOS, _YOUTUBE_VOS_OBJECTS, _VIPSEG),
    *(_JHMDB_FLOW, _JHMDB_BROX, _JHMDB_POSE, _AVA_DETECTION, _CO3D, _SINTEL_FLOW, _OBJAVERSE, _RAVEN, _I_RAVEN),
)
"""Every row of moving pictures."""
