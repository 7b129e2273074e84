"""Miniatures of the datasets with annotation files (openlvm/sources/catalog/labelled.py), in their official layouts.

.mat files are written by scipy, text of run lengths by pycocotools: the other halves of what the readers undo.
"""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from miniatures.files import Expected, picture, save_jpeg, save_png
from miniatures.pascal import pascal3d, struct, voc2012_detection
from miniatures.pictures import coco

from openlvm.core.records import Boxes, Keypoints, Segmentation

SIZE = (24, 32)
VOID = Segmentation.VOID


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """A mask of whole pixels, bool [24, 32]."""
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def polygon(left: int, top: int, right: int, bottom: int) -> list[list[float]]:
    """The same as COCO writes it."""
    return [[float(left), top, right, top, right, bottom, left, bottom]]


def run_text(mask: np.ndarray) -> dict[str, Any]:
    """A mask as {"size", "counts"} with COCO's text."""
    from pycocotools import mask as coco_masks

    packed = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": packed["counts"].decode()}


def run_list(mask: np.ndarray) -> dict[str, Any]:
    """A mask as {"size", "counts"} with a list of numbers, as COCO writes crowds."""
    flat = np.concatenate([[0], mask.T.ravel(), [1 - int(mask.T.ravel()[-1])]])
    ends = np.flatnonzero(np.diff(flat)).tolist()
    return {"size": list(mask.shape), "counts": np.diff([0, *ends]).tolist()}


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


CATEGORIES = [{"id": 1, "name": "person", "isthing": 1}, {"id": 90, "name": "toothbrush", "isthing": 1}]
STUFF = [{"id": 200, "name": "rug-merged", "isthing": 0}]
PICTURES = {"train": (9, 25, 30), "val": (139,)}
"""Ids of the pictures of each split; 30 has no annotation."""


def _coco_pictures(at: Path, split: str) -> tuple[list[dict[str, Any]], dict[int, np.ndarray]]:
    pixels = {
        number: save_jpeg(at / f"{split}2017/{number:012d}.jpg", picture(number, *SIZE)) for number in PICTURES[split]
    }
    sizes = {"height": SIZE[0], "width": SIZE[1]}
    return [{"id": number, "file_name": f"{number:012d}.jpg", **sizes} for number in pixels], pixels


def _objects(picture_id: int) -> list[dict[str, Any]]:
    """A person, a toothbrush over them, and a crowd of persons."""
    person, crowd = rectangle(4, 2, 20, 22), rectangle(18, 10, 32, 24)
    return [
        {"image_id": picture_id, "category_id": 90, "iscrowd": 0, "bbox": [6, 4, 5, 3.5], "id": 10 * picture_id + 1,
         "area": 20, "segmentation": polygon(6, 4, 11, 8)},
        {"image_id": picture_id, "category_id": 1, "iscrowd": 0, "bbox": [4, 2, 16, 20], "id": 10 * picture_id + 2,
         "area": 320, "segmentation": run_text(person) if picture_id % 2 else polygon(4, 2, 20, 22)},
        {"image_id": picture_id, "category_id": 1, "iscrowd": 1, "bbox": [18, 10, 14, 14], "id": 10 * picture_id + 3,
         "area": 196, "segmentation": run_list(crowd)},
        {"image_id": picture_id, "category_id": 1, "iscrowd": 0, "bbox": [5, 5, 0, 3], "id": 10 * picture_id + 4,
         "area": 0, "segmentation": run_list(np.zeros(SIZE, bool))},
    ]  # fmt: skip


