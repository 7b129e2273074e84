"""`openlvm tokenize`: datasets of the catalogue by name, what is shown meanwhile, and options that are refused."""

import io
import json
import sys

import numpy as np
import pytest

from openlvm.cli.tokenize_progress import TokenizeProgress
from openlvm.core.images import write_image
from openlvm.sources.catalog.row import Row
from openlvm.sources.catalog.table import CATALOG
from openlvm.sources.layouts import LAYOUTS, ClassFolders
from openlvm.store.format import Store
from openlvm.store.tokenize import Standing


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    """A dataset of the catalogue with two splits in class folders, whose row generates gray pictures."""
    for split, count in {"train": 3, "val": 2}.items():
        for number in range(count):
            pixels = np.full((16, 16, 3), 40 * number, dtype=np.uint8)
            write_image(tmp_path / "flowers" / split / "rose" / f"{number}.png", pixels)
    row = Row(
        name="flowers", dataset="Flowers of Tests", sentence="category", licence="CC0", home="https://example.org",
        layout="SPLIT/CLASS/*.png", generated=("gray",),
        splits={split: lambda at, split=split: ClassFolders(at=at / split) for split in ("train", "val")},
    )  # fmt: skip
    monkeypatch.setitem(CATALOG, "flowers", row)
    return tmp_path / "flowers"


def test_dataset_is_tokenized_by_its_name(flowers, tokenizer_at, tmp_path, openlvm_json):
    words = ["--at", flowers, "--tokenizer", tokenizer_at]
    told = openlvm_json("tokenize", "flowers", *words, "--store", tmp_path / "train")
    assert (told["records"], told["images"]) == (3, 6)
    store = Store.open(tmp_path / "train")
    assert store.slots == ("image", "gray") and store.label(0) == "rose"
    passport = store.header["passport"]
    assert (passport["dataset"], passport["split"], passport["licence"]) == ("Flowers of Tests", "train", "CC0")
    words += ["--store", tmp_path / "val", "--split", "val", "--generated", "--variants", 3]
    told = openlvm_json("tokenize", "flowers", *words)
    assert (told["records"], told["images"]) == (6, 6)
    assert Store.open(tmp_path / "val").slots == ("image",)


def test_layout_gets_a_passport_from_its_flags(pictures, tokenizer_at, tmp_path, openlvm_json):
    words = ["--at", pictures, "--tokenizer", tokenizer_at]
    said = ["--dataset", "Mine", "--licence", "all rights reserved", "--home", "a shelf"]
    openlvm_json("tokenize", "images", *words, "--store", tmp_path / "s", *said)
    passport = Store.open(tmp_path / "s").header["passport"]
    assert [passport[name] for name in ("dataset", "licence", "home")] == said[1::2]
    openlvm_json("tokenize", "images", *words, "--store", tmp_path / "silent")
    assert "passport" not in Store.open(tmp_path / "silent").header


def test_shards_are_parts_of_the_whole(pictures, tokenizer_at, tmp_path, openlvm_json):
    words = ["--at", pictures, "--tokenizer", tokenizer_at, "--records-per-part", 2]
    told = [
        openlvm_json("tokenize", "images", *words, "--store", tmp_path / f"{i}", "--shard", f"{i}/2") for i in (0, 1)
    ]
    assert [one["records"] for one in told] == [4, 2]


def test_tokenize_rejects_options(flowers, pictures, tokenizer_at, tmp_path, openlvm_error):
    words = ["--tokenizer", tokenizer_at, "--store", tmp_path / "s"]
    layout = ["images", "--at", pictures, *words]
    assert "did you mean flowers" in openlvm_error("tokenize", "flower", "--at", flowers, *words)
    assert "no split of flowers called 'test'" in openlvm_error(
        "tokenize", "flowers", "--at", flowers, *words, "--split", "test"
    )
    assert "unrecognized" in openlvm_error("tokenize", "flowers", "--at", flowers, *words, "--licence", "mine")
    assert "write i/n" in openlvm_error("tokenize", *layout, "--shard", "2/2")
    assert "write slot=style" in openlvm_error("tokenize", *layout, "--styles", "pose")
    assert "write slot=kind:what" in openlvm_error("tokenize", *layout, "--annotators", "depth")
    assert "needs engine='ray'" in openlvm_error("tokenize", *layout, "--ray-address", "auto")
    assert "variants=0" in openlvm_error("tokenize", *layout, "--variants", 0)
    assert not (tmp_path / "s").exists()


def test_catalogue_and_layouts_share_no_name():
    assert not set(LAYOUTS) & set(CATALOG)


def test_bad_records_are_named_where_they_are_written(pictures, tokenizer_at, tmp_path, capsys):
    from openlvm.cli.main import main

    (pictures / "g.png").write_bytes(b"not a picture")
    words = ["--at", pictures, "--tokenizer", tokenizer_at, "--store", tmp_path / "s", "--max-bad-share", "0.5"]
    assert main(["tokenize", "images", *map(str, words)]) == 0
    printed = capsys.readouterr()
    assert "1 unreadable skipped" in printed.out and "bad.jsonl" in printed.out
    assert "1/1 parts  6 images" in printed.err and "1 bad" in printed.err
    [report_at] = (tmp_path / "s").glob("parts/*/bad.jsonl")
    assert json.loads(report_at.read_text())["key"] == "g.png"


def test_lines_say_how_far_it_is_at_the_rate_of_this_run(monkeypatch):
    """100 images were there; 4 parts of 50 images take 20 seconds each: lines not closer than ten seconds."""
    shown, seconds = io.StringIO(), 1000.0
    monkeypatch.setattr(sys, "stderr", shown)
    with TokenizeProgress(clock=lambda: seconds) as progress:
        progress(Standing(parts_done=2, num_parts=6, records=100, images=100, bad=0))
        for done in range(3, 7):
            seconds += 20
            progress(Standing(parts_done=done, num_parts=6, records=0, images=50 * done, bad=done - 3))
    assert shown.getvalue().splitlines() == [
        "2 of 6 parts are there already",
        "3/6 parts  150 images  2.5 images/s  1:00 left  0 bad",
        "4/6 parts  200 images  2.5 images/s  0:40 left  1 bad",
        "5/6 parts  250 images  2.5 images/s  0:20 left  2 bad",
        "6/6 parts  300 images  2.5 images/s  0:00 left  3 bad",
    ]


def test_lines_keep_their_distance_but_the_last_is_said(monkeypatch):
    shown, seconds = io.StringIO(), 0.0
    monkeypatch.setattr(sys, "stderr", shown)
    with TokenizeProgress(clock=lambda: seconds) as progress:
        for done in range(31):
            progress(Standing(parts_done=done, num_parts=30, records=done, images=done, bad=0))
            seconds += 1
    assert [line.split()[0] for line in shown.getvalue().splitlines()] == ["10/30", "20/30", "30/30"]


def test_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    shown, seconds = Terminal(), 0.0
    monkeypatch.setattr(sys, "stderr", shown)
    with TokenizeProgress(clock=lambda: seconds) as progress:
        for done in range(4):
            progress(Standing(parts_done=done, num_parts=3, records=done, images=7 * done, bad=0))
            seconds += 1
    assert "3/3 parts  21 images" in shown.getvalue()
