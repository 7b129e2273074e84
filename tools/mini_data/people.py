"""People in motion: pybullet's humanoid in the poses of DeepMimic's motion capture, dressed, and given a face.

Shoulders, elbows, wrists, hips, knees and ankles are the model's own joints; nose, eyes and ears are points that this
file chose on the ball that is the head. All are projected exactly. World axes of the model: x forward, y up, z right.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pybullet
import pybullet_data
from sample_pack.rendering import FOV_DEGREES, SIZE
from sample_pack.strips import write_cutout, write_depth

from openlvm.core.seeds import rng

OVERSAMPLING, SCALE = 3, 0.25  # the model is written 4 times life size
HELDOUT_MOTIONS = {"kick", "dance_b", "getup_faceup"}
NEAR, FAR = 0.3, 40.0
HEAD_RADIUS = 0.105  # meters; the head's center is HEAD_UP above the neck's joint
HEAD_UP = 0.175
FACE = {  # of the head's radius, from its center: (forward, up, right)
    "nose": (1.0, -0.05, 0.0),
    "left_eye": (0.88, 0.3, -0.36),
    "right_eye": (0.88, 0.3, 0.36),
    "left_ear": (0.0, 0.1, -1.0),
    "right_ear": (0.0, 0.1, 1.0),
}
WAIST = (0.3, 0.5, 0.7)  # where balls close the gap between hips and chest, of the way from hips to neck
EYES = (12, 12, 20)
BODY = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")  # each left, then right, as COCO has them
CLOTHES = {
    "skin": ("neck", "right_wrist", "left_wrist", "right_elbow", "left_elbow"),
    "shirt": ("chest", "right_shoulder", "left_shoulder"),
    "trousers": ("root", "right_hip", "left_hip", "right_knee", "left_knee"),
    "shoes": ("right_ankle", "left_ankle"),
}
SKINS = ((240, 200, 170), (224, 172, 140), (198, 134, 96), (141, 85, 56), (96, 60, 44))
HAIR = ((30, 24, 20), (80, 52, 30), (150, 106, 60), (210, 180, 120), (120, 120, 120), (140, 60, 30))


@dataclass(frozen=True, eq=False)
class Person:
    """One picture of a person."""

    pixels: np.ndarray
    """uint8 [128, 128, 4], coverage last; colors run on outside."""
    depth_m: np.ndarray
    """float32 [128, 128]; 0 outside."""
    joints: np.ndarray
    """float64 [17, 2], pixels."""
    visible: np.ndarray
    """bool [17]: inside the frame; those of the face only where nothing hides them."""


class Stage:
    """Holds the process's only physics world, with the humanoid and the balls that are its face, hair and waist."""

    def __init__(self):
        if not pybullet.isConnected():
            pybullet.connect(pybullet.DIRECT)
        pybullet.resetSimulation()
        at = str(Path(pybullet_data.getDataPath()) / "humanoid" / "humanoid.urdf")
        flags = pybullet.URDF_MAINTAIN_LINK_ORDER
        self.body = pybullet.loadURDF(at, globalScaling=SCALE, flags=flags)
        joints = (pybullet.getJointInfo(self.body, n) for n in range(pybullet.getNumJoints(self.body)))
        self.links = {joint[12].decode(): joint[0] for joint in joints}
        self.balls = {name: self._ball(radius) for name, radius in (("nose", 0.2), ("left_eye", 0.17))}
        self.balls |= {"right_eye": self._ball(0.17), "hair": self._ball(1.02), "throat": self._ball(0.5)}
        self.balls |= {f"waist{place}": self._ball(1.02) for place in range(len(WAIST))}

    def _ball(self, radius: float) -> int:
        shape = pybullet.createVisualShape(pybullet.GEOM_SPHERE, radius=radius * HEAD_RADIUS)
        return pybullet.createMultiBody(baseVisualShapeIndex=shape)

    def dress(self, chance: np.random.Generator) -> None:
        """Draw colors for skin, hair and clothes."""
        colors = {name: chance.uniform(20, 245, 3) for name in ("shirt", "trousers", "shoes")}
        colors["skin"] = np.array(SKINS[chance.integers(len(SKINS))], dtype=np.float64)
        for cloth, links in CLOTHES.items():
            for link in links:
                pybullet.changeVisualShape(self.body, self.links[link], rgbaColor=[*colors[cloth] / 255, 1])
        hair = np.array(HAIR[chance.integers(len(HAIR))]) / 255
        for name, color in (("nose", colors["skin"] * 0.8 / 255), ("hair", hair)):
            pybullet.changeVisualShape(self.balls[name], -1, rgbaColor=[*color, 1])
        for name, color in (("left_eye", EYES), ("right_eye", EYES), ("throat", colors["skin"])):
            pybullet.changeVisualShape(self.balls[name], -1, rgbaColor=[*np.array(color) / 255, 1])
        for place in range(len(WAIST)):
            pybullet.changeVisualShape(self.balls[f"waist{place}"], -1, rgbaColor=[*colors["shirt"] / 255, 1])

    def pose(self, frame: np.ndarray) -> np.ndarray:
        """Put the humanoid into a motion's frame [44]; the 17 joints of COCO in world axes, float64 [17, 3]."""
        turn = _xyzw(frame[4:8])
        pybullet.resetBasePositionAndOrientation(self.body, frame[1:4], turn)
        at = 8
        for name in ("chest", "neck", *_legs_and_arms()):
            size = 1 if name.endswith(("knee", "elbow")) else 4
            value = frame[at : at + size]
            pybullet.resetJointStateMultiDof(self.body, self.links[name], _xyzw(value) if size == 4 else value)
            at += size
        states = {
            name: pybullet.getLinkState(self.body, link, computeForwardKinematics=True)
            for name, link in self.links.items()
        }
        axes = np.array(pybullet.getMatrixFromQuaternion(states["neck"][5])).reshape(3, 3)
        head = np.array(states["neck"][4]) + axes @ np.array([0, HEAD_UP, 0])
        face = {name: head + HEAD_RADIUS * axes @ np.array(offset) for name, offset in FACE.items()}
        for name in ("nose", "left_eye", "right_eye"):
            pybullet.resetBasePositionAndOrientation(self.balls[name], 0.96 * face[name] + 0.04 * head, [0, 0, 0, 1])
        back = head + HEAD_RADIUS * axes @ np.array([-0.22, 0.2, 0])
        pybullet.resetBasePositionAndOrientation(self.balls["hair"], back, [0, 0, 0, 1])
        throat = np.array(states["neck"][4]) + axes @ np.array([0, 0.05, 0])
        pybullet.resetBasePositionAndOrientation(self.balls["throat"], throat, [0, 0, 0, 1])
        for place, share in enumerate(WAIST):
            at_waist = share * np.array(states["neck"][4]) + (1 - share) * np.array(states["root"][4])
            pybullet.resetBasePositionAndOrientation(self.balls[f"waist{place}"], at_waist, [0, 0, 0, 1])
        body = [states[f"{side}_{name}"][4] for name in BODY for side in ("left", "right")]
        return np.array([*face.values(), *body])


