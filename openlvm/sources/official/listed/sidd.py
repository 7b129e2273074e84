"""SIDD's validation set: 32 squares of 256 pixels out of each of 40 pictures, noisy and clean, in two MATLAB files."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.records import IMAGE, BadRecord, Record
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.matlab import read_mat

CLEAN = "clean"
VARIABLES = {IMAGE: "ValidationNoisyBlocksSrgb", CLEAN: "ValidationGtBlocksSrgb"}
"""Slot -> its variable, which is also the name of its file."""


@dataclass(frozen=True, kw_only=True)
class SiddBlocks:
    """Noisy squares and what they should look like; the label is the picture.

        ValidationNoisyBlocksSrgb.mat, ValidationGtBlocksSrgb.mat     uint8 [40, 32, 256, 256, 3] each
        Record("00/00", label="00"), ..., Record("39/31", label="39"): image, clean

    The two files are kept in memory once read: 252 MB each.
    """

    at: Path
    """Folder of the two files."""
    records_per_part: int = 128
    """Squares read and written as one unit of work."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part)

    @property
    def slots(self) -> tuple[str, ...]:
        """The noisy square and the clean one."""
        return (IMAGE, CLEAN)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("sidd_blocks", self)

    def parts(self) -> list[Part]:
        """Squares picture by picture, in the files' order.

        Raises:
            FileNotFoundError: one of the files is missing.
            ValueError: it does not hold what it should, or the two do not belong together.
            ImportError: scipy is not installed.
        """
        pictures, squares = self._blocks(IMAGE).shape[:2]
        if self._blocks(CLEAN).shape != self._blocks(IMAGE).shape:
            raise ValueError(
                f"{self.at}: {VARIABLES[IMAGE]} is {list(self._blocks(IMAGE).shape)} but {VARIABLES[CLEAN]} is "
                f"{list(self._blocks(CLEAN).shape)}; they do not belong together"
            )
        keys = [f"{picture:02d}/{square:02d}" for picture in range(pictures) for square in range(squares)]
        return split_into_parts(keys, self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each square."""
        for key in part.items:
            picture, square = map(int, key.split("/"))
            slots = {slot: [self._blocks(slot)[picture, square]] for slot in self.slots}
            yield Record(key=key, slots=slots, label=key.split("/")[0])

    def _blocks(self, slot: str) -> np.ndarray:
        path = Path(self.at) / f"{VARIABLES[slot]}.mat"
        if not path.is_file():
            raise FileNotFoundError(
                f"no file {path}; SIDD's validation set is ValidationNoisyBlocksSrgb.mat and "
                "ValidationGtBlocksSrgb.mat (https://abdokamel.github.io/sidd/)"
            )
        return _read_blocks(path, VARIABLES[slot], path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read_blocks(path: Path, variable: str, _modified: int) -> np.ndarray:
    variables = read_mat(path)
    blocks = variables.get(variable)
    if not isinstance(blocks, np.ndarray) or blocks.ndim != 5 or blocks.shape[-1] != 3 or blocks.dtype != np.uint8:
        raise ValueError(f"{path} must hold {variable}, uint8 [pictures, squares, H, W, 3]; it has {sorted(variables)}")
    return blocks
