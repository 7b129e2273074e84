"""Miniatures of all moving pictures (openlvm/sources/catalog/moving.py) in their official layouts."""

import gzip
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from miniatures import films
from miniatures.files import Expected, save_palette_png, save_png
from miniatures.films import HEIGHT, WIDTH, one, write_csv, write_film, write_frames, write_text
from miniatures.puzzles import raven
from miniatures.rendered import OBJAVERSE, colored_cuboid, renderer_or_skip, write_objaverse

from openlvm.core.records import Boxes, Depth, Flow, Keypoints, Segmentation
from openlvm.sources.rendered.camera import FOV_DEGREES
from openlvm.sources.rendered.meshes import RenderedMeshes

SIZE = (HEIGHT, WIDTH)


def numbered(pattern: str, first: int = 0, step: int = 1) -> list[str]:
    """Names of three frames."""
    return [pattern.format(first + step * number) for number in range(3)]


def write_flo(path: Path, vectors: np.ndarray) -> None:
    """Write a Middlebury .flo file of float32 [H, W, 2]; NaN becomes its mark of the unknown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = vectors.shape[:2]
    data = np.where(np.isnan(vectors), 1.7e9, vectors).astype("<f4")
    path.write_bytes(b"PIEH" + struct.pack("<ii", width, height) + data.tobytes())


def write_mat(path: Path, **variables: Any) -> None:
    """Write a .mat file and its folder."""
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, variables)


def bars(number: int, *names: int) -> np.ndarray:
    """Ids int32 [48, 64]: one bar for each name, which moves down by 4 rows a frame; 0 elsewhere."""
    ids = np.zeros(SIZE, np.int32)
    for place, name in enumerate(names):
        ids[4 * number : 4 * number + 12, 20 * place : 20 * place + 16] = name
    return ids


def motion(number: int) -> np.ndarray:
    """Vectors float32 [48, 64, 2], unknown in the last columns."""
    vectors = np.full((*SIZE, 2), np.nan, np.float32)
    vectors[:, :50] = (1.5 + number, -0.25)
    return vectors


# --------------------------------------------------------------------------------------------------------- long films


def ego4d(at: Path) -> Expected:
    """Films and the manifest that the publisher's command writes beside them."""
    clip = "000786a7-3f9d-4fe6-bfb3-045b368f7d44"
    held = write_film(at / f"v2/full_scale/{clip}.mp4", 0)
    write_csv(at / "v2/full_scale/manifest.csv", [["video_uid", "duration_sec"], [clip, 0.3]])
    return {"train": one(clip, held)}


def hd_vila(at: Path) -> Expected:
    """Clips with a point in their names, listed film by film in two files."""
    clips = ("QMi8x8o55Ns.1", "QMi8x8o55Ns.16", "b.2")
    train: dict[str, dict[str, list[Any]]] = {}
    for film, clip in enumerate(clips):
        train |= one(clip, write_film(at / f"video_clips/{clip.partition('.')[0]}/{clip}.mp4", film))
    for part, video in enumerate(("QMi8x8o55Ns", "b")):
        spans = [
            {"clip_id": f"{clip}.mp4", "span": ["00:00:17.759", "00:00:23.279"]}
            for clip in clips
            if clip.startswith(f"{video}.")
        ]
        write_text(at / f"metafiles/meta_part{part}.jsonl", f"{json.dumps({'video_id': video, 'clip': spans})}\n")
    return {"train": train}


AVA_FILMS = {"train": "-5KQ66BBWC4", "val": "1j20qq1JyX4"}
AVA_SECONDS = (2, 3, 5)


def _ava_files(at: Path) -> dict[str, list[Any]]:
    """Films of 7 seconds, and boxes at seconds 2 to 5, of which 4 is excluded; split -> frames."""
    held = {}
    for film, (split, clip) in enumerate(AVA_FILMS.items()):
        held[split] = write_film(at / f"trainval/{clip}.mkv", film, count=70, still=10)
        rows: list[list[Any]] = []
        for second in (*AVA_SECONDS, 4):
            rows.append([clip, f"{second:04d}", 0.25, 0.125, 0.5, 0.75, 80, 0])
            rows.append([clip, f"{second:04d}", 0.25, 0.125, 0.5, 0.75, 12, 0])  # the same person stands
            rows.append([clip, f"{second:04d}", 0.5, 0.5, 1.0, 1.0, 11, 1])
        write_csv(at / f"ava_{split}_v2.2.csv", rows)
        write_csv(at / f"ava_{split}_excluded_timestamps_v2.2.csv", [[clip, "0004"]])
    return held


