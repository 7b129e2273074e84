"""Rows of short films and of films of actions, sports and cooking, labelled as a whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from openlvm.sources.catalog.row import Row
from openlvm.sources.clips.listed import ListedClips
from openlvm.sources.clips.lists import ClipList
from openlvm.sources.interface import Source
from openlvm.sources.video import VideoFiles

_MMACTION = "https://github.com/open-mmlab/mmaction2/blob/main/tools/data"


def listed(folder: str, listing: ClipList, kind: Literal["films", "frames"] = "films") -> Callable[[Path], Source]:
    """What a row's split needs: clips below `folder` that a list names."""
    return lambda at: ListedClips(at=at, folder=folder, listing=listing, kind=kind)


def _ucf101(split: str) -> Callable[[Path], Source]:
    return listed("UCF-101", ClipList(files=f"ucfTrainTestlist/{split}list01.txt"))


_UCF101 = Row(
    name="ucf101",
    dataset="UCF101 (split 1)",
    sentence="sequence",
    annotation="action",
    annotated_by="ground truth",
    tokens=109.11,
    licence="no licence stated; films of YouTube users, research use",
    home="https://www.crcv.ucf.edu/data/UCF101.php",
    layout="""
UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi, ...
ucfTrainTestlist/trainlist01.txt, testlist01.txt            ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1""",
    layout_source=f"{_MMACTION}/parse_file_list.py",
    splits={"train": _ucf101("train"), "test": _ucf101("test")},
    promised={"train": 9537, "test": 3783},
)


def _hmdb51(mark: str) -> Callable[[Path], Source]:
    return listed("hmdb51_org", ClipList(files="testTrainMulti_7030_splits/*_test_split1.txt", only="{1}", equals=mark))


_HMDB51 = Row(
    name="hmdb51",
    dataset="HMDB51 (split 1)",
    sentence="sequence",
    annotation="action",
    annotated_by="ground truth",
    tokens=55.41,
    licence="CC-BY 4.0",
    home="https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/",
    layout="""
hmdb51_org/brush_hair/....avi, ...
testTrainMulti_7030_splits/brush_hair_test_split1.txt, ...  ....avi 1     1 train, 2 test, 0 neither""",
    layout_source=f"{_MMACTION}/parse_file_list.py",
    splits={"train": _hmdb51("1"), "test": _hmdb51("2")},
    promised={"train": 3570, "test": 1530},
)


def _activitynet(subset: str) -> Callable[[Path], Source]:
    return listed(
        "",
        ClipList(
            files="activity_net.v1-3.min.json",
            rows="json",
            inside="database",
            clip="v_{key}",
            label="{annotations[0][label]}",
            only="{subset}",
            equals=subset,
        ),
    )


_ACTIVITYNET = Row(
    name="activitynet",
    dataset="ActivityNet 1.3",
    sentence="sequence",
    annotation="activity",
    annotated_by="ground truth",
    tokens=380.63,
    licence="annotations MIT; films of YouTube users, some of them gone",
    home="http://activity-net.org/",
    layout="""
v_---9CpRcKoU.mp4, ...            anywhere below the folder
activity_net.v1-3.min.json""",
    layout_source=f"{_MMACTION}/activitynet/README.md",
    splits={"train": _activitynet("training"), "val": _activitynet("validation")},
    promised={"train": 10_024, "val": 4926},
)


def _moments(folder: str) -> Callable[[Path], Source]:
    return listed(folder, ClipList(files=f"{folder}Set.csv", rows="cells"))


_MOMENTS = Row(
    name="moments_in_time",
    dataset="Moments in Time",
    sentence="sequence",
    annotation="action",
    annotated_by="ground truth",
    tokens=2979.00,
    licence="non-commercial research, by agreement",
    home="http://moments.csail.mit.edu/",
    layout="""
training/blocking/getty-karate-video-id635808620_4.mp4, ...
validation/...
trainingSet.csv, validationSet.csv        blocking/getty-karate-video-id635808620_4.mp4,blocking,3,1""",
    layout_source=f"{_MMACTION}/parse_file_list.py",
    splits={"train": _moments("training"), "val": _moments("validation")},
)


def _multi_moments(name: str) -> Callable[[Path], Source]:
    return listed("videos", ClipList(files=f"{name}Set.csv", rows="cells"))


_MULTI_MOMENTS = Row(
    name="multi_moments",
    dataset="Multi-Moments in Time",
    sentence="sequence",
    annotation="actions; the label is the folder's",
    annotated_by="ground truth",
    tokens=4124.04,
    licence="non-commercial research, by agreement",
    home="http://moments.csail.mit.edu/",
    layout="""
videos/adult+female+singing/yt-zxQfALnTdfc_56.mp4, ...
trainingSet.csv, validationSet.csv        adult+female+singing/yt-zxQfALnTdfc_56.mp4,26,38""",
    layout_source=f"{_MMACTION}/mmit/README.md",
    splits={"train": _multi_moments("training"), "val": _multi_moments("validation")},
)


