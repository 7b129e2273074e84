"""What a model may read, and what becomes of its textures."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from openlvm.sources.rendered.folder import TEXTURE_SIDE, Accepted, ModelFolder, texture_of


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model/textures").mkdir(parents=True)
    (tmp_path / "model/textures/wood 1.png").write_bytes(b"wood")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "model/link.png").symlink_to(tmp_path / "secret.png")
    return ModelFolder(tmp_path / "model", Accepted(bytes=100))


def test_files_of_the_folder_are_read_by_any_spelling(folder):
    assert folder.read("textures/wood 1.png") == b"wood"
    assert folder.read(r"textures\wood 1.png") == b"wood"
    assert folder.read_escaped("textures/wood%201.png") == b"wood"
    assert folder.read("textures/../textures/wood 1.png") == b"wood"
    assert folder.num_bytes == 16


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "textures/../../secret.png", "link.png", "{root}/secret.png", "http://example.org/a.png",
     "file:///etc/passwd", "ftp:a.png", "C:/secret.png", "%2e%2e/secret.png", r"..\secret.png"],
)  # fmt: skip
def test_nothing_outside_the_folder_is_read(folder, name):
    with pytest.raises(ValueError, match="not in its folder"):
        folder.read_escaped(name.format(root=folder.at.parent))


def test_missing_files_are_named(folder):
    with pytest.raises(FileNotFoundError, match=re.escape("'textures/oak.png', which is missing")):
        folder.read("textures/oak.png")
    with pytest.raises(FileNotFoundError, match="missing"):
        folder.read("textures")


def test_bytes_are_limited_over_all_files_and_embedded_data_counts(folder):
    address = "data:image/png;base64," + base64.b64encode(b"0" * 60).decode()
    assert folder.read(address) == b"0" * 60
    with pytest.raises(ValueError, match="120 bytes or more; the limit is 100"):
        folder.read(address)


@pytest.mark.parametrize("address", ["data:image/png;base64", "data:text/plain,abc", "data:image/png;base64,!!!!"])
def test_embedded_data_that_is_no_base64_is_refused(folder, address):
    with pytest.raises(ValueError, match="base64"):
        folder.read(address)


def encoded(pixels, format_name="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_name, **options)
    return file.getvalue()


def test_texture_keeps_its_pixels_and_opacity():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 4), np.uint8)
    np.testing.assert_array_equal(texture_of(encoded(pixels), "wood", max_pixels=128), pixels)
    opaque = texture_of(encoded(pixels[..., :3]), "wood", max_pixels=128)
    np.testing.assert_array_equal(opaque, np.dstack([pixels[..., :3], np.full((8, 16), 255)]))


@pytest.mark.parametrize("format_name", ["PNG", "JPEG"])
def test_large_texture_is_shrunk_by_averaging(format_name):
    rows = np.repeat(np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8), TEXTURE_SIDE, axis=0)
    texture = texture_of(encoded(np.repeat(rows, 64, axis=1), format_name), "wood", max_pixels=10**6)
    assert texture.shape == (TEXTURE_SIDE, 32, 4)
    np.testing.assert_allclose(texture[[10, -10], 5, :3], [[255, 0, 0], [0, 0, 255]], atol=4)


def test_textures_that_are_too_large_or_damaged_are_refused():
    good = encoded(np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(ValueError, match="wood has 40 x 40 pixels; the limit is 1,599"):
        texture_of(good, "wood", max_pixels=1599)
    for bad in (good[: len(good) // 2], b"", b"no picture"):
        with pytest.raises(ValueError, match="wood"):
            texture_of(bad, "wood", max_pixels=1600)
    with pytest.raises(ValueError, match="8 bits"):
        texture_of(encoded(np.zeros((4, 4), np.uint16)), "wood", max_pixels=1600)
