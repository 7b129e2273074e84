"""Drawing pieces from cameras: color, coverage, metric depth, normals and part ids in one pass, by OpenGL on EGL.

No window and no screen are needed: moderngl (extra `render`) uses a GPU's driver, or Mesa's llvmpipe, which computes
on the CPU (Debian: libegl1 libgl1-mesa-dri). Letters: F views, H = W = size.
"""

import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from openlvm.sources.rendered.camera import projection
from openlvm.sources.rendered.pieces import Piece, bounds, opaque, part_ids

OVERSAMPLING = 2
MAX_HEIGHT = 8192
"""Of a frame in which views stand one below the other, samples; every driver takes twice as many."""
TEXTURE_SIDES = 4
"""Textures are shrunk to about this many sides of a view, which no view can tell."""
LIGHT = (-0.35, 0.75, 0.6)
"""The way the main light goes, in camera axes: from the upper right behind the viewer. It stays with the camera."""

VERTEX = """
#version 330
uniform mat4 world_to_camera; uniform mat3 turned; uniform mat4 projection;
in vec3 position; in vec3 normal; in vec2 uv; in vec4 tint; in float part;
out vec3 at; out vec3 n; out vec2 texture_at; out vec4 color_of; flat out float part_of;
void main() {
    vec4 p = world_to_camera * vec4(position, 1.0);
    at = p.xyz; n = turned * normal; texture_at = uv; color_of = tint; part_of = part;
    gl_Position = projection * p;
}
"""
FRAGMENT = """
#version 330
uniform sampler2D picture; uniform vec3 light;
in vec3 at; in vec3 n; in vec2 texture_at; in vec4 color_of; flat in float part_of;
layout(location=0) out vec4 color; layout(location=1) out vec4 normal_of;
void main() {
    vec3 across = cross(dFdx(at), dFdy(at));
    vec4 base = texture(picture, texture_at) * color_of;
    if (base.a < 0.5) discard;
    vec3 ray = normalize(at);
    vec3 facing = length(across) > 0.0 ? normalize(across) : -ray;
    if (dot(facing, ray) > 0.0) facing = -facing;
    vec3 m = length(n) > 1e-6 ? normalize(n) : facing;
    if (dot(m, facing) < 0.0) m = -m;
    float away = dot(m, ray);
    if (away > -0.03) m = normalize(m - (away + 0.03) * ray);
    vec3 albedo = max(base.rgb, 0.03);
    float main_light = max(dot(m, -light), 0.0);
    float fill = max(dot(m, normalize(vec3(-0.8, -0.1, -0.6))), 0.0);
    float sky = 0.5 - 0.5 * m.y;
    float shine = max(dot(reflect(light, m), -ray), 0.0);
    shine = shine * shine * shine; shine *= shine; shine *= shine; shine *= shine;
    vec3 lit = vec3(0.22) + 0.20 * sky + 0.85 * main_light * vec3(1.0, 0.97, 0.92) + 0.25 * fill * vec3(0.9, 0.95, 1.0);
    color = vec4(sqrt(clamp(albedo * albedo * lit + 0.05 * shine, 0.0, 1.0)), part_of / 255.0);  // gamma 2
    normal_of = vec4(m, 1.0);
}
"""
WHOLE_FRAME = """
#version 330
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0); }
"""
# The samples of a pixel become one: color is averaged over those that hit; normal, depth and part are those of the part
# that most of them hit. 1/z is linear on the screen and in the depth buffer (where 1 is nothing), so that its mean over
# the samples of a flat part is exact in the middle of the pixel.
SHRINK = """
#version 330
#define TIMES {times}
#define SAMPLES (TIMES * TIMES)
uniform sampler2D colors; uniform sampler2D normals; uniform sampler2D depths;
uniform vec2 inverse_near_far;
layout(location=0) out vec4 mean_color; layout(location=1) out vec4 main_surface;
layout(location=2) out float main_part;
void main() {
    vec4 color[SAMPLES]; vec4 normal[SAMPLES]; float depth[SAMPLES];
    ivec2 corner = ivec2(gl_FragCoord.xy) * TIMES;
    float hits = 0.0, most = 0.0, chosen = 0.0;
    mean_color = main_surface = vec4(0.0); main_part = 0.0;
    for (int i = 0; i < SAMPLES; i++) {
        depth[i] = texelFetch(depths, corner + ivec2(i % TIMES, i / TIMES), 0).r;
        hits += float(depth[i] < 1.0);
    }
    if (hits == 0.0) return;
    for (int i = 0; i < SAMPLES; i++) {
        color[i] = texelFetch(colors, corner + ivec2(i % TIMES, i / TIMES), 0);
        normal[i] = texelFetch(normals, corner + ivec2(i % TIMES, i / TIMES), 0);
        mean_color.rgb += color[i].rgb / hits;  // black where nothing was hit
    }
    mean_color.a = hits / float(SAMPLES);
    if (2.0 * hits < float(SAMPLES)) return;
    for (int i = 0; i < SAMPLES; i++) {
        float votes = 0.0;
        for (int j = 0; j < SAMPLES; j++) votes += float(depth[j] < 1.0 && color[j].a == color[i].a);
        if (depth[i] < 1.0 && votes > most) { most = votes; chosen = color[i].a; }
    }
    vec4 sum = vec4(0.0);
    for (int i = 0; i < SAMPLES; i++) if (depth[i] < 1.0 && color[i].a == chosen) sum += vec4(normal[i].xyz, depth[i]);
    main_surface.xyz = sum.xyz / max(length(sum.xyz), 1e-9);
    main_surface.w = 1.0 / mix(inverse_near_far.x, inverse_near_far.y, sum.w / most);
    main_part = chosen;
}
"""


