"""Fakes that many tests share: an exactly invertible tokenizer, records in memory, stores that are built in no time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from openlvm.core.images import ImagePreparation
from openlvm.core.records import BadRecord, Record
from openlvm.sources.interface import Part
from openlvm.store.format import Store
from openlvm.store.tokenize import tokenize

COLORS = np.array(
    [[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    + [[r, g, b] for r in (64, 160) for g in (64, 160) for b in (64, 160)],
    dtype=np.uint8,
)


class FakeTokenizer:
    """4 codes a picture over 16 colors: the color nearest to the mean of each quadrant. Flat quadrants survive."""

    image_size = 8
    codes_per_image = 4
    codebook_size = 16
    preparation = ImagePreparation(size=8, fit="squash", filter="nearest")

    def __init__(self, name: str = "fake"):
        self.fingerprint = f"{name}-all"
        self.codes_fingerprint = f"{name}-codes"

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [B, 8, 8, 3] -> int64 [B, 4]."""
        quadrants = pixels.float().view(-1, 2, 4, 2, 4, 3).mean(dim=(2, 4)).view(-1, 4, 1, 3)
        return (quadrants - torch.from_numpy(COLORS).float()).square().sum(-1).argmin(-1)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """int64 [B, 4] -> uint8 [B, 8, 8, 3]."""
        colors = torch.from_numpy(COLORS)[codes].view(-1, 2, 1, 2, 1, 3)
        return colors.expand(-1, 2, 4, 2, 4, 3).reshape(-1, 8, 8, 3)


def numbered_picture(number: int) -> np.ndarray:
    """uint8 [8, 8, 3] whose four codes are the hexadecimal digits of `number`, below 65,536."""
    codes = torch.tensor([[number >> shift & 15 for shift in (12, 8, 4, 0)]])
    return FakeTokenizer().decode(codes)[0].numpy()


def number_of(codes: np.ndarray) -> np.ndarray:
    """The numbers of pictures from their codes: int [..., 4] -> int [...]."""
    return codes.astype(np.int64) @ np.array([4096, 256, 16, 1])


@dataclass(frozen=True)
class Shape:
    """A record of a fake source: its frames, label and slots; its pictures are numbered through the source."""

    num_frames: int = 1
    label: str = ""
    slots: tuple[str, ...] = ("image",)
    bad: bool = False


@dataclass(frozen=True)
class FakeSource:
    """Parts of records in memory."""

    shapes: tuple[tuple[Shape, ...], ...]
    slots: tuple[str, ...] = ("image",)
    name: str = "fake"

    def describe(self) -> dict[str, Any]:
        return {"layout": self.name}

    def parts(self) -> list[Part]:
        return [
            Part(f"{place:05d}", tuple(f"{place}-{row}" for row in range(len(part))))
            for place, part in enumerate(self.shapes)
        ]

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        place = int(part.name)
        number = sum(len(s.slots) * s.num_frames for earlier in self.shapes[:place] for s in earlier if not s.bad)
        for key, shape in zip(part.items, self.shapes[place], strict=True):
            if shape.bad:
                yield BadRecord(key, "made to be bad")
                continue
            slots = {}
            for slot in shape.slots:
                slots[slot] = [numbered_picture(number + frame) for frame in range(shape.num_frames)]
                number += shape.num_frames
            yield Record(key=key, slots=slots, label=shape.label)


@dataclass
class StoreMaker:
    """Builds stores whose image number i has the codes of `numbered_picture(i)`."""

    folder: Path
    made: int = 0

    def __call__(self, shapes: Sequence[Sequence[Shape]], **options: Any) -> Store:
        slots = tuple(dict.fromkeys(["image", *(slot for part in shapes for s in part for slot in s.slots)]))
        source = FakeSource(tuple(map(tuple, shapes)), slots)
        self.made += 1
        at = self.folder / f"store{self.made}"
        with mock.patch("os.fsync"):  # most of the time of a small store
            return tokenize(source, tokenizer=options.pop("tokenizer", FakeTokenizer()), at=at, **options)