def _legs_and_arms() -> list[str]:
    return [f"{side}_{joint}" for side in ("right", "left") for joint in ("hip", "knee", "ankle", "shoulder", "elbow")]


def _xyzw(wxyz: np.ndarray) -> list[float]:
    return [*wxyz[1:], wxyz[0]]


def photographed(stage: Stage, joints: np.ndarray, chance: np.random.Generator) -> Person:
    """The posed humanoid from a random side, most of the frame long, somewhat off its middle."""
    azimuth, elevation = chance.uniform(0, 2 * np.pi), np.radians(chance.uniform(-5, 30))
    back = np.array([np.cos(elevation) * np.cos(azimuth), np.sin(elevation), np.cos(elevation) * np.sin(azimuth)])
    middle = (joints.min(0) + joints.max(0)) / 2
    reach = np.tan(np.radians(FOV_DEGREES) / 2)
    extent = max(np.ptp(joints - np.outer(joints @ back, back), axis=0).max(), 0.7) + 0.2
    distance = extent / (2 * reach * chance.uniform(0.72, 0.95)) + 0.2
    right = np.cross([0.0, 1.0, 0.0], back)
    middle = middle + distance * reach * (chance.uniform(-0.12, 0.12) * right + [0, chance.uniform(-0.06, 0.06), 0])
    view = pybullet.computeViewMatrix(middle + distance * back, middle, [0, 1, 0])
    projection = pybullet.computeProjectionMatrixFOV(FOV_DEGREES, 1.0, NEAR, FAR)
    side = SIZE * OVERSAMPLING
    light = back + chance.uniform(-0.8, 0.8, 3) + [0, 0.6, 0]
    *_, color, depth, ids = pybullet.getCameraImage(
        side,
        side,
        view,
        projection,
        lightDirection=list(light),
        lightAmbientCoeff=0.55,
        lightDiffuseCoeff=0.5,
        lightSpecularCoeff=0.05,
        shadow=0,
        renderer=pybullet.ER_TINY_RENDERER,
    )
    pixels, depth_m = _shrunk(np.reshape(color, (side, side, 4)), np.reshape(depth, (side, side)), np.array(ids))
    placed, ahead = _projected(joints, view, projection)
    return Person(pixels, depth_m, placed, _visible(placed, ahead, depth_m))


