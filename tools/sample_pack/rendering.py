"""Objects on a turntable: color, coverage, metric depth, normals and part ids of 8 views, drawn by OpenGL on EGL.

The camera orbits; the lights stay with it, so that it is the object that seems to turn. Rendered at 4 times the size.
Camera axes: x right, y down, z forward (away from the viewer).
"""

from dataclasses import dataclass

import moderngl
import numpy as np
import trimesh
from PIL import Image

from sample_pack.furniture import Furniture

SIZE, OVERSAMPLING, NUM_VIEWS, STEP_DEGREES, FOV_DEGREES = 128, 4, 8, 15.0, 32.0
MIN_FILL, MIN_SIDE, MIN_LUMA = 0.08, 20, 24.0  # share of the frame; narrowest extent in pixels; mean gray of the object
SEE_THROUGH = 0.45  # materials less opaque than this are not drawn: window panes, drinking glasses

VERTEX = """
#version 330
uniform mat4 world_to_camera; uniform mat4 projection;
in vec3 position; in vec3 normal; in vec2 uv;
out vec3 at; out vec3 n; out vec2 texture_at;
void main() {
    vec4 p = world_to_camera * vec4(position, 1.0);
    at = p.xyz; n = mat3(world_to_camera) * normal; texture_at = uv;
    gl_Position = projection * vec4(p.x, -p.y, p.z, 1.0);
}
"""
FRAGMENT = """
#version 330
uniform sampler2D picture; uniform vec4 flat_color; uniform bool textured; uniform float part;
uniform vec3 key_light;
in vec3 at; in vec3 n; in vec2 texture_at;
layout(location=0) out vec4 color; layout(location=1) out vec4 surface; layout(location=2) out float part_id;
void main() {
    vec4 base = textured ? texture(picture, texture_at) : flat_color;
    if (base.a < 0.5) discard;
    vec3 ray = normalize(at);
    vec3 facing = normalize(cross(dFdx(at), dFdy(at)));
    if (dot(facing, ray) > 0.0) facing = -facing;
    vec3 m = length(n) > 1e-6 ? normalize(n) : facing;
    if (dot(m, facing) < 0.0) m = -m;
    float away = dot(m, ray);
    if (away > -0.03) m = normalize(m - (away + 0.03) * ray);
    vec3 albedo = pow(max(base.rgb, 0.03), vec3(2.2));
    float key = max(dot(m, -key_light), 0.0);
    float fill = max(dot(m, normalize(vec3(-0.8, -0.1, -0.6))), 0.0);
    float sky = 0.5 - 0.5 * m.y;
    float shine = pow(max(dot(reflect(key_light, m), -ray), 0.0), 24.0);
    vec3 light = vec3(0.22) + 0.20 * sky + 0.85 * key * vec3(1.0, 0.97, 0.92) + 0.25 * fill * vec3(0.9, 0.95, 1.0);
    color = vec4(pow(clamp(albedo * light + 0.05 * shine, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
    surface = vec4(m, at.z); part_id = part;
}
"""


@dataclass(frozen=True, eq=False)
class Views:
    """The views of one object; arrays have a leading axis of NUM_VIEWS and are SIZE x SIZE."""

    color: np.ndarray  # uint8 [F, H, W, 3], not premultiplied
    coverage: np.ndarray  # uint8 [F, H, W]; at least 128 is the object
    depth_m: np.ndarray  # float32 [F, H, W]; 0 outside
    normals: np.ndarray  # float32 [F, H, W, 3]; 0 outside
    parts: np.ndarray  # uint8 [F, H, W]; 0 outside
    camera: dict[str, float]


def is_good(views: Views) -> bool:
    """Whether the object fills the frame, is no sliver and is not black, in every view."""
    solid = views.coverage >= 128
    if solid.mean((1, 2)).min() < MIN_FILL or views.color[solid].mean() < MIN_LUMA:
        return False
    extents = [np.ptp(np.flatnonzero(view.any(axis))) + 1 for view in solid for axis in (0, 1)]
    return min(extents) >= MIN_SIDE


def load_meshes(item: Furniture) -> list[trimesh.Trimesh]:
    """The object's geometries, one a material, in meters, centered on the origin, y up."""
    scene = trimesh.load(item.model, force="scene", process=False)
    meshes = [
        mesh for _, mesh in sorted(scene.geometry.items()) if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)
    ]
    points = [mesh.vertices @ item.rotation.T for mesh in meshes]
    low = np.min([p.min(0) for p in points], axis=0)
    high = np.max([p.max(0) for p in points], axis=0)
    scale = np.array(item.size) / np.maximum(high - low, 1e-9)
    for mesh, point in zip(meshes, points, strict=True):
        normals = (np.array(mesh.vertex_normals) @ item.rotation.T) / scale
        mesh.vertices = (point - (low + high) / 2) * scale
        mesh.metadata["normals"] = _corner_normals(mesh, normals)
    return meshes


