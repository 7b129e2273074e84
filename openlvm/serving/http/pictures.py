"""From uploaded bytes to pictures that the tokenizer takes: format, header and sizes are checked before decoding."""

import base64
import binascii
import io

import numpy as np
from PIL import Image

from openlvm.core.images import ImagePreparation, open_image, read_image

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
SCAN, MAX_SCANS = b"\xff\xda", 100
"""Marker of a scan. Each one of a progressive JPEG costs a pass over all pixels; libjpeg writes ten."""


class TooLarge(ValueError):
    """More than this server takes: status 413."""


def decoded_text(text: str, name: str) -> bytes:
    """The bytes of a base64 text."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{name} is not base64 of a picture file (no path, URL or data: prefix either)") from None


def num_pixels(data: bytes, *, name: str, max_pixels: int) -> int:
    """Pixels of an encoded PNG, JPEG or WebP by its header; nothing is decoded.

    Other formats are refused by their first bytes, so that no other decoder of Pillow ever runs.

    Raises:
        TooLarge: more pixels than `max_pixels`, or more scans than a JPEG needs.
        ValueError: no such picture, or its header is damaged.
    """
    if not _is_known(data):
        raise ValueError(f"{name} is no PNG, JPEG or WebP by its first bytes; send one of these")
    with open_image(data, name) as opened:
        width, height = opened.size
    if width * height > max_pixels:
        raise TooLarge(f"{name} has {width} x {height} pixels; this server takes {max_pixels:,}. Shrink it first")
    if data.startswith(JPEG) and data.count(SCAN) > MAX_SCANS:
        raise TooLarge(f"{name} is a JPEG of more than {MAX_SCANS} scans; save it anew")
    return width * height


def prepared(data: bytes, preparation: ImagePreparation, *, name: str) -> np.ndarray:
    """uint8 [size, size, 3] of an encoded picture whose pixels were counted.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return preparation(read_image(data))
    except ValueError as error:
        raise ValueError(str(error).replace("the given bytes", name)) from None


def _is_known(data: bytes) -> bool:
    return data.startswith((PNG, JPEG)) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def png_text(pixels: np.ndarray) -> str:
    """uint8 [H, W, 3] as base64 of a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode("ascii")
