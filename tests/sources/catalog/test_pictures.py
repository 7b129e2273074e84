"""Every row of pictures reads its dataset's official layout; what does not belong together is reported by key."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from miniatures import pictures, restoration
from miniatures.files import assert_read, picture, read_all, save_jpeg, save_png

from openlvm.core.records import BadRecord
from openlvm.sources.catalog.pictures import PICTURES
from openlvm.sources.catalog.restoration import RESTORATION
from openlvm.sources.catalog.table import CATALOG

MINIATURES = pictures.MINIATURES | restoration.MINIATURES


def test_every_row_has_a_miniature():
    assert {row.name for row in (*PICTURES, *RESTORATION)} == set(MINIATURES)


@pytest.mark.parametrize("name", MINIATURES)
def test_row_reads_the_official_layout_pixel_by_pixel(name, tmp_path):
    assert_read(CATALOG[name], tmp_path, MINIATURES[name](tmp_path))


@pytest.mark.parametrize(
    ("name", "split", "labels"),
    [
        ("laion", "train", {""}),
        ("imagenet", "train", {"n01440764", "n01443537"}),
        ("imagenet", "val", {"n01440764", "n01443537"}),
        ("instruct_pix2pix", "train", {"make it red", "make it blue"}),
        ("did_mdn", "train", {"Heavy", "Light", "Medium"}),
        ("pascal5i", "fold1", {"bus"}),
        ("pascal5i", "fold2", {"person"}),
        ("nyuv2", "train", {"kitchen"}),
        ("nyuv2", "test", {"bedroom"}),
    ],
)
def test_row_labels(name, split, labels, tmp_path):
    MINIATURES[name](tmp_path)
    assert {record.label for record in read_all(CATALOG[name], tmp_path, split)} == labels


@pytest.mark.parametrize(
    ("name", "split", "removed", "words"),
    [
        ("ade20k", "train", "annotations/training/ADE_train_00000002.png", r"1 of 2 keys have no 'segmentation' .*"
         r"first 'ADE_train_00000002'"),
        ("ade20k", "train", "images/training/ADE_train_00000002.jpg", "1 files of 'segmentation' belong to no picture"),
        ("cityscapes", "val", "gtFine/val/lindau/lindau_000000_000019_gtFine_instanceIds.png", "have no 'instances' .*"
         "first 'lindau/lindau_000000_000019'"),
        ("kitti_stereo", "train", "training/image_3/000001_10.png", "1 of 2 keys have no 'right' .* first '000001'"),
        ("kitti_stereo", "train", "training/disp_occ_0/000001_10.png", "have no 'disparity' .* first '000001'"),
        ("lol", "train", "our485/high/10.png", "have no 'clean' .* first '10'"),
        ("gopro", "test", "test/GOPR0384_11_00/sharp/000047.png", "no 'clean' .*first 'GOPR0384_11_00/000047'"),
        ("test2800", "published", "testing/ground_truth/901.jpg", "2 of 4 keys have no 'clean' .*'901/1', '901/14'"),
        ("voc2012_segmentation", "val", "VOCdevkit/VOC2012/SegmentationClass/2007_000033.png",
         "1 of 1 keys have no 'segmentation' .*'2007_000033'"),
        ("voc2012_segmentation", "val", "VOCdevkit/VOC2012/JPEGImages/2007_000033.jpg",
         "1 of 1 listed keys have no picture .*'2007_000033'"),
        ("imagenet", "val", "val/ILSVRC2012_val_00000002.JPEG", "2 pictures but 3 answers"),
    ],
)  # fmt: skip
def test_row_rejects_a_missing_partner_by_key(name, split, removed, words, tmp_path):
    MINIATURES[name](tmp_path)
    (tmp_path / removed).unlink()
    with pytest.raises(ValueError, match=words):
        CATALOG[name].source(tmp_path, split).parts()


@pytest.mark.parametrize(
    ("name", "split", "removed", "key"),
    [
        ("instruct_pix2pix", "train", "0000000/77_1.jpg", "0000000/77"),
        ("instruct_pix2pix", "val", "0000018/prompt.json", "0000018/5"),
        ("pascal5i", "fold3", "VOCdevkit/VOC2012/SegmentationClassAug/2007_000061.png", "2007_000061__20"),
    ],
)
def test_row_reports_a_listed_file_that_is_missing_by_key(name, split, removed, key, tmp_path):
    MINIATURES[name](tmp_path)
    (tmp_path / removed).unlink()
    (bad,) = [record for record in read_all(CATALOG[name], tmp_path, split) if isinstance(record, BadRecord)]
    assert bad.key == key
    assert Path(removed).name in bad.reason


def damage(at: Path, name: str) -> tuple[str, str]:
    """Spoil one annotation of a miniature; returns the key of its record and what must be said of it."""
    match name:
        case "ade20k":
            save_png(at / "annotations/training/ADE_train_00000001.png", np.full((24, 32), 151, np.uint8))
            return "ADE_train_00000001", "has the ids 151, which the dataset does not know; it has 0 to 150"
        case "cityscapes":
            path = "gtFine/train/aachen/aachen_000000_000020_gtFine_labelIds.png"
            save_png(at / path, np.full((24, 32), 34, np.uint8))
            return "aachen/aachen_000000_000020", "has the ids 34"
        case "voc2012_segmentation":
            save_png(at / "VOCdevkit/VOC2012/SegmentationClass/2007_000039.png", np.full((20, 30), 21, np.uint8))
            return "2007_000039", "has the ids 21"
        case "kitti_stereo":
            save_png(at / "training/disp_occ_0/000001_10.png", np.full((12, 40), 9, np.uint8))
            return "000001", "is a picture of mode L; expected 16-bit gray, 1/256 pixel"
        case "lol":
            save_png(at / "our485/high/10.png", picture(1, 24, 30))
            return "10", "its 'image' is 32 x 24 but its 'clean' is 30 x 24: they do not belong together"
        case "rain13k":
            path = at / "train/input/2.jpg"
            path.write_bytes(path.read_bytes()[:300])
            return "2", "cannot be read"
        case "pascal5i":
            save_png(at / "VOCdevkit/VOC2012/SegmentationClassAug/2007_000033.png", np.zeros((20, 30), np.uint8))
            return "2007_000033__01", "no pixel of its annotation is aeroplane"
        case "sidd":
            path = "Data/0001_001_S6_00100_00060_3200_L/0001_{}_SRGB_011.PNG"
            for kind in ("NOISY", "GT"):
                save_png(at / path.format(kind), picture(1, 100, 300))
            return "0001_001_S6_00100_00060_3200_L/0001/011", "of 300 x 100 are smaller than a tile of 256"
        case _:
            (at / "0000003/prompt.json").write_text(json.dumps({"input": "a lake"}))
            return "0000003/5", 'is no JSON object with an instruction under "edit"'


@pytest.mark.parametrize(
    "name",
    ["ade20k", "cityscapes", "voc2012_segmentation", "kitti_stereo", "lol", "rain13k", "pascal5i", "sidd",
     "instruct_pix2pix"],
)  # fmt: skip
def test_row_reports_a_wrong_annotation_by_key_and_reads_the_rest(name, tmp_path):
    (split, expected), *_ = MINIATURES[name](tmp_path).items()
    key, words = damage(tmp_path, name)
    found = read_all(CATALOG[name], tmp_path, split)
    (bad,) = [record for record in found if isinstance(record, BadRecord)]
    assert bad.key == key
    assert words in bad.reason
    assert {record.key for record in found if record is not bad} == {
        good for good in expected if good.partition("#")[0] != key
    }


def test_imagenet_reads_validation_in_class_folders_alike(tmp_path):
    pictures.imagenet(tmp_path)
    flat = read_all(CATALOG["imagenet"], tmp_path, "val")
    for record in flat:
        (tmp_path / "val" / record.label).mkdir(exist_ok=True)
        shutil.move(tmp_path / f"val/{record.key}.JPEG", tmp_path / f"val/{record.label}/{record.key}.JPEG")
    shutil.rmtree(tmp_path / "ILSVRC2012_devkit_t12")
    sorted_ = read_all(CATALOG["imagenet"], tmp_path, "val")
    assert [(record.key, record.label) for record in sorted_] == [(record.key, record.label) for record in flat]
    save_jpeg(tmp_path / "val/ILSVRC2012_val_00000009.JPEG", picture(1))
    with pytest.raises(ValueError, match="1 pictures beside 3 in class folders"):
        CATALOG["imagenet"].source(tmp_path, "val").parts()


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ("450\n449\n7\n", r"has the classes \['7'\], which .*meta\.mat does not know"),
        ("450\n", "3 pictures but 1 answers"),
    ],
)
def test_imagenet_rejects_answers_that_do_not_fit(answers, words, tmp_path):
    pictures.imagenet(tmp_path)
    (tmp_path / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt").write_text(answers)
    with pytest.raises(ValueError, match=words):
        CATALOG["imagenet"].source(tmp_path, "val").parts()


def test_imagenet_asks_for_the_development_kit(tmp_path):
    pictures.imagenet(tmp_path)
    shutil.rmtree(tmp_path / "ILSVRC2012_devkit_t12")
    with pytest.raises(FileNotFoundError, match="unpack ILSVRC2012_devkit_t12.tar.gz into .*, or sort the pictures"):
        CATALOG["imagenet"].source(tmp_path, "val").parts()


def test_nyuv2_reports_what_the_file_does_not_have(tmp_path):
    import h5py
    from scipy.io import savemat

    pictures.nyuv2(tmp_path)
    savemat(tmp_path / "splits.mat", {"trainNdxs": np.array([[1], [4]])})
    _, bad = read_all(CATALOG["nyuv2"], tmp_path, "train")
    assert bad == BadRecord("0004", "the file has pictures 1 to 3")
    with pytest.raises(ValueError, match=r"splits\.mat has no testNdxs"):
        CATALOG["nyuv2"].source(tmp_path, "test").parts()
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "a") as data:
        del data["depths"]
        data["depths"] = np.zeros((3, 12, 16), np.float32)  # not reversed, as MATLAB would write it
    bad, _ = read_all(CATALOG["nyuv2"], tmp_path, "train")
    assert bad.reason == "depths of [3, 12, 16] do not belong to images of [3, 3, 16, 12]"
    (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match="cannot be read as HDF5"):
        read_all(CATALOG["nyuv2"], tmp_path, "train")


def test_nyuv2_says_which_package_is_missing(tmp_path, monkeypatch):
    pictures.nyuv2(tmp_path)
    source = CATALOG["nyuv2"].source(tmp_path, "test")
    parts = source.parts()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"needs h5py: pip install openlvm\[catalog\]"):
        next(source.read(parts[0]))


@pytest.mark.parametrize("line", ["2007_000033__06", "2007_000033", "../../secret__01", "2007_000033__x"])
def test_pascal5i_rejects_lines_that_are_not_of_the_fold(line, tmp_path):
    pictures.pascal5i(tmp_path)
    (tmp_path / "splits/pascal/val/fold0.txt").write_text(line + "\n")
    with pytest.raises(ValueError, match="expected PICTURE__CLASS, the class one of fold 0"):
        CATALOG["pascal5i"].source(tmp_path, "fold0").parts()


@pytest.mark.parametrize("listed", ['{"a": 1}', '[["../secret", ["5"]]]', '[["0000000", ["../5"]]]', '[["0000000"]]'])
def test_instruct_pix2pix_rejects_another_list(listed, tmp_path):
    pictures.instruct_pix2pix(tmp_path)
    (tmp_path / "seeds.json").write_text(listed)
    with pytest.raises(ValueError, match="must be a list of"):
        CATALOG["instruct_pix2pix"].source(tmp_path, "train").parts()
