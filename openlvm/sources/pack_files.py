"""The files of the sample pack, which ships inside OpenLVM: its listing, and how each kind of file is decoded.

Made by tools/build_sample_pack.py; openlvm/assets/ATTRIBUTION.md names the authors. An object has 8 views, 15 degrees
apart, side by side in one strip; the annotation strips hold the views that pack.json lists as `annotated_views`.
Letters: F views; H, W pixels (128); A annotated views.
"""

import io
import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
from PIL import Image

from openlvm.core.picking import pick
from openlvm.core.records import Depth, Normals, Segmentation
from openlvm.sources.interface import describe_fields

SPLITS = {"train": "train", "heldout": "heldout"}
MASK_FROM = 128  # coverage, of 255, from which a pixel is the object


def pack_folder() -> Traversable:
    """The sample pack's folder inside the installed package."""
    folder = files("openlvm") / "assets" / "sample-pack"
    if not (folder / "pack.json").is_file():
        raise FileNotFoundError(f"no sample pack at {folder}; build it with tools/build_sample_pack.py")
    return folder


@lru_cache(maxsize=1)
def _listing() -> tuple[dict[str, Any], str]:
    data = (pack_folder() / "pack.json").read_bytes()
    return json.loads(data), sha256(data).hexdigest()


def pack_index() -> dict[str, Any]:
    """The contents of pack.json; not to be changed by the caller."""
    return _listing()[0]


def pack_digest() -> str:
    """SHA-256 of pack.json: which pack a store was made from."""
    return _listing()[1]


def described(layout: str, source: Any) -> dict[str, Any]:
    """A source's options, and which pack they are applied to, for its `describe`."""
    return {**describe_fields(layout, source), "pack": pack_digest()}


def entries(kind: str, split: str) -> dict[str, dict[str, Any]]:
    """The pack's "objects", "photos" or "clips" of a split, by key or name, in the listing's order."""
    pick(SPLITS, split, "split of the sample pack")
    name = "key" if kind == "objects" else "name"
    return {entry[name]: entry for entry in pack_index()[kind] if entry["split"] == split}


@lru_cache(maxsize=512)
def _decoded(path: str, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO((pack_folder() / path).read_bytes())) as image:
        return np.asarray(image.convert(mode))


def photo_pixels(entry: dict[str, Any]) -> np.ndarray:
    """A photograph's crop, uint8 [H, W, 3], not writable."""
    return _decoded(f"photos/{entry['split']}/{entry['name']}.webp", "RGB")


def clip_frame(entry: dict[str, Any], number: int) -> np.ndarray:
    """Frame `number` of a clip, uint8 [H, W, 3], not writable."""
    return _decoded(f"clips/{entry['split']}/{entry['name']}/{number:04d}.webp", "RGB")


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


@lru_cache(maxsize=16)
def _object_views(split: str, label: str, key: str, near: float, far: float) -> ObjectViews:
    stem = f"objects/{split}/{label}/{key}"
    strip = _cut(_decoded(f"{stem}.webp", "RGBA"))  # [F, H, W, 4]
    levels = _cut(_decoded(f"{stem}.depth.webp", "RGB"))[..., 0].astype(np.float32)  # [A, H, W]
    ids = _cut(_decoded(f"{stem}.parts.webp", "RGB"))[..., 0].astype(np.int32)  # [A, H, W]
    vectors = _normals(_cut(_decoded(f"{stem}.normals.webp", "RGB")))  # [A, H, W, 3]
    meters = np.clip(near + (levels - 1) / 254 * (far - near), np.float32(near), np.float32(far))
    meters = np.where(levels > 0, meters, 0).astype(np.float32)
    return ObjectViews(
        color=strip[..., :3],
        coverage=strip[..., 3],
        masks=[Segmentation(mask) for mask in (strip[..., 3] >= MASK_FROM).astype(np.int32)],
        depths=[Depth(view) for view in meters],
        normals=[Normals(view) for view in vectors],
        parts=[Segmentation(view) for view in ids],
    )


def object_views(entry: dict[str, Any]) -> ObjectViews:
    """Decode the four strips of an object of the listing; the last few objects are kept."""
    return _object_views(entry["split"], entry["label"], entry["key"], entry["near"], entry["far"])


def _cut(strip: np.ndarray) -> np.ndarray:
    """[H, F * W, C] -> [F, H, W, C] for square views."""
    size = strip.shape[0]
    return np.stack(np.split(strip, strip.shape[1] // size, axis=1))


def _normals(packed: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] of a normals strip -> unit vectors float32 [..., 3]; see tools/sample_pack/strips.py."""
    plane = (packed[..., :2].astype(np.float32) - 128) / 127
    toward = np.where(packed[..., 2] > 0, 1.0, -1.0)
    z = np.sqrt(np.clip(1 - (plane**2).sum(-1), 0, 1)) * toward
    vectors = np.concatenate([plane, z[..., None]], axis=-1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(packed[..., :1] > 0, vectors, 0).astype(np.float32)
