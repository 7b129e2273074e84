"""Miniature models: glTF written by hand, an .obj with a texture, Objaverse's folder; and a cuboid as it is seen."""

import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openlvm.sources.rendered.renderer import Renderer

COMPONENTS = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


def renderer_or_skip(size: int, fov_degrees: float, **options: Any) -> Renderer:
    """A renderer; skips the test where there is no moderngl or no EGL."""
    try:
        return Renderer(size, fov_degrees=fov_degrees, **options)
    except ImportError as error:
        pytest.skip(str(error))


class Gltf:
    """A model that is being put together: its JSON, and the bytes of its one buffer."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}
        self.tree |= {name: [] for name in ("nodes", "meshes", "accessors", "bufferViews", "materials")}
        self.data = b""

    def view(self, data: bytes, **options: Any) -> int:
        """Append bytes; returns their buffer view."""
        self.data += b"\0" * (-len(self.data) % 4)
        place = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        self.tree["bufferViews"].append(place | options)
        self.data += data
        return len(self.tree["bufferViews"]) - 1

    def accessor(self, numbers: Any, **options: Any) -> int:
        """Append an array [P] or [P, width]; returns its accessor."""
        array = np.ascontiguousarray(numbers)
        kind = {"componentType": COMPONENTS[array.dtype.name], "count": len(array)}
        kind |= {"type": TYPES[array.size // len(array)], "bufferView": self.view(array.tobytes())}
        self.tree["accessors"].append(kind | options)
        return len(self.tree["accessors"]) - 1

    def mesh(self, points: Any, triangles: Any = None, *, material: dict | None = None, **attributes: Any) -> int:
        """Append a mesh of one primitive; `attributes` are arrays (NORMAL=..., TEXCOORD_0=...)."""
        named = {"POSITION": self.accessor(np.asarray(points, np.float32))}
        named |= {name: self.accessor(array) for name, array in attributes.items()}
        primitive: dict[str, Any] = {"attributes": named}
        if triangles is not None:
            primitive["indices"] = self.accessor(np.asarray(triangles, np.uint16).reshape(-1))
        if material is not None:
            self.tree["materials"].append(material)
            primitive["material"] = len(self.tree["materials"]) - 1
        self.tree["meshes"].append({"primitives": [primitive]})
        return len(self.tree["meshes"]) - 1

    def node(self, *, root: bool = True, **options: Any) -> int:
        """Append a node, to the scene where it is a root."""
        self.tree["nodes"].append(options)
        if root:
            self.tree["scenes"][0]["nodes"].append(len(self.tree["nodes"]) - 1)
        return len(self.tree["nodes"]) - 1

    def texture(self, pixels: np.ndarray) -> int:
        """Append an embedded PNG; returns the texture."""
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        self.tree.setdefault("images", []).append({"bufferView": self.view(file.getvalue()), "mimeType": "image/png"})
        self.tree.setdefault("textures", []).append({"source": len(self.tree["images"]) - 1})
        return len(self.tree["textures"]) - 1

    def glb(self) -> bytes:
        """The bytes of a .glb."""
        tree = {name: value for name, value in self.tree.items() if value != []}
        text = json.dumps(tree | {"buffers": [{"byteLength": len(self.data)}]}).encode()
        chunks = b""
        for kind, chunk in (
            (b"JSON", text + b" " * (-len(text) % 4)),
            (b"BIN\0", self.data + b"\0" * (-len(self.data) % 4)),
        ):
            chunks += struct.pack("<I", len(chunk)) + kind + chunk
        return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks

    def write(self, path: Path) -> Path:
        """Write a .glb, or a .gltf with its buffer beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".glb":
            path.write_bytes(self.glb())
            return path
        path.with_suffix(".bin").write_bytes(self.data)
        tree = {name: value for name, value in self.tree.items() if value != []}
        path.write_text(json.dumps(tree | {"buffers": [{"byteLength": len(self.data), "uri": path.stem + ".bin"}]}))
        return path


