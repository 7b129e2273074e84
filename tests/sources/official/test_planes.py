"""Datasets' own numbers become our ids and units; a number that a dataset does not have is refused."""

import numpy as np
import pytest
from miniatures.files import save_palette_png, save_png
from PIL import Image

from openlvm.core.records import Segmentation
from openlvm.sources.official.planes import (
    CITYSCAPES,
    CITYSCAPES_CLASSES,
    OFFICIAL_KINDS,
    VOC_CLASSES,
    numbered,
)

VOID = Segmentation.VOID


def test_tables_name_the_classes_they_count():
    # trainIds of cityscapesScripts' labels.py, each one less than ours
    assert {label: ours - 1 for label, ours in CITYSCAPES.items() if ours != VOID} == {
        7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
        28: 15, 31: 16, 32: 17, 33: 18,
    }  # fmt: skip
    assert CITYSCAPES_CLASSES[CITYSCAPES[26]] == "car" and len(CITYSCAPES_CLASSES) == 20
    assert VOC_CLASSES[15] == "person" and len(VOC_CLASSES) == 21


@pytest.mark.parametrize(
    ("kind", "numbers", "ids"),
    [
        ("ade20k", [0, 1, 150], [VOID, 1, 150]),
        ("voc", [0, 20, 255], [0, 20, VOID]),
        ("cityscapes", [0, 7, 33], [VOID, 1, 19]),
        ("voc_instances", [0, 3, 255], [0, 1, VOID]),
    ],
)
@pytest.mark.parametrize("save", [save_png, save_palette_png])
def test_ids_are_translated(kind, numbers, ids, save, tmp_path):
    save(tmp_path / "1.png", np.array([numbers] * 2, np.uint8))
    read = OFFICIAL_KINDS[kind](tmp_path / "1.png", 10)
    np.testing.assert_array_equal(read.ids, [ids] * 2)
    assert read.ids.dtype == np.int32


@pytest.mark.parametrize(("kind", "number"), [("ade20k", 151), ("voc", 21), ("voc", 254), ("cityscapes", 34)])
def test_ids_unknown_to_the_dataset_are_refused(kind, number, tmp_path):
    save_png(tmp_path / "1.png", np.array([[1, number]], np.uint8))
    with pytest.raises(ValueError, match=rf"1\.png has the ids {number}, which the dataset does not know"):
        OFFICIAL_KINDS[kind](tmp_path / "1.png", 10)
    with pytest.raises(ValueError, match="has 2 x 1 pixels; the limit is 1"):
        OFFICIAL_KINDS[kind](tmp_path / "1.png", 1)


def test_instances_keep_the_largest():
    chance = np.random.default_rng(0)
    ids = np.repeat(chance.permutation(300) + 5000, chance.integers(1, 50, 300))
    read = numbered(np.concatenate([[0], ids])[None]).ids[0]
    assert (read[0], read.max()) == (0, 255)
    areas = {ours: int((read == ours).sum()) for ours in range(1, 256)}
    assert list(areas.values()) == sorted(np.unique(ids, return_counts=True)[1], reverse=True)[:255]
    for ours in (1, 100, 255):  # each is one of the given ones, whole
        (given,) = np.unique(ids[read[1:] == ours])
        assert (ids == given).sum() == areas[ours]


def test_cityscapes_instances_are_things_alone(tmp_path):
    save_png(tmp_path / "1.png", np.array([[7, 26_000, 26_001, 26_001, 26]], np.uint16))  # 26 alone: a group of cars
    read = OFFICIAL_KINDS["cityscapes_instances"](tmp_path / "1.png", 10)
    np.testing.assert_array_equal(read.ids, [[0, 2, 1, 1, 0]])


def test_ids_of_32_bits_are_refused_before_a_table_of_them_is_made(tmp_path):
    Image.fromarray(np.array([[1, 2**31 - 1]], np.int32)).save(tmp_path / "1.png", format="TIFF")
    with pytest.raises(ValueError, match="has the ids 1 to 2147483647; expected 8 or 16 bits"):
        OFFICIAL_KINDS["ade20k"](tmp_path / "1.png", 10)


def test_disparity_is_in_pixels(tmp_path):
    save_png(tmp_path / "1.png", np.array([[0, 256, 384, 65535]], np.uint16))
    read = OFFICIAL_KINDS["disparity"](tmp_path / "1.png", 10)
    np.testing.assert_array_equal(read.pixels, np.array([[0, 1, 1.5, 65535 / 256]], np.float32))
    assert read.pixels.dtype == np.float32
