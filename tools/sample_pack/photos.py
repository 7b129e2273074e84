"""Photographs cut into crops of many scales, and real clips cut into frames; both come out as 128 x 128 RGB."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

from openlvm.core.seeds import rng
from sample_pack.packages import licenses_of_copyright

SIZE = 128
MIN_STD = 20.0  # of the gray values: sky and other plain crops fall below
MAX_OVERLAP = 0.45  # intersection over union of two crops of one photograph
ALLOWED = ("CC0-1.0", "CC-BY-4.0")  # of the wallpapers; the package also has CC-BY-SA ones, which stay out


@dataclass(frozen=True)
class Photograph:
    """A whole photograph with its credit."""

    name: str
    split: str
    pixels: np.ndarray
    source: str
    credit: str
    license: str


def wallpapers(tree: Path, package: str, heldout: set[str]) -> Iterator[Photograph]:
    """The wallpapers of an unpacked Debian package whose own licence is CC0 or CC-BY."""
    licenses = licenses_of_copyright((tree / f"usr/share/doc/{package}/copyright").read_text())
    for path in sorted((tree / "usr/share/backgrounds").glob("*.jpg")):
        author, license_id = licenses[path.name]
        if license_id in ALLOWED:
            name = path.name.split("_by_")[0].lower().replace("_", "-")
            opened = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            opened.thumbnail((2400, 2400), Image.Resampling.LANCZOS)
            split = "heldout" if name in heldout else "train"
            yield Photograph(name, split, np.asarray(opened), package, f"{path.name}, {author}", license_id)


def library_photographs(heldout: set[str]) -> Iterator[Photograph]:
    """The freely licensed photographs inside scikit-image and scikit-learn."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    rows = (
        ("chelsea", data.chelsea, "scikit-image", "Stefan van der Walt", "CC0-1.0"),
        ("coffee", data.coffee, "scikit-image", "Rachel Michetti, courtesy of Pikolo Espresso Bar", "CC0-1.0"),
        ("astronaut", data.astronaut, "scikit-image", "NASA Great Images, portrait of Eileen Collins", "PD"),
        ("rocket", data.rocket, "scikit-image", "SpaceX, launch of DSCOVR on Falcon 9", "PD"),
        ("china", lambda: load_sample_image("china.jpg"), "scikit-learn", "danielbuechele", "CC-BY-2.0"),
        ("flower", lambda: load_sample_image("flower.jpg"), "scikit-learn", "vultilion / danielbuechele", "CC-BY-2.0"),
    )
    for name, read, source, credit, license_id in rows:
        yield Photograph(name, "heldout" if name in heldout else "train", read(), source, credit, license_id)


def crops(photograph: Photograph, *, count: int, seed: int) -> list[tuple[tuple[int, int, int], np.ndarray]]:
    """Up to `count` square crops as ((left, top, side), uint8 [128, 128, 3]): the largest, then varied smaller ones."""
    chance = rng("crops", seed, photograph.name)
    height, width = photograph.pixels.shape[:2]
    short = min(height, width)
    found: list[tuple[tuple[int, int, int], np.ndarray]] = []
    for attempt in range(60 * count):
        smallest = max(SIZE, 0.16 * short)
        side = short if attempt == 0 else int(smallest * (short / smallest) ** chance.random())
        box = (int(chance.integers(0, width - side + 1)), int(chance.integers(0, height - side + 1)), side)
        if any(_overlap(box, other) > MAX_OVERLAP for other, _ in found):
            continue
        left, top, _ = box
        image = Image.fromarray(photograph.pixels[top : top + side, left : left + side])
        pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS))
        gray = pixels.mean(-1)
        if gray.std() >= MIN_STD and 25 < gray.mean() < 235:
            found.append((box, pixels))
            if len(found) == count:
                break
    return found


def _overlap(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[2], b[1] + b[2]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / (a[2] ** 2 + b[2] ** 2 - both)


def clip_frames(path: Path, *, first: int, last: int, stride: int) -> list[np.ndarray]:
    """Frames first, first + stride, … up to and with `last` of a video, center-cropped to uint8 [128, 128, 3]."""
    frames = []
    with av.open(str(path)) as video:
        for number, frame in enumerate(video.decode(video=0)):
            if number > last:
                break
            if number >= first and (number - first) % stride == 0:
                frames.append(np.asarray(ImageOps.fit(frame.to_image(), (SIZE, SIZE), Image.Resampling.LANCZOS)))
    return frames
