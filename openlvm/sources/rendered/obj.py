"""Wavefront models (.obj with .mtl): as pieces, one for each material, by trimesh's parser (extra `render`)."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.sources.rendered.folder import Accepted, ModelFolder, texture_of
from openlvm.sources.rendered.pieces import Piece, smooth_normals, with_hard_edges

GRAY = (180, 180, 180, 255)
"""Where no material says a color."""
NO_MATERIAL = {"None", "(null)", ""}
"""What exporters write where there is none."""


def read_obj(path: Path, accepted: Accepted) -> list[Piece]:
    """The pieces of a model, one for each of its materials; y is taken to be up.

    Raises:
        FileNotFoundError: a file that it names is missing.
        ImportError: trimesh is not installed.
        ValueError: damaged, or beyond the limits.
    """
    folder = ModelFolder(path.parent, accepted)
    data = folder.read(path.name)
    if re.search(rb"^f[^\n]*[ /]-", data, re.MULTILINE):
        raise ValueError("faces count their corners from the end (negative numbers), which is not read. Save it anew")
    accepted.check_triangles(data.count(b"\nf"))
    assets = _Assets(folder)
    try:
        geometry = _import_loader()(io.BytesIO(data), resolver=assets).get("geometry", {})
        pieces = [_piece(one, assets) for one in geometry.values()]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"damaged OBJ: {type(error).__name__} {error}") from None
    if accepted.lost_textures == "refuse":
        assets.refuse_lost(_names(b"usemtl", data))
    accepted.check_triangles(sum(len(piece.triangles) for piece in pieces))
    return [piece for piece in pieces if len(piece.triangles)]


def require_trimesh() -> None:
    """An ImportError that says how to get trimesh, where it is not installed."""
    _import_loader()


def _import_loader() -> Any:
    try:
        from trimesh.exchange.obj import load_obj
    except ImportError:
        raise ImportError("reading .obj models needs trimesh: pip install openlvm[render]") from None
    return load_obj


class _Assets:
    """Gives trimesh the files that a model names, and keeps the first refusal: trimesh itself goes on without them."""

    def __init__(self, folder: ModelFolder):
        self.folder = folder
        self.refused: ValueError | FileNotFoundError | None = None
        self.materials: set[str] | None = None
        self.textures: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> bytes:
        """A .mtl file."""
        data = self._read(name)
        self.materials = set(_names(b"newmtl", data))
        return data

    def get(self, name: str) -> bytes:
        """A texture's file."""
        data = self._read(name.split()[-1] if name.startswith("-") else name)  # "-s 1 1 1 wood.png"
        if name not in self.textures:
            try:
                self.textures[name] = texture_of(data, f"texture {name!r}", max_pixels=self.folder.accepted.pixels)
            except ValueError as error:
                self.refused = self.refused or error
                raise
        return data

    def refuse_lost(self, used: list[str]) -> None:
        """Raise what trimesh passed over: files that could not be had, and materials used that the .mtl lacks."""
        if self.refused is not None:
            raise self.refused
        lost = sorted(set(used) - (self.materials or set()) - NO_MATERIAL)
        if lost and self.materials is not None:
            raise ValueError(f"the model uses material {lost[0]!r}, which its .mtl does not have")

    def _read(self, name: str) -> bytes:
        try:
            return self._found(name)
        except (ValueError, FileNotFoundError) as error:
            self.refused = self.refused or error
            raise

    def _found(self, name: str) -> bytes:
        try:
            return self.folder.read(name)
        except (ValueError, FileNotFoundError):
            last = re.split(r"[\\/]", name.strip())[-1]  # "C:\models\wood.jpg", which now lies beside the model
            if last == name.strip() or not (Path(self.folder.at) / last).is_file():
                raise
            return self.folder.read(last)


def _names(word: bytes, data: bytes) -> list[str]:
    """What follows a word at the start of lines: names of materials."""
    found = re.findall(rb"^[ \t]*" + word + rb"[ \t]+([^\r\n]*)", data, re.MULTILINE)
    return [" ".join(name.decode("utf-8", "replace").split()) for name in found]


def _piece(mesh: dict[str, Any], assets: _Assets) -> Piece:
    """One of trimesh's meshes: vertices [P, 3], faces [M, 3 or more], and what the file says of normals and looks."""
    points, faces = np.asarray(mesh["vertices"], np.float64), np.asarray(mesh["faces"], np.int64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError("damaged OBJ: points are not three finite numbers each")
    fan = [faces[:, [0, corner, corner + 1]] for corner in range(1, faces.shape[1] - 1)]
    triangles = np.concatenate(fan)
    normals = mesh.get("vertex_normals")
    material, uv = getattr(mesh.get("visual"), "material", None), getattr(mesh.get("visual"), "uv", None)
    image = getattr(material, "image", None)  # trimesh's stand-in for a lost material has one without a name
    texture = None if image is None else assets.textures.get(image.info.get("file_path"))
    if texture is None or uv is None or len(uv) != len(points):
        uv, tints, texture = np.zeros((len(points), 2)), _tints(mesh, material), None
    else:
        uv, tints = np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1), np.full((len(points), 4), 255, np.uint8)
    piece = Piece(
        points=points,
        triangles=triangles,
        normals=smooth_normals(points, triangles) if normals is None else np.asarray(normals, np.float64),
        uv=uv,
        tints=tints,
        texture=texture,
        opacity=float((getattr(material, "kwargs", {}).get("d") or ["1"])[-1]),
    )
    return with_hard_edges(piece)


def _tints(mesh: dict[str, Any], material: Any) -> np.ndarray:
    """uint8 [P, 4]: colors of the points, else the material's, else `GRAY`."""
    colors = mesh.get("vertex_colors")
    if colors is None:
        color = GRAY if material is None or material.kwargs.get("kd") is None else material.diffuse
        return np.broadcast_to(np.array(color, np.uint8), (len(mesh["vertices"]), 4))
    colors = np.asarray(colors)[:, :3]
    scaled = np.rint(colors * 255) if colors.dtype.kind == "f" and colors.max(initial=0) <= 1 else colors
    return np.column_stack([scaled.clip(0, 255), np.full(len(colors), 255)]).astype(np.uint8)
