"""The files a model may read: those of its own folder, within limits; and how a picture becomes a texture.

A model comes from strangers and names other files: no address, no absolute path and no way out of the folder is
followed.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import numpy as np
from PIL import Image

from openlvm.core.images import MAX_PIXELS, open_image

TEXTURE_SIDE = 1024
"""Textures are shrunk to this side, pixels: an object's whole skin, of which a view of 256 pixels shows a part."""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What is accepted of a model; sizes are checked before memory is taken."""

    bytes: int = 512 * 2**20
    """Of its files together."""
    triangles: int = 3_000_000
    """In all, each as often as it is placed; points may be three times as many."""
    pixels: int = MAX_PIXELS
    """Of one texture, before it is shrunk."""
    lost_textures: Literal["refuse", "gray"] = "refuse"
    """Of a model whose textures or materials are missing or damaged: refuse it, or draw it in plain colors."""

    def check_triangles(self, number: int) -> None:
        """A ValueError when a model has more."""
        if number > self.triangles:
            raise ValueError(f"the model has {number:,} triangles or more; the limit is {self.triangles:,}")


@dataclass
class ModelFolder:
    """Reads a model's files and counts their bytes."""

    at: Path
    """The folder the model lies in."""
    accepted: Accepted
    num_bytes: int = field(default=0)
    """Read up to now."""

    def read(self, name: str) -> bytes:
        """The bytes of a file by its name in the model: a relative path, or a `data:` address that holds them itself.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it lies elsewhere, or the model's files are too large.
        """
        if name.startswith("data:"):
            return self._embedded(name)
        relative = name.strip().replace("\\", "/")
        root = Path(self.at).resolve()
        path = (root / relative).resolve()
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", relative) or relative.startswith("/") or not path.is_relative_to(root):
            raise ValueError(f"the model names {name[:200]!r}, which is not in its folder; such files are not read")
        if not path.is_file():
            raise FileNotFoundError(f"the model names {name[:200]!r}, which is missing in its folder")
        self._count(path.stat().st_size)
        return path.read_bytes()

    def read_escaped(self, address: str) -> bytes:
        """The same by an address in which characters may be written as %20 (glTF)."""
        return self.read(address if address.startswith("data:") else unquote(address))

    def _embedded(self, address: str) -> bytes:
        head, comma, text = address.partition(",")
        if not comma or not head.endswith(";base64"):
            raise ValueError(f"the model holds data as {head[:40]!r}; expected base64")
        self._count(len(text) * 3 // 4)
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the model holds damaged base64 data: {error}") from None

    def _count(self, num_bytes: int) -> None:
        self.num_bytes += num_bytes
        if self.num_bytes > self.accepted.bytes:
            raise ValueError(
                f"the model's files have {self.num_bytes:,} bytes or more; the limit is {self.accepted.bytes:,}"
            )


def texture_of(data: bytes, name: str, *, max_pixels: int) -> np.ndarray:
    """A picture as a texture.

    Args:
        data: the bytes of a picture file.
        name: what messages call it.
        max_pixels: refuse more than this before decoding them.

    Returns:
        uint8 [h, w, 4], sRGB and opacity; neither side longer than `TEXTURE_SIDE`.
    """
    with open_image(data, name) as image:
        if image.width * image.height > max_pixels:
            raise ValueError(f"{name} has {image.width} x {image.height} pixels; the limit is {max_pixels:,}")
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"{name} is a picture of mode {image.mode}; expected 8 bits a channel")
        try:
            if image.format == "JPEG":  # is decoded at a half, a quarter ... of its size, which takes as much less
                image.thumbnail((TEXTURE_SIDE, TEXTURE_SIDE), Image.Resampling.BOX)
            small = image.convert("RGBA")
            small.thumbnail((TEXTURE_SIDE, TEXTURE_SIDE), Image.Resampling.BOX)
            return np.asarray(small)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{name} cannot be read: {error}. It may be truncated or damaged") from None
