"""What tokenizers are measured on: held-out pictures and annotations of the sample pack, drawn figures, or a folder.

Also the floor: k-means over patches of the pack's training pictures, as a tokenizer like any other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openlvm.core.images import ImagePreparation
from openlvm.core.records import BadRecord, Keypoints, Payload, Record
from openlvm.core.seeds import rng
from openlvm.sentences.generated import add_generated
from openlvm.sentences.render import draw
from openlvm.sources.interface import Part, Source, describe_fields, require_positive, split_into_parts
from openlvm.sources.layouts import ImageFolder
from openlvm.sources.pack import PackPhotos, PackViews
from openlvm.tokenizer.patches import start_from_patches
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig

FIGURE_SIDE = 256  # pixels of the picture a figure is drawn for, before a tokenizer's preparation
STANDING = (
    *((0, -0.86), (-0.04, -0.9), (0.04, -0.9), (-0.09, -0.87), (0.09, -0.87)),
    *((-0.2, -0.62), (0.2, -0.62), (-0.3, -0.3), (0.3, -0.3), (-0.33, 0.0), (0.33, 0.0)),
    *((-0.13, 0.05), (0.13, 0.05), (-0.15, 0.48), (0.15, 0.48), (-0.16, 0.9), (0.16, 0.9)),
)
"""A person who stands, COCO's 17 joints as (x, y), 2 units high around the origin."""
FLOOR_PATCHES, FLOOR_ITERATIONS, FLOOR_CHANNELS = 200_000, 30, 64  # as `training.tokenizer.config.PatchStart`


@dataclass(frozen=True)
class DrawnFigures:
    """Figures in random poses, F = 1, each a record with the one slot "keypoints". Key: its number."""

    count: int = 64
    seed: int = 0

    def __post_init__(self):
        require_positive(count=self.count)

    @property
    def slots(self) -> tuple[str, ...]:
        """The figure alone."""
        return ("keypoints",)

    def describe(self) -> dict[str, Any]:
        """Layout and options."""
        return describe_fields("drawn_figures", self)

    def parts(self) -> list[Part]:
        """One part."""
        return split_into_parts([str(number) for number in range(self.count)], self.count)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each number."""
        for key in part.items:
            yield Record(key=key, slots={"keypoints": [_figure(rng("figure", self.seed, key))]})


def _figure(chance: np.random.Generator) -> Keypoints:
    """A standing figure, its joints jostled, turned by up to 20 degrees, half to nearly all of the picture high."""
    joints = np.array(STANDING) + chance.normal(0, 0.04, (len(STANDING), 2))
    angle = np.radians(chance.uniform(-20, 20))
    turned = joints @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = turned * chance.uniform(0.25, 0.42) * FIGURE_SIDE + chance.uniform(0.45, 0.55, 2) * FIGURE_SIDE
    visible = np.ones((1, len(STANDING)), dtype=bool)
    return Keypoints(points[None].astype(np.float32), visible, (FIGURE_SIDE, FIGURE_SIDE))


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Records and what to measure of them."""

    source: Source
    slots: Mapping[str, str]
    """Slot -> its name in the report."""
    generated: tuple[str, ...] = field(default=())
    """Slots to generate first (`sentences.generated`)."""

    def payloads(self, *, limit: int | None, seed: int) -> Iterator[tuple[str, Payload]]:
        """Pairs (name in the report, payload), record by record.

        Args:
            limit: most items of the source; which ones is drawn with `seed`. None is all.

        Raises:
            ValueError: a record cannot be read; a score over the rest would be of other pictures.
        """
        for part in _drawn(self.source.parts(), limit, seed):
            for record in self.source.read(part):
                if isinstance(record, BadRecord):
                    raise ValueError(f"{record.key}: {record.reason}. Mend or remove it, then evaluate again")
                whole = add_generated(record, self.generated, seed)
                for slot, name in self.slots.items():
                    yield from ((name, payload) for payload in whole.slots[slot])


def _drawn(parts: list[Part], limit: int | None, seed: int) -> list[Part]:
    """At most `limit` items of the parts, in their order."""
    places = [(number, item) for number, part in enumerate(parts) for item in part.items]
    if limit is None or limit >= len(places):
        return parts
    kept = {places[i] for i in rng("evaluated", seed).permutation(len(places))[:limit]}
    chosen = [Part(part.name, tuple(i for i in part.items if (number, i) in kept)) for number, part in enumerate(parts)]
    return [part for part in chosen if part.items]


def pack_collections() -> list[Collection]:
    """Held-out photographs, scenes with their annotations, and drawn figures (the pack has no keypoints)."""
    annotated = {"image": "scenes", "mask": "mask", "depth": "depth", "normals": "normals", "edges": "edges"}
    return [
        Collection(source=PackPhotos(split="heldout"), slots={"image": "photos"}),
        Collection(source=PackViews(split="heldout"), slots=annotated, generated=("edges",)),
        Collection(source=DrawnFigures(), slots={"keypoints": "keypoints"}),
    ]


def folder_collections(at: Path) -> list[Collection]:
    """A folder of pictures; nothing is known of them but their pixels."""
    return [Collection(source=ImageFolder(at=at), slots={"image": "pictures"})]


def kmeans_floor(
    image_size: int,
    patch_size: int,
    codebook_size: int,
    *,
    records: int = 400,
    patches: int = FLOOR_PATCHES,
    iterations: int = FLOOR_ITERATIONS,
    seed: int = 0,
) -> VQGAN:
    """k-means over patches of training pictures with as many codes: what a tokenizer must beat to be worth training.

    The patches are of photographs, scenes, masks, depth, normals and edges of the sample pack's train split, in the
    space of their 64 first principal axes. About a minute on one core for 64 pixels and 1024 codes.

    Args:
        image_size, patch_size: pixels; their quotient squared is the number of codes.
        records: photographs, and views of objects, that patches are drawn from.
        patches: drawn from them for k-means.
        iterations: of Lloyd's algorithm.
    """
    channels = min(FLOOR_CHANNELS, 3 * patch_size**2)
    config = VQGANConfig(
        image_size=image_size,
        width=8,
        multipliers=(1,),
        stem=patch_size,
        num_res_blocks=1,
        latent_channels=channels,
        code_channels=channels,
        codebook_size=codebook_size,
        norm_groups=8,
        patch_shortcut=True,
        filter="box",
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        floor = VQGAN(config)
    pictures = torch.from_numpy(np.stack(list(_training_pictures(floor.preparation, records, seed))))
    start_from_patches(floor, pictures, num_patches=patches, iterations=iterations, generator=generator)
    return floor.eval().requires_grad_(False)


def _training_pictures(preparation: ImagePreparation, records: int, seed: int) -> Iterator[np.ndarray]:
    views = ("image", "mask", "depth", "normals", "edges")
    for collection in (
        Collection(source=PackPhotos(), slots={"image": "photos"}),
        Collection(source=PackViews(), slots={slot: slot for slot in views}, generated=("edges",)),
    ):
        for _, payload in collection.payloads(limit=records, seed=seed):
            yield draw(payload, preparation)
