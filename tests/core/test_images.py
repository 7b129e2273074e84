"""What files can be, what is refused, and preparation against slow loops."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from openlvm.core.images import ImagePreparation, read_image, stack_images, write_image

GRADIENT = np.stack(np.broadcast_arrays(np.arange(12)[:, None] * 20, np.arange(20) * 12, 77), axis=-1).astype(np.uint8)


def encoded(image, format_name="PNG", **options):
    file = io.BytesIO()
    image.save(file, format=format_name, **options)
    return file.getvalue()


def png_header(width, height):
    """A valid PNG header with no pixels behind it: whoever decodes it fails in another way than by its size."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13)
    return start + body + struct.pack(">I", zlib.crc32(body)) + b"\x00\x01\x00\x00IDAT"


def test_read_image_roundtrips_every_kind_of_picture(tmp_path):
    write_image(tmp_path / "a.png", GRADIENT)
    for picture in (tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes(), GRADIENT):
        np.testing.assert_array_equal(read_image(picture), GRADIENT)
    np.testing.assert_array_equal(read_image(Image.fromarray(GRADIENT)), GRADIENT)
    np.testing.assert_array_equal(read_image(GRADIENT[..., 0]), np.stack([GRADIENT[..., 0]] * 3, axis=-1))


@pytest.mark.parametrize(("tag", "turn"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_read_image_applies_exif_rotation(tag, turn):
    exif = Image.Exif()
    exif[0x0112] = tag
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(GRADIENT), exif=exif)), np.rot90(GRADIENT, turn))


def test_read_image_scales_16_bit_gray_even_when_dark():
    wide = np.array([[0, 200, 257], [32896, 65535, 128]], dtype=np.uint16)
    expected = np.array([[0, 1, 1], [128, 255, 0]])
    for format_name in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read_image(encoded(Image.fromarray(wide), format_name))[..., 1], expected)
    night = np.full((2, 2), 200, dtype=np.uint16)  # all below 256, still 16 bits
    assert read_image(encoded(Image.fromarray(night))).max() == 1


def test_read_image_lays_alpha_over_white():
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 0], rgba[0, :, 3] = 200, (0, 255, 128)
    read = read_image(encoded(Image.fromarray(rgba)))
    np.testing.assert_array_equal(read[0, :2], [[255, 255, 255], [200, 0, 0]])
    np.testing.assert_allclose(read[0, 2], [227, 127, 127], atol=1)


def test_read_image_lays_transparent_palette_over_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    np.testing.assert_array_equal(read_image(encoded(image, transparency=0)), [[[255, 255, 255], [40, 50, 60]]])
    np.testing.assert_array_equal(read_image(encoded(image)), [[[10, 20, 30], [40, 50, 60]]])


def test_read_image_converts_cmyk_gray_and_one_bit():
    red = Image.fromarray(np.full((16, 16, 3), (220, 30, 40), np.uint8)).convert("CMYK")
    np.testing.assert_allclose(
        read_image(encoded(red, "JPEG", quality=95)), np.full((16, 16, 3), (220, 30, 40)), atol=6
    )
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(GRADIENT[..., 0]))), GRADIENT[..., [0, 0, 0]])
    one_bit = Image.fromarray(np.array([[False, True]])).convert("1")
    np.testing.assert_array_equal(read_image(encoded(one_bit))[0, :, 2], [0, 255])


def test_read_image_rejects_missing_folder_and_empty(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(FileNotFoundError, match=r"no picture at .*lost\.png"):
        read_image(tmp_path / "lost.png")
    with pytest.raises(ValueError, match="is a folder; expected a picture"):
        read_image(tmp_path)
    with pytest.raises(ValueError, match=r"empty\.png is empty \(0 bytes\)"):
        read_image(tmp_path / "empty.png")


@pytest.mark.parametrize(
    ("format_name", "share"), [("PNG", 0.5), ("PNG", 0.95), ("JPEG", 0.5), ("WEBP", 0.5), ("GIF", 0.6)]
)
def test_read_image_rejects_truncated(tmp_path, format_name, share):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, format_name)
    path = tmp_path / "cut.bin"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=r"cut\.bin cannot be read: .*(truncated|damaged)"):
        read_image(path)
    with Image.open(io.BytesIO(data)) as whole:
        assert whole.size == (64, 64)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("seed", range(20))
