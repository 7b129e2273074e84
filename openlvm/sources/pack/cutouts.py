"""Cut-outs of a pack before a background, one picture a record: drawings ("stamps"), and people with their joints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from openlvm.core.picking import pick
from openlvm.core.records import BadRecord, Keypoints, Payload, Record, Segmentation
from openlvm.core.seeds import rng
from openlvm.sources.interface import Part, require_positive, split_into_parts
from openlvm.sources.pack.files import MASK_FROM, Pack, Split, open_pack
from openlvm.sources.pack.scenes import (
    BACKGROUNDS,
    RECORDS_PER_PART,
    Background,
    background_of,
    before,
    over,
    placed,
)

STAMP_SIDE = (0.55, 1.0)  # of the frame's side


@dataclass(frozen=True)
class PackStamps:
    """Drawings at random places and sizes, half of them mirrored, with exact masks: F = 1.

    Label: the drawing's category. Key: "<stamp>/scene<n>".
    """

    split: Split = "train"
    background: Background = "photo"
    """What stands behind: crops of the split's photographs, color gradients, or both, three to one."""
    scenes_per_stamp: int = 1
    """Records of each drawing, with different places and backgrounds."""
    seed: int = 0
    at: Path | None = None
    """Folder of the pack; None is the sample pack."""

    def __post_init__(self):
        require_positive(scenes_per_stamp=self.scenes_per_stamp)
        pick(BACKGROUNDS, self.background, "background")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", "mask")

    def describe(self) -> dict[str, Any]:
        return open_pack(self.at).described("pack_stamps", self)

    def parts(self) -> list[Part]:
        stamps = open_pack(self.at).entries("stamps", self.split)
        keys = [f"{name}/scene{scene}" for name in stamps for scene in range(self.scenes_per_stamp)]
        return split_into_parts(keys, RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        pack = open_pack(self.at)
        for key in part.items:
            entry = pack.entries("stamps", self.split)[key.split("/")[0]]
            image, mask = self._scene(pack, entry, key)
            yield Record(key=key, slots={"image": [image], "mask": [mask]}, label=entry["label"])

    def _scene(self, pack: Pack, entry: dict[str, Any], key: str) -> tuple[np.ndarray, Segmentation]:
        chance = rng("pack stamp", self.seed, key)
        pixels = pack.stamp(entry)
        pixels = pixels[:, ::-1] if chance.random() < 0.5 else pixels
        size = pixels.shape[0]
        side = chance.uniform(*STAMP_SIDE) * size
        x, y = chance.uniform(side / 2, size - side / 2, 2)
        cutout = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGBa")
        behind = background_of(pack, self.split, self.background, seed=self.seed, key=key)
        return over(behind, *placed(cutout, x, y, side, size))


@dataclass(frozen=True)
class PackPoses:
    """Pictures of one person in motion with COCO's 17 joints, exact mask and depth of the person: F = 1.

    Visible are the joints inside the frame; those of the face only where the head does not hide them.
    Label: the motion ("walk"). Key: "<picture>/scene<n>".
    """

    split: Split = "train"
    background: Background = "photo"
    """As in `PackStamps`."""
    scenes_per_picture: int = 1
    """Records of each picture, with different backgrounds."""
    seed: int = 0
    at: Path | None = None
    """Folder of the pack; None is the sample pack."""

    def __post_init__(self):
        require_positive(scenes_per_picture=self.scenes_per_picture)
        pick(BACKGROUNDS, self.background, "background")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", "pose", "mask", "depth")

    def describe(self) -> dict[str, Any]:
        return open_pack(self.at).described("pack_poses", self)

    def parts(self) -> list[Part]:
        poses = open_pack(self.at).entries("poses", self.split)
        keys = [f"{name}/scene{scene}" for name in poses for scene in range(self.scenes_per_picture)]
        return split_into_parts(keys, RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        pack = open_pack(self.at)
        for key in part.items:
            entry = pack.entries("poses", self.split)[key.split("/")[0]]
            pixels, depth = pack.person(entry)
            behind = background_of(pack, self.split, self.background, seed=self.seed, key=key)
            pose = Keypoints(
                points=np.array([entry["joints"]], dtype=np.float32),
                visible=np.array([entry["visible"]], dtype=bool),
                size=(pixels.shape[0], pixels.shape[1]),
            )
            mask = Segmentation((pixels[..., 3] >= MASK_FROM).astype(np.int32))
            images = before(behind, pixels[None, ..., :3], pixels[None, ..., 3])
            slots: dict[str, Sequence[Payload]] = {"image": images, "pose": [pose], "mask": [mask], "depth": [depth]}
            yield Record(key=key, slots=slots, label=entry["clip"])
