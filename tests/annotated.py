"""Annotations of every kind for tests: random scenes, as large as a photo, and extreme ones."""

from collections.abc import Callable

import numpy as np

from openlvm.core.images import ImagePreparation
from openlvm.core.records import Boxes, Depth, Disparity, Edges, Flow, Keypoints, Normals, Payload, Segmentation

HEIGHT, WIDTH = 96, 128
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH] + 0.5
PREPARATIONS = [
    ImagePreparation(size=64, fit="crop"),
    ImagePreparation(size=64, fit="squash"),
    ImagePreparation(size=160, fit="crop"),
]
PHOTO = (480, 640)
"""Height and width of the random scenes: those of COCO."""

STANDING = np.array(
    [
        *[(64, 18), (69, 13), (59, 13), (75, 18), (53, 18)],
        *[(76, 32), (52, 32), (82, 45), (46, 45), (88, 57), (40, 57)],
        *[(71, 57), (57, 57), (74, 72), (54, 72), (76.4, 88.3), (52.6, 87.9)],
    ],
    dtype=np.float32,
)
"""COCO's 17 joints of a person in a picture of HEIGHT and WIDTH."""


def source_places(preparation: ImagePreparation) -> tuple[np.ndarray, np.ndarray]:
    """Where the center of each pixel of the square lies in a picture of HEIGHT and WIDTH, (rows, columns)."""
    left, top, right, bottom = preparation.region(HEIGHT, WIDTH)
    steps = (np.arange(preparation.size) + 0.5) / preparation.size
    return (top + steps * (bottom - top))[:, None], (left + steps * (right - left))[None, :]


def hills(chance: np.random.Generator, channels: int = 1, size: tuple[int, int] = PHOTO) -> np.ndarray:
    """Smooth planes in 0..1, float32 [H, W, channels]: sums of waves of random direction."""
    down, right = (np.arange(length, dtype=np.float32) / min(size) for length in size)
    planes = []
    for _ in range(channels):
        plane = np.zeros(size, dtype=np.float32)
        for _ in range(4):
            phase, slope, across = 2 * np.pi * chance.random(), *(2 * np.pi * chance.uniform(-3, 3, 2))
            plane += np.outer(np.sin(slope * down + phase), np.cos(across * right))  # sin(a + b), as products
            plane += np.outer(np.cos(slope * down + phase), np.sin(across * right))
        planes.append((plane - plane.min()) / (plane.max() - plane.min()))
    return np.stack(planes, axis=-1).astype(np.float32)


def photo(chance: np.random.Generator, size: tuple[int, int] = PHOTO) -> np.ndarray:
    """Something like a photo, uint8 [H, W, 3]: soft colors and some grain."""
    return (40 + 170 * hills(chance, 3, size) + chance.integers(-8, 9, (*size, 3))).astype(np.uint8)


