"""Miniatures of Pascal VOC's boxes and of PASCAL3D+, in their official layouts."""

from pathlib import Path
from typing import Any

import numpy as np
from miniatures.files import Expected, picture, save_jpeg

from openlvm.core.records import JOINTS, Boxes, Keypoints

SIZE = (24, 32)
ANCHORS = {  # as the files of PASCAL3D+ name them; two of each kind
    "aeroplane": ("noselanding", "left_wing"),
    "bicycle": ("head_center", "right_pedal_center"),
    "boat": ("head_left", "tail"),
    "bottle": ("body_right", "mouth"),
    "bus": ("body_back_left_lower", "right_front_wheel"),
    "car": ("upper_left_windshield", "left_back_trunk"),
    "chair": ("seat_upper_right", "leg_lower_left"),
    "diningtable": ("top_up", "top_upper_left"),
    "motorbike": ("left_handle_center", "back_seat"),
    "sofa": ("left_bottom_back", "top_right_corner"),
    "train": ("head_top", "mid2_left_bottom"),
    "tvmonitor": ("front_bottom_left", "back_top_right"),
}
OURS = {  # the same as `JOINTS` names them
    "aeroplane": ("noselanding", "left_wing"),
    "bicycle": ("head_center", "right_pedal_center"),
    "boat": ("left_head", "tail"),
    "bottle": ("right_body", "mouth"),
    "bus": ("left_body_back_lower", "right_front_wheel"),
    "car": ("left_upper_windshield", "left_back_trunk"),
    "chair": ("right_seat_upper", "left_leg_lower"),
    "diningtable": ("top_up", "left_top_upper"),
    "motorbike": ("left_handle_center", "back_seat"),
    "sofa": ("left_bottom_back", "right_top_corner"),
    "train": ("head_top", "left_mid2_bottom"),
    "tvmonitor": ("left_front_bottom", "right_back_top"),
}


def struct(fields: str, *rows: tuple[Any, ...]) -> np.ndarray:
    """A MATLAB array of structs; `fields` names their fields, separated by spaces."""
    table = np.empty((1, len(rows)), [(name, object) for name in fields.split()])
    for place, row in enumerate(rows):
        table[0, place] = row
    return table


def voc_xml(name: str, objects: list[tuple[str, tuple[float, float, float, float]]]) -> str:
    """An annotation of VOC; its boxes are (xmin, ymin, xmax, ymax), pixels from 1. One has parts, as persons do."""
    boxes = "".join(
        f"<object><name>{of}</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult><bndbox>"
        f"<xmax>{box[2]}</xmax><xmin>{box[0]}</xmin><ymax>{box[3]}</ymax><ymin>{box[1]}</ymin></bndbox>"
        f"<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
        "</object>"
        for of, box in objects
    )
    size = f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height><depth>3</depth></size>"
    return f"<annotation><folder>VOC2012</folder><filename>{name}.jpg</filename>{size}{boxes}</annotation>\n"


