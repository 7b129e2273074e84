"""The pictures a tokenizer learns from: a mixture of sources and of annotations drawn from them, kept in one folder.

    pictures.bin   uint8 [M, H, W, 3], drawn once and mapped into memory
    pictures.json  their size, how often a pass shows each set, and records that could not be read; written last

The order is a pure function of (seed, position), as everywhere: pass by pass, each a permutation of the mixture.
Letters: M pictures of the bank, B a batch, H W pixels.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from openlvm.core.files import atomic_folder, read_json, write_json
from openlvm.core.images import ImagePreparation
from openlvm.core.ranks import ranks_from_environment
from openlvm.core.records import BadRecord
from openlvm.core.seeds import rng, seed_of
from openlvm.sentences.generated import add_generated
from openlvm.sentences.render import draw
from openlvm.sources.interface import Source
from openlvm.store.permutation import Permutation

BIN, INDEX = "pictures.bin", "pictures.json"
MAX_BAD_SHARE = 0.001  # of the records of a set; unreadable ones are skipped and counted up to it
BUCKETS = 10_000  # shares of held-out records are rounded to this


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """One part of the mixture: which slots of which records are drawn, and how often a pass shows them."""

    name: str
    """Names the set in metrics."""
    source: Source
    """Where the records come from."""
    slots: tuple[str, ...] = ("image",)
    """Slots to draw, generated ones among them."""
    generated: tuple[str, ...] = ()
    """Slots to generate first (`sentences.generated`)."""
    repeats: int = 1
    """How often each picture stands in one pass."""
    keep: Literal["all", "train", "heldout"] = "all"
    """Which records: all, or one side of a split by key, the same in every run."""
    heldout_share: float = 0.05
    """Share of the records on the held-out side."""

    def __post_init__(self):
        if not 0 <= self.heldout_share < 1 or self.repeats < 1:
            given = f"heldout_share={self.heldout_share} and repeats={self.repeats}"
            raise ValueError(f"set {self.name!r}: {given}; the first must lie in 0..1, the second be at least 1")

    def keeps(self, key: str) -> bool:
        """Whether the record with this key belongs to the set."""
        is_heldout = seed_of("held out", key) % BUCKETS < self.heldout_share * BUCKETS
        return self.keep == "all" or (self.keep == "heldout") == is_heldout


def draw_pictures(
    part: PictureSet, preparation: ImagePreparation, *, seed: int, bad: list[str]
) -> Iterator[np.ndarray]:
    """All pictures of a set, uint8 [size, size, 3] each; records that cannot be read are told in `bad`."""
    for work in part.source.parts():
        for record in part.source.read(work):
            if isinstance(record, BadRecord):
                bad.append(f"{record.key}: {record.reason}")
            elif part.keeps(record.key):
                whole = add_generated(record, part.generated, seed)
                yield from (draw(payload, preparation) for slot in part.slots for payload in whole.slots[slot])


@dataclass(frozen=True, eq=False)
class PictureBank:
    """uint8 [M, H, W, 3] pictures, somewhat larger than the tokenizer's square, and the order of showing them."""

    pictures: np.ndarray
    shown: np.ndarray
    """int64: one pass as indices into `pictures`, repeats written out."""
    crop: int
    """Side of the square that is cut out at a random place, pixels."""
    seed: int

    def batch(self, positions: Sequence[int]) -> torch.Tensor:
        """Pictures at global positions, cut and mirrored at random: uint8 [B, crop, crop, 3]."""
        return torch.from_numpy(np.stack([self._picture(position) for position in positions]))

    def _picture(self, position: int) -> np.ndarray:
        run, index = divmod(position, len(self.shown))
        picture = self.pictures[self.shown[Permutation(len(self.shown), "pictures", self.seed, run)(index)]]
        chance = rng("cut", self.seed, position)
        top, left = chance.integers(0, picture.shape[0] - self.crop + 1, size=2)
        cut = picture[top : top + self.crop, left : left + self.crop]
        return cut[:, ::-1] if chance.integers(2) else cut


def make_bank(
    mixture: Sequence[PictureSet], *, preparation: ImagePreparation, margin: int, seed: int, at: Path
) -> PictureBank:
    """Draw a mixture once into the folder `at`, or reuse it when it is there; a resumed run sees the same pictures.

    Of several ranks the first draws, into a folder that all can read; the others wait.

    Args:
        margin: pixels by which the pictures are larger than the square, so that cuts move over the grid of patches.

    Raises:
        ValueError: a set without pictures, or with more than 0.1 % of unreadable records.
    """
    size = preparation.size + margin
    if not ranks_from_environment().is_main:
        while not (at / INDEX).exists():  # rank 0 draws; the launcher ends the others if it fails
            time.sleep(0.2)
    elif not (at / INDEX).exists():
        with atomic_folder(at) as folder:
            write_json(folder / INDEX, _draw_into(folder / BIN, mixture, replace(preparation, size=size), seed))
    index = read_json(at / INDEX, "index of pictures")
    pictures = np.memmap(at / BIN, np.uint8, "r", shape=(sum(s["pictures"] for s in index["sets"]), size, size, 3))
    repeats = np.concatenate([np.full(s["pictures"], s["repeats"]) for s in index["sets"]])
    return PictureBank(pictures, np.repeat(np.arange(len(pictures)), repeats), preparation.size, seed)


def _draw_into(
    file_at: Path, mixture: Sequence[PictureSet], preparation: ImagePreparation, seed: int
) -> dict[str, object]:
    sets = []
    with open(file_at, "wb") as file:
        for part in mixture:
            count, bad = 0, list[str]()
            for picture in draw_pictures(part, preparation, seed=seed, bad=bad):
                file.write(picture.tobytes())
                count += 1
            if not count and not bad:
                side = (
                    f" on the side {part.keep!r} with heldout_share={part.heldout_share}" if part.keep != "all" else ""
                )
                raise ValueError(f"set {part.name!r}: no pictures{side}; give more of them, or another share")
            if not count or len(bad) > MAX_BAD_SHARE * (count + len(bad)):
                raise ValueError(
                    f"set {part.name!r}: {count} pictures, {len(bad)} records that could not be read (at most "
                    f"{MAX_BAD_SHARE:.1%} may be){': ' if bad else ''}{'; '.join(bad[:3])}. Mend or remove them"
                )
            sets.append({"name": part.name, "pictures": count, "repeats": part.repeats, "unreadable": bad})
    return {"size": preparation.size, "sets": sets}