def _charades(name: str, split: str) -> Callable[[Path], Source]:
    listing = ClipList(files=f"{name}/{name}_v1_{split}.csv", rows="table", clip="{id}", label="{scene}")
    return listed(f"{name}_v1_480", listing)


_CHARADES = Row(
    name="charades",
    dataset="Charades",
    sentence="sequence",
    annotation="scene",
    annotated_by="ground truth",
    tokens=241.53,
    licence="non-commercial, Allen Institute's terms",
    home="https://prior.allenai.org/projects/charades",
    layout="""
Charades_v1_480/46GP8.mp4, ...
Charades/Charades_v1_train.csv, Charades_v1_test.csv        id,subject,scene,...""",
    layout_source="https://github.com/gsig/charades-algorithms/blob/master/pytorch/datasets/charadesrgb.py",
    splits={"train": _charades("Charades", "train"), "test": _charades("Charades", "test")},
    promised={"train": 7985, "test": 1863},
)

_CHARADES_EGO = Row(
    name="charades_ego",
    dataset="Charades-Ego",
    sentence="sequence",
    annotation="scene",
    annotated_by="ground truth",
    tokens=193.06,
    licence="non-commercial, Allen Institute's terms",
    home="https://prior.allenai.org/projects/charades-ego",
    layout="""
CharadesEgo_v1_480/P5OTKEGO.mp4, ...
CharadesEgo/CharadesEgo_v1_train.csv, CharadesEgo_v1_test.csv        id,subject,scene,...""",
    layout_source="https://github.com/gsig/actor-observer/blob/master/datasets/charadesegoplusrgb.py",
    splits={"train": _charades("CharadesEgo", "train"), "test": _charades("CharadesEgo", "test")},
)


def _something(split: str) -> Callable[[Path], Source]:
    files = f"something-something-v2-{split}.json"
    return listed("20bn-something-something-v2", ClipList(files=files, rows="json", clip="{id}", label="{template}"))


_SOMETHING = Row(
    name="something_something_v2",
    dataset="Something-Something V2",
    sentence="sequence",
    annotation="action",
    annotated_by="ground truth",
    tokens=904.57,
    licence="research, by agreement with Qualcomm",
    home="https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
    layout="""
20bn-something-something-v2/1.webm, ...
something-something-v2-train.json, something-something-v2-validation.json""",
    layout_source=f"{_MMACTION}/parse_file_list.py",
    splits={"train": _something("train"), "val": _something("validation")},
    promised={"train": 168_913, "val": 24_777},
)

_YOUCOOK = Row(
    name="youcook",
    dataset="YouCook (88 films)",
    sentence="sequence",
    tokens=3.14,
    licence="no licence stated; films of YouTube users, research use",
    home="https://web.eecs.umich.edu/~jjcorso/r/youcook/",
    layout="""
films anywhere below the folder; all of them are read""",
    splits={"train": lambda at: VideoFiles(at=at)},
    promised={"train": 88},
)


def _youcook2(subset: str) -> Callable[[Path], Source]:
    listing = ClipList(
        files="youcookii_annotations_trainval.json",
        rows="json",
        inside="database",
        clip="{key}",
        label="{recipe_type}",
        only="{subset}",
        equals=subset,
    )
    return listed(f"raw_videos/{subset}", listing)


_YOUCOOK2 = Row(
    name="youcook2",
    dataset="YouCook2, the successor of YouCook",
    sentence="sequence",
    annotation="recipe",
    annotated_by="ground truth",
    licence="annotations MIT; films of YouTube users, some of them gone",
    home="http://youcook2.eecs.umich.edu/",
    layout="""
raw_videos/training/113/GLd3aX16zBg.mp4, ...        .mkv and .webm too
raw_videos/validation/...
youcookii_annotations_trainval.json""",
    layout_source="https://github.com/LuoweiZhou/YouCook2-Leaderboard",
    splits={"train": _youcook2("training"), "val": _youcook2("validation")},
    promised={"train": 1333, "val": 457},
)


def _kinetics(split: str) -> Callable[[Path], Source]:
    clip = "{youtube_id}_{time_start:0>6}_{time_end:0>6}"
    return listed(split, ClipList(files=f"annotations/{split}.csv", rows="table", clip=clip, label="{label}"))


