"""Pictures of people with their joints: MPII, LV-MHP (version 2) and Unite the People, in their own files.

A joint counts as visible where its place is known, hidden ones too. P is the number of people in a picture.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.images import MAX_PIXELS, read_image
from openlvm.core.records import IMAGE, JOINTS, BadRecord, Keypoints, Record
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import natural_order
from openlvm.sources.matlab import read_mat, structs
from openlvm.sources.official.voc import read_names, refuse_stray

MAX_JSON_BYTES = 2**30
"""Largest JSON file of people that is parsed; MPII's have some 10 MB."""
MAX_PERSON_BYTES = 4 * 2**20
"""Largest file with the joints of one picture."""
_OUTSIDE = 2  # LV-MHP's flag of a joint outside the picture; 0 is visible, 1 hidden


def _record(
    key: str, picture: Path, max_pixels: int, people: Callable[[], tuple[np.ndarray, np.ndarray]], joints: str
) -> Record | BadRecord:
    """The record of one picture and its people's joints, float32 [P, J, 2] and bool [P, J]; or why it is bad."""
    try:
        points, visible = people()
        if not visible.any():
            raise ValueError("it has no joint whose place is known")
        pixels = read_image(picture, max_pixels=max_pixels)
        pose = Keypoints(points.astype(np.float32), visible, (pixels.shape[0], pixels.shape[1]), joints)
        return Record(key=key, slots={IMAGE: [pixels], "pose": [pose]})
    except (ValueError, OSError) as error:
        return BadRecord(key, str(error))


