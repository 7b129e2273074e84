"""Miniatures of the datasets of films (openlvm/sources/catalog/films.py), in their official layouts.

Every frame of every film shows one even color of its own, so that lossy files can be compared with it.
"""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from miniatures.files import Expected, save_jpeg, save_png

HEIGHT, WIDTH = 48, 64
FILM_TOLERANCE = 6.0
"""Mean difference, gray levels, between generated frames and what a film of them holds."""


def frame(film: int, number: int) -> np.ndarray:
    """Frame `number` of film `film`, uint8 [48, 64, 3]: one color, another one for every film and frame."""
    color = (40 + 23 * film % 180, 30 + 17 * number % 200, 60 + (31 * film + 11 * number) % 150)
    return np.tile(np.array(color, np.uint8), (HEIGHT, WIDTH, 1))


def write_film(path: Path, film: int, count: int = 3, still: int = 1) -> list[Any]:
    """Write a film of 10 frames a second in the format of the path's ending; returns the frames it holds.

    Args:
        path: where.
        film: which one; its frames are near those of `frame`.
        count: of frames.
        still: how many frames show the same.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    shown = [frame(film, number // still) for number in range(count)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9" if path.suffix == ".webm" else "mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt, stream.gop_size = HEIGHT, WIDTH, "yuv420p", 4
        stream.bit_rate = 4_000_000
        for picture in shown:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        held = [np.asarray(decoded.to_image()) for decoded in container.decode(video=0)]
    assert len(held) == len(shown)
    assert all(np.abs(a.astype(float) - b).mean() < FILM_TOLERANCE for a, b in zip(held, shown, strict=True))
    return held


def write_frames(folder: Path, film: int, names: Sequence[str]) -> list[Any]:
    """Write a folder of the first frames of a film; returns what the files hold."""
    return [
        (save_png if name.endswith(".png") else save_jpeg)(folder / name, frame(film, number))
        for number, name in enumerate(names)
    ]


def write_text(path: Path, text: str) -> None:
    """Write a text file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Sequence[Any]], delimiter: str = ",") -> None:
    """Write a CSV and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def one(key: str, pictures: Sequence[Any]) -> dict[str, dict[str, list[Any]]]:
    """The record of a clip without annotations."""
    return {f"{key}#0000": {"image": list(pictures)}}


def ucf101(at: Path) -> Expected:
    """Films in class folders; the training list has numbers of classes, the test list none."""
    names = ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01", "YoYo/v_YoYo_g25_c05", "YoYo/v_YoYo_g01_c01")
    held = [write_film(at / f"UCF-101/{name}.avi", film) for film, name in enumerate(names)]
    write_text(at / "ucfTrainTestlist/trainlist01.txt", f"{names[0]}.avi 1\n{names[1]}.avi 101\n")
    write_text(at / "ucfTrainTestlist/testlist01.txt", f"{names[2]}.avi\n")
    return {"train": one(names[0], held[0]) | one(names[1], held[1]), "test": one(names[2], held[2])}


def hmdb51(at: Path) -> Expected:
    """A list for each class and split, with a mark for each film; one film is in neither half."""
    names = ("brush_hair/a_f_0", "brush_hair/b_f_1", "wave/c_f_2", "wave/d_f_3")
    held = [write_film(at / f"hmdb51_org/{name}.avi", film) for film, name in enumerate(names)]
    lists = at / "testTrainMulti_7030_splits"
    write_text(lists / "brush_hair_test_split1.txt", "a_f_0.avi 1 \nb_f_1.avi 2 \n")
    write_text(lists / "brush_hair_test_split2.txt", "a_f_0.avi 2 \nb_f_1.avi 1 \n")
    write_text(lists / "wave_test_split1.txt", "c_f_2.avi 1 \nd_f_3.avi 0 \n")
    return {"train": one("a_f_0", held[0]) | one("c_f_2", held[2]), "test": one("b_f_1", held[1])}


def activitynet(at: Path) -> Expected:
    """One JSON of all films; those of the test have no annotations."""
    database, held = {}, []
    for film, (name, subset) in enumerate((("---9CpRcKoU", "training"), ("z.b7", "validation"), ("aaa", "testing"))):
        held.append(write_film(at / f"v1-3/train_val/v_{name}.mp4", film))
        marks = [] if subset == "testing" else [{"segment": [0.01, 0.2], "label": f"Label {film}"}]
        database[name] = {"duration": 0.3, "subset": subset, "resolution": "64x48", "url": "", "annotations": marks}
    document = {"database": database, "taxonomy": [], "version": "VERSION 1.3"}
    write_text(at / "activity_net.v1-3.min.json", json.dumps(document))
    return {"train": one("v_---9CpRcKoU", held[0]), "val": one("v_z.b7", held[1])}


def moments(at: Path) -> Expected:
    """The same class in both folders."""
    names = {"training": "blocking/yt-1_4", "validation": "blocking/yt-2_5"}
    held = [write_film(at / f"{folder}/{name}.mp4", film) for film, (folder, name) in enumerate(names.items())]
    for folder, name in names.items():
        write_csv(at / f"{folder}Set.csv", [[f"{name}.mp4", "blocking", 3, 1]])
    return {"train": one("blocking/yt-1_4", held[0]), "val": one("blocking/yt-2_5", held[1])}


def multi_moments(at: Path) -> Expected:
    """Rows of one number for each action, so of any length."""
    names = ("adult+female+singing/yt-a_1", "sawing/yt-b_2")
    held = [write_film(at / f"videos/{name}.mp4", film) for film, name in enumerate(names)]
    write_csv(at / "trainingSet.csv", [[f"{names[0]}.mp4", 26, 38]])
    write_csv(at / "validationSet.csv", [[f"{names[1]}.mp4", 5]])
    return {"train": one(names[0], held[0]), "val": one(names[1], held[1])}


def charades(at: Path, name: str = "Charades", ids: Sequence[str] = ("46GP8", "N11GT")) -> Expected:
    """A CSV with a header, commas inside quotes."""
    header = ["id", "subject", "scene", "quality", "script", "actions", "length"]
    held = [write_film(at / f"{name}_v1_480/{clip}.mp4", film) for film, clip in enumerate(ids)]
    for film, (split, clip) in enumerate(zip(("train", "test"), ids, strict=True)):
        row = [clip, "HR43", f"Room {film}", 6, 'Sits, then "stands".', "c092 11.90 21.20;c147 0.00 12.60", 0.3]
        write_csv(at / f"{name}/{name}_v1_{split}.csv", [header, row])
    return {"train": one(ids[0], held[0]), "test": one(ids[1], held[1])}


def charades_ego(at: Path) -> Expected:
    """The same layout under other names."""
    return charades(at, "CharadesEgo", ("P5OTKEGO", "P5OTK"))


def something_something(at: Path) -> Expected:
    """WebM films and a JSON list for each split."""
    ids = {"train": "74225", "validation": "74226"}
    held = [write_film(at / f"20bn-something-something-v2/{clip}.webm", film) for film, clip in enumerate(ids.values())]
    for split, clip in ids.items():
        row = {"id": clip, "label": "moving keys", "template": "Moving [something]", "placeholders": ["keys"]}
        write_text(at / f"something-something-v2-{split}.json", json.dumps([row]))
    return {"train": one("74225", held[0]), "val": one("74226", held[1])}


def youcook(at: Path) -> Expected:
    """Films and no list."""
    return {"train": one("videos/0002.mp4", write_film(at / "videos/0002.mp4", 0))}


def youcook2(at: Path) -> Expected:
    """Films in folders of split and recipe, one JSON of all."""
    rows = (("training", "113", "GLd3aX16zBg"), ("validation", "204", "b-_7"))
    held = [write_film(at / f"raw_videos/{'/'.join(row)}.mkv", film) for film, row in enumerate(rows)]
    database = {
        clip: {"duration": 0.3, "subset": subset, "recipe_type": recipe, "annotations": [], "video_url": ""}
        for subset, recipe, clip in rows
    }
    write_text(at / "youcookii_annotations_trainval.json", json.dumps({"database": database}))
    return {"train": one("GLd3aX16zBg", held[0]), "val": one("b-_7", held[1])}


def kinetics(at: Path) -> Expected:
    """Training films lie flat, the others in class folders; both occur."""
    header = ["label", "youtube_id", "time_start", "time_end", "split"]
    held = [
        write_film(at / "train/---v8pgm1eQ_000007_000017.mp4", 0),
        write_film(at / "val/abseiling/4YTwq0-73Y_000120_000130.mp4", 1),
    ]
    write_csv(at / "annotations/train.csv", [header, ["clay pottery making", "---v8pgm1eQ", 7, 17, "train"]])
    write_csv(at / "annotations/val.csv", [header, ["abseiling", "4YTwq0-73Y", 120, 130, "validate"]])
    return {"train": one("---v8pgm1eQ_000007_000017", held[0]), "val": one("4YTwq0-73Y_000120_000130", held[1])}


def msr_vtt(at: Path) -> Expected:
    """Two JSONs for three splits."""
    rows: dict[str, list[dict[str, Any]]] = {"train_val": [], "test": []}
    held = []
    for film, (clip, split) in enumerate((("video0", "train"), ("video6513", "validate"), ("video7010", "test"))):
        held.append(write_film(at / f"{'TestVideo' if split == 'test' else 'TrainValVideo'}/{clip}.mp4", film))
        row = {"category": 9 + film, "url": "", "video_id": clip, "start time": 1.0, "split": split, "id": film}
        rows["test" if split == "test" else "train_val"].append(row)
    for name, videos in rows.items():
        write_text(at / f"{name}_videodatainfo.json", json.dumps({"info": {}, "videos": videos, "sentences": []}))
    return {"train": one("video0", held[0]), "val": one("video6513", held[1]), "test": one("video7010", held[2])}


def jester(at: Path) -> Expected:
    """Folders of frames, lists with semicolons."""
    names = [f"{number:05d}.jpg" for number in (1, 2, 3)]
    held = [write_frames(at / f"20bn-jester-v1/{clip}", film, names) for film, clip in enumerate(("34870", "9"))]
    write_csv(at / "jester-v1-train.csv", [["34870", "Drumming Fingers"]], delimiter=";")
    write_csv(at / "jester-v1-validation.csv", [["9", "Stop Sign"]], delimiter=";")
    return {"train": one("34870", held[0]), "val": one("9", held[1])}


def diving48(at: Path) -> Expected:
    """Flat films, labels that are numbers."""
    ids = {"train": "-mmq0PT-u8k_00155", "test": "2x00lRzlTVQ_00000"}
    held = [write_film(at / f"rgb/{clip}.mp4", film) for film, clip in enumerate(ids.values())]
    for film, (split, clip) in enumerate(ids.items()):
        row = {"vid_name": clip, "label": 26 + film, "start_frame": 0, "end_frame": 2}
        write_text(at / f"Diving48_V2_{split}.json", json.dumps([row]))
    return {"train": one(ids["train"], held[0]), "test": one(ids["test"], held[1])}


def multisports(at: Path) -> Expected:
    """Films in folders of their sport."""
    name = "basketball/v_-6Os86HzwCs_c001.mp4"
    return {"train": one(name, write_film(at / f"data/trainval/{name}", 0))}


MINIATURES: dict[str, Callable[[Path], Expected]] = {
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "activitynet": activitynet,
    "moments_in_time": moments,
    "multi_moments": multi_moments,
    "charades": charades,
    "something_something_v2": something_something,
    "youcook": youcook,
    "youcook2": youcook2,
    "kinetics700": kinetics,
    "msr_vtt": msr_vtt,
    "jester": jester,
    "diving48": diving48,
    "multisports": multisports,
    "charades_ego": charades_ego,
}
"""Row -> a function that fills a folder with its files and returns what its splits must read."""
