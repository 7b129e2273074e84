"""Folders of models (.glb, .gltf, .obj) as records of one turn each, drawn when they are read (extra `render`)."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from openlvm.core.images import MAX_PIXELS
from openlvm.core.picking import pick
from openlvm.core.records import IMAGE, BadRecord, Depth, Normals, Payload, Record, Segmentation
from openlvm.core.seeds import seed_of
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import find_files, folder_of, natural_order
from openlvm.sources.rendered.camera import DISTANCE, ELEVATION, FOV_DEGREES, drawn_turn
from openlvm.sources.rendered.folder import Accepted
from openlvm.sources.rendered.gltf import read_gltf
from openlvm.sources.rendered.obj import read_obj, require_trimesh
from openlvm.sources.rendered.pieces import Piece, normalized
from openlvm.sources.rendered.renderer import Views, require_moderngl, shared_renderer

MODELS = {".glb": read_gltf, ".gltf": read_gltf, ".obj": read_obj}
"""Ending -> its reader."""
MAX_LIST_BYTES = 2**30
"""Of a list of objects, unpacked; Objaverse's longest has 60 MB."""

ANNOTATIONS = ("mask", "depth", "normals", "parts")


def read_model(path: Path, accepted: Accepted) -> list[Piece]:
    """The pieces of a model, as it lies in its file.

    Raises:
        FileNotFoundError: it, or a file that it names, is missing.
        ImportError: trimesh, which reads .obj, is not installed.
        ValueError: damaged, empty, beyond what is accepted, or of an unknown kind.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no model at {path}")
    try:
        pieces = pick(MODELS, path.suffix.lower(), "kind of model")(path, accepted)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not pieces:
        raise ValueError(f"{path} has no triangles; nothing of it can be drawn")
    return pieces


@dataclass(frozen=True, kw_only=True)
class RenderedMeshes:
    """Models anywhere below a folder, each drawn from many sides: a turn of views with mask, depth, normals and parts.

    On disk, and the record it becomes:

        objects/chair/armchair.glb                               Record("chair/armchair", label="chair")
        glbs/000-023/8476c4.glb, lvis-annotations.json.gz        Record("8476c4", label="armchair") with categories=...

    The object lies in a sphere of diameter 1, and depth is in diameters. Azimuth, elevation and distance of the first
    view are drawn by (turn_seed, key); each further view stands 15 degrees on.
    """

    at: Path
    """Folder of the models; subfolders are searched too."""
    annotations: tuple[str, ...] = ANNOTATIONS
    """Slots beside the image, out of mask, depth, normals and parts; each is tokenized."""
    views: int = 24
    """Of one object; 24 make a whole turn."""
    step_degrees: float = 15.0
    """From one view to the next; the camera goes around counter-clockwise, seen from above."""
    size: int = 256
    """Side of a view, pixels; the tokenizer's, or twice it."""
    elevation: tuple[float, float] = ELEVATION
    """Range of the camera's elevation, degrees; constant within a turn."""
    distance: tuple[float, float] = DISTANCE
    """Range of the camera's distance, diameters of the object."""
    fov_degrees: float = FOV_DEGREES
    """What a view spans across."""
    background: int = 255
    """Gray behind the object, 0 to 255."""
    turn_seed: int = 0
    """Of the turns and of `share`."""
    categories: str = ""
    """File below `at` with a JSON of category -> names of models (Objaverse: lvis-annotations.json.gz). It gives the
    labels, and makes the file's own name the key. "" takes the folder as the label."""
    objects: str = ""
    """File below `at` with a JSON of name -> path (Objaverse: object-paths.json.gz): exactly these are read, and one
    that is missing is reported. "" takes the models that lie there."""
    share: tuple[float, float] = (0.0, 1.0)
    """Models whose hash of (turn_seed, key) lies in this part of [0, 1]: (0, 0.84) and (0.84, 1) share no model."""
    lost_textures: Literal["refuse", "gray"] = "refuse"
    """Models whose textures or materials are missing or damaged: report them as bad, or draw them in plain colors."""
    records_per_part: int = 32
    """Models read and written as one unit of work."""
    max_bytes: int = Accepted.bytes
    """A model whose files are larger together is skipped and reported, before they are read."""
    max_triangles: int = Accepted.triangles
    """A model with more is skipped and reported."""
    max_pixels: int = MAX_PIXELS
    """A model with a larger texture is skipped and reported, before the texture is decoded."""

    def __post_init__(self) -> None:
        require_positive(
            views=self.views, size=self.size, records_per_part=self.records_per_part,
            max_bytes=self.max_bytes, max_triangles=self.max_triangles, max_pixels=self.max_pixels,
        )  # fmt: skip
        for slot in self.annotations:
            pick(dict.fromkeys(ANNOTATIONS), slot, "annotation")
        if not 0.6 <= self.distance[0] <= self.distance[1]:
            raise ValueError(
                f"distance={self.distance} must rise and begin at 0.6 or above: the object's radius is 0.5"
            )
        if not -90 < self.elevation[0] <= self.elevation[1] < 90:
            raise ValueError(f"elevation={self.elevation} must rise and lie between -90 and 90 degrees")
        if not 0 <= self.share[0] < self.share[1] <= 1:
            raise ValueError(f"share={self.share} must rise and lie within 0 and 1")
        if not 0 < self.fov_degrees < 180:
            raise ValueError(f"fov_degrees={self.fov_degrees} must be above 0 and below 180")
        if not 0 <= self.background <= 255:
            raise ValueError(f"background={self.background} must be a gray from 0 to 255")

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture, then the annotations."""
        return (IMAGE, *self.annotations)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        described = describe_fields("meshes", self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in described.items()}

    def parts(self) -> list[Part]:
        """Models in natural order of their keys; an item is a key, its path and its label, joined by "//".

        Raises:
            FileNotFoundError: the folder, or a list of objects or categories, is missing.
            ImportError: moderngl or trimesh is not installed.
            ValueError: nothing is there, two models claim one key, or a list is malformed.
        """
        require_moderngl()
        paths = self._paths()
        if any(path.lower().endswith(".obj") for path in paths.values()):
            require_trimesh()
        labels = _labels(Path(self.at) / self.categories) if self.categories else {}
        chosen = [key for key in sorted(paths, key=natural_order) if self._is_chosen(key)]
        if not chosen:
            raise ValueError(f"none of the {len(paths)} models in {self.at} lies in share={self.share}")
        label_of = (lambda key: labels.get(key, "")) if self.categories else (lambda key: folder_of(paths[key]))
        items = ["//".join([key, paths[key], label_of(key)]) for key in chosen]
        return split_into_parts(items, self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each model."""
        renderer = shared_renderer(self.size, self.fov_degrees)  # outside `try`: no EGL is nobody's bad record
        accepted = Accepted(
            bytes=self.max_bytes, triangles=self.max_triangles, pixels=self.max_pixels, lost_textures=self.lost_textures
        )
        for item in part.items:
            key, path, label = item.split("//", 2)
            try:
                pieces = normalized(read_model(Path(self.at) / path, accepted))
            except (ValueError, OSError) as error:
                yield BadRecord(key, str(error))
                continue
            turn = drawn_turn(self.turn_seed, key, elevation=self.elevation, distance=self.distance)
            views = renderer.draw(pieces, turn.cameras(self.views, self.step_degrees))
            slots = {IMAGE: list(views.over(self.background)), **_annotations(views, self.annotations)}
            yield Record(key=key, slots=slots, label=label)

    def _is_chosen(self, key: str) -> bool:
        return self.share[0] <= seed_of("share", self.turn_seed, key) / 2**64 < self.share[1]

    def _paths(self) -> dict[str, str]:
        """Key -> path below `at`."""
        if self.objects:
            listed = _json_of(Path(self.at) / self.objects)
            if not isinstance(listed, dict) or not all(isinstance(path, str) for path in listed.values()):
                raise ValueError(f"{Path(self.at) / self.objects} must hold an object of names and paths")
            astray = sorted(key for key, path in listed.items() if path.startswith("/") or ".." in path or "//" in path)
            if astray:
                raise ValueError(f"{Path(self.at) / self.objects} leads out of the folder for {astray[0]!r}")
            return listed
        paths: dict[str, str] = {}
        for path in find_files(Path(self.at), tuple(MODELS), "models"):
            key = Path(path).stem if self.categories else path.rpartition(".")[0]
            if key in paths:
                raise ValueError(f"two models claim the key {key!r}: {paths[key]} and {path}. Remove or rename one")
            paths[key] = path
        return paths


