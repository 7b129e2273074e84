"""NYU Depth v2's 1449 labelled pictures, all in one MATLAB file of version 7.3, which is HDF5 (extra `catalog`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from openlvm.core.picking import pick
from openlvm.core.records import IMAGE, BadRecord, Depth, Record
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.matlab import read_mat

DATA, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
LISTS = {"train": "trainNdxs", "test": "testNdxs"}
"""Split -> its variable in splits.mat: numbers of pictures, from 1."""
DEPTH = "depth"
MAX_SIDE = 4096
"""Largest side of a picture that is believed; the dataset's are 640 x 480."""


@dataclass(frozen=True, kw_only=True)
class NyuDepth:
    """Rooms with their depth; the label is the kind of room ("kitchen").

        nyu_depth_v2_labeled.mat     images, depths (meters, holes filled by the publisher), sceneTypes
        splits.mat                   trainNdxs, testNdxs      Record("0001", label="kitchen"): image, depth

    HDF5 has MATLAB's axes in reverse: images [N, 3, W, H], depths [N, W, H].
    """

    at: Path
    """Folder of the two files."""
    split: Literal["train", "test"]
    """List of splits.mat."""
    records_per_part: int = 100
    """Pictures read and written as one unit of work."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part)
        pick(LISTS, self.split, "split")

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture, and its depth."""
        return (IMAGE, DEPTH)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("nyu_depth", self)

    def parts(self) -> list[Part]:
        """Numbers of the split's list, in its order.

        Raises:
            FileNotFoundError: one of the files is missing.
            ValueError: no such list.
            ImportError: scipy is not installed.
        """
        if not (Path(self.at) / DATA).is_file():
            raise FileNotFoundError(f"no file {Path(self.at) / DATA}")
        variables = read_mat(Path(self.at) / SPLITS)
        if LISTS[self.split] not in variables:
            raise ValueError(f"{Path(self.at) / SPLITS} has no {LISTS[self.split]}; it has {sorted(variables)}")
        numbers = np.asarray(variables[LISTS[self.split]]).ravel()
        return split_into_parts([f"{int(number):04d}" for number in numbers], self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each number.

        Raises:
            ImportError: h5py is not installed.
        """
        with _open_hdf5(Path(self.at) / DATA) as data:
            for item in part.items:
                try:
                    yield _record(data, item)
                except (ValueError, OSError, KeyError) as error:
                    yield BadRecord(item, str(error))


def _open_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise ImportError(f"{path} is an HDF5 file; reading it needs h5py: pip install openlvm[catalog]") from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} cannot be read as HDF5: {error}") from None


def _record(data: Any, key: str) -> Record:
    images, depths = data["images"], data["depths"]
    place = int(key) - 1
    if not 0 <= place < len(images):
        raise ValueError(f"the file has pictures 1 to {len(images)}")
    _, channels, width, height = images.shape
    if channels != 3 or images.dtype != np.uint8 or max(width, height) > MAX_SIDE:
        raise ValueError(f"images of {images.dtype} {list(images.shape)}; expected uint8 [N, 3, W, H]")
    if depths.shape != (len(images), width, height):
        raise ValueError(f"depths of {list(depths.shape)} do not belong to images of {list(images.shape)}")
    pixels = np.ascontiguousarray(images[place].transpose(2, 1, 0))  # [H, W, 3]
    meters = np.ascontiguousarray(depths[place].T, dtype=np.float32)  # [H, W]
    scene = data[data["sceneTypes"][0, place]][()]  # a reference to the letters of a MATLAB string
    label = "".join(chr(letter) for letter in np.asarray(scene).ravel())
    return Record(key=key, slots={IMAGE: [pixels], DEPTH: [Depth(meters)]}, label=label)