def voc2012_detection(at: Path) -> Expected:
    """Two pictures for training, one with a box in fractions of pixels; one for validation."""
    root = at / "VOCdevkit/VOC2012"
    expected: Expected = {}
    for split, names in {"train": ("2008_000002", "2008_000008"), "val": ("2008_000003",)}.items():
        expected[split] = {}
        for number, name in enumerate(names):
            pixels = save_jpeg(root / f"JPEGImages/{name}.jpg", picture(number, *SIZE))
            objects = [("tvmonitor", (34 / 2, 11, 30, 24)), ("person", (1, 1, 45.70000076293945 / 2, 20))]
            (root / "Annotations").mkdir(exist_ok=True)
            (root / f"Annotations/{name}.xml").write_text(voc_xml(name, objects))
            corners = np.array([[16, 10, 30, 24], [0, 0, 22.850000381469727, 20]], np.float32)
            boxes = Boxes(corners, np.array([20, 15], np.int32), SIZE)
            expected[split][name] = {"image": [pixels], "boxes": [boxes]}
        (root / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return expected


def anchors(category: str, places: list[tuple[float, float] | None]) -> np.ndarray:
    """The struct of an object's keypoints; None is one that is hidden (status 2, no location)."""
    fields = [
        struct("location status", (np.zeros((0, 0)) if place is None else np.array([place]), 2 if place is None else 1))
        for place in places
    ]
    return struct(" ".join(ANCHORS[category]), tuple(fields))


def pascal3d(at: Path) -> Expected:
    """A picture of each kind in each subset; of cars, two, one difficult, and one without keypoints."""
    from scipy.io import savemat

    root = at / "PASCAL3D+_release1.1"
    expected: Expected = {}
    for split in ("train", "val"):
        for subset, ending in (("pascal", "jpg"), ("imagenet", "JPEG")):
            records = expected.setdefault(split if subset == "pascal" else f"{split}_imagenet", {})
            for number, category in enumerate(ANCHORS):
                name = f"2008_0000{number:02d}_{split}" if subset == "pascal" else f"n02814533_{number}_{split}"
                folder = f"{category}_{subset}"
                pixels = save_jpeg(root / f"Images/{folder}/{name}.{ending}", picture(number, *SIZE))
                listed = _objects(category, with_more=category == "car")
                size = np.array([[SIZE[1], SIZE[0], 3]])
                record = struct("filename imgsize objects", (f"{name}.{ending}", size, listed))
                (root / f"Annotations/{folder}").mkdir(parents=True, exist_ok=True)
                savemat(root / f"Annotations/{folder}/{name}.mat", {"record": record})
                _write_list(root, category, subset, split, name)
                records[f"{folder}/{name}#0"] = _slots(category, pixels, (3, 3, 21, 21), ((10, 8), None))
                if category == "car":
                    records[f"{folder}/{name}#2"] = _slots(category, pixels, (0, 0, 32, 24), ((31.9, 23.9), (1, 1)))
    return expected


def _objects(category: str, *, with_more: bool) -> np.ndarray:
    """An object in the box 5..20 x 4..21 (pixels from 1), its first keypoint visible, its second hidden."""
    one = (category, np.array([[5, 4, 20, 21]]), 0, anchors(category, [(10.5, 8.5), None]))
    difficult = (category, np.array([[1, 1, 9, 9]]), 1, anchors(category, [(3, 3), (4, 4)]))
    reaching_out = (category, np.array([[-3.0, 0, 40, 30]]), 0, anchors(category, [(32.4, 24.4), (1.5, 1.5)]))
    without = (category, np.array([[2, 2, 9, 9]]), 0, np.zeros((0, 0)))
    other = ("person", np.array([[2, 2, 9, 9]]), 0, anchors(category, [(3, 3), (4, 4)]))
    return struct(
        "class bbox difficult anchors", one, *((difficult, reaching_out, without, other) if with_more else ())
    )


def _write_list(root: Path, category: str, subset: str, split: str, name: str) -> None:
    if subset == "imagenet":
        path, lines = root / f"Image_sets/{category}_imagenet_{split}.txt", [name]
    else:  # VOC's lists name all pictures: 1 has an object of the kind, 0 difficult ones alone, -1 none
        path = root / f"PASCAL/VOCdevkit/VOC2012/ImageSets/Main/{category}_{split}.txt"
        lines = [f"{name}  1", "2008_009999 -1", "2008_008888  0"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _slots(
    category: str, pixels: np.ndarray, box: tuple[int, int, int, int], places: tuple[tuple[float, float] | None, ...]
) -> dict[str, Any]:
    """What must be read of an object: the square around its box, and `places` in the whole picture, pixels from 0."""
    left, top, right, bottom = box
    names = JOINTS[f"pascal3d_{category}"]
    points, visible = np.zeros((1, len(names), 2), np.float32), np.zeros((1, len(names)), bool)
    for name, place in zip(OURS[category], places, strict=True):
        if place is not None:
            points[0, names.index(name)] = (place[0] - left, place[1] - top)
            visible[0, names.index(name)] = True
    pose = Keypoints(points, visible, (bottom - top, right - left), f"pascal3d_{category}")
    return {"image": [pixels[top:bottom, left:right]], "pose": [pose]}
