"""Pictures meet their annotations by key; files keep their physical units."""

import pickle

import numpy as np
import pytest
from PIL import Image

from openlvm.core.images import write_image
from openlvm.core.records import BadRecord, Segmentation
from openlvm.sources.layouts import LAYOUTS
from openlvm.sources.pairs import PairedFolders, files_by_key

HEIGHT, WIDTH = 4, 6


def picture(value, height=HEIGHT, width=WIDTH):
    return np.full((height, width, 3), value, np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path)


def read_all(source):
    return [record for part in source.parts() for record in source.read(part)]


@pytest.fixture
def pairs(tmp_path):
    for value in (1, 2, 10):
        save(tmp_path / f"images/{value}.png", picture(value))
        save(tmp_path / f"other/{value}.webp", picture(100 + value))
    return PairedFolders(at=tmp_path, folders={"image": "images", "style": "other"})


def test_pairs_match_by_key_and_never_by_position(pairs):
    assert [(r.key, r.slots["image"][0][0, 0, 0], r.slots["style"][0][0, 0, 0] // 2) for r in read_all(pairs)] == [
        ("1", 1, 50),
        ("2", 2, 51),
        ("10", 10, 55),
    ]
    assert pairs.slots == ("image", "style")
    assert LAYOUTS[pairs.describe()["layout"]] is PairedFolders
    assert pickle.loads(pickle.dumps(pairs)).parts() == pairs.parts()


def test_pairs_rejects_files_without_partner(pairs, tmp_path):
    (tmp_path / "other/2.webp").unlink()
    save(tmp_path / "other/11.png", picture(0))
    save(tmp_path / "other/3.png", picture(0))
    words = (
        r"2 of 5 keys have no 'image' in .*images, first '3', '11'; "
        r"1 of 5 keys have no 'style' in .*other, first '2'\. Partners must have the same path"
    )
    with pytest.raises(ValueError, match=words):
        pairs.parts()


def test_pairs_rejects_two_files_with_one_key(pairs, tmp_path):
    save(tmp_path / "images/2.jpg", picture(0))
    with pytest.raises(ValueError, match=r"two files claim the key '2': images/2\.jpg and images/2\.png"):
        pairs.parts()


def test_pairs_match_by_pattern_in_folders_and_in_one_folder(tmp_path):
    for city in ("aachen", "bonn"):
        save(tmp_path / f"left/{city}/{city}_0_left.png", picture(1))
        save(tmp_path / f"gt/{city}/{city}_0_ids.png", picture(0)[..., 0])
        save(tmp_path / f"gt/{city}/{city}_0_color.png", picture(0))
    folders = {"image": "left/*_left.png", "ids": "gt/*_ids.png"}
    source = PairedFolders(at=tmp_path, folders=folders, kinds={"ids": "segmentation"})
    assert [record.key for record in read_all(source)] == ["aachen/aachen_0", "bonn/bonn_0"]
    assert files_by_key(tmp_path / "gt/bonn", "*_ids.png") == {"bonn_0": "bonn_0_ids.png"}
    with pytest.raises(ValueError, match=r"no picture in .*gt fits the pattern '\*_depth\.png'"):
        files_by_key(tmp_path, "gt/*_depth.png")


def test_pairs_read_each_kind_in_its_units(tmp_path):
    save(tmp_path / "rgb/a.png", picture(9))
    ids = np.array([[0, 1, 2, 3, 255, 7]] * HEIGHT, np.uint8)
    palette_picture = Image.fromarray(ids, mode="L").convert("P")
    palette_picture.putdata(ids.ravel())
    save(tmp_path / "voc/a.png", palette_picture)
    save(tmp_path / "gray_ids/a.png", ids)
    save(tmp_path / "wide_ids/a.png", ids.astype(np.uint16))  # 16 bits: 255 is an id as any other
    save(tmp_path / "mask/a.png", np.where(ids == 1, 255, 0).astype(np.uint8))
    save(tmp_path / "depth/a.png", (ids.astype(np.uint16) * 250))
    save(tmp_path / "normals/a.png", np.where(ids[..., None] == 1, (128, 255, 128), (128, 128, 255)).astype(np.uint8))
    save(tmp_path / "edges/a.png", np.where(ids == 0, 51, 255).astype(np.uint8))
    kinds = {
        **dict.fromkeys(("voc", "gray_ids", "wide_ids"), "segmentation"),
        **{name: name for name in ("mask", "depth", "normals", "edges")},
    }
    source = PairedFolders(at=tmp_path, folders={name: name for name in kinds} | {"image": "rgb"}, kinds=kinds)
    (record,) = read_all(source)
    slots = {name: payloads[0] for name, payloads in record.slots.items()}
    assert next(iter(slots)) == "image"
    expected_ids = np.where(ids == 255, Segmentation.VOID, ids.astype(int))
    np.testing.assert_array_equal(slots["voc"].ids, expected_ids)
    np.testing.assert_array_equal(slots["gray_ids"].ids, expected_ids)
    np.testing.assert_array_equal(slots["wide_ids"].ids, ids)
    np.testing.assert_array_equal(slots["mask"].ids, ids == 1)
    np.testing.assert_allclose(slots["depth"].meters, ids * 0.25, rtol=1e-6)
    assert slots["depth"].meters.dtype == np.float32
    np.testing.assert_allclose(slots["normals"].vectors[0, 1], (0, -1, 0), atol=0.01)  # green is up, y is down
    np.testing.assert_allclose(slots["normals"].vectors[0, 0], (0, 0, -1), atol=0.01)  # lavender faces the camera
    np.testing.assert_allclose(np.linalg.norm(slots["normals"].vectors, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(slots["edges"].strength[0], [0.8, 0, 0, 0, 0, 0], atol=1e-6)


def test_normals_file_black_is_unknown(tmp_path):
    save(tmp_path / "rgb/a.png", picture(9))
    save(tmp_path / "n/a.png", picture(0))
    (record,) = read_all(PairedFolders(at=tmp_path, folders={"image": "rgb", "n": "n"}, kinds={"n": "normals"}))
    assert not record.slots["n"][0].vectors.any()


@pytest.mark.parametrize(
    ("kind", "pixels", "words"),
    [
        ("depth", picture(1)[..., 0], "is a picture of mode L; expected 16-bit gray, millimeters"),
        ("segmentation", picture(1), "is a picture of mode RGB; expected ids as gray or palette values"),
        ("mask", picture(1, 6, 4)[..., 0], "the picture is 6 x 4 but its 'x' is 4 x 6: not one shape"),
        ("depth", np.ones((40, 60), np.uint16), "has 60 x 40 pixels; the limit is 500"),
    ],
)
def test_pairs_report_annotations_that_do_not_fit(tmp_path, kind, pixels, words):
    save(tmp_path / "rgb/a.png", picture(1))
    save(tmp_path / "x/a.png", pixels)
    source = PairedFolders(at=tmp_path, folders={"image": "rgb", "x": "x"}, kinds={"x": kind}, max_pixels=500)
    (record,) = read_all(source)
    assert isinstance(record, BadRecord)
    assert record.key == "a"
    assert words in record.reason


def test_pairs_report_truncated_annotation_and_take_smaller_ones(tmp_path):
    for key in ("a", "b"):
        save(tmp_path / f"rgb/{key}.png", picture(1))
        save(tmp_path / f"x/{key}.png", np.random.default_rng(0).integers(0, 60_000, (40, 60), dtype=np.uint16))
    path = tmp_path / "x/a.png"
    path.write_bytes(path.read_bytes()[:2000])
    bad, good = read_all(PairedFolders(at=tmp_path, folders={"image": "rgb", "x": "x"}, kinds={"x": "depth"}))
    assert "cannot be read" in bad.reason
    assert good.slots["x"][0].meters.shape == (40, 60)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folders": {"image": "a"}}, r"must name 'image' and at least one slot more, not \['image'\]"),
        ({"folders": {"x": "a", "y": "b"}}, r"must name 'image' and at least one slot more, not \['x', 'y'\]"),
        ({"folders": {"image": "a", "x": "b"}, "kinds": {"z": "mask"}}, r"kinds names \['z'\], which folders does not"),
        (
            {"folders": {"image": "a", "x": "b"}, "kinds": {"x": "dept"}},
            "no kind of annotation called 'dept'; did you mean depth",
        ),
        ({"folders": {"image": "a", "x": "*/b*.png"}}, "must be a folder, or a folder and a pattern with one"),
        ({"folders": {"image": "a", "x": "b"}, "records_per_part": 0}, "records_per_part=0 must be at least 1"),
    ],
)
def test_pairs_rejects_options(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        PairedFolders(at=tmp_path, **options)


def test_pairs_rejects_missing_folder(tmp_path):
    write_image(tmp_path / "images/a.png", picture(0))
    with pytest.raises(FileNotFoundError, match="no folder .*depth; expected pictures there"):
        PairedFolders(at=tmp_path, folders={"image": "images", "depth": "depth"}).parts()
