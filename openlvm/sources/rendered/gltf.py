"""glTF 2.0 models (.glb, .gltf), the form of Objaverse: as pieces, in the pose their nodes and skins have at rest.

Written after the Khronos specification (registry.khronos.org/glTF/specs/2.0); section numbers are its own. Lines,
points, morph targets, animations, lights and emitted light are left out.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.sources.rendered.folder import Accepted, ModelFolder, texture_of
from openlvm.sources.rendered.pieces import Piece, turning

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
TRIANGLES, STRIP, FAN = 4, 5, 6
MAX_TEXTURES = 256
"""Kept in memory, 4 MiB each at most."""
KNOWN_EXTENSIONS = (
    *("KHR_texture_transform", "KHR_mesh_quantization", "EXT_texture_webp", "KHR_lights_punctual"),
    "KHR_materials_",  # shine, glass, cloth ...: the base color is what is drawn of them
)
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942

Tree = dict[str, Any]


def read_gltf(path: Path, accepted: Accepted) -> list[Piece]:
    """The pieces of a model, in the order of its nodes; a node's primitive is a piece.

    Raises:
        FileNotFoundError: a file that it names is missing.
        ValueError: damaged, beyond the limits, or in need of an extension that is not read.
    """
    folder = ModelFolder(path.parent, accepted)
    data = folder.read(path.name)
    try:
        tree, binary = _opened(data)
        needed = [name for name in tree.get("extensionsRequired", []) if not name.startswith(KNOWN_EXTENSIONS)]
        if needed:
            raise ValueError(f"the model needs {', '.join(needed)}, which is not read. Save it without")
        return list(_Reader(tree, binary, folder).pieces())
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError, struct.error) as error:
        raise ValueError(f"damaged glTF: {type(error).__name__} {error}") from None


def _opened(data: bytes) -> tuple[Tree, bytes | None]:
    """The JSON of a model and, of a .glb, its binary chunk (section 4.4)."""
    if data[:4] != b"glTF":
        return _parsed(data), None
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2 or length > len(data):
        raise ValueError(
            f"a GLB file of version {version} and {length:,} bytes; read are version 2, here {len(data):,}"
        )
    chunks: dict[int, bytes] = {}
    start = 12
    while start + 8 <= length:
        size, kind = struct.unpack_from("<II", data, start)
        if start + 8 + size > length:
            raise ValueError(f"the GLB file ends within a chunk of {size:,} bytes")
        chunks.setdefault(kind, data[start + 8 : start + 8 + size])
        start += 8 + size
    return _parsed(chunks[JSON_CHUNK]), chunks.get(BINARY_CHUNK)


def _parsed(text: bytes) -> Tree:
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise ValueError(f"damaged glTF: its JSON cannot be read: {error}") from None
    if not str(tree["asset"]["version"]).startswith("2."):
        raise ValueError(f"glTF of version {tree['asset']['version']}; read is 2")
    return tree


class _Reader:
    """One model while it is read: its JSON, its buffers, and textures already made."""

    def __init__(self, tree: Tree, binary: bytes | None, folder: ModelFolder):
        self.tree, self.folder = tree, folder
        self.buffers: dict[int, bytes] = {} if binary is None else {0: binary}
        self.textures: dict[tuple, np.ndarray] = {}
        self.num_triangles = 0

    def pieces(self) -> Iterator[Piece]:
        worlds = self._worlds()
        for number, world in worlds.items():
            node = self.tree["nodes"][number]
            if "mesh" not in node:
                continue
            for primitive in self.tree["meshes"][node["mesh"]]["primitives"]:
                piece = self._piece(primitive)
                if piece is None:
                    continue
                if "skin" in node and "JOINTS_0" in primitive["attributes"]:  # ignores the node's own place (3.7.3.3)
                    yield self._skinned(piece, primitive["attributes"], self.tree["skins"][node["skin"]], worlds)
                elif turning(world).any():  # else the node is shrunk to nothing, which is how some tools hide it
                    yield piece.moved(world)

    def _worlds(self) -> dict[int, np.ndarray]:
        """Node -> float64 [4, 4] to the world, of the nodes of the model's scene (section 3.5), parents first."""
        nodes = self.tree.get("nodes", [])
        if "scenes" in self.tree:
            roots = self.tree["scenes"][self.tree.get("scene", 0)].get("nodes", [])
        else:
            roots = sorted(set(range(len(nodes))) - {child for node in nodes for child in node.get("children", [])})
        worlds: dict[int, np.ndarray] = {}
        waiting = [(number, np.eye(4)) for number in reversed(roots)]
        while waiting:
            number, above = waiting.pop()
            if number in worlds or number < 0:
                raise ValueError(f"damaged glTF: node {number} has two parents")
            worlds[number] = above @ _local(nodes[number])
            waiting += [(child, worlds[number]) for child in reversed(nodes[number].get("children", []))]
        return worlds

    def _piece(self, primitive: Tree) -> Piece | None:
        """A primitive in its own axes (section 3.7.2); None for lines and points."""
        mode, attributes = primitive.get("mode", TRIANGLES), primitive["attributes"]
        if mode not in (TRIANGLES, STRIP, FAN) or "POSITION" not in attributes:
            return None
        points = self._floats(attributes["POSITION"], 3)
        corners = self._numbers(primitive["indices"])[:, 0] if "indices" in primitive else np.arange(len(points))
        triangles = _triangles(corners.astype(np.int64), mode)
        self.num_triangles += max(len(triangles), len(points) // 3)
        self.folder.accepted.check_triangles(self.num_triangles)
        if not len(triangles):
            return None
        look = self._look(self.tree["materials"][primitive["material"]] if "material" in primitive else {})
        color = self._floats(attributes["COLOR_0"]) if "COLOR_0" in attributes else np.ones((1, 4))
        if color.shape[1] == 3:
            color = np.concatenate([color, np.ones((len(color), 1))], axis=1)
        tints = _tints(np.broadcast_to(color * look["factor"], (len(points), 4)), is_opaque=look["is_opaque"])
        uv_name = f"TEXCOORD_{look['uv_set']}"
        uv = self._floats(attributes[uv_name], 2) if uv_name in attributes else None
        return Piece(
            points=points,
            triangles=triangles,
            normals=self._floats(attributes["NORMAL"], 3) if "NORMAL" in attributes else np.zeros_like(points),
            uv=np.zeros((len(points), 2)) if uv is None else uv @ look["uv_turn"].T + look["uv_shift"],
            tints=tints,
            texture=look["texture"] if uv is not None else None,
            opacity=1.0 if look["is_opaque"] else float(look["factor"][3]),
        )

    def _look(self, material: Tree) -> dict[str, Any]:
        """What is drawn of a material (section 3.9): base color, its texture, and whether its opacity counts."""
        older = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
        if older is not None:
            factor, place = older.get("diffuseFactor", [1, 1, 1, 1]), older.get("diffuseTexture")
        else:
            base = material.get("pbrMetallicRoughness", {})
            factor, place = base.get("baseColorFactor", [1, 1, 1, 1]), base.get("baseColorTexture")
        mode = material.get("alphaMode", "OPAQUE")
        look = {"factor": np.array(factor, np.float64).reshape(4), "is_opaque": mode == "OPAQUE", "texture": None}
        look |= {"uv_set": 0, "uv_turn": np.eye(2), "uv_shift": np.zeros(2)}
        if place is not None:
            moved = place.get("extensions", {}).get("KHR_texture_transform", {})
            look["uv_set"] = int(moved.get("texCoord", place.get("texCoord", 0)))
            turn = float(moved.get("rotation", 0))
            turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
            look["uv_turn"] = turned * np.array(moved.get("scale", [1, 1]), np.float64)
            look["uv_shift"] = np.array(moved.get("offset", [0, 0]), np.float64)
            try:
                look["texture"] = self._texture(place["index"], mode, float(material.get("alphaCutoff", 0.5)))
            except (ValueError, FileNotFoundError):
                if self.folder.accepted.lost_textures == "refuse":
                    raise
        return look

    def _texture(self, index: int, mode: str, cutoff: float) -> np.ndarray:
        """uint8 [h, w, 4]; opacity is 255 throughout in mode OPAQUE, 0 or 255 in mode MASK (section 3.9.4)."""
        texture = self.tree["textures"][index]
        webp = texture.get("extensions", {}).get("EXT_texture_webp", {})
        number = webp.get("source", texture.get("source"))
        if number is None:
            raise ValueError(f"texture {index} is of a kind that is not read: {sorted(texture.get('extensions', {}))}")
        key = (number, mode, cutoff if mode == "MASK" else 0)
        if key not in self.textures:
            if len(self.textures) >= MAX_TEXTURES:
                raise ValueError(f"the model has more than {MAX_TEXTURES} textures")
            image = self.tree["images"][number]
            data = self._view(image["bufferView"]) if "bufferView" in image else self.folder.read_escaped(image["uri"])
            name = f"texture {image.get('name') or number!r}"
            pixels = texture_of(bytes(data), name, max_pixels=self.folder.accepted.pixels)
            if mode != "BLEND":
                opacity = 255 if mode == "OPAQUE" else np.where(pixels[..., 3] >= 255 * cutoff, 255, 0)
                pixels = np.dstack([pixels[..., :3], np.broadcast_to(opacity, pixels.shape[:2]).astype(np.uint8)])
            self.textures[key] = pixels
        return self.textures[key]

    def _skinned(self, piece: Piece, attributes: Tree, skin: Tree, worlds: dict[int, np.ndarray]) -> Piece:
        """The piece as its joints hold it at rest: each point moved by its joints' weighted transforms."""
        joints, weights = self._numbers(attributes["JOINTS_0"]), self._floats(attributes["WEIGHTS_0"], 4)
        to_world = np.stack([worlds[joint] for joint in skin["joints"]])
        if "inverseBindMatrices" in skin:
            bind = self._floats(skin["inverseBindMatrices"], 16).reshape(-1, 4, 4).swapaxes(1, 2)  # columns first
            to_world = to_world @ bind[: len(to_world)]
        points, normals = np.zeros_like(piece.points), np.zeros_like(piece.normals)
        turns = np.stack([turning(matrix) for matrix in to_world])
        weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)
        for influence in range(joints.shape[1]):
            which, weight = joints[:, influence].astype(np.int64), weights[:, influence, None]
            moved = np.einsum("pab,pb->pa", to_world[which, :3, :3], piece.points) + to_world[which, :3, 3]
            points += weight * moved
            normals += weight * np.einsum("pb,pba->pa", piece.normals, turns[which])
        return Piece(**{**vars(piece), "points": points, "normals": normals})

    def _floats(self, index: int, width: int | None = None) -> np.ndarray:
        """An accessor as float64 [P, width]; integers marked as normalized become 0..1 or -1..1 (section 3.6.2.2)."""
        numbers = self._numbers(index)
        if width is not None and numbers.shape[1] != width:
            raise ValueError(f"damaged glTF: accessor {index} has {numbers.shape[1]} numbers an element, not {width}")
        floats = numbers.astype(np.float64)
        if self.tree["accessors"][index].get("normalized") and numbers.dtype.kind in "iu":
            floats = np.maximum(floats / np.iinfo(numbers.dtype).max, -1)
        if not np.isfinite(floats).all():
            raise ValueError(f"damaged glTF: accessor {index} holds numbers that are not finite")
        return floats

    def _numbers(self, index: int) -> np.ndarray:
        """An accessor's numbers as stored, [P, width] (section 3.6.2)."""
        accessor = self.tree["accessors"][index]
        dtype, width = np.dtype(COMPONENTS[accessor["componentType"]]), WIDTHS[accessor["type"]]
        count, limit = accessor["count"], 3 * self.folder.accepted.triangles
        if not 0 <= count <= limit:
            raise ValueError(f"accessor {index} has {count:,} elements; the limit is {limit:,}")
        if "bufferView" in accessor:
            numbers = self._elements(accessor, dtype, width, count)
        elif "sparse" in accessor:
            numbers = np.zeros((count, width), dtype)
        else:
            raise ValueError(f"damaged glTF: accessor {index} has no data; it may be compressed by an extension")
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            places = np.dtype(COMPONENTS[sparse["indices"]["componentType"]])
            where = self._elements(sparse["indices"], places, 1, sparse["count"])[:, 0]
            numbers = numbers.copy()
            numbers[where] = self._elements(sparse["values"], dtype, width, sparse["count"])
        return numbers

    def _elements(self, place: Tree, dtype: np.dtype, width: int, count: int) -> np.ndarray:
        """[count, width] out of a buffer view; NumPy refuses what lies beyond its bytes."""
        stride = self.tree["bufferViews"][place["bufferView"]].get("byteStride") or dtype.itemsize * width
        data, offset = self._view(place["bufferView"]), place.get("byteOffset", 0)
        if count == 0:
            return np.zeros((0, width), dtype)
        return np.ndarray((count, width), dtype, data, offset, (stride, dtype.itemsize))

    def _view(self, index: int) -> memoryview:
        view = self.tree["bufferViews"][index]
        number, start, length = view["buffer"], view.get("byteOffset", 0), view["byteLength"]
        if number not in self.buffers:
            self.buffers[number] = self.folder.read_escaped(self.tree["buffers"][number]["uri"])
        if min(start, length) < 0 or start + length > len(self.buffers[number]):
            raise ValueError(
                f"damaged glTF: view {index} ends at byte {start + length:,} of {len(self.buffers[number]):,}"
            )
        return memoryview(self.buffers[number])[start : start + length]


