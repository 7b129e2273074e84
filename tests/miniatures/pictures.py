"""Miniatures of the datasets of pictures (openlvm/sources/catalog/pictures.py), in their official layouts."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from miniatures.files import Expected, picture, save_jpeg, save_palette_png, save_png, write_wide_png
from PIL import Image

from openlvm.core.records import Depth, Disparity, Flow, Segmentation

VOID = Segmentation.VOID


def laion(at: Path) -> Expected:
    """Two shards; in the second one the members of a record lie apart, and one picture is a PNG."""
    expected: dict[str, dict[str, list[np.ndarray]]] = {}
    shards = {
        "00000.tar": ["000000000.jpg", "000000000.json", "000000000.txt", "000000001.jpg", "000000001.json"],
        "00001.tar": ["000010000.jpg", "000010007.png", "000010000.json", "000010007.json"],
    }
    at.mkdir(parents=True, exist_ok=True)
    for shard, names in shards.items():
        with tarfile.open(at / shard, "w") as archive:
            for number, name in enumerate(names):
                content = json.dumps({"caption": "a picture", "key": name}).encode()
                if name.endswith((".jpg", ".png")):
                    content, pixels = encoded(picture(int(name[:9]) + number), name)
                    expected[f"{shard}/{name[:9]}"] = {"image": [pixels]}
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        (at / shard.replace(".tar", "_stats.json")).write_text('{"successes": 2}')
    return {"train": expected}


def encoded(pixels: np.ndarray, name: str) -> tuple[bytes, np.ndarray]:
    """A picture as the bytes of a file of that name, and the pixels that these hold."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG" if name.endswith(".png") else "JPEG", quality=95)
    return file.getvalue(), np.asarray(Image.open(file).convert("RGB"))


WORDNET = {"n01440764": 449, "n01443537": 450, "n02084071": 1001}
"""WordNet id -> ILSVRC2012_ID; the last one is no leaf, and has no pictures."""


def imagenet(at: Path) -> Expected:
    """Training pictures in class folders; flat validation pictures, their answers in the development kit."""
    from scipy.io import savemat

    train = {}
    for name in ("n01440764/n01440764_36", "n01440764/n01440764_10026", "n01443537/n01443537_2"):
        pixels = save_jpeg(at / f"train/{name}.JPEG", picture(len(train)))
        train[f"{name}.JPEG"] = {"image": [pixels]}
    validation = {}
    for number in (1, 2, 3):
        key = f"ILSVRC2012_val_{number:08d}"
        validation[key] = {"image": [save_jpeg(at / f"val/{key}.JPEG", picture(50 + number, 20, 30))]}
    kit = at / "ILSVRC2012_devkit_t12/data"
    kit.mkdir(parents=True, exist_ok=True)
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("450\n449\n450\n")
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("num_children", object)]
    rows = [(number, name, "a thing", 0 if number < 1001 else 2) for name, number in WORDNET.items()]
    savemat(kit / "meta.mat", {"synsets": np.array([rows], dtype=fields).T})
    return {"train": train, "val": validation}


def coco(at: Path) -> Expected:
    """Pictures alone, as zip files of COCO unpack."""
    return {
        split: {
            f"{number:012d}.jpg": {"image": [save_jpeg(at / f"{split}2017/{number:012d}.jpg", picture(number))]}
            for number in numbers
        }
        for split, numbers in {"train": (9, 25, 30), "val": (139, 285)}.items()
    }


