"""Answers written as what they mean: annotations as arrays in their units, confidence, and a moving picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from openlvm.cli.prompt.options import Reading, Showing
from openlvm.core.files import atomic_write
from openlvm.core.images import write_image
from openlvm.core.records import Boxes, Depth, Disparity, Edges, Flow, Keypoints, Normals, Segmentation
from openlvm.sentences.render import (
    draw_boxes,
    draw_depth,
    draw_disparity,
    draw_edges,
    draw_flow,
    draw_keypoints,
    draw_normals,
    draw_openpose,
    draw_segmentation,
)

if TYPE_CHECKING:
    from openlvm.prompting.answers import Answer

GIF_MS = 250  # of each picture
Read = tuple[np.ndarray, np.ndarray]
"""What an answer says as an array, and drawn as a picture uint8 [H, W, 3]."""


def write_readings(answer: "Answer", options: Showing) -> dict[str, list[Path]]:
    """Write what --read and --confidence ask for, of every candidate C and frame F.

    candidate-C-image-F-READING.npy and .png (or .webp); a confidence map is read with `confidence` as READING.

    Returns:
        the arrays written, by name of the reading.
    """
    wanted: dict[str, Callable[[int, int], Read]] = {}
    if options.read is not None:
        read = READ[options.read]
        wanted[options.read] = lambda c, f: read(answer, options, c, f)
    if options.confidence:
        wanted["confidence"] = lambda c, f: _confidence(answer, c, f)
    written: dict[str, list[Path]] = {name: [] for name in wanted}
    for name, read_one in wanted.items():
        for c, f in np.ndindex(answer.images.shape[:2]):
            array, picture = read_one(c, f)
            at = options.out / f"candidate-{c}-image-{f}-{name}.npy"
            with atomic_write(at) as file:
                np.save(file, array)
            write_image(at.with_suffix(f".{options.format}"), picture, **lossless(options.format))
            written[name].append(at)
    return written


def lossless(ending: str) -> dict[str, Any]:
    """Pillow's options for a picture file without loss."""
    return {"lossless": True} if ending == "webp" else {}


def _mask(answer: "Answer", options: Showing, c: int, f: int) -> Read:
    mask = answer.mask(c, f)
    return mask, draw_segmentation(Segmentation(mask.astype(np.int32)), colors="binary")


def _classes(answer: "Answer", options: Showing, c: int, f: int) -> Read:
    ids = answer.classes(options.ids, c, f)
    return ids, draw_segmentation(Segmentation(ids))


def _depth(answer: "Answer", options: Showing, c: int, f: int) -> Read:
    drawn = draw_depth(Depth(answer.depth(1.0, 2.0, c, f)))  # its own range; the nearest at 0 would be drawn as unknown
    return answer.depth(*options.depth_range, c, f), drawn


def _disparity(answer: "Answer", options: Showing, c: int, f: int) -> Read:
    drawn = draw_disparity(Disparity(answer.disparity(1.0, 2.0, c, f)))  # as with depth
    return answer.disparity(*options.disparity_range, c, f), drawn


def _flow(answer: "Answer", options: Showing, c: int, f: int) -> Read:
    vectors = answer.flow(options.fastest, c, f)
    return vectors, draw_flow(Flow(vectors))


def _normals(answer: "Answer", options: Showing, c: int, f: int) -> Read:
    vectors = answer.normals(c, f)
    return vectors, draw_normals(Normals(vectors))


def _edges(answer: "Answer", options: Showing, c: int, f: int) -> Read:
    strength = answer.edges(c, f)
    return strength, draw_edges(Edges(strength))


def _keypoints(answer: "Answer", options: Showing, c: int, f: int) -> Read:
    found = answer.keypoints(c=c, f=f)
    return _joints(found), draw_keypoints(found)


def _openpose(answer: "Answer", options: Showing, c: int, f: int) -> Read:
    found = answer.openpose(c=c, f=f)
    return _joints(found), draw_openpose(found)


def _joints(found: Keypoints) -> np.ndarray:
    """float32 [J, 3]: x, y in pixels, and 1 where the joint is seen."""
    return np.concatenate([found.points[0], found.visible[0, :, None]], axis=1).astype(np.float32)


def _boxes(answer: "Answer", options: Showing, c: int, f: int) -> Read:
    """float32 [boxes, 5]: left, top, right, bottom in pixels, and the id."""
    found: Boxes = answer.boxes(options.ids or (1,), c, f)
    return np.concatenate([found.corners, found.ids[:, None]], axis=1).astype(np.float32), draw_boxes(found)


def _confidence(answer: "Answer", c: int, f: int) -> Read:
    certain = answer.confidence(c, f)
    return certain, np.repeat(np.rint(255 * certain).astype(np.uint8)[..., None], 3, axis=-1)


READ: dict[Reading, Callable[["Answer", Showing, int, int], Read]] = {
    "mask": _mask,
    "classes": _classes,
    "depth": _depth,
    "disparity": _disparity,
    "normals": _normals,
    "edges": _edges,
    "flow": _flow,
    "keypoints": _keypoints,
    "openpose": _openpose,
    "boxes": _boxes,
}
"""Name of a reading -> what it gives."""


def write_gif(at: Path, frames: Sequence[np.ndarray]) -> None:
    """A moving picture that repeats, of frames uint8 [H, W, 3] of one size; GIF has 256 colors a frame."""
    first, *others = map(Image.fromarray, frames)
    with atomic_write(at) as file:
        first.save(file, format="GIF", save_all=True, append_images=others, duration=GIF_MS, loop=0)