def ava(at: Path) -> Expected:
    """The films alone."""
    return {split: one(AVA_FILMS[split], held) for split, held in _ava_files(at).items()}


def ava_detection(at: Path) -> Expected:
    """The frames at the annotated seconds, two people in each."""
    corners = np.array([[16, 6, 32, 36], [32, 24, 64, 48]], np.float32)
    people = Boxes(corners, np.array([12, 11], np.int32), SIZE)
    return {
        split: {
            f"{AVA_FILMS[split]}#0000": {
                "image": [held[10 * second] for second in AVA_SECONDS],
                "boxes": [people for _ in AVA_SECONDS],
            }
        }
        for split, held in _ava_files(at).items()
    }


# --------------------------------------------------------------------------------------------------- objects in frames


def davis_objects(at: Path) -> Expected:
    """Palette masks of two objects; part of one frame is not labelled."""
    expected: Expected = {}
    for film, (clip, split) in enumerate((("bear", "train"), ("dogs-jump", "val"))):
        held = write_frames(at / f"JPEGImages/480p/{clip}", film, numbered("{:05d}.jpg"))
        masks = [bars(number, 1, 2) for number in range(3)]
        masks[1][40:] = 255
        for number, ids in enumerate(masks):
            save_palette_png(at / f"Annotations/480p/{clip}/{number:05d}.png", ids)
        write_text(at / f"ImageSets/2017/{split}.txt", f"{clip}\n")
        objects = [Segmentation(np.where(ids == 255, -1, ids).astype(np.int32)) for ids in masks]
        expected[split] = {f"{clip}#0000": {"image": held, "instances": objects}}
    return expected


def davis(at: Path) -> Expected:
    """The frames alone."""
    return {
        split: {key: {"image": slots["image"]} for key, slots in records.items()}
        for split, records in davis_objects(at).items()
    }


def youtube_vos(at: Path) -> Expected:
    """Every fifth frame; the object, number 3, appears in the second one."""
    expected: Expected = {}
    for film, (folder, split, clip) in enumerate((("train", "train", "003234408d"), ("valid", "val", "0062f687f1"))):
        held = write_frames(at / f"{folder}/JPEGImages/{clip}", film, numbered("{:05d}.jpg", step=5))
        for number in (1, 2):
            save_palette_png(at / f"{folder}/Annotations/{clip}/{5 * number:05d}.png", bars(number, 3))
        expected[split] = one(clip, held)
    return expected


def youtube_vos_objects(at: Path) -> Expected:
    """The frames that have a mask; the object becomes number 1."""
    held = youtube_vos(at)["train"]["003234408d#0000"]["image"]
    objects = [Segmentation(bars(number, 1)) for number in (1, 2)]
    return {"train": {"003234408d#0000": {"image": held[1:], "instances": objects}}}


VIPSEG = {0: (-1, -1), 6101: (61, 1), 12407: (124, 2), 29: (29, 0), 124: (124, 0)}
"""Number in a mask -> class and instance."""


def vipseg(at: Path) -> Expected:
    """Two things, stuff and void in 16-bit masks."""
    expected: Expected = {}
    for film, (clip, split) in enumerate((("1001_5z_ijQjUf_0", "train"), ("2_b", "val"))):
        held = write_frames(at / f"imgs/{clip}", film, numbered("{:08d}.jpg", 196, 3))
        planes: dict[str, list[Segmentation]] = {"segmentation": [], "instances": []}
        for number in range(3):
            numbers = bars(number, 6101, 12407, 29)
            numbers[-4:] = 124
            save_png(at / f"panomasks/{clip}/{196 + 3 * number:08d}.png", numbers.astype(np.uint16))
            for place, slot in enumerate(planes):
                ids = np.zeros(SIZE, np.int32)
                for old, new in VIPSEG.items():
                    ids[numbers == old] = new[place]
                planes[slot].append(Segmentation(ids))
        write_text(at / f"{split}.txt", f"{clip}\n")
        expected[split] = {f"{clip}#0000": {"image": held, **planes}}
    return expected


# --------------------------------------------------------------------------------------------------- people and motion