def _coco_objects(at: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """COCO's instances, and what every slot of them must hold."""
    classes, instances = np.zeros(SIZE, np.int32), np.zeros(SIZE, np.int32)
    classes[2:22, 4:20], instances[2:22, 4:20] = 1, 1
    classes[10:24, 18:32] = 1
    instances[10:24, 18:32] = np.where(instances[10:24, 18:32] == 0, VOID, 1)
    classes[4:8, 6:11], instances[4:8, 6:11] = 90, 2
    corners = np.array([[6, 4, 11, 7.5], [4, 2, 20, 22]], np.float32)
    slots = {
        "boxes": [Boxes(corners, np.array([90, 1], np.int32), SIZE)],
        "segmentation": [Segmentation(classes)],
        "instances": [Segmentation(instances)],
    }
    expected: dict[str, dict[str, dict[str, Any]]] = {}
    for split in PICTURES:
        listed, pixels = _coco_pictures(at, split)
        marks = [one for number in pixels if number != 30 for one in _objects(number)]
        content = {"images": listed, "annotations": marks, "categories": CATEGORIES}
        write_json(at / f"annotations/instances_{split}2017.json", content)
        expected[split] = {f"{n:012d}": {"image": [pixels[n]], **slots} for n in pixels if n != 30}
    return expected


def coco_detection(at: Path) -> Expected:
    """Boxes by polygons, run lengths and a crowd; a box without width marks nothing; picture 30 has no object."""
    return _only(_coco_objects(at), "boxes")


def coco_instances(at: Path) -> Expected:
    """The same files: what lies on top, and what a crowd is."""
    return _only(_coco_objects(at), "segmentation", "instances")


def _only(expected: Expected, *slots: str) -> Expected:
    return {
        split: {key: {slot: payloads[slot] for slot in ("image", *slots)} for key, payloads in records.items()}
        for split, records in expected.items()
    }


def coco_panoptic(at: Path) -> Expected:
    """Stuff, two things of one class, a crowd and a corner without label; ids above 65536 use all three channels."""
    segments = np.full(SIZE, 3_226_956)  # the rug
    segments[:2, :3] = 0
    segments[4:10, 4:10], segments[4:20, 12:30], segments[20:, :] = 8_345_037, 300, 70_000
    told = [(3_226_956, 200, 0), (8_345_037, 90, 0), (300, 90, 0), (70_000, 1, 1)]
    classes = np.select([segments == name for name, _, _ in told], [of for _, of, _ in told], VOID).astype(np.int32)
    things = np.select([segments == 300, segments == 8_345_037, segments == 3_226_956], [1, 2, 0], VOID)
    colors = np.stack([segments % 256, segments // 256 % 256, segments // 65_536], axis=-1).astype(np.uint8)
    expected = {}
    for split in PICTURES:
        listed, pixels = _coco_pictures(at, split)
        folder = at / (f"annotations/panoptic_{split}2017" if split == "train" else f"panoptic_{split}2017")
        marks = []
        for number in pixels:
            save_png(folder / f"{number:012d}.png", colors)
            segs = [{"id": name, "category_id": of, "iscrowd": crowd, "area": 1} for name, of, crowd in told]
            marks.append({"image_id": number, "file_name": f"{number:012d}.png", "segments_info": segs})
        content = {"images": listed, "annotations": marks, "categories": CATEGORIES + STUFF}
        write_json(at / f"annotations/panoptic_{split}2017.json", content)
        planes = {"segmentation": [Segmentation(classes)], "instances": [Segmentation(things.astype(np.int32))]}
        expected[split] = {f"{number:012d}": {"image": [pixels[number]], **planes} for number in pixels}
    return expected


def coco_pose(at: Path) -> Expected:
    """A person of 17 joints seen, hidden or unmarked, one without joints, and a picture with such a one alone."""
    expected: Expected = {}
    for split in PICTURES:
        listed, pixels = _coco_pictures(at, split)
        flags = np.arange(17) % 3
        places = np.stack([np.arange(17) + 3, 20 - np.arange(17)], axis=1) * (flags > 0)[:, None]
        joints = np.concatenate([places, flags[:, None]], axis=1).ravel().tolist()
        marks: list[dict[str, Any]] = []
        for number in pixels:
            one = {"image_id": number, "category_id": 1, "iscrowd": 0, "bbox": [3, 3, 20, 20]}
            marks.append({**one, "keypoints": [0] * 51, "num_keypoints": 0})
            if number != 30:
                marks.append({**one, "keypoints": joints, "num_keypoints": 11})
                marks.append({**one, "keypoints": joints, "num_keypoints": 11, "iscrowd": 1})
        content = {"images": listed, "annotations": marks, "categories": CATEGORIES[:1]}
        write_json(at / f"annotations/person_keypoints_{split}2017.json", content)
        pose = Keypoints((places[None] + 0.5).astype(np.float32), (flags > 0)[None], SIZE, "coco")
        expected[split] = {f"{n:012d}": {"image": [pixels[n]], "pose": [pose]} for n in pixels if n != 30}
    return expected


def mpii(at: Path) -> Expected:
    """Two people, of whom one has a single joint, one without joints; a picture without people; one of the test."""
    from scipy.io import savemat

    both = struct("x y id is_visible", (10.0, 8.0, 0.0, "1"), (20.5, 4.0, 9.0, np.zeros((0, 0))), (1.0, 1.0, 15.0, "0"))
    rects = struct(
        "x1 annopoints scale",
        (1, struct("point", (both,)), 3.0),
        (2, struct("point", (struct("x y id", (5.0, 6.0, 7.0)),)), 3.0),
        (3, np.zeros((0, 0)), 3.0),
    )
    names = ["015601864.jpg", "015599452.jpg", "005808361.jpg", "000000001.jpg"]
    pixels = {name: save_jpeg(at / "images" / name, picture(number, *SIZE)) for number, name in enumerate(names)}
    people = (rects, np.zeros((0, 0)), rects, rects)
    listed = [(struct("name", (name,)), of, 1) for name, of in zip(names, people, strict=True)]
    release = struct("annolist img_train", (struct("image annorect frame_sec", *listed), np.array([[1, 1, 1, 0]])))
    folder = at / "mpii_human_pose_v1_u12_2"
    folder.mkdir(parents=True)
    savemat(folder / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release}, do_compression=True)
    points, visible = np.zeros((2, 16, 2), np.float32), np.zeros((2, 16), bool)
    for person, joint, place in ((0, 0, (9.5, 7.5)), (0, 9, (20, 3.5)), (0, 15, (0.5, 0.5)), (1, 7, (4.5, 5.5))):
        points[person, joint], visible[person, joint] = place, True
    pose = Keypoints(points, visible, SIZE, "mpii")
    return {"train": {n[:-4]: {"image": [pixels[n]], "pose": [pose]} for n in (names[0], names[2])}}


def mpii_delvm(at: Path) -> Expected:
    """Lists of people: two of one picture; a joint that was not marked is at -1."""
    expected: Expected = {}
    for split, name in (("val", "005808361.jpg"), ("train", "015601864.jpg")):
        pixels = save_jpeg(at / "images" / name, picture(len(split), *SIZE))
        joints = [[5.0 + joint, 3.0 + joint] for joint in range(15)] + [[-1.0, -1.0]]
        people = [{"image": name, "joints": joints, "joints_vis": [1] * 15 + [0], "scale": 4.7, "center": [9, 9]}] * 2
        write_json(at / f"annotations/mpii_{split}.json", people)
        points = np.tile(np.array(joints, np.float32) - 0.5, (2, 1, 1))
        points[:, 15] = 0
        pose = Keypoints(points, np.tile(np.arange(16) < 15, (2, 1)), SIZE, "mpii")
        expected[split] = {name[:-4]: {"image": [pixels], "pose": [pose]}}
    return expected


def lv_mhp(at: Path) -> Expected:
    """Two people; joints seen (0), hidden (1) and outside (2, at -1)."""
    from scipy.io import savemat

    expected: Expected = {}
    for split, name in (("train", "96"), ("val", "7")):
        root = at / "LV-MHP-v2"
        pixels = save_jpeg(root / f"{split}/images/{name}.jpg", picture(int(name), *SIZE))
        flags = np.arange(20) % 3
        rows = np.stack([np.arange(20) + 4.0, np.arange(20) + 1.0, flags], axis=1).astype(np.float32)
        rows[flags == 2, :2] = -1
        (root / f"{split}/pose_annos").mkdir(parents=True)
        savemat(root / f"{split}/pose_annos/{name}.mat", {"person_0": rows, "person_1": rows[::-1].copy()})
        (root / "list").mkdir(exist_ok=True)
        (root / f"list/{split}.txt").write_text(f"{name}\n")
        joints = np.stack([rows[:16], rows[::-1][:16]])
        known = joints[..., 2] < 2
        points = np.where(known[..., None], joints[..., :2] + np.float32(0.5), 0)
        pose = Keypoints(points.astype(np.float32), known, SIZE, "mpii")
        expected[split] = {name: {"image": [pixels], "pose": [pose]}}
    return expected


def unite_the_people(at: Path) -> Expected:
    """One person with a joint that was not marked; the last list is of files with two rows."""
    expected: Expected = {}
    for number, split in enumerate(("train", "val", "test")):
        root, name = at / "up-3d", f"{number:05d}"
        pixels = save_png(root / f"{name}_image.png", picture(number, *SIZE))
        joints = np.stack([np.arange(14) + 2.25, np.arange(14) + 6.5, np.ones(14)])
        joints[:, 13] = 0
        np.save(root / f"{name}_joints.npy", joints[:2] if split == "test" else joints)
        (root / f"{split}.txt").write_text(f"/{name}_image.png\n")
        pose = Keypoints(joints[None, :2].transpose(0, 2, 1).astype(np.float32), joints[None, 2] > 0, SIZE, "lsp")
        expected[split] = {name: {"image": [pixels], "pose": [pose]}}
    return expected


def sa1b(at: Path) -> Expected:
    """An archive and an unpacked folder; a whole, its part and a neighbor, in no order of size."""
    masks = [rectangle(6, 4, 11, 8), rectangle(4, 2, 20, 22), rectangle(22, 0, 32, 24)]
    instances = np.zeros(SIZE, np.int32)
    for mask, name in zip(masks, (3, 1, 2), strict=True):
        instances[mask] = np.where(name > instances[mask], name, instances[mask])
    expected = {}
    at.mkdir(parents=True, exist_ok=True)
    with tarfile.open(at / "sa_000000.tar", "w") as archive:
        for folder, number in (("sa_000000", 1), ("sa_000000", 2), ("sa_000001", 11187)):
            path = at / folder / f"sa_{number}.jpg"
            pixels = save_jpeg(path, picture(number, *SIZE))
            told = {"image_id": number, "height": SIZE[0], "width": SIZE[1], "file_name": path.name}
            marks = [{"id": n, "segmentation": run_text(mask), "area": 1} for n, mask in enumerate(masks)]
            write_json(path.with_suffix(".json"), {"image": told, "annotations": marks})
            expected[f"{folder}/sa_{number}"] = {"image": [pixels], "instances": [Segmentation(instances)]}
            for file in (path, path.with_suffix(".json")) if folder == "sa_000000" else ():
                content = file.read_bytes()
                member = tarfile.TarInfo(f"./{file.name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
                file.unlink()
    (at / "sa_000000").rmdir()
    return {"train": expected}


def hand14k(at: Path) -> Expected:
    """Frames, and masks of 0 and 255."""
    names = ("OP01-R01-PastaSalad_frame_0001", "P02-R05-Cheeseburger_frame_0100")
    expected = {}
    for number, name in enumerate(names):
        pixels = save_jpeg(at / f"Images/{name}.jpg", picture(number, *SIZE))
        mask = rectangle(3 + number, 4, 12, 20)
        save_png(at / f"Masks/{name}.png", (mask * 255).astype(np.uint8))
        expected[name] = {"image": [pixels], "mask": [Segmentation(mask.astype(np.int32))]}
    return {"train": expected}


MINIATURES: dict[str, Callable[[Path], Expected]] = {
    "coco_detection": coco_detection,
    "coco_detection_predicted": coco,
    "coco_pose": coco_pose,
    "coco_pose_predicted": coco,
    "lv_mhp": lv_mhp,
    "mpii": mpii,
    "unite_the_people": unite_the_people,
    "hand14k": hand14k,
    "sa1b": sa1b,
    "coco_pose_delvm": lambda at: {"train": coco(at)["train"]},
    "mpii_delvm": mpii_delvm,
    "coco_instances": coco_instances,
    "coco_panoptic": coco_panoptic,
    "pascal3d": pascal3d,
    "voc2012_detection": voc2012_detection,
}
"""Row -> what builds its miniature and says what must be read of it."""