_KINETICS = Row(
    name="kinetics700",
    dataset="Kinetics-700",
    sentence="sequence",
    annotation="action",
    annotated_by="ground truth",
    tokens=7092.04,
    licence="annotations CC-BY 4.0; films of YouTube users, some of them gone",
    home="https://github.com/cvdfoundation/kinetics-dataset",
    layout="""
train/---v8pgm1eQ_000007_000017.mp4, ...        in folders of their class, or not
val/...
annotations/train.csv, val.csv                  label,youtube_id,time_start,time_end,split""",
    layout_source="https://github.com/cvdfoundation/kinetics-dataset",
    splits={"train": _kinetics("train"), "val": _kinetics("val")},
)


def _msr_vtt(folder: str, files: str, split: str) -> Callable[[Path], Source]:
    listing = ClipList(
        files=files, rows="json", inside="videos", clip="{video_id}", label="{category}", only="{split}", equals=split
    )
    return listed(folder, listing)


_MSR_VTT = Row(
    name="msr_vtt",
    dataset="MSR-VTT",
    sentence="sequence",
    annotation="category (0 to 19)",
    annotated_by="ground truth",
    tokens=57.34,
    licence="research; films of YouTube users",
    home="https://www.microsoft.com/en-us/research/publication/"
    "msr-vtt-a-large-video-description-dataset-for-bridging-video-and-language/",
    layout="""
TrainValVideo/video0.mp4, ...     train_val_videodatainfo.json
TestVideo/video7010.mp4, ...      test_videodatainfo.json""",
    layout_source=f"{_MMACTION}/video_retrieval/README.md",
    splits={
        "train": _msr_vtt("TrainValVideo", "train_val_videodatainfo.json", "train"),
        "val": _msr_vtt("TrainValVideo", "train_val_videodatainfo.json", "validate"),
        "test": _msr_vtt("TestVideo", "test_videodatainfo.json", "test"),
    },
    promised={"train": 6513, "val": 497, "test": 2990},
)


def _jester(split: str) -> Callable[[Path], Source]:
    listing = ClipList(files=f"jester-v1-{split}.csv", rows="cells", delimiter=";", label="{1}")
    return listed("20bn-jester-v1", listing, "frames")


_JESTER = Row(
    name="jester",
    dataset="Jester v1",
    sentence="sequence",
    annotation="gesture",
    annotated_by="ground truth",
    tokens=606.47,
    licence="research, by agreement with Qualcomm",
    home="https://www.qualcomm.com/developer/software/jester-dataset",
    layout="""
20bn-jester-v1/1/00001.jpg, ...
jester-v1-train.csv, jester-v1-validation.csv        34870;Drumming Fingers""",
    layout_source=f"{_MMACTION}/parse_file_list.py",
    splits={"train": _jester("train"), "val": _jester("validation")},
    promised={"train": 118_562, "val": 14_787},
)


def _diving48(split: str) -> Callable[[Path], Source]:
    return listed("rgb", ClipList(files=f"Diving48_V2_{split}.json", rows="json", clip="{vid_name}", label="{label}"))


_DIVING48 = Row(
    name="diving48",
    dataset="Diving48 (V2)",
    sentence="sequence",
    annotation="dive (0 to 47)",
    annotated_by="ground truth",
    tokens=150.73,
    licence="no licence stated; research use",
    home="http://www.svcl.ucsd.edu/projects/resound/dataset.html",
    layout="""
rgb/_8Vy3dlHg2w_00000.mp4, ...
Diving48_V2_train.json, Diving48_V2_test.json""",
    layout_source=f"{_MMACTION}/diving48/README.md",
    splits={"train": _diving48("train"), "test": _diving48("test")},
    promised={"train": 15_027, "test": 1970},
)

_MULTISPORTS = Row(
    name="multisports",
    dataset="MultiSports",
    sentence="sequence",
    annotation="sport",
    annotated_by="ground truth",
    tokens=78.44,
    licence="CC-BY-NC 4.0",
    home="https://deeperaction.github.io/datasets/multisports.html",
    layout="""
data/trainval/aerobic_gymnastics/v_....mp4, ...        one split: the lists are in a pickle, which is not opened""",
    layout_source=f"{_MMACTION}/multisports/README.md",
    splits={"train": lambda at: VideoFiles(at=at / "data" / "trainval")},
)


FILMS: tuple[Row, ...] = (
    *(_UCF101, _HMDB51, _ACTIVITYNET, _MOMENTS, _MULTI_MOMENTS, _CHARADES, _SOMETHING, _YOUCOOK, _YOUCOOK2),
    *(_KINETICS, _MSR_VTT, _JESTER, _DIVING48, _MULTISPORTS, _CHARADES_EGO),
)
"""Films, and frames of films, with a label each."""