def _jhmdb_files(at: Path) -> dict[str, dict[str, list[Any]]]:
    """Frames and lists of JHMDB; split -> path of the clip -> frames."""
    clips = {"brush_hair/April_09_0": "train", "brush_hair/b_np1_1": "test", "wave/c_2": "train"}
    held: dict[str, dict[str, list[Any]]] = {"train": {}, "test": {}}
    for film, (clip, split) in enumerate(clips.items()):
        held[split][clip] = write_frames(at / f"Rename_Images/{clip}", film, numbered("{:05d}.png", 1))
    write_text(at / "splits/brush_hair_test_split1.txt", "April_09_0.avi 1 \nb_np1_1.avi 2 \n")
    write_text(at / "splits/wave_test_split1.txt", "c_2.avi 1 \n")
    return held


def jhmdb_pose(at: Path) -> Expected:
    """15 joints in each of three frames; one lies beyond the picture."""
    expected: Expected = {"train": {}, "test": {}}
    for split, clips in _jhmdb_files(at).items():
        for clip, held in clips.items():
            points = np.random.default_rng(len(clip)).uniform(1, 40, (3, 1, 15, 2)).astype(np.float32)
            points[1, 0, 4] = (70, 20)
            visible = np.ones((3, 1, 15), bool)
            visible[1, 0, 4] = False
            joints = [Keypoints(points[number], visible[number], SIZE, "jhmdb") for number in range(3)]
            positions = points[:, 0].transpose(2, 1, 0) + 0.5  # MATLAB counts pixels from 1
            write_mat(at / f"joint_positions/{clip}/joint_positions.mat", pos_img=positions, scale=np.ones(3))
            expected[split][f"{clip.partition('/')[2]}#0000"] = {"image": held, "pose": joints}
    return expected


def jhmdb_flow(at: Path) -> Expected:
    """Vectors of all frames but the last; 0 where there is no puppet."""
    expected: Expected = {"train": {}, "test": {}}
    for split, clips in _jhmdb_files(at).items():
        for clip, held in clips.items():
            vectors = np.nan_to_num(np.stack([motion(number) for number in range(2)], axis=-1))  # [H, W, 2, F]
            write_mat(at / f"puppet_flow_ann/{clip}/puppet_flow.mat", u=vectors[:, :, 0], v=vectors[:, :, 1])
            flow = [Flow(motion(number)) for number in range(2)]
            expected[split][f"{clip.partition('/')[2]}#0000"] = {"image": held[:2], "flow": flow}
    return expected


def jhmdb_flow_pictures(at: Path) -> Expected:
    """Flow as somebody drew it."""
    clip = "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0"
    held = write_frames(at / f"Frames/{clip}", 0, numbered("{:05d}.png", 1))
    drawn = write_frames(at / f"FlowBrox04/{clip}", 5, numbered("{:05d}.jpg", 1))
    return {"train": {f"{clip}#0000": {"image": held, "flow": drawn}}}


def sintel(at: Path) -> Expected:
    """Two renderings of one scene; the last frame has no flow."""
    for number in range(2):
        write_flo(at / f"training/flow/alley_1/frame_{number + 1:04d}.flo", motion(number))
    flow = [Flow(motion(number)) for number in range(2)]
    expected: Expected = {}
    for film, (split, folder) in enumerate((("train", "clean"), ("final", "final"))):
        held = write_frames(at / f"training/{folder}/alley_1", film, numbered("frame_{:04d}.png", 1))
        expected[split] = {"alley_1#0000": {"image": held[:2], "flow": flow}}
    return expected


# ---------------------------------------------------------------------------------------------------- turns of objects


def co3d(at: Path) -> Expected:
    """Two categories; the second one has no list of the subset "dev". Rows come in any order: frame_number counts."""
    expected: Expected = {"train": {}, "dev": {}, "all": {}}
    sequences = {"apple": {"110_1_2": "train", "189_3_4": "dev"}, "hydrant": {"7_8_9": "train"}}
    for category, splits in sequences.items():
        rows: list[dict[str, Any]] = []
        lists: dict[str, list[list[Any]]] = {}
        for film, (sequence, split) in enumerate(splits.items()):
            slots, told = _co3d_sequence(at, category, sequence, film)
            rows += told
            lists.setdefault(split, []).extend([sequence, row["frame_number"], row["image"]["path"]] for row in told)
            for name in (split, "all"):
                expected[name][f"{category}/{sequence}#0000"] = slots
        write_jgz(at / category / "frame_annotations.jgz", rows[::-1])
        for split, listed in lists.items():
            text = json.dumps({"train": listed, "val": [], "test": []})
            write_text(at / f"{category}/set_lists/set_lists_fewview_{split}.json", text)
    return expected


