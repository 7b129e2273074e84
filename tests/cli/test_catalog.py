"""`openlvm catalog`: what it prints of the datasets and of a folder; its table in docs/catalog.md is current."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from miniatures import pictures
from miniatures.files import picture, save_jpeg, save_png

from openlvm.cli.main import main
from openlvm.sources.catalog.table import CATALOG

PAGE = Path(__file__).parents[2] / "docs" / "catalog.md"


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(["catalog", *words]) == status
    captured = capsys.readouterr()
    return captured.err if status else captured.out


def test_catalog_lists_every_row_with_its_facts(capsys):
    text = said(capsys)
    for row in CATALOG.values():
        assert re.search(rf"^{row.name} ", text, re.MULTILINE)
        assert row.home in text and row.licence in text and row.dataset in text
    lines = {line.split()[0]: line for line in text.splitlines() if line and not line.startswith(" ")}
    assert re.search(r"imagenet_depth +pairs +depth +DPT +1,624\* +LVM", lines["imagenet_depth"])
    unverified = {row.name for row in CATALOG.values() if not row.is_verified}
    assert {name for name, line in lines.items() if "(layout: unverified)" in line} == unverified


def test_catalog_shows_one_row_whole(capsys):
    text = said(capsys, "kitti_stereo")
    assert re.search(r"layout_source +https://docs\.pytorch\.org", text)
    assert re.search(r"promised +train 200, test 200", text)
    assert "training/disp_occ_0/000000_10.png" in text
    assert not re.search(r"^generated", text, re.MULTILINE)  # it has none
    told = json.loads(said(capsys, "kitti_stereo", "--json"))
    assert told["splits"] == ["train", "test"] and told["tokens"] == 9.21
    assert set(json.loads(said(capsys, "--json"))) == set(CATALOG)


def test_catalog_check_prints_counts_and_missing_splits(capsys, tmp_path):
    pictures.ade20k(tmp_path)
    shutil.rmtree(tmp_path / "annotations/validation")
    lines = said(capsys, "check", "ade20k", "--at", str(tmp_path)).splitlines()
    assert lines[0] == "train: 2 items of 20210 promised; 2 read: 2 records (image 2, segmentation 2), 0 bad"
    assert lines[1].startswith("val: not there (no folder ")
    told = json.loads(said(capsys, "check", "ade20k", "--at", str(tmp_path), "--json"))
    assert [split["records"] for split in told["splits"]] == [2, 0]
    assert "annotations/validation" in told["splits"][1]["missing"]


def test_catalog_check_prints_bad_records_by_key(capsys, tmp_path):
    pictures.ade20k(tmp_path)
    (tmp_path / "annotations/training/ADE_train_00000001.png").write_bytes(b"no picture")
    text = said(capsys, "check", "ade20k", "--at", str(tmp_path), "--split", "train")
    assert "1 records (image 1, segmentation 1), 1 bad" in text
    assert re.search(r"^  ADE_train_00000001: .*cannot be read", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["ade2k"], "no dataset called 'ade2k'; did you mean ade20k"),
        (
            ["check", "ade20k", "--at", "nowhere"],
            "nowhere is not ADE20K scene parsing (150 classes) as it is published",
        ),
        (["check", "ade20k", "--at", "nowhere", "--split", "vall"], "no split of ade20k called 'vall'"),
        (["check", "ade20k", "--at", "nowhere", "--limit", "-1"], "--limit -1 must be at least 0"),
        (["ade20k", "--markdown"], "--markdown prints the table of all datasets"),
    ],
)
def test_catalog_rejects_in_one_line(words, complaint, capsys):
    error = said(capsys, *words, status=2)
    assert error.count("\n") == 1 and complaint in error


def test_catalog_page_has_the_current_table(capsys):
    """When it fails: put what `openlvm catalog --markdown` prints between the two comments."""
    [table] = re.findall(r"<!-- table: openlvm catalog --markdown -->\n(.*?)\n?<!-- end of table -->",
                         PAGE.read_text(encoding="utf-8"), re.DOTALL)  # fmt: skip
    assert table == said(capsys, "--markdown").rstrip("\n")


def test_catalog_page_shows_a_source_that_works(tmp_path, monkeypatch):
    for day in ("monday", "friday"):
        save_jpeg(tmp_path / f"fields/7/rgb/{day}.jpg", picture(1))
        save_png(tmp_path / f"fields/7/crops/{day}_ids.png", picture(1)[..., 0])
    save_jpeg(tmp_path / "fields/summer/7.jpg", picture(2))
    monkeypatch.chdir(tmp_path)
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    found = [record for part in names["source"].parts() for record in names["source"].read(part)]
    assert [record.key for record in found] == ["7/friday", "7/monday"]
    assert set(found[0].slots) == {"image", "segmentation", "clean"}
