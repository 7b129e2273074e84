"""Files are whole or absent, whatever happens while they are written."""

import os
import signal
import subprocess
import sys

import pytest

from openlvm.core import files
from openlvm.core.files import atomic_folder, atomic_write, read_json, sha256_of, sweep, write_json


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_atomic_write_roundtrips_into_new_folders(tmp_path):
    with atomic_write(tmp_path / "a/b/c.bin") as file:
        file.write(b"whole")
        assert not (tmp_path / "a/b/c.bin").exists()
    assert (tmp_path / "a/b/c.bin").read_bytes() == b"whole"
    assert names(tmp_path / "a/b") == ["c.bin"]


def test_atomic_write_keeps_old_file_when_disk_is_full(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_atomic_write_leaves_nothing_after_error_or_interrupt(tmp_path):
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), atomic_write(tmp_path / "a.bin") as file:
            file.write(b"half")
            raise error
    assert names(tmp_path) == []


def test_killed_writers_leave_only_temporary_names(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f/old").write_bytes(b"old")
    code = """if 1:
        import sys, time
        from openlvm.core.files import atomic_folder, atomic_write
        with atomic_write(sys.argv[1] + "/a.bin") as file, atomic_folder(sys.argv[1] + "/f") as folder:
            file.write(b"half"); file.flush()
            (folder / "x").write_bytes(b"half")
            print("ready", flush=True)
            time.sleep(60)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert writer.stdout.readline() == "ready\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    left = names(tmp_path)
    assert len(left) == 3
    assert [name for name in left if not name.startswith(".tmp-")] == ["f"]
    sweep(tmp_path)
    assert names(tmp_path) == ["f"]
    assert names(tmp_path / "f") == ["old"]


def test_atomic_folder_replaces_whole_folder(tmp_path):
    for turn in ("one", "two"):
        with atomic_folder(tmp_path / "f") as folder:
            (folder / "deep").mkdir()
            (folder / "deep" / turn).write_text(turn)
    assert names(tmp_path) == ["f"]
    assert names(tmp_path / "f/deep") == ["two"]


def test_atomic_folder_keeps_old_folder_on_error(tmp_path, monkeypatch):
    with atomic_folder(tmp_path / "f") as folder:
        (folder / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "f") as folder:
        (folder / "b").write_text("new")
        raise RuntimeError
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"), atomic_folder(tmp_path / "f") as folder:
        (folder / "b").write_text("new")
    assert names(tmp_path) == ["f"]
    assert names(tmp_path / "f") == ["a"]


def test_write_json_repeats_bytes_whatever_the_order(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "ä"})
    write_json(tmp_path / "b.json", {"a": "ä", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json", "table") == {"a": "ä", "b": 1}


def test_read_json_rejects_missing_and_malformed(tmp_path):
    (tmp_path / "bad.json").write_text('{"a": ')
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(FileNotFoundError, match=r"no bundle header at .*none\.json"):
        read_json(tmp_path / "none.json", "bundle header")
    for name in ("bad.json", "bytes.json"):
        with pytest.raises(ValueError, match=f"{name} is not a readable bundle header: "):
            read_json(tmp_path / name, "bundle header")


def test_sha256_matches_known_digest(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert (
        sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )  # FIPS 180-2


def test_sweep_spares_everything_else(tmp_path):
    (tmp_path / ".tmp-1-x").mkdir()
    (tmp_path / ".tmp-1-y").write_text("half")
    (tmp_path / "tmp-z").write_text("")
    sweep(tmp_path)
    assert names(tmp_path) == ["tmp-z"]