def _local(node: Tree) -> np.ndarray:
    """A node's float64 [4, 4] to its parent: its matrix, columns first, or translation x rotation x scale."""
    if "matrix" in node:
        matrix = np.array(node["matrix"], np.float64).reshape(4, 4).T
    else:
        x, y, z, w = np.array(node.get("rotation", [0, 0, 0, 1]), np.float64).reshape(4)
        turned = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        matrix = np.eye(4)
        matrix[:3, :3] = turned * np.array(node.get("scale", [1, 1, 1]), np.float64)
        matrix[:3, 3] = node.get("translation", [0, 0, 0])
    if not np.isfinite(matrix).all():
        raise ValueError("damaged glTF: a node's transform is not finite")
    return matrix


def _triangles(corners: np.ndarray, mode: int) -> np.ndarray:
    """int64 [M, 3] of a list, a strip or a fan; on which side they are wound does not matter here."""
    if mode == TRIANGLES:
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)
    first = np.broadcast_to(corners[:1], corners[2:].shape) if mode == FAN else corners[:-2]
    return np.stack([first, corners[1:-1], corners[2:]], axis=-1)


def _tints(linear: np.ndarray, *, is_opaque: bool) -> np.ndarray:
    """Linear color and opacity [P, 4] in 0..1 as uint8 [P, 4], color in sRGB."""
    values = np.clip(linear, 0, 1)
    values = np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)
    values[:, 3] = 1 if is_opaque else np.clip(linear[:, 3], 0, 1)
    return np.rint(values * 255).astype(np.uint8)
