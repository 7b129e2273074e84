"""Uploaded pictures: only three formats, only so many pixels, and nothing is decoded before both are known."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from openlvm.core import images
from openlvm.core.images import ImagePreparation
from openlvm.serving.http.pictures import MAX_SCANS, SCAN, TooLarge, decoded_text, num_pixels, png_text, prepared

PREPARATION = ImagePreparation(size=8, fit="squash", filter="box")


def file_of(pixels: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=form)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header promises this many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\x00" * 10_000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.fixture
def never_decoded(monkeypatch):
    def fail(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(images, "_to_rgb", fail)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_prepared_equals_the_reader_of_pictures(form):
    data = file_of(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8), form)
    expected = PREPARATION(images.read_image(data))
    assert num_pixels(data, name="query", max_pixels=1200) == 1200
    assert np.array_equal(prepared(data, PREPARATION, name="query"), expected)


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_prepared_rejects_other_formats(form, never_decoded):
    with pytest.raises(ValueError, match="query is no PNG, JPEG or WebP"):
        num_pixels(file_of(np.zeros((16, 16, 3), np.uint8), form), name="query", max_pixels=10**6)


def test_prepared_rejects_code_and_nothing(never_decoded):
    for data in (b"", b"%!PS-Adobe-3.0 EPSF", b"/etc/passwd", b"http://example.org/a.png", b"\x89PNG"):
        with pytest.raises(ValueError, match="query is no PNG"):
            num_pixels(data, name="query", max_pixels=10**6)


@pytest.mark.parametrize("size", [(1001, 1000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_prepared_rejects_bombs_before_decoding(size, never_decoded):
    with pytest.raises(ValueError, match="pixels"):
        num_pixels(bomb(*size), name="query", max_pixels=10**6)
    with pytest.raises(TooLarge, match="images.0. has 1001 x 1000 pixels; this server takes 1,000,000"):
        num_pixels(bomb(1001, 1000), name="images[0]", max_pixels=10**6)


def test_prepared_rejects_damage_and_names_the_picture():
    whole = file_of(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match=r"pairs\[0\]\[1\] cannot be read"):
        prepared(whole[: len(whole) // 2], PREPARATION, name="pairs[0][1]")


def test_jpegs_of_very_many_scans_are_rejected(never_decoded):
    file, chance = io.BytesIO(), np.random.default_rng(0)
    Image.fromarray(chance.integers(0, 256, (64, 64, 3), np.uint8)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    assert 5 < data.count(SCAN) < 20 and num_pixels(data, name="query", max_pixels=4096) == 4096
    with pytest.raises(TooLarge, match="query is a JPEG of more than 100 scans"):
        num_pixels(data + SCAN * MAX_SCANS, name="query", max_pixels=4096)


def test_text_roundtrips_and_rejects_what_is_no_base64():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert np.array_equal(images.read_image(decoded_text(png_text(pixels), "query")), pixels)
    for text in ("data:image/png;base64,iVBORw0KGgo=", "/etc/passwd", "http://127.0.0.1/a.png", "äöü", "abc"):
        with pytest.raises(ValueError, match="query is not base64"):
            decoded_text(text, "query")
