"""Writing the generated files of miniature datasets, and comparing what was read of them."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from openlvm.core.records import BadRecord, Payload, Record
from openlvm.sources.catalog.row import Row

JPEG_TOLERANCE = 3.0
"""Mean difference, gray levels, between generated pixels and what a JPEG of them holds."""

Expected = dict[str, dict[str, dict[str, list[Any]]]]
"""Split -> key -> slot -> payloads, as a miniature's builder returns them."""


def picture(number: int, height: int = 24, width: int = 32) -> np.ndarray:
    """A smooth colored picture of its own for every number; uint8 [H, W, 3]."""
    chance = np.random.default_rng(number)
    rows, columns = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    corner, down, right = chance.uniform(20, 120, (3, 3))
    return np.rint(corner + down * rows + right * columns).clip(0, 255).astype(np.uint8)


def save_jpeg(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Write a JPEG; returns what it holds, which is near the pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="JPEG", quality=95, subsampling=0)
    with Image.open(path) as opened:
        held = np.asarray(opened.convert("RGB"))
    assert np.abs(held.astype(float) - pixels).mean() < JPEG_TOLERANCE
    return held


def save_png(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Write a PNG of uint8 [H, W, 3], or uint8 or uint16 [H, W]; returns the pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG")
    return pixels


def write_wide_png(path: Path, values: np.ndarray) -> None:
    """Write a 16-bit RGB PNG, which Pillow cannot; uint16 [H, W, 3]."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def save_palette_png(path: Path, ids: np.ndarray) -> None:
    """Write ids [H, W] in 0..255 as the palette indices of a PNG, as Pascal VOC and DAVIS do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    indexed = Image.fromarray(ids.astype(np.uint8), mode="P")
    indexed.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    indexed.save(path, format="PNG")


def read_all(row: Row, at: Path, split: str) -> list[Record | BadRecord]:
    """Every record of a split, good or bad."""
    source = row.source(at, split)
    return [record for part in source.parts() for record in source.read(part)]


def assert_read(row: Row, at: Path, expected: Expected) -> None:
    """All records of all splits of a miniature are read, under their keys, with these payloads and no others."""
    assert set(expected) == set(row.splits)
    for split, records in expected.items():
        found = read_all(row, at, split)
        assert not [record for record in found if isinstance(record, BadRecord)]
        assert len({record.key for record in found}) == len(found)
        by_key = {record.key: record for record in found if isinstance(record, Record)}
        assert set(by_key) == set(records)
        for key, slots in records.items():
            assert set(by_key[key].slots) == set(slots)
            assert next(iter(by_key[key].slots)) == "image"
            for slot, payloads in slots.items():
                assert len(by_key[key].slots[slot]) == len(payloads)
                for read, wanted in zip(by_key[key].slots[slot], payloads, strict=True):
                    assert_same(read, wanted)


def assert_same(read: Payload, wanted: Payload) -> None:
    """Two payloads are of one kind and equal: integers exactly, floats within 1e-5, unknown where unknown."""
    assert type(read) is type(wanted)
    for a, b in zip(*(_values(payload) for payload in (read, wanted)), strict=True):
        if not isinstance(b, np.ndarray):
            assert a == b
        elif b.dtype.kind == "f":
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        else:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def _values(payload: Payload) -> list[Any]:
    return [payload] if isinstance(payload, np.ndarray) else list(vars(payload).values())