def _annotations(views: Views, chosen: Sequence[str]) -> dict[str, list[Payload]]:
    solid = views.coverage >= 128
    makers: Mapping[str, Any] = {
        "mask": lambda: [Segmentation(mask.astype(np.int32)) for mask in solid],
        "depth": lambda: [Depth(depth) for depth in views.depth_m],
        "normals": lambda: [Normals(normals) for normals in views.normals],
        "parts": lambda: [Segmentation(parts.astype(np.int32)) for parts in views.parts],
    }
    return {slot: makers[slot]() for slot in chosen}


def _labels(path: Path) -> dict[str, str]:
    """Name of a model -> its category, the first that lists it."""
    categories = _json_of(path)
    if not isinstance(categories, dict) or not all(isinstance(names, list) for names in categories.values()):
        raise ValueError(f"{path} must hold an object of categories and lists of names")
    labels: dict[str, str] = {}
    for category, names in categories.items():
        for name in names:
            labels.setdefault(str(name), category)
    return labels


def _json_of(path: Path) -> Any:
    try:
        return _parsed_json(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise FileNotFoundError(f"no list of objects at {path}") from None


@lru_cache(maxsize=4)
def _parsed_json(path: Path, _changed: int) -> Any:
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
        if len(data) > MAX_LIST_BYTES:
            raise ValueError(f"more than {MAX_LIST_BYTES:,} bytes")
        return json.loads(data)
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
