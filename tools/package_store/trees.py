"""Folders of pictures out of packages: emoji, stamps with alpha, a stereo pair, films and photographs.

Each function fills a folder once (it is whole or absent) and returns it.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from openlvm.core.files import atomic_folder
from openlvm.core.images import read_image

FONT, FONT_SIZE = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf", 109  # the one size its bitmaps have
EMOJI_BOX = (136, 128)
EMOJI_RANGES = ((0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF), (0x1FA70, 0x1FAFF), (0x2600, 0x27BF))
MIN_INK, MIN_SIDE = 0.1, 96  # share of the square that is drawn; pixels of a stamp's short side
WINDOW, STEP = 160, 64  # pixels of a crop of a stereo pair, and between crops
MIN_KNOWN = 0.6  # share of a crop whose disparity is known


def _write_cutout(at: Path, name: str, picture: Image.Image) -> None:
    """A picture on white in images/, its alpha as a mask in masks/."""
    square = Image.new("RGBA", (max(picture.size),) * 2)
    square.paste(picture, tuple((square.width - side) // 2 for side in picture.size))
    white = Image.alpha_composite(Image.new("RGBA", square.size, "white"), square)
    for folder, image in (("images", white.convert("RGB")), ("masks", square.getchannel("A"))):
        (at / folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(at / folder / f"{name}.png")


def emoji(tree: Path, at: Path) -> Path:
    """The color bitmaps of Noto's font: images/1f600.png, masks/1f600.png."""
    if at.is_dir():
        return at
    font = ImageFont.truetype(str(tree / FONT), FONT_SIZE)
    seen: set[bytes] = set()
    with atomic_folder(at) as folder:
        for code in (code for first, last in EMOJI_RANGES for code in range(first, last + 1)):
            picture = Image.new("RGBA", EMOJI_BOX)
            ImageDraw.Draw(picture).text((0, 0), chr(code), font=font, embedded_color=True)
            ink = np.asarray(picture.getchannel("A")) >= 128
            if ink.mean() >= MIN_INK and picture.tobytes() not in seen:  # characters without a bitmap look alike
                seen.add(picture.tobytes())
                _write_cutout(folder, f"{code:x}", picture)
    return at


def stamps(tree: Path, at: Path) -> Path:
    """Tux Paint's stamps, many of them photographs with alpha: images/animals/birds/owl.png, masks/…"""
    if at.is_dir():
        return at
    root = tree / "usr/share/tuxpaint/stamps"
    with atomic_folder(at) as folder:
        for path in sorted(root.rglob("*.png")):
            with Image.open(path) as opened:
                if min(opened.size) < MIN_SIDE:
                    continue
                picture = opened.convert("RGBA")
            coverage = (np.asarray(picture.getchannel("A")) >= 128).mean()
            if MIN_INK <= coverage <= 0.95:
                _write_cutout(folder, path.relative_to(root).with_suffix("").as_posix(), picture)
    return at


def stereo(opencv: Path, at: Path) -> Path:
    """Crops of two stereo pairs with their measured disparity, in the layout of KITTI's stereo benchmark."""
    if at.is_dir():
        return at
    with atomic_folder(at) as folder:
        number = 0
        for left, right, disparity in _stereo_pairs(opencv):
            for window in _windows(disparity):
                name = f"{number:06d}_10.png"
                for place, pixels in (("image_2", left), ("image_3", right)):
                    _save(folder / "training" / place / name, pixels[window])
                known = np.where(np.isfinite(disparity[window]), disparity[window], 0)
                _save(folder / "training/disp_occ_0" / name, np.rint(known * 256).astype(np.uint16))
                number += 1
    return at


def _stereo_pairs(opencv: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Left, right, and disparity of the left one in pixels, float32, 0 where unknown."""
    from skimage.data import stereo_motorcycle

    left, right, disparity = stereo_motorcycle()
    yield left, right, disparity.astype(np.float32)
    data = opencv / "usr/share/doc/opencv-doc/examples/data"
    truth = read_image(data / "aloeGT.png")[..., 0].astype(np.float32)
    yield read_image(data / "aloeL.jpg"), read_image(data / "aloeR.jpg"), truth


def _windows(disparity: np.ndarray) -> Iterator[tuple[slice, slice]]:
    height, width = disparity.shape
    for top in range(0, height - WINDOW + 1, STEP):
        for left in range(0, width - WINDOW + 1, STEP):
            window = slice(top, top + WINDOW), slice(left, left + WINDOW)
            if (np.isfinite(disparity[window]) & (disparity[window] > 0)).mean() >= MIN_KNOWN:
                yield window


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def films(found: dict[str, Path], at: Path) -> Path:
    """Films of several packages in one folder, each under a name of its own."""
    if at.is_dir():
        return at
    with atomic_folder(at) as folder:
        for name, path in found.items():
            shutil.copyfile(path, folder / name)
    return at


def photographs(opencv: Path, at: Path, names: tuple[str, ...]) -> Path:
    """Photographs among the sample pictures of a package."""
    if at.is_dir():
        return at
    with atomic_folder(at) as folder:
        for name in names:
            shutil.copyfile(opencv / "usr/share/doc/opencv-doc/examples/data" / name, folder / name)
    return at