def ade20k(at: Path) -> Expected:
    """Gray ids: 0 is not labelled, 150 the last class."""
    expected: Expected = {}
    for split, folder in {"train": "training", "val": "validation"}.items():
        expected[split] = {}
        for number in (1, 2):
            name = f"ADE_{split}_{number:08d}"
            ids = np.repeat(np.array([0, 1, 150, number], np.uint8), 8)[None].repeat(24, axis=0)  # [24, 32]
            pixels = save_jpeg(at / f"images/{folder}/{name}.jpg", picture(number))
            save_png(at / f"annotations/{folder}/{name}.png", ids)
            classes = np.where(ids == 0, VOID, ids.astype(np.int32))
            expected[split][name] = {"image": [pixels], "segmentation": [Segmentation(classes)]}
    (at / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n")
    return expected


def cityscapes(at: Path) -> Expected:
    """labelIds of road, car and a class that is ignored; two cars in the instanceIds, the second one larger."""
    expected: Expected = {"train": {}, "val": {}}
    for split, city in {"train": "aachen", "val": "lindau"}.items():
        for number in (19, 20):
            frame = f"{city}_000000_{number:06d}"
            labels = np.full((24, 32), 7, np.uint8)  # road
            labels[:, 10:] = 26  # car
            labels[:3] = 4  # static: ignored
            things = labels.astype(np.uint16)
            things[3:, 10:15], things[3:, 15:] = 26_000, 26_001
            pixels = save_png(at / f"leftImg8bit/{split}/{city}/{frame}_leftImg8bit.png", picture(number))
            for kind, plane in {"labelIds": labels, "instanceIds": things, "color": pixels}.items():
                save_png(at / f"gtFine/{split}/{city}/{frame}_gtFine_{kind}.png", plane)
            classes = np.select([labels == 7, labels == 26], [1, 14], VOID).astype(np.int32)
            cars = np.select([things == 26_001, things == 26_000], [1, 2], 0).astype(np.int32)
            expected[split][f"{city}/{frame}"] = {
                "image": [pixels],
                "segmentation": [Segmentation(classes)],
                "instances": [Segmentation(cars)],
            }
    return expected


def instruct_pix2pix(at: Path) -> Expected:
    """Twenty prompts, of which the publisher's loader trains on the first 18; the first has two seeds."""
    expected: Expected = {"train": {}, "val": {}, "test": {}}
    listed = []
    for number in range(20):
        folder, seeds = f"{number:07d}", ["1001", "77"] if number == 0 else ["5"]
        listed.append([folder, seeds])
        split = "train" if number < 18 else "val" if number == 18 else "test"
        for seed in seeds:
            before = save_jpeg(at / folder / f"{seed}_0.jpg", picture(number, 16, 16))
            after = save_jpeg(at / folder / f"{seed}_1.jpg", picture(100 + number + int(seed), 16, 16))
            expected[split][f"{folder}/{seed}"] = {"image": [before], "edited": [after]}
        said = {"input": "a lake", "edit": f"make it {'blue' if number % 2 else 'red'}", "output": "a lake"}
        (at / folder / "prompt.json").write_text(json.dumps(said))
        (at / folder / "metadata.jsonl").write_text('{"seed": 5}\n')
    (at / "seeds.json").write_text(json.dumps(listed))
    return expected


def kitti_stereo(at: Path) -> Expected:
    """Both moments of each scene, of which stereo uses the first (_10); disparity in 1/256 pixel, 0 unknown."""
    expected: Expected = {"train": {}, "test": {}}
    for split, folder in {"train": "training", "test": "testing"}.items():
        for number in (0, 1):
            scene = f"{number:06d}"
            for side, camera in {"image": "image_2", "right": "image_3"}.items():
                for moment in ("10", "11"):
                    pixels = save_png(
                        at / folder / camera / f"{scene}_{moment}.png", picture(number + len(side), 12, 40)
                    )
                    if moment == "10":
                        expected[split].setdefault(scene, {})[side] = [pixels]
        if split == "train":
            for number in (0, 1):
                steps = np.arange(12 * 40, dtype=np.uint16).reshape(12, 40) * 40 + number
                steps[:2] = 0
                save_png(at / folder / "disp_occ_0" / f"{number:06d}_10.png", steps)
                save_png(at / folder / "disp_noc_0" / f"{number:06d}_10.png", steps * 0)
                truth = Disparity((steps.astype(np.float64) / 256).astype(np.float32))
                expected[split][f"{number:06d}"]["disparity"] = [truth]
    return expected


def kitti_scene_flow(at: Path) -> Expected:
    """Both moments of two scenes, disparity, and flow in 1/64 pixel with a corner that is not known."""
    scenes = kitti_stereo(at)["train"]
    for number, (scene, slots) in enumerate(scenes.items()):
        later = save_png(at / f"training/image_2/{scene}_11.png", picture(number + 50, 12, 40))
        coded = np.full((12, 40, 3), 2**15, np.uint16)
        coded[..., :2] += np.random.default_rng(number).integers(0, 640, (12, 40, 2)).astype(np.uint16)
        coded[..., 2] = 1
        coded[:2, :2, 2] = 0
        write_wide_png(at / f"training/flow_occ/{scene}_10.png", coded)
        vectors = ((coded[..., :2].astype(np.float64) - 2**15) / 64).astype(np.float32)
        vectors[:2, :2] = np.nan
        slots.update(next_frame=[later], flow=[Flow(vectors)])
    return {"train": scenes}


def _voc_ids() -> np.ndarray:
    ids = np.zeros((20, 30), np.uint8)
    ids[4:16, 2:10], ids[4:16, 15:25] = 1, 15  # aeroplane, person
    ids[3, 2:10] = 255  # an outline
    return ids


def voc2012(at: Path) -> Expected:
    """Palette indices; one picture that is in no list and has no annotation."""
    root = at / "VOCdevkit/VOC2012"
    expected: Expected = {}
    for split, names in {"train": ("2007_000032", "2007_000039"), "val": ("2007_000033",)}.items():
        expected[split] = {}
        for name in names:
            classes = _voc_ids()
            objects = np.where(classes == 15, 1, np.where(classes == 1, 2, classes)).astype(np.uint8)
            pixels = save_jpeg(root / f"JPEGImages/{name}.jpg", picture(int(name[-3:]), 20, 30))
            save_palette_png(root / f"SegmentationClass/{name}.png", classes)
            save_palette_png(root / f"SegmentationObject/{name}.png", objects)
            expected[split][name] = {
                "image": [pixels],
                "segmentation": [Segmentation(np.where(classes == 255, VOID, classes.astype(np.int32)))],
                "instances": [Segmentation(np.where(objects == 255, VOID, objects.astype(np.int32)))],
            }
        lists = root / "ImageSets/Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    save_jpeg(root / "JPEGImages/2012_000001.jpg", picture(1))
    return expected


def pascal5i(at: Path) -> Expected:
    """A list for each fold; the same picture stands in fold 0 (aeroplane) and in fold 2 (person)."""
    root = at / "VOCdevkit/VOC2012"
    lines = {0: ("2007_000033", 1), 1: ("2007_000042", 6), 2: ("2007_000033", 15), 3: ("2007_000061", 20)}
    expected: Expected = {}
    for fold, (name, number) in lines.items():
        ids = _voc_ids()
        if number not in ids:
            ids[ids == 1] = number
        pixels = save_jpeg(root / f"JPEGImages/{name}.jpg", picture(int(name[-3:]), 20, 30))
        save_png(root / f"SegmentationClassAug/{name}.png", ids)
        key = f"{name}__{number:02d}"
        lists = at / "splits/pascal/val"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"fold{fold}.txt").write_text(key + "\n")
        mask = Segmentation((ids == number).astype(np.int32))
        expected[f"fold{fold}"] = {key: {"image": [pixels], "mask": [mask]}}
    return expected


