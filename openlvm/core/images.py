"""The one reader of pictures, and the one way to bring them to a tokenizer's size.

A picture inside OpenLVM is RGB uint8 [H, W, 3]. Everything a file can be (16 bits, palette, alpha, CMYK, an EXIF
rotation) is resolved here and nowhere else.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from openlvm.core.files import atomic_write

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded (8000 x 8000); checked on the header, before memory is taken."""

Picture = str | Path | bytes | Image.Image | np.ndarray
"""What a caller may give for a picture: a path, encoded bytes, a PIL image, or uint8 [H, W, 3] (or [H, W])."""

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


def read_image(picture: Picture, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read one picture as RGB.

    EXIF rotation is applied, alpha laid over white, 16-bit gray scaled to 8 bits, palettes and CMYK are converted.

    Args:
        picture: see `Picture`.
        max_pixels: refuse more pixels than this before decoding them.

    Returns:
        uint8 [H, W, 3], range 0..255.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: empty, truncated, too large, or not a picture; the message names the file.
    """
    if isinstance(picture, np.ndarray):
        return _check_array(picture)
    if isinstance(picture, Image.Image):
        return _decode(picture, "the given image", max_pixels)
    name = "the given bytes" if isinstance(picture, bytes) else str(picture)
    data = picture if isinstance(picture, bytes) else _read_bytes(Path(picture))
    with open_image(data, name) as opened:
        return _decode(opened, name, max_pixels)


def open_image(data: bytes, name: str) -> Image.Image:
    """The header of an encoded picture as a PIL image, nothing decoded yet.

    Args:
        data: the bytes of a picture file.
        name: what messages call it.
    """
    if not data:
        raise ValueError(f"{name} is empty (0 bytes); expected a picture")
    try:
        with warnings.catch_warnings():  # our own limit follows, and says it better
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} has too many pixels: {error}. Shrink it first") from None
    except Image.UnidentifiedImageError:
        raise ValueError(f"{name} cannot be read: it is not a picture Pillow knows, or its start is damaged") from None
    except Exception as error:  # a damaged header raises whatever the format's plugin stumbles over
        raise ValueError(f"{name} cannot be read: {error}. It may be damaged") from None


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected a picture")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"no picture at {path}") from None


def _check_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8:
        raise ValueError(f"a picture given as an array must be uint8 in 0..255, not {array.dtype} {list(array.shape)}")
    if 0 in array.shape or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise ValueError(f"a picture given as an array must be [H, W, 3] or [H, W], not {list(array.shape)}")
    return array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=-1)


def _decode(image: Image.Image, name: str, max_pixels: int) -> np.ndarray:
    width, height = image.size
    if width * height > max_pixels:
        raise ValueError(f"{name} has {width} x {height} pixels; the limit is {max_pixels:,}. Shrink it first")
    try:
        return _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise ValueError(f"{name} cannot be read: {error}. It may be truncated or damaged") from None


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":  # Pillow's own conversion of these clips at 255
        wide = np.asarray(image, dtype=np.float64)
        is_wide = image.mode.startswith("I;16") or wide.max() > 255
        return _check_array(np.clip(np.rint(wide * (255 / 65535 if is_wide else 1)), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        opaque = image.convert("RGBA")
        white = Image.new("RGBA", opaque.size, "white")
        image = Image.alpha_composite(white, opaque)
    return np.asarray(image.convert("RGB"))


def write_image(path: Path | str, pixels: np.ndarray, **options: Any) -> None:
    """Write uint8 [H, W, 3] in the format of the path's ending (PNG, WebP, JPEG), atomically.

    Args:
        path: where; the ending names the format.
        pixels: uint8 [H, W, 3].
        options: passed to Pillow's `save` (quality, lossless, ...).
    """
    path = Path(path)
    format_name = Image.registered_extensions().get(path.suffix.lower())
    if format_name is None:
        raise ValueError(f"{path} has no picture ending; use .png, .webp or .jpg")
    with atomic_write(path) as file:
        Image.fromarray(pixels).save(file, format=format_name, **options)


@dataclass(frozen=True, kw_only=True)
class ImagePreparation:
    """How a picture of any size becomes the square a tokenizer expects; part of the tokenizer.

    `squash` resizes to the square and does not keep the aspect ratio (LVM); `crop` resizes the short side and cuts
    the center (DeLVM).
    """

    size: int
    """Side of the square, pixels."""
    fit: Literal["squash", "crop"] = "crop"
    """How the aspect ratio is lost."""
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bicubic"
    """Resampling filter of Pillow (antialiased when shrinking)."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.fit not in ("squash", "crop") or self.filter not in _FILTERS:
            raise ValueError(f"no such image preparation: {asdict(self)}")

    def region(self, height: int, width: int) -> tuple[float, float, float, float]:
        """The part (left, top, right, bottom) of an H x W picture, in its pixels, that fills the square."""
        if self.fit == "squash":
            return 0.0, 0.0, float(width), float(height)
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, left + side, top + side

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> uint8 [size, size, 3]; a picture that already fits is returned as it is."""
        height, width = pixels.shape[:2]
        if (height, width) == (self.size, self.size):
            return pixels
        image = Image.fromarray(pixels)
        shrunk = image.resize((self.size, self.size), _FILTERS[self.filter], box=self.region(height, width))
        return np.asarray(shrunk)


def stack_images(images: Sequence[np.ndarray]) -> np.ndarray:
    """B pictures of one size as uint8 [B, H, W, 3]; different sizes are an error."""
    sizes = {image.shape for image in images}
    if len(sizes) != 1:
        raise ValueError(f"pictures of one size expected, given {sorted(sizes)}")
    return np.stack(images)
