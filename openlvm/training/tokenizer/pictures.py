"""The pictures a tokenizer learns from: a mixture of sources and of annotations drawn from them, kept as one array.

The order is a pure function of (seed, position), as everywhere: pass by pass, each a permutation of the mixture.
Letters: M pictures of the bank, B a batch, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from openlvm.core.files import atomic_write
from openlvm.core.images import ImagePreparation
from openlvm.core.records import BadRecord, Record
from openlvm.core.seeds import rng
from openlvm.sentences.generated import add_generated
from openlvm.sentences.render import draw
from openlvm.sources.interface import Source
from openlvm.store.permutation import Permutation


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


def draw_pictures(part: PictureSet, preparation: ImagePreparation, *, seed: int) -> list[np.ndarray]:
    """All pictures of a set, uint8 [size, size, 3] each; a record that cannot be read is an error that names it."""
    pictures: list[np.ndarray] = []
    for work in part.source.parts():
        for record in part.source.read(work):
            if isinstance(record, BadRecord):
                raise ValueError(
                    f"{record.key}: {record.reason}. A tokenizer is trained on whole data; mend or remove it"
                )
            whole: Record = add_generated(record, part.generated, seed)
            pictures += [draw(payload, preparation) for slot in part.slots for payload in whole.slots[slot]]
    return pictures


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
    """Draw a mixture once into the file `at`, or reuse the file when it is there; a resumed run sees the same pictures.

    Args:
        margin: pixels by which the pictures are larger than the square, so that cuts move over the grid of patches.
    """
    larger = replace(preparation, size=preparation.size + margin)
    if not at.exists():
        parts = [draw_pictures(part, larger, seed=seed) for part in mixture]
        with atomic_write(at) as file:
            np.savez(
                file,
                pictures=np.stack([picture for part in parts for picture in part]),
                repeats=np.concatenate([np.full(len(p), s.repeats) for p, s in zip(parts, mixture, strict=True)]),
            )
    with np.load(at) as saved:
        pictures, repeats = saved["pictures"], saved["repeats"]
    return PictureBank(pictures, np.repeat(np.arange(len(pictures)), repeats), preparation.size, seed)
