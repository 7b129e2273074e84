"""RAVEN and I-RAVEN as their authors' programs write them: Raven's matrices with eight panels to choose from.

    center_single/RAVEN_8_test.npz        image uint8 [16, 160, 160]: eight panels in reading order, then eight options;
                                          target: which option is right, from 0
    center_single/RAVEN_8_test.xml        what the panels are made of; not read

Layout: assets/README.md of WellyZhang/RAVEN (arXiv 1903.02741); husheng12345/SRAN writes I-RAVEN (arXiv 2002.06838) so
too. Of a file only these two arrays are unpacked, up to their own size, and nothing in it is run.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy

from openlvm.core.picking import pick
from openlvm.core.records import IMAGE, BadRecord, Record
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import find_files
from openlvm.sources.worlds.changes import Puzzle

CONFIGURATIONS = {
    "Center": "center_single",
    "2x2Grid": "distribute_four",
    "3x3Grid": "distribute_nine",
    "Left-Right": "left_center_single_right_center_single",
    "Up-Down": "up_center_single_down_center_single",
    "Out-InCenter": "in_center_single_out_center_single",
    "Out-InGrid": "in_distribute_four_out_center_single",
}
"""Name in the paper's tables -> folder."""
SHOWN, SIDE = 8, 160  # panels of the context; pixels
PANELS = (16, SIDE, SIDE)
MAX_ARRAY_BYTES = 16 * SIDE * SIDE + 4096
"""Of an array in a file: the panels, and a header."""

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True)
class RavenProblems:
    """Matrices of a split: F = 9, the panels in reading order, the right option last. Label: the configuration.

    Key: "center_single/RAVEN_8_test". Of 10 problems in a row the first 6 are for training, 2 are val, 2 test.
    """

    at: Path
    """Folder of the seven configurations' folders."""
    split: Split = "train"
    """By the names of the files."""
    configurations: tuple[str, ...] = tuple(CONFIGURATIONS)
    """Names of `CONFIGURATIONS`."""
    records_per_part: int = 1000
    """Problems read and written as one unit of work."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, configurations=len(self.configurations))
        pick({"train": 0, "val": 0, "test": 0}, self.split, "split")
        for name in self.configurations:
            pick(CONFIGURATIONS, name, "configuration")

    @property
    def slots(self) -> tuple[str, ...]:
        """The panels."""
        return (IMAGE,)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("raven", self) | {"configurations": list(self.configurations)}

    def parts(self) -> list[Part]:
        """Problems by configuration and number.

        Raises:
            FileNotFoundError: the folder of a configuration is missing.
            ValueError: a configuration has no problem of the split.
        """
        items: list[str] = []
        for name in self.configurations:
            folder = CONFIGURATIONS[name]
            files = find_files(Path(self.at) / folder, (".npz",), "problems of RAVEN (.npz)")
            mine = [file for file in files if re.fullmatch(rf"RAVEN_\d+_{self.split}\.npz", file)]
            if not mine:
                raise ValueError(f"none of {len(files)} files in {self.at}/{folder} is called RAVEN_8_{self.split}.npz")
            items += [f"{folder}/{file.removesuffix('.npz')}" for file in mine]
        return split_into_parts(items, self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each problem."""
        for item in part.items:
            try:
                puzzle = self.puzzle(item)
            except (ValueError, OSError) as error:
                yield BadRecord(item, str(error))
                continue
            frames = [*puzzle.context, puzzle.options[puzzle.answer]]
            yield Record(key=item, slots={IMAGE: frames}, label=puzzle.kind)

    def puzzle(self, item: str) -> Puzzle:
        """A problem with all of its options; pictures uint8 [160, 160, 3].

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it is damaged or no problem of RAVEN.
        """
        panels, target = read_problem(Path(self.at) / f"{item}.npz")
        pictures = [np.repeat(panel[..., None], 3, axis=-1) for panel in panels]
        kind = kind_of(item)
        return Puzzle(item, kind, kind, pictures[:SHOWN], pictures[SHOWN:], target)


def kind_of(item: str) -> str:
    """The configuration of an item, as the paper calls it: "center_single/RAVEN_8_test" -> "Center"."""
    names = {folder: name for name, folder in CONFIGURATIONS.items()}
    return names[item.partition("/")[0]]


def read_problem(path: Path) -> tuple[np.ndarray, int]:
    """The panels of a file, uint8 [16, 160, 160], and which of the last eight is right, 0 to 7.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, too large, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no problem of RAVEN at {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            panels, target = (_array(archive, name) for name in ("image", "target"))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is no problem of RAVEN: {error}") from None
    if panels.shape != PANELS or panels.dtype != np.uint8:
        raise ValueError(f"{path}: image is {panels.dtype} {list(panels.shape)}, expected uint8 {list(PANELS)}")
    options = len(panels) - SHOWN
    if target.shape != () or target.dtype.kind not in "iu" or not 0 <= int(target) < options:
        raise ValueError(f"{path}: target is {target.tolist()!r}, expected an index of 0 to {options - 1}")
    return panels, int(target)


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of an .npz file, of at most `MAX_ARRAY_BYTES` unpacked, and never one of Python's objects."""
    if f"{name}.npy" not in archive.namelist():
        raise ValueError(f"it has no array {name!r}, only {archive.namelist()[:8]}")
    told = archive.getinfo(f"{name}.npy")
    if told.file_size > MAX_ARRAY_BYTES:
        raise ValueError(f"its array {name!r} has {told.file_size:,} bytes; the limit is {MAX_ARRAY_BYTES:,}")
    data = io.BytesIO(archive.read(told))
    version = npy.read_magic(data)
    reads = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in reads:
        raise ValueError(f"its array {name!r} is of .npy version {version}, expected 1.0 or 2.0")
    shape, _, dtype = reads[version](data)
    if dtype.hasobject or int(np.prod(shape, dtype=object)) * dtype.itemsize > MAX_ARRAY_BYTES:
        raise ValueError(f"its array {name!r} is {dtype} {list(shape)}, which is not read")
    data.seek(0)
    return np.asarray(npy.read_array(data, allow_pickle=False))
