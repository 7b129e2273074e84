"""`openlvm fit` as it is typed."""

import json

import numpy as np
import pytest

from openlvm.core.images import write_image
from openlvm.prompting.lvm import LVM


@pytest.fixture
def words(tmp_path, lvm_at):
    """A tiny fit of eight pairs."""
    for number in range(8):
        for folder in ("input", "target"):
            write_image(tmp_path / "pairs" / folder / f"{number}.png", np.full((16, 16, 3), 30 * number, np.uint8))
    sizes = ("--steps", 2, "--positions", 2, "--replay", 0, "--queries", 0)
    return ["fit", tmp_path / "pairs", "--lvm", lvm_at, "--out", tmp_path / "fit", *sizes]


def test_fit_gives_an_lvm_and_goes_on(words, tmp_path, openlvm_json):
    report = openlvm_json(*words)
    assert report["training_pairs"] == 6 and report["tasks"]["held-out pairs"]["questions"] == 24
    assert LVM.load(report["bundle"]).bundle.images_in_context == 16
    assert openlvm_json(*words)["tasks"] == report["tasks"]
    assert json.loads((tmp_path / "fit" / "report.json").read_text())["lvm"] == report["lvm"]


def test_dry_run_writes_nothing(words, tmp_path, openlvm_json):
    told = openlvm_json(*words, "--dry-run")
    assert told["heldout_pairs"] == 2 and told["expected_seconds"] > 0 and not (tmp_path / "fit").exists()


def test_bad_input_is_one_line(words, tmp_path, openlvm_error):
    pairs = tmp_path / "pairs"
    assert "no folder" in openlvm_error("fit", tmp_path / "none", *words[2:])
    assert "steps=0" in openlvm_error(*words, "--steps", 0)
    assert "no LVM bundle" in openlvm_error(*words, "--lvm", tmp_path / "none")
    (pairs / "target" / "3.png").rename(pairs / "target" / "three.png")
    assert "'3'" in openlvm_error(*words)
    (pairs / "target" / "three.png").unlink()
    (pairs / "input" / "3.png").unlink()
    assert "7 pairs that can be used; at least 8" in openlvm_error(*words)
    (pairs / "input" / "0.png").write_bytes(b"broken")
    assert "1 of 7 pairs" in openlvm_error(*words) and not (tmp_path / "fit").exists()
