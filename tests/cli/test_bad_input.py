"""What users get wrong, through the command line: one clear line, exit status 2, nothing that reads as whole."""

import errno
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from openlvm.cli.main import main
from openlvm.core.images import write_image
from openlvm.store.format import Store


@pytest.fixture
def tokenize(pictures, tokenizer_at, tmp_path, openlvm_error):
    """Tokenize pictures into `tmp_path/store`; the complaint, after making sure that no store is there."""

    def run(layout: str = "images", at: Path = pictures, *more) -> str:
        words = ("tokenize", layout, "--at", at, "--store", tmp_path / "store", "--tokenizer", tokenizer_at, *more)
        complaint = openlvm_error(*words)
        assert not (tmp_path / "store" / "store.json").exists()
        with pytest.raises((FileNotFoundError, ValueError)):
            Store.open(tmp_path / "store")
        return complaint

    return run


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 10 000 x 10 000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_missing_folder(tokenize, tmp_path):
    assert f"no folder {tmp_path / 'none'}" in tokenize("images", tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unreadable", "not a picture"),
        ("truncated", "truncated"),
        ("empty", "empty (0 bytes)"),
        ("bomb", "10000 x 10000 pixels"),
    ],
)
def test_bad_pictures_are_counted_and_stop_the_work(tokenize, pictures, name, words, caplog):
    write_image(pictures / "a.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole = (pictures / "a.png").read_bytes()
    data = {"unreadable": b"hello" * 50, "truncated": whole[: len(whole) // 2], "empty": b"", "bomb": bomb()}[name]
    (pictures / "a.png").write_bytes(data)
    complaint = tokenize()
    assert "1 of " in complaint and "max_bad_share" in complaint and "a" in complaint
    assert words in complaint + caplog.text


def test_bad_pictures_below_the_share_are_skipped_and_reported(pictures, tokenizer_at, tmp_path, openlvm_json):
    (pictures / "a.png").write_bytes(b"")
    words = ("--store", tmp_path / "store", "--tokenizer", tokenizer_at, "--max-bad-share", 0.5)
    made = openlvm_json("tokenize", "images", "--at", pictures, *words)
    assert (made["records"], made["skipped"]) == (5, 1)
    assert openlvm_json("store", "info", tmp_path / "store")["skipped"] == 1


def test_pair_without_partner(tokenize, pictures, tmp_path):
    for name in "abcde":
        write_image(tmp_path / "data" / "image" / f"{name}.png", np.zeros((16, 16, 3), np.uint8))
        write_image(tmp_path / "data" / "mask" / f"{name}.png", np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "data" / "mask" / "c.png").unlink()
    complaint = tokenize(
        "pairs", tmp_path / "data", "--folders", "image", "image", "mask", "mask", "--kinds", "mask", "mask"
    )
    assert "'c'" in complaint and "mask" in complaint


def test_clip_shorter_than_the_sentence(pictures, tokenizer_at, tmp_path, openlvm_json, openlvm_error):
    for clip in range(16):
        for frame in range(3):
            write_image(tmp_path / "clips" / f"{clip}" / f"{frame}.png", np.full((16, 16, 3), 9 * clip, np.uint8))
    words = ("--store", tmp_path / "store", "--tokenizer", tokenizer_at)
    openlvm_json("tokenize", "frames", "--at", tmp_path / "clips", *words)
    told = ("--tokenizer", tokenizer_at, "--out", tmp_path / "sheet.png")
    complaint = openlvm_error("look", tmp_path / "store", "sequence", "--num-images", 4, *told)
    assert "16 too short" in complaint and not (tmp_path / "sheet.png").exists()


def test_store_of_another_tokenizer(pictures, tokenizer_at, tmp_path, openlvm_json, openlvm_error):
    import torch

    from openlvm.tokenizer.folder import load_tokenizer, save_tokenizer

    openlvm_json("tokenize", "images", "--at", pictures, "--store", tmp_path / "store", "--tokenizer", tokenizer_at)
    other = load_tokenizer(tokenizer_at)
    with torch.no_grad():
        other.quantize.embedding.weight[0] += 1
    save_tokenizer(other, tmp_path / "other")
    told = ("--tokenizer", tmp_path / "other")
    assert "tokenizer" in openlvm_error("look", tmp_path / "store", *told, "--out", tmp_path / "sheet.png")
    complaint = openlvm_error("train", "own", "--tiny", "--store", tmp_path / "store", *told, "--run", tmp_path / "run")
    assert "tokenizer" in complaint
    again = ("tokenize", "images", "--at", pictures, "--store", tmp_path / "store")
    assert "tokenizer" in openlvm_error(*again, *told)


def test_unknown_recipe_lists_near_names(openlvm_error, tmp_path):
    complaint = openlvm_error("train", "dmeo", "--run", tmp_path / "run")
    assert "no recipe called 'dmeo'; did you mean demo" in complaint and not (tmp_path / "run").exists()


def test_full_disk_while_tokenizing(tokenize, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "space" in tokenize()


def test_full_disk_while_training(pictures, tokenizer_at, tmp_path, openlvm_json, capsys, monkeypatch):
    words = ("--store", tmp_path / "store", "--tokenizer", tokenizer_at)
    for number in range(16):
        write_image(pictures / f"more{number}.png", np.full((16, 16, 3), 9 * number, np.uint8))
    openlvm_json("tokenize", "images", "--at", pictures, *words)
    real = os.fsync
    written = []

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    run = ["train", "own", "--tiny", *map(str, words), "--run", str(tmp_path / "run"), "--train.steps", "4"]
    assert main(run) == 2
    assert "No space left" in capsys.readouterr().err.splitlines()[-1]  # after the lines of progress
    monkeypatch.setattr(os, "fsync", real)
    left = list((tmp_path / "run").rglob("step-*/state.json"))
    assert not [at for at in left if not (at.parent / "optimizer.pt").exists()]
    done = openlvm_json(*run, "--resume")
    assert Path(done["trained"]).is_dir()
