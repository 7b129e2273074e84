"""The files of a pack: its listing pack.json, and how each kind of file is decoded.

The sample pack ships inside OpenLVM (made by tools/build_sample_pack.py; openlvm/assets/ATTRIBUTION.md names the
authors); larger packs of the same form are made by tools/build_mini_data.py. An object has 8 views, 15 degrees apart,
side by side in one strip; its annotation strips hold the views that pack.json lists as `annotated_views`.
Letters: F views or frames; H, W pixels (128); A annotated views.
"""

import io
import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from openlvm.core.picking import pick
from openlvm.core.records import Depth, Normals, Segmentation
from openlvm.sources.interface import describe_fields

Split = Literal["train", "heldout"]
SPLITS = {"train": "train", "heldout": "heldout"}
MASK_FROM = 128  # coverage, of 255, from which a pixel is the object


@dataclass(frozen=True, eq=False)
class ObjectViews:
    """All that the pack holds of one object."""

    color: np.ndarray
    """uint8 [F, H, W, 3], the object's colors; they run on outside the object."""
    coverage: np.ndarray
    """uint8 [F, H, W], share of the pixel that is the object, of 255."""
    masks: list[Segmentation]
    """F: ids 0 and 1."""
    depths: list[Depth]
    """A: meters; 0 outside the object."""
    normals: list[Normals]
    """A: unit vectors; zero outside the object."""
    parts: list[Segmentation]
    """A: ids of the object's materials, 1 is the largest; 0 outside the object."""


@dataclass(frozen=True, eq=False)
class Pack:
    """A pack's folder and its listing; `open_pack` makes it. Arrays that it returns are not writable."""

    folder: Path
    index: dict[str, Any]
    """The contents of pack.json; not to be changed by the caller."""
    digest: str
    """SHA-256 of pack.json: which pack a store was made from."""

    def described(self, layout: str, source: Any) -> dict[str, Any]:
        """A source's options, and which pack they are applied to, for its `describe`."""
        return {**describe_fields(layout, source), "pack": self.digest}

    @lru_cache(maxsize=64)  # noqa: B019 (packs are kept by open_pack anyway)
    def entries(self, kind: str, split: str) -> dict[str, dict[str, Any]]:
        """The "objects", "photos", "clips", "stamps", "poses" or "game" of a split, by key or name, as listed."""
        pick(SPLITS, split, "split of a pack")
        if kind not in self.index:
            raise ValueError(f"the pack at {self.folder} has no {kind}; build them with tools/build_mini_data.py")
        name = "key" if kind == "objects" else "name"
        return {entry[name]: entry for entry in self.index[kind] if entry["split"] == split}

    def photo(self, entry: dict[str, Any]) -> np.ndarray:
        """A photograph's crop, uint8 [H, W, 3]."""
        return _decoded(self.folder, f"photos/{entry['split']}/{entry['name']}.webp", "RGB")

    def clip_frame(self, entry: dict[str, Any], number: int) -> np.ndarray:
        """Frame `number` of a clip, uint8 [H, W, 3]."""
        return _decoded(self.folder, f"clips/{entry['split']}/{entry['name']}/{number:04d}.webp", "RGB")

    def object_views(self, entry: dict[str, Any]) -> ObjectViews:
        """The four strips of an object, decoded; the last few objects are kept."""
        stem = f"objects/{entry['split']}/{entry['label']}/{entry['key']}"
        return _object_views(self.folder, stem, entry["near"], entry["far"])

    def stamp(self, entry: dict[str, Any]) -> np.ndarray:
        """A drawing cut out, uint8 [H, W, 4] with its coverage last."""
        return _decoded(self.folder, f"stamps/{entry['split']}/{entry['name']}.webp", "RGBA")

    def person(self, entry: dict[str, Any]) -> tuple[np.ndarray, Depth]:
        """A person cut out: uint8 [H, W, 4] with coverage last, and depth, 0 outside the person."""
        stem = f"poses/{entry['split']}/{entry['clip']}/{entry['name']}"
        levels = _decoded(self.folder, f"{stem}.depth.webp", "RGB")[..., 0]
        return _decoded(self.folder, f"{stem}.webp", "RGBA"), Depth(_meters(levels, entry["near"], entry["far"]))

    def game_frames(self, entry: dict[str, Any]) -> tuple[np.ndarray, list[Depth], list[Segmentation]]:
        """A first-person film: uint8 [F, H, W, 3], and depth and ids of classes of every frame."""
        stem = f"game/{entry['split']}/{entry['name']}"
        levels = _cut(_decoded(self.folder, f"{stem}.depth.webp", "RGB"))[..., 0]
        ids = _cut(_decoded(self.folder, f"{stem}.parts.webp", "RGB"))[..., 0].astype(np.int32)
        depths = [Depth(frame) for frame in _meters(levels, entry["near"], entry["far"])]
        return _cut(_decoded(self.folder, f"{stem}.webp", "RGB")), depths, [Segmentation(frame) for frame in ids]


