"""RAVEN's files: what is read of them, and that nothing else is."""

import zipfile

import numpy as np
import pytest
from miniatures.puzzles import raven

from openlvm.core.records import BadRecord
from openlvm.sources.raven_npz import CONFIGURATIONS, RavenProblems, kind_of, read_problem

PANELS = np.arange(16, dtype=np.uint8)[:, None, None].repeat(160, 1).repeat(160, 2)


class Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, at):
        self.at = str(at)

    def __reduce__(self):
        return open, (self.at, "w")


def test_a_split_is_its_files_by_configuration_and_number(tmp_path):
    raven(tmp_path)
    source = RavenProblems(at=tmp_path, split="test", configurations=("Up-Down", "Center"))
    items = [item for part in source.parts() for item in part.items]
    assert items == [
        "up_center_single_down_center_single/RAVEN_12_test",
        "up_center_single_down_center_single/RAVEN_13_test",
        "center_single/RAVEN_12_test",
        "center_single/RAVEN_13_test",
    ]
    assert [kind_of(item) for item in items] == ["Up-Down", "Up-Down", "Center", "Center"]
    assert len(set(CONFIGURATIONS.values())) == 7


def test_a_puzzle_has_the_files_panels_and_target(tmp_path):
    (tmp_path / "center_single").mkdir()
    np.savez_compressed(tmp_path / "center_single/RAVEN_8_test.npz", image=PANELS, target=np.int64(3), more=[1])
    puzzle = RavenProblems(at=tmp_path, split="test", configurations=("Center",)).puzzle("center_single/RAVEN_8_test")
    assert [picture[5, 7].tolist() for picture in puzzle.context] == [[n] * 3 for n in range(8)]
    assert [int(picture[0, 0, 0]) for picture in puzzle.options] == list(range(8, 16))
    assert puzzle.answer == 3 and puzzle.kind == "Center" and puzzle.options[0].shape == (160, 160, 3)


def test_arrays_of_objects_are_never_unpickled(tmp_path):
    sprung = tmp_path / "sprung"
    objects = np.array([Trap(sprung)], dtype=object)
    np.savez(tmp_path / "beside.npz", image=PANELS, target=0, structure=objects)
    panels, target = read_problem(tmp_path / "beside.npz")
    assert np.array_equal(panels, PANELS) and target == 0
    for name in ("image", "target"):
        np.savez(tmp_path / "trap.npz", **({"image": PANELS, "target": 0} | {name: objects}))
        with pytest.raises(ValueError, match=rf"its array '{name}' is object \[1\], which is not read"):
            read_problem(tmp_path / "trap.npz")
    assert not sprung.exists()


def test_a_bomb_is_not_unpacked(tmp_path):
    at = tmp_path / "bomb.npz"
    np.savez_compressed(at, image=np.zeros((16, 1600, 160), np.uint8), target=0)
    with pytest.raises(ValueError, match=r"its array 'image' has 4,096,128 bytes; the limit is 413,696"):
        read_problem(at)
    claims = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999,), }"
    with zipfile.ZipFile(at, "w") as archive:  # a header that promises more than follows
        text = claims + b" " * (117 - len(claims)) + b"\n"
        archive.writestr("image.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(ValueError, match=r"its array 'image' is uint8 \[99999999999\], which is not read"):
        read_problem(at)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"image": PANELS}, r"it has no array 'target', only \['image.npy'\]"),
        ({"image": PANELS[:, :80], "target": 0}, r"image is uint8 \[16, 80, 160\], expected uint8 \[16, 160, 160\]"),
        ({"image": PANELS.astype(np.int8), "target": 0}, r"image is int8"),
        ({"image": PANELS, "target": 8}, "target is 8, expected an index of 0 to 7"),
        ({"image": PANELS, "target": 1.0}, r"target is 1.0, expected"),
        ({"image": PANELS, "target": [1]}, r"target is \[1\], expected"),
    ],
)
def test_other_files_are_refused(tmp_path, arrays, told):
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match=told):
        read_problem(tmp_path / "other.npz")


def test_a_damaged_file_is_a_bad_record(tmp_path):
    raven(tmp_path)
    source = RavenProblems(at=tmp_path, split="val", configurations=("Center",))
    whole = (tmp_path / "center_single/RAVEN_10_val.npz").read_bytes()
    (tmp_path / "center_single/RAVEN_10_val.npz").write_bytes(whole[: len(whole) // 2])
    first, second = (record for part in source.parts() for record in source.read(part))
    assert isinstance(first, BadRecord) and "is no problem of RAVEN: File is not a zip file" in first.reason
    assert second.key == "center_single/RAVEN_11_val" and second.num_frames == 9


def test_missing_folders_and_splits_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*center_single; expected problems of RAVEN"):
        RavenProblems(at=tmp_path).parts()
    (tmp_path / "center_single").mkdir()
    (tmp_path / "center_single/RAVEN_0_train.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="none of 1 files in .*center_single is called RAVEN_8_test.npz"):
        RavenProblems(at=tmp_path, split="test").parts()
    with pytest.raises(FileNotFoundError, match="no problem of RAVEN at"):
        read_problem(tmp_path / "nothing.npz")
    with pytest.raises(ValueError, match="no configuration called 'Centre'"):
        RavenProblems(at=tmp_path, configurations=("Centre",))