def _projected(points: np.ndarray, view: Any, projection: Any) -> tuple[np.ndarray, np.ndarray]:
    """World points [J, 3] as pixels [J, 2], and their distance along the viewing axis [J] in meters."""
    seen = np.c_[points, np.ones(len(points))] @ np.reshape(view, (4, 4))
    clip = seen @ np.reshape(projection, (4, 4))
    plane = clip[:, :2] / clip[:, 3:]
    return (plane * [1, -1] + 1) / 2 * SIZE, -seen[:, 2]


def _visible(placed: np.ndarray, ahead: np.ndarray, depth_m: np.ndarray) -> np.ndarray:
    inside = ((placed >= 0) & (placed < SIZE)).all(1)
    column, row = np.clip(placed.astype(int), 0, SIZE - 1).T
    met = depth_m[row, column]
    hidden = (met > 0) & (met < ahead - 0.05)
    return inside & ~(hidden & (np.arange(len(placed)) < len(FACE)))


def _shrunk(color: np.ndarray, buffer: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The oversampled frame at SIZE: color and coverage are averaged, depth is the middle one of a pixel's samples."""
    cut = (SIZE, OVERSAMPLING, SIZE, OVERSAMPLING, -1)
    samples = OVERSAMPLING**2
    hit = (ids.reshape(SIZE * OVERSAMPLING, -1) >= 0).reshape(cut).swapaxes(1, 2).reshape(SIZE, SIZE, samples)
    rgb = color[..., :3].reshape(cut).swapaxes(1, 2).reshape(SIZE, SIZE, samples, 3)
    meters = FAR * NEAR / (FAR - (FAR - NEAR) * buffer.astype(np.float64))
    meters = np.sort(np.where(hit, meters.reshape(cut).swapaxes(1, 2).reshape(SIZE, SIZE, samples), np.inf), axis=-1)
    count = hit.sum(-1)
    mean = (rgb * hit[..., None]).sum(-2) / np.maximum(count, 1)[..., None]
    coverage = np.floor(255 * count / samples)
    middle = np.take_along_axis(meters, (np.maximum(count - 1, 0) // 2)[..., None], -1)[..., 0]
    depth_m = np.where(coverage >= 128, middle, 0).astype(np.float32)
    return np.dstack([np.rint(mean), coverage]).astype(np.uint8), depth_m


def motions() -> dict[str, np.ndarray]:
    """Name -> frames, float64 [F, 44], of the humanoid's motion clips."""
    folder = Path(pybullet_data.getDataPath()) / "data" / "motions"
    found = sorted(folder.glob("humanoid3d_*.txt"))
    return {path.stem.removeprefix("humanoid3d_"): np.array(json.loads(path.read_text())["Frames"]) for path in found}


def people(counts: dict[str, int], *, seed: int) -> Iterator[tuple[dict[str, Any], Person]]:
    """Pictures of every motion, `counts` of them by split; (pack.json's entry without what the files add, picture)."""
    stage = Stage()
    for motion, frames in motions().items():
        split = "heldout" if motion in HELDOUT_MOTIONS else "train"
        for number in range(counts[split]):
            chance = rng("person", seed, motion, number)
            stage.dress(chance)
            frame = int(chance.integers(len(frames)))
            person = photographed(stage, stage.pose(frames[frame]), chance)
            entry = {"name": f"{motion}-{number:03d}", "clip": motion, "split": split, "frame": frame}
            entry |= {"joints": person.joints.round(2).tolist(), "visible": person.visible.tolist()}
            credit = "Bullet Physics SDK, E. Coumans; motions of DeepMimic, X. B. Peng et al."
            yield entry | {"source": "pybullet", "credit": credit, "license": "Zlib"}, person


def write_people(at: Path, found: Iterable[tuple[dict[str, Any], Person]]) -> list[dict[str, Any]]:
    """Write people below `at`/poses; pack.json's entries."""
    entries = []
    for entry, person in found:
        stem = at / "poses" / entry["split"] / entry["clip"] / entry["name"]
        write_cutout(stem.with_suffix(".webp"), person.pixels)
        entries.append(entry | write_depth(stem.with_suffix(".depth.webp"), person.depth_m))
    return entries