def test_read_image_turns_any_damage_into_one_error(seed):
    chance = np.random.default_rng(seed)
    for format_name in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"):
        data = bytearray(encoded(Image.fromarray(GRADIENT), format_name))
        for place in chance.integers(0, len(data), 8):
            data[place] = chance.integers(0, 256)
        try:
            pixels = read_image(bytes(data), max_pixels=1_000_000)
        except ValueError as error:
            assert "the given bytes" in str(error)
        else:
            assert pixels.dtype == np.uint8


def test_read_image_rejects_what_is_not_a_picture():
    with pytest.raises(ValueError, match="the given bytes cannot be read: it is not a picture Pillow knows"):
        read_image(b"hello, world")
    lazy = Image.open(io.BytesIO(encoded(Image.fromarray(GRADIENT.repeat(20, axis=0)))[:-60]))
    with pytest.raises(ValueError, match="the given image cannot be read"):
        read_image(lazy)


def test_read_image_rejects_bomb_before_decoding():
    with warnings.catch_warnings(record=True) as told_twice:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match=r"has 10000 x 10000 pixels; the limit is 64,000,000\. Shrink it first"):
            read_image(png_header(10_000, 10_000))
    assert not told_twice
    with pytest.raises(ValueError, match="has too many pixels.*Shrink it first"):
        read_image(png_header(100_000, 100_000))
    with pytest.raises(ValueError, match="has 20 x 12 pixels; the limit is 100"):
        read_image(encoded(Image.fromarray(GRADIENT)), max_pixels=100)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4, 3)), r"must be uint8 in 0..255, not float64 \[4, 4, 3\]"),
        (np.zeros((4, 4, 4), np.uint8), r"must be \[H, W, 3\] or \[H, W\], not \[4, 4, 4\]"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"not \[2, 4, 4, 3\]"),
        (np.zeros((0, 4), np.uint8), r"not \[0, 4\]"),
    ],
)
def test_read_image_rejects_array(array, words):
    with pytest.raises(ValueError, match=words):
        read_image(array)


def test_write_image_rejects_unknown_ending(tmp_path):
    with pytest.raises(ValueError, match=r"a\.txt has no picture ending; use \.png, \.webp or \.jpg"):
        write_image(tmp_path / "a.txt", GRADIENT)
    assert not list(tmp_path.iterdir())


def slow_box_average(pixels, size, region):
    """Each target pixel is the mean of the source area it covers, fractions of pixels included."""
    left, top, right, bottom = region
    out = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            y0, y1 = top + (bottom - top) * row / size, top + (bottom - top) * (row + 1) / size
            x0, x1 = left + (right - left) * column / size, left + (right - left) * (column + 1) / size
            total = np.zeros(3)
            for y in range(int(y0), min(int(np.ceil(y1)), pixels.shape[0])):
                for x in range(int(x0), min(int(np.ceil(x1)), pixels.shape[1])):
                    total += pixels[y, x] * (min(y1, y + 1) - max(y0, y)) * (min(x1, x + 1) - max(x0, x))
            out[row, column] = total / ((y1 - y0) * (x1 - x0))
    return out


@pytest.mark.parametrize(("height", "width"), [(12, 20), (20, 12), (24, 24)])
@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_preparation_matches_slow_loop(height, width, fit):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    region = (0, 0, width, height) if fit == "squash" else (left, top, left + short, top + short)
    prepared = ImagePreparation(size=4, fit=fit, filter="box")(pixels)
    np.testing.assert_allclose(prepared, slow_box_average(pixels, 4, region), atol=1.01)  # Pillow rounds twice


def test_preparation_crops_odd_margins_and_keeps_what_fits():
    columns = np.repeat(np.arange(9, dtype=np.uint8)[None, :, None] * 10, 4, axis=0).repeat(3, axis=2)  # [4, 9, 3]
    prepared = ImagePreparation(size=4, fit="crop", filter="bilinear")(columns)
    np.testing.assert_array_equal(prepared[0, :, 0], [25, 35, 45, 55])  # from 2.5 to 6.5
    fitting = GRADIENT[:4, :4]
    assert ImagePreparation(size=4)(fitting) is fitting


def test_preparation_rejects_contradictions():
    for wrong in ({"size": 0}, {"size": 4, "fit": "stretch"}, {"size": 4, "filter": "sinc"}):
        with pytest.raises(ValueError, match="no such image preparation"):
            ImagePreparation(**wrong)


def test_stack_images_rejects_different_sizes():
    np.testing.assert_array_equal(stack_images([GRADIENT, GRADIENT]), np.stack([GRADIENT] * 2))
    with pytest.raises(ValueError, match="pictures of one size expected"):
        stack_images([GRADIENT, GRADIENT[:3]])