def _corner_normals(mesh: trimesh.Trimesh, normals: np.ndarray) -> np.ndarray:
    """Normals [3 * faces, 3] of the faces' corners: the vertices', but the face's at hard edges (37 degrees or more).

    Files without normals get smoothed ones from trimesh, which would round the edges of a box.
    """
    corners = normals[mesh.faces]
    corners = corners / np.maximum(np.linalg.norm(corners, axis=-1, keepdims=True), 1e-9)
    a, b, c = mesh.vertices[mesh.faces].swapaxes(0, 1)
    flat = np.cross(b - a, c - a)
    flat = (flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-12))[:, None]
    agree = np.abs((corners * flat).sum(-1, keepdims=True)) > 0.8
    return np.where(agree, corners, np.broadcast_to(flat, corners.shape)).reshape(-1, 3)


def world_to_camera(azimuth: float, elevation: float, distance: float, lift: float) -> np.ndarray:
    """float64 [4, 4]: a camera that looks at (0, lift, 0) from `distance` meters; angles in degrees."""
    a, e = np.radians(azimuth), np.radians(elevation)
    back = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    down = np.cross(-back, right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, down, -back])
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array([0, lift, 0]) + distance * back)
    return matrix


def fit_camera(points: np.ndarray, azimuths: np.ndarray, elevation: float) -> tuple[float, float]:
    """(distance, lift) at which the object just fits (93 % of the half side) in every view and stands in the middle."""
    points = points[:: max(1, len(points) // 4000)]
    reach = 0.93 * np.tan(np.radians(FOV_DEGREES) / 2)
    distance, lift = 2.5 * np.ptp(points, axis=0).max(), 0.0
    for _ in range(12):
        seen = np.stack(
            [
                world_to_camera(a, elevation, distance, lift)[:3] @ np.c_[points, np.ones(len(points))].T
                for a in azimuths
            ]
        )
        z = np.maximum(seen[:, 2], 1e-3 * distance)
        x, y = seen[:, 0] / z, seen[:, 1] / z
        lift -= 0.5 * (y.max() + y.min()) * distance / np.cos(np.radians(elevation))
        half = max(np.abs(x).max(), (y.max() - y.min()) / 2)
        distance = max(distance * half / reach, 0.6 * np.linalg.norm(points, axis=1).max())
    return float(distance), float(lift)


class Renderer:
    """Holds the OpenGL context, its programs and the frame it draws into, `oversampling` times as large as a view."""

    def __init__(self, oversampling: int = OVERSAMPLING):
        self.side = side = SIZE * oversampling
        self.context = moderngl.create_standalone_context(backend="egl")
        self.program = self.context.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        self.frame = self.context.framebuffer(
            [
                self.context.texture((side, side), 4),
                self.context.texture((side, side), 4, dtype="f4"),
                self.context.texture((side, side), 1, dtype="f4"),
            ],
            self.context.depth_renderbuffer((side, side)),
        )
        self.context.enable(moderngl.DEPTH_TEST)

    def views(self, meshes: list[trimesh.Trimesh], *, azimuth: float, elevation: float, light: np.ndarray) -> Views:
        """Draw 8 views, 15 degrees apart; `light` is the direction the key light travels, in camera axes."""
        azimuths = azimuth + STEP_DEGREES * np.arange(NUM_VIEWS)
        distance, lift = fit_camera(np.concatenate([mesh.vertices for mesh in meshes]), azimuths, elevation)
        near, far = 0.02 * distance, 4 * distance
        self.program["projection"].write(_projection(near, far).T.astype("f4").tobytes())
        self.program["key_light"].value = tuple(light / np.linalg.norm(light))
        drawn = [part for number, mesh in enumerate(meshes, 1) if (part := self._upload(mesh, number, meshes))]
        shrunk = []
        for view_azimuth in azimuths:
            matrix = world_to_camera(view_azimuth, elevation, distance, lift)
            self.program["world_to_camera"].write(matrix.T.astype("f4").tobytes())
            shrunk.append(_shrink(*self._draw(drawn)))
        for part in drawn:
            for resource in part[4:]:
                resource.release()
        color, coverage, depth, normals, parts = (np.stack(column) for column in zip(*shrunk, strict=True))
        camera = {"azimuth": round(azimuth, 2), "elevation": round(elevation, 2), "distance": round(distance, 4)}
        return Views(_exposed(color, coverage), coverage, depth, normals, _by_area(parts), camera)

    def _upload(self, mesh: trimesh.Trimesh, number: int, meshes: list[trimesh.Trimesh]) -> tuple | None:
        material = getattr(mesh.visual, "material", None)
        diffuse = np.array(getattr(material, "diffuse", (180, 180, 180, 255)), dtype=np.float64)[:4] / 255
        all_clear = all(_opacity(other) < SEE_THROUGH for other in meshes)
        if _opacity(mesh) < SEE_THROUGH and not all_clear:
            return None
        image, uv = getattr(material, "image", None), getattr(mesh.visual, "uv", None)
        textured = image is not None and uv is not None and len(uv) == len(mesh.vertices)
        picture = (image if textured else Image.new("RGBA", (1, 1))).convert("RGBA")
        picture.thumbnail((1024, 1024))
        texture = self.context.texture(picture.size, 4, picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes())
        texture.build_mipmaps()
        corners = mesh.faces.reshape(-1)
        uv = uv[corners] if textured else np.zeros((len(corners), 2))
        columns = np.concatenate([mesh.vertices[corners], mesh.metadata["normals"], uv], axis=1)
        buffer = self.context.buffer(columns.astype("f4").tobytes())
        array = self.context.vertex_array(self.program, [(buffer, "3f 3f 2f", "position", "normal", "uv")])
        return number, textured, (*diffuse[:3], 1.0), texture, array, buffer, texture

    def _draw(self, drawn: list[tuple]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.frame.use()
        self.frame.clear(0, 0, 0, 0)
        for number, textured, flat_color, texture, array, *_ in drawn:
            self.program["part"].value = number
            self.program["textured"].value = textured
            self.program["flat_color"].value = flat_color
            texture.use()
            array.render()
        side = self.side
        raw = [self.frame.read(components=4, attachment=0), self.frame.read(components=4, attachment=1, dtype="f4")]
        raw.append(self.frame.read(components=1, attachment=2, dtype="f4"))
        color = np.frombuffer(raw[0], np.uint8).reshape(side, side, 4)[::-1]
        surface = np.frombuffer(raw[1], np.float32).reshape(side, side, 4)[::-1]
        return color, surface, np.frombuffer(raw[2], np.float32).reshape(side, side)[::-1].astype(np.uint8)


def _opacity(mesh: trimesh.Trimesh) -> float:
    """The `d` of an MTL material; 1 where it states none."""
    material = getattr(mesh.visual, "material", None)
    return float((getattr(material, "kwargs", {}).get("d") or ["1"])[0])


def _projection(near: float, far: float) -> np.ndarray:
    """OpenGL's clip space for a camera that looks along +z (y is flipped in the shader)."""
    f = 1 / np.tan(np.radians(FOV_DEGREES) / 2)
    a, b = (far + near) / (far - near), -2 * far * near / (far - near)
    return np.array([[f, 0, 0, 0], [0, f, 0, 0], [0, 0, a, b], [0, 0, 1, 0]])


def _blocks(pixels: np.ndarray) -> np.ndarray:
    """[4H, 4W, C] -> [H, W, 16, C], or as many samples to a pixel as the frame has."""
    times, channels = pixels.shape[0] // SIZE, pixels.shape[-1]
    cut = pixels.reshape(SIZE, times, SIZE, times, channels).swapaxes(1, 2)
    return cut.reshape(SIZE, SIZE, times**2, channels)


def _shrink(color: np.ndarray, surface: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, ...]:
    """16 samples to a pixel: color and coverage are averaged; surface values come from the pixel's main part alone."""
    inside = _blocks(parts[..., None])[..., 0]  # [H, W, 16]
    hit = inside > 0
    count = hit.sum(-1)
    mean = (_blocks(color[..., :3]) * hit[..., None]).sum(-2) / np.maximum(count, 1)[..., None]
    part = inside[..., 0].copy()
    mixed = (inside != part[..., None]).any(-1)
    several = inside[mixed]  # [M, 16]; only where samples differ is there anything to vote on
    votes = (several[:, :, None] == several[:, None, :]).sum(-1) * (several > 0)
    part[mixed] = np.take_along_axis(several, votes.argmax(-1)[:, None], -1)[:, 0]
    samples_each = inside.shape[-1]
    solid = count * 255 >= 128 * samples_each  # the pixels whose coverage, stored in 8 bits, is at least 128
    of_part = (inside == part[..., None]) & hit
    samples = _blocks(surface)
    known = count > 0
    depth = np.zeros(known.shape, np.float32)
    along = np.sort(np.where(of_part[known], samples[known][..., 3], np.inf), axis=-1)  # [M, 16]
    middle = np.maximum(of_part[known].sum(-1) - 1, 0) // 2
    depth[known] = np.take_along_axis(along, middle[:, None], -1)[:, 0]
    normal = (samples[..., :3] * of_part[..., None]).sum(-2)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    coverage = np.floor(count * 255 / samples_each).astype(np.uint8)
    return (
        np.rint(mean).astype(np.uint8),
        coverage,
        np.where(solid, depth, 0).astype(np.float32),
        np.where(solid[..., None], normal, 0).astype(np.float32),
        np.where(solid, part, 0).astype(np.uint8),
    )


def _exposed(color: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """One gain for all views that brings a dark or glaring object nearer to middle gray."""
    luma = color[coverage >= 128].mean() if (coverage >= 128).any() else 128.0
    gain = np.clip((118 / max(luma, 1.0)) ** 0.5, 0.85, 1.7)
    return np.clip(color * gain, 0, 255).astype(np.uint8)


def _by_area(parts: np.ndarray) -> np.ndarray:
    """Part ids 1, 2, … from the largest visible part to the smallest; the 15th and smaller share one id."""
    ids, areas = np.unique(parts[parts > 0], return_counts=True)
    rank = np.zeros(256, np.uint8)
    rank[ids[np.argsort(-areas, kind="stable")]] = np.minimum(np.arange(1, len(ids) + 1), 15)
    return rank[parts]