SCENES = ("kitchen", "bedroom", "kitchen")


def nyuv2(at: Path) -> Expected:
    """Three pictures in one HDF5 file with MATLAB's axes in reverse; the second is the test set."""
    import h5py
    from scipy.io import savemat

    at.mkdir(parents=True, exist_ok=True)
    pixels = [picture(number, 12, 16) for number in (1, 2, 3)]
    depths = [np.random.default_rng(number).uniform(0.7, 9.9, (12, 16)).astype(np.float32) for number in (1, 2, 3)]
    with h5py.File(at / "nyu_depth_v2_labeled.mat", "w") as data:
        data["images"] = np.stack([one.transpose(2, 1, 0) for one in pixels])
        data["depths"] = np.stack([one.T for one in depths])
        data["labels"] = np.zeros((3, 16, 12), np.uint16)
        references = np.empty((1, 3), dtype=h5py.ref_dtype)
        for place, scene in enumerate(SCENES):
            letters = data.create_dataset(
                f"#refs#/{place}", data=np.array([[ord(letter)] for letter in scene], np.uint16)
            )
            references[0, place] = letters.ref
        data.create_dataset("sceneTypes", data=references, dtype=h5py.ref_dtype)
    savemat(at / "splits.mat", {"trainNdxs": np.array([[1], [3]]), "testNdxs": np.array([[2]])})
    records = {f"{place + 1:04d}": {"image": [pixels[place]], "depth": [Depth(depths[place])]} for place in range(3)}
    return {"train": {key: records[key] for key in ("0001", "0003")}, "test": {"0002": records["0002"]}}


MINIATURES: dict[str, Callable[[Path], Expected]] = {
    "laion": laion,
    "laion400m": laion,
    **{name: imagenet for name in ("imagenet", "imagenet_colorization", "imagenet_inpainting")},
    **{f"imagenet_{kind}": imagenet for kind in ("segmentation", "depth", "normals", "edges")},
    **{f"coco_{kind}": coco for kind in ("segmentation_m2f", "depth", "normals", "edges")},
    "ade20k": ade20k,
    "cityscapes": cityscapes,
    "instruct_pix2pix": instruct_pix2pix,
    "kitti_stereo": kitti_stereo,
    "kitti_scene_flow": kitti_scene_flow,
    "voc2012_segmentation": voc2012,
    "pascal5i": pascal5i,
    "nyuv2": nyuv2,
}
"""Row -> what builds its miniature in a folder and returns what must be read of it."""