def holes(chance: np.random.Generator, size: tuple[int, int] = PHOTO) -> np.ndarray:
    """Where nothing is known: a few rectangles, bool [H, W]."""
    unknown = np.zeros(size, dtype=bool)
    for _ in range(3):
        top, left = (int(chance.integers(0, length)) for length in size)
        unknown[top : top + size[0] // 8, left : left + size[1] // 8] = True
    return unknown


def segmentation(chance: np.random.Generator) -> Segmentation:
    """Areas of up to a dozen ids of all 256, and some that are not labelled."""
    ids = chance.choice(256, size=12, replace=False)
    ids[:2] = 0, Segmentation.VOID
    return Segmentation(ids[(hills(chance)[..., 0] * 11.99).astype(int)].astype(np.int32))


def mask(chance: np.random.Generator) -> Segmentation:
    """A foreground."""
    return Segmentation((hills(chance)[..., 0] > 0.5).astype(np.int32))


def depth(chance: np.random.Generator) -> Depth:
    """From a meter or so to some tens of meters, with holes."""
    meters = chance.uniform(0.5, 2) * np.exp(chance.uniform(0.5, 3.5) * hills(chance)[..., 0])
    return Depth(np.where(holes(chance), 0, meters).astype(np.float32))


def disparity(chance: np.random.Generator) -> Disparity:
    """Up to a hundred pixels, with holes."""
    pixels = 1 + chance.uniform(20, 100) * hills(chance)[..., 0]
    return Disparity(np.where(holes(chance), np.nan, pixels).astype(np.float32))


def normals(chance: np.random.Generator) -> Normals:
    """Of a bumpy ground, towards the camera, with holes."""
    vectors = np.concatenate([2 * hills(chance, 2) - 1, -0.2 - hills(chance)], axis=-1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return Normals(np.where(holes(chance)[..., None], 0, vectors).astype(np.float32))


def edges(chance: np.random.Generator) -> Edges:
    """Soft contours."""
    return Edges((1 - np.abs(2 * hills(chance)[..., 0] - 1)) ** 8)


def flow(chance: np.random.Generator) -> Flow:
    """Up to some tens of pixels, with holes."""
    vectors = chance.uniform(2, 40) * (2 * hills(chance, 2) - 1)
    return Flow(np.where(holes(chance)[..., None], np.nan, vectors).astype(np.float32))


def person(chance: np.random.Generator) -> Keypoints:
    """One standing person of the 17 joints of COCO, its joints jostled, most of the middle of the picture high."""
    joints = (STANDING - (64, 50)) / 80 + chance.normal(0, 0.02, STANDING.shape)
    points = joints * chance.uniform(0.6, 1) * PHOTO[0] + (PHOTO[1] / 2, PHOTO[0] / 2)
    return Keypoints(points[None].astype(np.float32), chance.random((1, 17)) < 0.9, PHOTO)


def boxes(chance: np.random.Generator) -> Boxes:
    """Up to five boxes of different ids, none touching another, each in a cell of the middle of the picture."""
    cells = [(x, y) for x in (80, 240, 400) for y in (0, 160, 320)]
    chosen = chance.permutation(len(cells))[: chance.integers(1, 6)]
    corners = []
    for cell in chosen:
        left, top = np.array(cells[cell]) + chance.uniform(5, 50, 2)
        corners.append((left, top, left + chance.uniform(40, 100), top + chance.uniform(40, 100)))
    ids = chance.choice(np.arange(1, 256), size=len(corners), replace=False).astype(np.int32)
    return Boxes(np.array(corners, np.float32), ids, PHOTO)


RANDOM: dict[str, Callable[[np.random.Generator], Payload]] = {
    "segmentation": segmentation,
    "mask": mask,
    "depth": depth,
    "disparity": disparity,
    "normals": normals,
    "edges": edges,
    "flow": flow,
    "person": person,
    "boxes": boxes,
}
"""One random scene of each kind."""

_ONE = np.ones((40, 60), np.float32)
_CORNERS = np.array([[[0.0, 0.0], [59.99, 39.99]]], np.float32)

EXTREME: dict[str, Payload] = {
    "all void": Segmentation(np.full((40, 60), Segmentation.VOID, np.int32)),
    "highest id": Segmentation(np.full((40, 60), 255, np.int32)),
    "one pixel": Segmentation(np.ones((1, 1), np.int32)),
    "no depth known": Depth(0 * _ONE),
    "flat depth": Depth(3 * _ONE),
    "depth of nan and infinity": Depth(np.where(np.arange(60) < 30, np.nan, np.inf) * _ONE),
    "micrometers and kilometers": Depth(np.where(np.arange(60) < 30, 1e-6, 1e3).astype(np.float32) * _ONE),
    "no disparity known": Disparity(np.nan * _ONE),
    "flat disparity": Disparity(_ONE),
    "no normal known": Normals(np.zeros((40, 60, 3), np.float32)),
    "away from the camera": Normals(np.broadcast_to(np.array([0, 0, 1], np.float32), (40, 60, 3))),
    "no edges": Edges(0 * _ONE),
    "all edges": Edges(_ONE),
    "no flow known": Flow(np.full((40, 60, 2), np.nan, np.float32)),
    "standing still": Flow(np.zeros((40, 60, 2), np.float32)),
    "a millionth of a pixel": Flow(np.full((40, 60, 2), 1e-6, np.float32)),
    "nobody": Keypoints(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), bool), (40, 60)),
    "invisible": Keypoints(np.zeros((1, 17, 2), np.float32), np.zeros((1, 17), bool), (40, 60)),
    "far outside": Keypoints(np.full((1, 17, 2), 1e6, np.float32), np.ones((1, 17), bool), (40, 60)),
    "in the corners": Keypoints(_CORNERS, np.ones((1, 2), bool), (40, 60), ""),
    "all in one place": Keypoints(np.full((1, 17, 2), 20, np.float32), np.ones((1, 17), bool), (40, 60)),
    "no boxes": Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), (40, 60)),
    "the whole picture": Boxes(np.array([[0, 0, 60, 40]], np.float32), np.array([255], np.int32), (40, 60)),
    "beyond the picture": Boxes(np.array([[-9, -9, 99, 99]], np.float32), np.array([1], np.int32), (40, 60)),
    "thinner than a pixel": Boxes(np.array([[30, 20, 30.1, 20.1]], np.float32), np.array([9], np.int32), (40, 60)),
}
"""What could break drawing or reading, by what it is."""