@lru_cache(maxsize=8)
def open_pack(at: Path | None = None) -> Pack:
    """The pack in the folder `at`; None is the sample pack inside the installed package.

    Raises:
        FileNotFoundError: there is no pack.json.
    """
    folder = Path(str(files("openlvm"))) / "assets" / "sample-pack" if at is None else Path(at)
    if not (folder / "pack.json").is_file():
        tool = "build_sample_pack" if at is None else "build_mini_data"
        raise FileNotFoundError(f"no pack.json in {folder}; build a pack there with tools/{tool}.py")
    data = (folder / "pack.json").read_bytes()
    return Pack(folder, json.loads(data), sha256(data).hexdigest())


@lru_cache(maxsize=512)
def _decoded(folder: Path, path: str, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO((folder / path).read_bytes())) as image:
        return np.asarray(image.convert(mode))


@lru_cache(maxsize=16)
def _object_views(folder: Path, stem: str, near: float, far: float) -> ObjectViews:
    strip = _cut(_decoded(folder, f"{stem}.webp", "RGBA"))  # [F, H, W, 4]
    levels = _cut(_decoded(folder, f"{stem}.depth.webp", "RGB"))[..., 0]  # [A, H, W]
    ids = _cut(_decoded(folder, f"{stem}.parts.webp", "RGB"))[..., 0].astype(np.int32)  # [A, H, W]
    vectors = _normals(_cut(_decoded(folder, f"{stem}.normals.webp", "RGB")))  # [A, H, W, 3]
    return ObjectViews(
        color=strip[..., :3],
        coverage=strip[..., 3],
        masks=[Segmentation(mask) for mask in (strip[..., 3] >= MASK_FROM).astype(np.int32)],
        depths=[Depth(view) for view in _meters(levels, near, far)],
        normals=[Normals(view) for view in vectors],
        parts=[Segmentation(view) for view in ids],
    )


def _cut(strip: np.ndarray) -> np.ndarray:
    """[H, F * W, C] -> [F, H, W, C] for square views."""
    size = strip.shape[0]
    return np.stack(np.split(strip, strip.shape[1] // size, axis=1))


def _meters(levels: np.ndarray, near: float, far: float) -> np.ndarray:
    """uint8 of a depth strip -> float32 meters: 0 is unknown, 1 to 255 are `near` to `far`."""
    levels = levels.astype(np.float32)
    meters = np.clip(near + (levels - 1) / 254 * (far - near), np.float32(near), np.float32(far))
    return np.where(levels > 0, meters, 0).astype(np.float32)


def _normals(packed: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] of a normals strip -> unit vectors float32 [..., 3]; see tools/sample_pack/strips.py."""
    plane = (packed[..., :2].astype(np.float32) - 128) / 127
    toward = np.where(packed[..., 2] > 0, 1.0, -1.0)
    z = np.sqrt(np.clip(1 - (plane**2).sum(-1), 0, 1)) * toward
    vectors = np.concatenate([plane, z[..., None]], axis=-1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(packed[..., :1] > 0, vectors, 0).astype(np.float32)