def write_jgz(path: Path, rows: Sequence[Any]) -> None:
    """Write a gzipped JSON."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        json.dump(rows, file)


def _co3d_sequence(at: Path, category: str, sequence: str, film: int) -> tuple[dict[str, list[Any]], list[Any]]:
    """Frames, masks and depth of one sequence, and its rows in the annotations."""
    folder = f"{category}/{sequence}"
    names = numbered("frame{:06d}.jpg", 1)
    slots: dict[str, list[Any]] = {"image": write_frames(at / folder / "images", film, names), "mask": [], "depth": []}
    rows = []
    for number, name in enumerate(names):
        stem = name.removesuffix(".jpg")
        mask, trusted = f"{folder}/masks/{stem}.png", f"{folder}/depth_masks/{stem}.png"
        depth = f"{folder}/depths/{stem}.jpg.geometric.png"
        far = np.full(SIZE, 2.5 + number, np.float32)
        far[:, :3] = np.inf
        save_png(at / mask, (bars(number, 1) * 255).astype(np.uint8))
        save_png(at / depth, (far / 2).astype(np.float16).view(np.uint16))
        save_png(at / trusted, np.where(np.arange(HEIGHT) < 5, 0, 1).astype(np.uint8)[:, None].repeat(WIDTH, axis=1))
        far[:, :3], far[:5] = 0, 0
        slots["mask"].append(Segmentation(bars(number, 1)))
        slots["depth"].append(Depth(far))
        rows.append(
            {
                "sequence_name": sequence,
                "frame_number": number,
                "frame_timestamp": number / 10,
                "image": {"path": f"{folder}/images/{name}", "size": list(SIZE)},
                "depth": {"path": depth, "scale_adjustment": 2.0, "mask_path": trusted},
                "mask": {"path": mask, "mass": 192.0},
                "viewpoint": None,
            }
        )
    return slots, rows


HELD_OUT = "cfcd208495d565ef66e7dff9f98764da"  # a name whose hash lies in the last 16 percent
HALF_SIDES = {name: half for name, (_, _, half) in OBJAVERSE.items()} | {HELD_OUT: (0.3, 0.6, 0.9)}
"""Object -> half the sides of the cuboid that it is."""


def write_objects(at: Path) -> None:
    """Four cuboids, of which three are listed in categories."""
    write_objaverse(at)
    colored_cuboid(HALF_SIDES[HELD_OUT], (0.2, 0.4, 0.8)).write(at / f"glbs/000-160/{HELD_OUT}.glb")


def objaverse(at: Path) -> Expected:
    """The cuboids; what their views must be is drawn here by the renderer itself, so it needs one."""
    renderer_or_skip(256, FOV_DEGREES)
    write_objects(at)
    drawn = RenderedMeshes(at=at, annotations=(), categories="lvis-annotations.json.gz")
    views = {record.key: record for part in drawn.parts() for record in drawn.read(part)}
    return {
        split: {name: {"image": list(views[name].slots["image"])} for name in names}
        for split, names in (("train", OBJAVERSE), ("heldout", (HELD_OUT,)))
    }


MINIATURES: dict[str, Callable[[Path], Expected]] = {
    **films.MINIATURES,
    "raven": raven,
    "i_raven": raven,
    "ava": ava,
    "ego4d": ego4d,
    "hd_vila_100m": hd_vila,
    "davis": davis,
    "davis_objects": davis_objects,
    "youtube_vos": youtube_vos,
    "youtube_vos_objects": youtube_vos_objects,
    "vipseg": vipseg,
    "jhmdb_flow": jhmdb_flow,
    "jhmdb_flow_pictures": jhmdb_flow_pictures,
    "jhmdb_pose": jhmdb_pose,
    "ava_detection": ava_detection,
    "co3d": co3d,
    "sintel_flow": sintel,
    "objaverse": objaverse,
}
"""Row -> a function that fills a folder with its files and returns what its splits must read."""