@dataclass(frozen=True, eq=False)
class Views:
    """An object from F cameras."""

    color: np.ndarray
    """uint8 [F, H, W, 3]: the object's own color, not mixed with what lies behind; black outside."""
    coverage: np.ndarray
    """uint8 [F, H, W]: share of the pixel that is object; at least 128 is the object, as in the arrays that follow."""
    depth_m: np.ndarray
    """float32 [F, H, W]: distance along the viewing axis in the object's unit; 0 outside."""
    normals: np.ndarray
    """float32 [F, H, W, 3]: unit vectors in camera axes, towards the camera; 0 outside."""
    parts: np.ndarray
    """uint8 [F, H, W]: part ids by surface, 1 the largest; 0 outside, and beyond 255."""

    def over(self, gray: int) -> np.ndarray:
        """The pictures before a plain gray, uint8 [F, H, W, 3]."""
        share = self.coverage[..., None].astype(np.uint16)
        return ((self.color * share + np.uint16(gray) * (255 - share) + 127) // 255).astype(np.uint8)


class Renderer:
    """An OpenGL context, its two programs, and the frames they draw into. For the thread that made it."""

    def __init__(self, size: int, *, fov_degrees: float, oversampling: int = OVERSAMPLING):
        """
        Args:
            size: side of a view, pixels.
            fov_degrees: what a view spans across.
            oversampling: samples along each side of a pixel.

        Raises:
            ImportError: moderngl or EGL is missing.
        """
        self.size, self.fov_degrees, self.fine = size, fov_degrees, size * oversampling
        self.at_once = max(1, MAX_HEIGHT // self.fine)
        self.context = context = _new_context()
        self.drawing = context.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        shrink = SHRINK.replace("{times}", str(oversampling))
        self.shrinking = context.program(vertex_shader=WHOLE_FRAME, fragment_shader=shrink)
        fine, coarse = (self.fine, self.fine * self.at_once), (size, size * self.at_once)
        self.samples = [context.texture(fine, 4), context.texture(fine, 4, dtype="f2"), context.depth_texture(fine)]
        self.fine_frame = context.framebuffer(self.samples[:2], self.samples[2])
        self.results = [
            context.texture(coarse, 4), context.texture(coarse, 4, dtype="f4"), context.texture(coarse, 1),
        ]  # fmt: skip
        self.frame = context.framebuffer(self.results)
        self.whole_frame = context.vertex_array(self.shrinking, [])
        self.samples[2].compare_func = ""  # read as numbers, not as a shadow
        for unit, (name, texture) in enumerate(zip(("colors", "normals", "depths"), self.samples, strict=True)):
            texture.filter = (context.NEAREST, context.NEAREST)
            self.shrinking[name].value = unit

    def draw(
        self, pieces: Sequence[Piece], cameras: np.ndarray, *, light: Sequence[float] | np.ndarray = LIGHT
    ) -> Views:
        """Draw an object.

        Args:
            pieces: the object; see-through ones are left out.
            cameras: world to camera, float64 [F, 4, 4], none of them within the object.
            light: the way the main light goes, in camera axes; of any length.
        """
        pieces = opaque(pieces)
        box, radius = bounds(pieces)
        along = cameras[:, 2, :3] @ box.mean(0) + cameras[:, 2, 3]
        far = along.max() + 1.01 * radius
        near = max(along.min() - 1.01 * radius, 1e-3 * far)
        with self.context, ExitStack() as released:
            self.drawing["projection"].write(projection(self.fov_degrees, near, far).T.astype("f4").tobytes())
            self.drawing["light"].value = tuple(np.asarray(light, np.float64) / np.linalg.norm(light))
            self.shrinking["inverse_near_far"].value = (1 / near, 1 / far)
            drawn = self._upload(pieces, released)
            starts = range(0, len(cameras), self.at_once)
            batches = [self._batch(drawn, box, cameras[start : start + self.at_once]) for start in starts]
        columns = zip(*batches, strict=True)
        color, surface, parts = (column[0] if len(column) == 1 else np.concatenate(column) for column in columns)
        return Views(
            color=color[..., :3],
            coverage=color[..., 3],
            depth_m=surface[..., 3],
            normals=surface[..., :3],
            parts=parts[..., 0],
        )

    def _upload(self, pieces: Sequence[Piece], released: ExitStack) -> list[tuple[Any, Any, int, int]]:
        """Everything in one buffer; returns (texture, vertex array, first corner, number of corners) a texture."""
        textures = {id(piece.texture): piece.texture for piece in pieces}
        places = {key: place for place, key in enumerate(textures)}
        order = sorted(range(len(pieces)), key=lambda number: places[id(pieces[number].texture)])
        ids = part_ids(pieces)
        starts = np.cumsum([0, *(len(pieces[number].points) for number in order)])
        corners = [pieces[number].triangles + start for number, start in zip(order, starts[:-1], strict=True)]
        vertices = self.context.buffer(b"".join(_vertices(pieces[number], ids[number]) for number in order))
        indices = self.context.buffer(np.concatenate(corners).astype("<u4").tobytes())
        columns = ("position", "normal", "uv", "tint", "part")
        array = self.context.vertex_array(self.drawing, [(vertices, "3f 3f 2f 4f1 1f", *columns)], indices)
        for thing in (vertices, indices, array):
            released.callback(thing.release)
        drawn, first = [], 0
        for key, pixels in textures.items():
            texture = self._texture(pixels)
            released.callback(texture.release)
            count = sum(3 * len(piece.triangles) for piece in pieces if id(piece.texture) == key)
            drawn.append((texture, array, first, count))
            first += count
        return drawn

    def _extent(self, box: np.ndarray, camera: np.ndarray) -> tuple[int, int, int, int]:
        """Pixels (left, top, right, bottom) beyond which nothing of a box is seen: samples there need not be shrunk."""
        corners = np.array([[x, y, z, 1] for x in box[:, 0] for y in box[:, 1] for z in box[:, 2]]) @ camera[:3].T
        if corners[:, 2].min() <= 0:
            return 0, 0, self.size, self.size
        places = corners[:, :2] / corners[:, 2:] / np.tan(np.radians(self.fov_degrees) / 2)  # the frame is -1 to 1
        pixels = (np.clip(places, -1, 1) + 1) / 2 * self.size
        (left, top), (right, bottom) = np.floor(pixels.min(0)), np.ceil(pixels.max(0))
        return int(left), int(top), int(right), int(bottom)

    def _texture(self, pixels: np.ndarray | None) -> Any:
        if pixels is None:
            return self.context.texture((1, 1), 4, b"\xff" * 4)
        image = Image.fromarray(pixels)
        image = image.resize([self._texture_side(side) for side in image.size], Image.Resampling.BOX)
        texture = self.context.texture(image.size, 4, image.tobytes())
        texture.build_mipmaps()
        return texture

    def _texture_side(self, side: int) -> int:
        """The power of two next to a side: for the mipmaps of any other, llvmpipe compiles a program, for 70 ms."""
        return 2 ** round(np.log2(min(side, TEXTURE_SIDES * self.size)))

    def _batch(
        self, drawn: list[tuple[Any, Any, int, int]], box: np.ndarray, cameras: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Views one below the other in one frame, which is read once: color, surface and parts, each [B, H, W, C]."""
        self.fine_frame.use()
        self.fine_frame.viewport = self.fine_frame.scissor = (0, 0, self.fine, self.fine * len(cameras))
        self.fine_frame.clear()
        self.context.enable_only(self.context.DEPTH_TEST)
        for place, camera in enumerate(cameras):
            self.fine_frame.viewport = self.fine_frame.scissor = (0, place * self.fine, self.fine, self.fine)
            self.drawing["world_to_camera"].write(camera.T.astype("f4").tobytes())
            self.drawing["turned"].write(camera[:3, :3].T.astype("f4").tobytes())
            for texture, array, first, count in drawn:
                texture.use()
                array.render(vertices=count, first=first)
        self.frame.use()
        self.frame.viewport = self.frame.scissor = (0, 0, self.size, self.size * len(cameras))
        self.context.enable_only(self.context.NOTHING)
        for unit, sampled in enumerate(self.samples):
            sampled.use(unit)
        self.frame.clear()
        for place, camera in enumerate(cameras):
            left, top, right, bottom = self._extent(box, camera)
            self.frame.scissor = (left, place * self.size + top, right - left, bottom - top)
            self.whole_frame.render(vertices=3)
        shape = (len(cameras), self.size, self.size, -1)
        kinds = (("f1", np.uint8, 4), ("f4", np.float32, 4), ("f1", np.uint8, 1))
        raw = [
            self.frame.read(self.frame.viewport, components=width, attachment=number, dtype=kind)
            for number, (kind, _, width) in enumerate(kinds)
        ]
        return tuple(np.frombuffer(one, kind[1]).reshape(shape) for one, kind in zip(raw, kinds, strict=True))


def _vertices(piece: Piece, part: int) -> bytes:
    rows = np.empty(
        len(piece.points),
        [("position", "<f4", 3), ("normal", "<f4", 3), ("uv", "<f4", 2), ("tint", "u1", 4), ("part", "<f4")],
    )
    length = np.linalg.norm(piece.normals, axis=-1, keepdims=True)
    rows["position"], rows["normal"] = piece.points, piece.normals / np.where(length > 0, length, 1)
    rows["uv"], rows["tint"], rows["part"] = piece.uv, piece.tints, part
    return rows.tobytes()


def require_moderngl() -> None:
    """An ImportError that says how to get moderngl, where it is not installed."""
    _import_moderngl()


def _import_moderngl() -> Any:
    try:
        import moderngl
    except ImportError:
        raise ImportError("rendering models needs moderngl: pip install openlvm[render]") from None
    return moderngl


_started_in: list[int] = []  # the process that started OpenGL


def _new_context() -> Any:
    moderngl = _import_moderngl()
    if _started_in and _started_in[0] != os.getpid():
        raise RuntimeError("a process forked from one that has drawn would wait for ever; start it by 'spawn' instead")
    try:
        context = moderngl.create_context(standalone=True, backend="egl", require=330)
    except Exception as error:  # moderngl raises bare Exceptions
        raise ImportError(
            f"OpenGL could not be started without a screen ({error}). It needs EGL and a driver; on Debian and Ubuntu: "
            f"apt-get install libegl1 libgl1-mesa-dri"
        ) from None
    _started_in[:] = [os.getpid()]
    return context


def shared_renderer(size: int, fov_degrees: float) -> Renderer:
    """This thread's renderer for views of one kind: made at the first call, since a context costs tens of milliseconds.

    Raises:
        ImportError: moderngl or EGL is missing.
        RuntimeError: this process was forked from one that has drawn.
    """
    return _renderer_of(size, fov_degrees, os.getpid(), threading.get_ident())


@lru_cache(maxsize=4)
def _renderer_of(size: int, fov_degrees: float, _process: int, _thread: int) -> Renderer:
    return Renderer(size, fov_degrees=fov_degrees)