@dataclass(frozen=True, kw_only=True)
class Mpii:
    """MPII Human Pose: pictures with the 16 joints of their annotated people; those without any are left out.

    Two kinds of annotation files: the publisher's .mat (the pictures for training; those of the test have none), and
    the .json lists of people for training and validation that pose toolkits use (HRNet, MMPose).
    """

    at: Path
    """Folder with the pictures' folder and the annotation file."""
    annotations: str = "mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat"
    """The .mat file, or a .json list of people; below `at`."""
    pictures: str = "images"
    """Folder of the pictures, below `at`."""
    records_per_part: int = 1000
    """Records read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Records with a larger picture are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)
        if Path(self.annotations).suffix not in (".mat", ".json"):
            raise ValueError(f"annotations={self.annotations!r} must be a .mat or a .json file")

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture and its people's joints."""
        return (IMAGE, "pose")

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("mpii", self)

    def parts(self) -> list[Part]:
        """File names of the pictures with annotated people, in natural order.

        Raises:
            FileNotFoundError: no such annotation file.
            ValueError: it is not MPII's.
            ImportError: scipy is not installed, which reads .mat files.
        """
        return split_into_parts(sorted(self._people(), key=natural_order), self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each picture; its key is the file's name without the ending."""
        for name in part.items:
            picture = Path(self.at) / self.pictures / name
            joints = self._people().get(name, np.zeros((0, 4)))
            yield _record(name.rpartition(".")[0], picture, self.max_pixels, partial(placed, joints), "mpii")

    def _people(self) -> Mapping[str, np.ndarray]:
        path = Path(self.at) / self.annotations
        if not path.is_file():
            raise FileNotFoundError(f"no annotation file {path}")
        return _joints_of_mpii(path, path.stat().st_mtime_ns)


def placed(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points float32 [P, 16, 2] and visible bool [P, 16] of MPII's joints.

    Args:
        rows: float64 [N, 4], for each joint whose place is known: person from 0, joint's number, x, y. MATLAB counts
            pixels from 1, so that the middle of the first one is at 1; here it is at 0.5.
    """
    num_joints = len(JOINTS["mpii"])
    people, numbers = rows[:, 0].astype(int), rows[:, 1]
    strange = sorted({float(number) for number in numbers if number not in range(num_joints)})
    if strange:
        raise ValueError(f"joint {strange[0]:g} is none of MPII's 0 to {num_joints - 1}")
    if not np.isfinite(rows).all():
        raise ValueError("a joint's place is not a number")
    points = np.zeros((people.max(initial=-1) + 1, num_joints, 2), np.float32)
    visible = np.zeros(points.shape[:2], bool)
    points[people, numbers.astype(int)] = rows[:, 2:] - 0.5
    visible[people, numbers.astype(int)] = True
    return points, visible


@lru_cache(maxsize=2)  # one for training and one for validation; the .mat takes about a minute
def _joints_of_mpii(path: Path, _modified: int) -> Mapping[str, np.ndarray]:
    """File name -> rows as `placed` takes them, of pictures with annotated people."""
    try:
        people = _people_in_json(path) if path.suffix == ".json" else _people_in_mat(path)
        rows: dict[str, list[tuple[float, ...]]] = {}
        counts: dict[str, int] = {}
        for name, joints in people:
            person = counts[name] = counts.get(name, -1) + 1
            rows.setdefault(name, []).extend((person, *map(float, joint)) for joint in joints)
        refuse_stray(rows, path)
        return {name: np.array(some, np.float64).reshape(-1, 4) for name, some in rows.items()}
    except (KeyError, TypeError, IndexError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not an annotation file of MPII: {type(error).__name__} {error}") from None


def _people_in_mat(path: Path) -> Iterator[tuple[str, list[tuple[Any, Any, Any]]]]:
    """(file name, its joints as (number, x, y)) of each annotated person in the pictures for training."""
    release = read_mat(path)["RELEASE"]
    is_training = np.atleast_1d(release["img_train"])
    for place, one in enumerate(structs(release["annolist"])):
        for person in structs(one["annorect"]) if is_training[place] else ():
            for annotated in structs(person.get("annopoints")):
                joints = [(point["id"], point["x"], point["y"]) for point in structs(annotated["point"])]
                if joints:
                    yield str(one["image"]["name"]), joints


def _people_in_json(path: Path) -> Iterator[tuple[str, list[tuple[Any, Any, Any]]]]:
    """The same of a list [{"image": ..., "joints": [[x, y] * 16], "joints_vis": [0 or 1 * 16]}, ...]."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes; the limit is {MAX_JSON_BYTES:,}")
    for person in json.loads(path.read_bytes()):
        flags = zip(person["joints"], person["joints_vis"], strict=True)
        joints = [(number, x, y) for number, ((x, y), is_known) in enumerate(flags) if is_known]
        if joints:
            yield str(person["image"]), joints


@dataclass(frozen=True, kw_only=True)
class LvMhp:
    """LV-MHP, version 2: crowded pictures with 16 joints of each person (the same as MPII's).

    list/train.txt, train/images/96.jpg, train/pose_annos/96.mat      Record("96"): image, pose
    """

    at: Path
    """Folder LV-MHP-v2."""
    split: str = "train"
    """train or val; the test set has no annotations."""
    records_per_part: int = 1000
    """Records read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Records with a larger picture are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture and its people's joints."""
        return (IMAGE, "pose")

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("lv-mhp", self)

    def parts(self) -> list[Part]:
        """Names in the order of the split's list.

        Raises:
            FileNotFoundError: no such list.
            ValueError: it is empty, or has a name twice.
        """
        names = read_names(Path(self.at) / "list" / f"{self.split}.txt")
        return split_into_parts([name for name, *_ in names], self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each name."""
        for name in part.items:
            folder = Path(self.at) / self.split
            joints = folder / "pose_annos" / f"{name}.mat"
            picture = folder / "images" / f"{name}.jpg"
            yield _record(name, picture, self.max_pixels, partial(people_of_mhp, joints), "mpii")


def people_of_mhp(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points float32 [P, 16, 2] and visible bool [P, 16] of one of LV-MHP's pose files.

    It has person_0, person_1, ..., each 20 rows of (x, y, flag), of which the last four are corners of boxes; whole
    pixels from 0, -1 where unknown.
    """
    content = read_mat(path, max_bytes=MAX_PERSON_BYTES)
    names = sorted((name for name in content if name.startswith("person_")), key=natural_order)
    people = [np.asarray(content[name]) for name in names]
    if not people or any(person.shape != (20, 3) or person.dtype.kind not in "iuf" for person in people):
        raise ValueError(f"{path} must have person_0, person_1, ... of 20 x 3 numbers each; it has {names}")
    joints = np.stack(people)[:, : len(JOINTS["mpii"])].astype(np.float32)
    known = np.isfinite(joints).all(axis=-1) & (joints[..., :2] >= 0).all(axis=-1) & (joints[..., 2] != _OUTSIDE)
    return np.where(known[..., None], joints[..., :2] + 0.5, 0), known


@dataclass(frozen=True, kw_only=True)
class UniteThePeople:
    """UP-3D, the pictures of Unite the People, each with the 14 joints of one person as people marked them.

    train.txt (/00001_image.png), 00001_image.png, 00001_joints.npy      Record("00001"): image, pose
    """

    at: Path
    """Folder up-3d."""
    split: str = "train"
    """train, val or test."""
    records_per_part: int = 1000
    """Records read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Records with a larger picture are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture and the person's joints."""
        return (IMAGE, "pose")

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("unite the people", self)

    def parts(self) -> list[Part]:
        """Names in the order of the split's list.

        Raises:
            FileNotFoundError: no such list.
            ValueError: it is empty, has a name twice, or one that is no picture's.
        """
        listed = [name for name, *_ in read_names(Path(self.at) / f"{self.split}.txt")]
        strange = [name for name in listed if not name.endswith("_image.png")]
        if strange:
            raise ValueError(f"{self.at}/{self.split}.txt lists {strange[0]!r}; expected names such as 00001_image.png")
        return split_into_parts([name.removesuffix("_image.png") for name in listed], self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each name."""
        for name in part.items:
            joints = Path(self.at) / f"{name}_joints.npy"
            picture = Path(self.at) / f"{name}_image.png"
            yield _record(name, picture, self.max_pixels, partial(person_of_up, joints), "lsp")


def person_of_up(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points float32 [1, 14, 2] and visible bool [1, 14] of one of UP-3D's files: rows x, y and (if there) a flag.

    A joint that was not marked has flag 0, or lies at x or y of 0 or less.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no joints at {path}")
    try:  # mapped: a header that promises more than the file has is an error before memory is taken
        joints = np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} cannot be read as an array: {error}") from None
    num_joints = len(JOINTS["lsp"])
    if joints.shape not in ((2, num_joints), (3, num_joints)) or joints.dtype.kind not in "iuf":
        raise ValueError(f"{path} must be 2 or 3 x {num_joints} numbers, not {joints.dtype} {list(joints.shape)}")
    known = np.isfinite(joints).all(axis=0) & (joints > 0).all(axis=0)
    return np.where(known[:, None], joints[:2].T, 0).astype(np.float32)[None], known[None]
