"""Drawings with exact outlines: the public-domain clip art of a Debian package, cropped to a square and shrunk.

A drawing is kept when it is one thing that fills its square, has an outline, and is neither a faint line nor white.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sample_pack.strips import write_cutout
from scipy.ndimage import label

from openlvm.core.seeds import seed_of

PACKAGE, SIZE = "openclipart-png", 128
MARGIN = 0.04  # of the square's side, left free around the drawing
FOLDERS = ("animals", "buildings", "clothing", "containers", "decorations", "education", "electronics", "food")
FOLDERS += ("office", "people", "plants", "recreation", "science", "tools", "transportation", "unsorted")
LEFT_OUT = "aiga-symbols|roadsigns|weapons|religion|pantyhose|stickmen|astronomy|duplicates|cards|battery|telephone"
MOST_OF_A_FOLDER = 200
MIN_FILL, MAX_FILL, MIN_EXTENT = 0.14, 0.84, 0.36  # share of the square; of its side
MIN_BODY = 0.9  # share of the drawing that hangs together
MAX_CLEAR = 0.2  # half transparent pixels, of the opaque ones: glass, shadows, placeholders for lost pictures
LUMA, MIN_SPREAD = (30.0, 225.0), 12.0  # mean of the gray values of the drawing; their standard deviation
HELDOUT_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Stamp:
    """One drawing, cut out."""

    name: str
    label: str
    split: str
    pixels: np.ndarray
    """uint8 [128, 128, 4]; colors run on outside."""
    file: str


def stamps(tree: Path) -> Iterator[Stamp]:
    """The usable drawings of the unpacked package, in the order of their paths, none of them twice."""
    root = tree / "usr/share/openclipart/png"
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("*.png")):
        folder = path.relative_to(root).parts[:-1]
        if not path.is_symlink() and folder and folder[0] in FOLDERS and not set(folder) & set(LEFT_OUT.split("|")):
            groups["-".join(folder)].append(path)
    seen: set[bytes] = set()
    for name, paths in sorted(groups.items()):
        kept = 0
        for path in sorted(paths, key=lambda path: seed_of("stamp", path.name)):
            pixels = cut_out(path)
            if pixels is None or kept == MOST_OF_A_FOLDER or (print_ := _print(pixels)) in seen:
                continue
            seen.add(print_)
            kept += 1
            stem = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")
            yield Stamp(f"{name}-{stem}", name, _split(name, stem), pixels, str(path.relative_to(root)))


def _split(folder: str, stem: str) -> str:
    """Drawings whose names begin with one word ("ladybug-01", "ladybug-02") are of one split."""
    word = re.match("[a-z]*", stem)
    assert word is not None
    return "heldout" if seed_of("mini stamp", folder, word[0] or stem) % 1000 < 1000 * HELDOUT_SHARE else "train"


def cut_out(path: Path) -> np.ndarray | None:
    """The drawing in a square, uint8 [128, 128, 4]; None where it is no good stamp."""
    with Image.open(path) as opened:
        if opened.width * opened.height > 4_000_000 or min(opened.size) < 64:
            return None
        drawing = opened.convert("RGBA")
    box = drawing.getchannel("A").point(lambda value: 255 * (value >= 32)).getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < MIN_EXTENT * max(box[2] - box[0], box[3] - box[1]):
        return None
    side = max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * MARGIN)
    middle_x, middle_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    window = (round(middle_x - side / 2), round(middle_y - side / 2), round(middle_x + side / 2))
    square = drawing.crop((*window, window[1] + window[2] - window[0])).convert("RGBa")
    pixels = np.asarray(square.resize((SIZE, SIZE), Image.Resampling.LANCZOS).convert("RGBA"))
    return pixels if _is_good(pixels) else None


def _is_good(pixels: np.ndarray) -> bool:
    solid = pixels[..., 3] >= 128
    clear = (pixels[..., 3] > 40) & (pixels[..., 3] < 215)
    if clear.sum() > MAX_CLEAR * solid.sum():
        return False
    if not MIN_FILL <= solid.mean() <= MAX_FILL:
        return False
    gray = pixels[solid][:, :3].mean(-1)
    areas = np.bincount(label(solid)[0].reshape(-1))[1:]
    return bool(LUMA[0] < gray.mean() < LUMA[1] and gray.std() >= MIN_SPREAD and areas.max() >= MIN_BODY * areas.sum())


def _print(pixels: np.ndarray) -> bytes:
    """A drawing's outline in 12 x 12 cells: the same for copies, and for a drawing in other colors."""
    small = Image.fromarray(pixels[..., 3]).resize((12, 12), Image.Resampling.BOX)
    return (np.asarray(small) >= 128).tobytes()


def write_stamps(at: Path, found: Iterable[Stamp]) -> list[dict[str, Any]]:
    """Write stamps below `at`/stamps; pack.json's entries."""
    entries = []
    for stamp in found:
        write_cutout(at / "stamps" / stamp.split / f"{stamp.name}.webp", stamp.pixels)
        credit = {"source": PACKAGE, "credit": f"openclipart.org, {stamp.file}", "license": "PD"}
        entries.append({"name": stamp.name, "label": stamp.label, "split": stamp.split, **credit})
    return entries