def cuboid(half: Any = (1.0, 1.0, 1.0)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [24, 3], triangles [12, 3] and normals [24, 3] of a cuboid around the origin."""
    points, normals = [], []
    for axis in range(3):
        for sign in (-1, 1):
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                corner = np.roll([float(sign), a, b], axis)
                points.append(corner * half)
                normals.append(np.roll([float(sign), 0, 0], axis))
    triangles = [[4 * face, 4 * face + i, 4 * face + i + 1] for face in range(6) for i in (1, 2)]
    return np.array(points, np.float32), np.array(triangles), np.array(normals, np.float32)


def sphere(rings: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Points and triangles of a sphere of radius 1."""
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1), indexing="ij"
    )
    points = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], axis=-1)
    first = (np.arange(rings)[:, None] * (2 * rings + 1) + np.arange(2 * rings)).reshape(-1)
    below = first + 2 * rings + 1
    triangles = np.concatenate(  # none at the poles, where two corners would be one
        [np.stack([first, below, first + 1], 1)[2 * rings :], np.stack([first + 1, below, below + 1], 1)[: -2 * rings]]
    )
    return points.reshape(-1, 3).astype(np.float32), triangles


def colored_cuboid(half: Any, color: Any) -> Gltf:
    """A cuboid of one color (sRGB, 0 to 1) as a whole model."""
    model = Gltf()
    points, triangles, normals = cuboid(half)
    linear = [*(np.array(color, np.float64) ** 2.2), 1.0]
    material = {"pbrMetallicRoughness": {"baseColorFactor": linear}}
    model.node(mesh=model.mesh(points, triangles, material=material, NORMAL=normals))
    return model


def write_obj(path: Path, *, texture: np.ndarray | None = None) -> Path:
    """A flat square from -1 to 1, facing +z, red, or with a texture beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"mtllib {path.stem}.mtl", "v -1 -1 0", "v 1 -1 0", "v 1 1 0", "v -1 1 0", "vt 0 0", "vt 1 0", "vt 1 1"]
    path.write_text("\n".join([*lines, "vt 0 1", "usemtl paint", "f 1/1 2/2 3/3 4/4", ""]))
    paint = ["newmtl paint", "Kd 1 0 0"]
    if texture is not None:
        Image.fromarray(texture).save(path.with_suffix(".png"))
        paint.append(f"map_Kd {path.stem}.png")
    path.with_suffix(".mtl").write_text("\n".join([*paint, ""]))
    return path


OBJAVERSE = {  # name -> (folder, LVIS category, half sides)
    "8476c4170df24cf5bbe6967222d1a42d": ("000-023", "armchair", (1.0, 0.5, 0.75)),
    "8ff7f1f2465347cd8b80c9b206c2781e": ("000-023", "", (0.2, 1.0, 0.2)),
    "fffe4d4b3a6f4b0d9d2f6b3b9d0c7a11": ("000-159", "banana", (0.5, 0.5, 2.0)),
}


def write_objaverse(at: Path) -> Path:
    """The folder hf-objaverse-v1 as `objaverse.load_objects` leaves it: three models and the two lists."""
    for number, (name, (folder, _, half)) in enumerate(OBJAVERSE.items()):
        colored_cuboid(half, np.roll([0.9, 0.5, 0.2], number)).write(at / "glbs" / folder / f"{name}.glb")
    categories = {category: [name] for name, (_, category, _) in OBJAVERSE.items() if category}
    paths = {name: f"glbs/{folder}/{name}.glb" for name, (folder, _, _) in OBJAVERSE.items()}
    for file, content in (("lvis-annotations", categories), ("object-paths", paths)):
        with gzip.open(at / f"{file}.json.gz", "wt") as opened:
            json.dump(content, opened)
    return at


def seen_of_cuboid(half: Any, camera: np.ndarray, size: int, fov_degrees: float) -> dict[str, np.ndarray]:
    """Depth [H, W] (0 outside) and normals [H, W, 3] of a cuboid around the origin, by a ray to each pixel."""
    place = (np.arange(size) + 0.5) / size * 2 - 1
    reach = np.tan(np.radians(fov_degrees) / 2)
    rays = np.stack([*np.meshgrid(place * reach, place * reach), np.ones((size, size))], axis=-1)  # z = 1: t is depth
    turned, origin = rays @ camera[:3, :3], -camera[:3, :3].T @ camera[:3, 3]
    with np.errstate(divide="ignore"):
        low, high = np.sort(np.stack([(-np.array(half) - origin) / turned, (np.array(half) - origin) / turned]), axis=0)
    enter, leave = low.max(-1), high.min(-1)
    hit = enter < leave
    axis = low.argmax(-1)
    normal = -np.sign(np.take_along_axis(turned, axis[..., None], -1)) * np.eye(3)[axis]
    return {"depth": np.where(hit, enter, 0), "normals": np.where(hit[..., None], normal @ camera[:3, :3].T, 0)}
