"""A tiny fit: it learns, repeats, goes on after an interruption, and refuses what it cannot do."""

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openlvm.bundle import SpecialIds, load_bundle, save_bundle
from openlvm.core.images import write_image
from openlvm.core.seeds import rng
from openlvm.evaluation.metrics import pixel_error
from openlvm.jobs.fit import questions, replay
from openlvm.jobs.fit.config import FitConfig
from openlvm.jobs.fit.run import run_fit
from openlvm.prompting.lvm import LVM
from openlvm.store.format import Store

SIDE = 16


@pytest.fixture(scope="module")
def pairs_at(tmp_path_factory) -> Path:
    """Twelve noisy pictures, and the same white square as the answer of each: what any decoder can learn."""
    at = tmp_path_factory.mktemp("pairs")
    for number in range(12):
        noise = rng("noise", number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        write_image(at / "input" / f"{number}.png", noise)
        write_image(at / "target" / f"{number}.png", np.full((SIDE, SIDE, 3), 255, dtype=np.uint8))
    return at


@pytest.fixture(scope="module")
def config(lvm_at) -> FitConfig:
    return FitConfig(lvm=str(lvm_at), replay=0.0, queries=0, steps=40, positions=2, lr=3e-2, variants=2)


@pytest.fixture(scope="module")
def fitted(pairs_at, config, tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("fits") / "whole"
    return out, run_fit(pairs_at, config, out=out)


def test_fit_learns_what_held_out_pairs_ask(fitted):
    _, report = fitted
    task = report["tasks"]["held-out pairs"]
    assert report["training_pairs"] == 9 and len(report["heldout_pairs"]) == 3 and task["clusters"] == 3
    assert task["after"]["value"] < task["before"]["value"]
    assert task["after"]["value"] == pytest.approx(task["ceiling"]["value"], abs=0.02)
    assert task["change"]["value"] == pytest.approx(task["after"]["value"] - task["before"]["value"])
    assert task["change"]["high"] < 0


def test_errors_are_those_of_the_files(fitted, config, pairs_at):
    """Copying a query is known without any model."""
    out, report = fitted
    by_hand = []
    for key in report["heldout_pairs"]:
        query = np.asarray(Image.open(pairs_at / "input" / f"{key}.png"))
        by_hand.append(pixel_error(query, np.full_like(query, 255)))
    assert report["tasks"]["held-out pairs"]["copy"]["value"] == pytest.approx(np.mean(by_hand), abs=1e-6)


def test_fit_writes_an_lvm_a_page_and_pictures(fitted, config, pairs_at):
    out, report = fitted
    assert json.loads((out / "report.json").read_text()) == report
    bundle = load_bundle(out / "bundle")
    before = load_bundle(config.lvm)
    assert bundle.tokenizer.fingerprint == before.tokenizer.fingerprint and bundle.meta["fitted"]["from"] == config.lvm
    assert any((a != b).any() for a, b in zip(bundle.decoder.parameters(), before.decoder.parameters(), strict=True))
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    assert LVM.load(out / "bundle").analogy([(picture, picture)], picture).images.shape == (1, 1, SIDE, SIDE, 3)
    page, card = (out / "report.md").read_text(), (out / "bundle" / "README.md").read_text()
    assert "better than before, beyond the 95 % interval" in page and "held-out pairs" in page
    assert "9 pairs" in card and "better than before" in card
    assert np.asarray(Image.open(out / "gallery.png")).std() > 30


def test_training_sees_no_held_out_pair(fitted):
    out, _ = fitted
    assert Store.open(out / "stores" / "pairs", None).num_records == 2 * 9  # each training pair and a variant of it


def test_fit_repeats_and_goes_on_to_the_bit(fitted, config, pairs_at, tmp_path):
    whole, report = fitted
    out = tmp_path / "killed"
    assert run_fit(pairs_at, config, out=out)["tasks"] == report["tasks"]
    for name in ("after.json", "report.json", "report.md", "gallery.png", "before.json"):
        (out / name).unlink()
    shutil.rmtree(out / "bundle")
    shutil.rmtree(max((out / "training" / "checkpoints").iterdir()))  # killed after the checkpoint before
    assert run_fit(pairs_at, config, out=out)["tasks"] == report["tasks"]
    weights = Path("bundle/decoder/model.safetensors")
    assert (out / weights).read_bytes() == (whole / weights).read_bytes()
    other = run_fit(pairs_at, replace(config, seed=1, steps=2), out=tmp_path / "other")
    assert other["tasks"] != report["tasks"]


def test_two_steps_replay_and_ask_old_tasks(config, pairs_at, tmp_path, monkeypatch):
    """However short the training, every task that is replayed has its place in the plan."""
    monkeypatch.setattr(replay, "STORES", ("turns", "recoloring"))
    monkeypatch.setattr(questions, "OLD", ("next frame",))
    report = run_fit(pairs_at, replace(config, steps=2, replay=0.02, queries=2), out=tmp_path / "fit")
    assert list(report["tasks"]) == ["held-out pairs", "next frame"] and report["tasks"]["next frame"]["questions"] == 2
    told = json.loads((tmp_path / "fit" / "training" / "config.json").read_text())
    weights = {part["name"]: part["weight"] for part in told["components"]}
    assert weights["8 pairs of the folder"] == pytest.approx(0.49)
    assert sum(weight for name, weight in weights.items() if "folder" not in name) == pytest.approx(0.02)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fit_killed_while_training_goes_on_to_the_bit(config, pairs_at, tmp_path):
    config = replace(config, steps=400)
    whole = run_fit(pairs_at, config, out=tmp_path / "whole")
    out = tmp_path / "killed"
    names = ("lvm", "replay", "queries", "steps", "positions", "lr", "variants")
    words = [word for name in names for word in (f"--{name}", str(getattr(config, name)))]
    command = [sys.executable, "-m", "openlvm", "fit", str(pairs_at), "--out", str(out), *words, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if any((out / "training" / "checkpoints").glob("step-*")):
            process.kill()
        time.sleep(0.01)
    assert process.returncode == -9 and not (out / "after.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"] == whole["tasks"]
    weights = Path("bundle/decoder/model.safetensors")
    assert (out / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fit_learns_on_a_gpu(config, pairs_at, tmp_path):
    task = run_fit(pairs_at, replace(config, device="cuda"), out=tmp_path / "fit")["tasks"]["held-out pairs"]
    assert task["change"]["high"] < 0


def test_another_fit_in_the_same_folder_is_refused(fitted, config, tmp_path, pairs_at):
    out, _ = fitted
    with pytest.raises(ValueError, match=r"holds another fit \(config.steps: 40 -> 41\)"):
        run_fit(pairs_at, replace(config, steps=41), out=out)
    moved = tmp_path / "moved"
    shutil.copytree(pairs_at, moved)
    write_image(moved / "target" / "5.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    with pytest.raises(ValueError, match=r"holds another fit \(pairs: "):
        run_fit(moved, config, out=out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        run_fit(pairs_at, config, out=tmp_path / "full")


def test_dry_run_says_how_long_and_writes_nothing(config, pairs_at, tmp_path, capsys):
    told = run_fit(pairs_at, config, out=tmp_path / "none", dry_run=True)
    assert not (tmp_path / "none").exists()
    assert told["training_pairs"] == 9 and told["expected_seconds"] > 0
    lines = capsys.readouterr().err
    assert "9 to learn from, 3 held out" in lines and re.search(r"will take about \d+:\d\d", lines)


def test_lvm_without_bos_is_refused(config, lvm_at, pairs_at, tmp_path):
    released = load_bundle(lvm_at)
    save_bundle(
        tmp_path / "released", tokenizer=released.tokenizer, decoder=released.decoder, special=SpecialIds(), card=""
    )
    with pytest.raises(ValueError, match="special ids"):
        run_fit(pairs_at, replace(config, lvm=str(tmp_path / "released")), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong", [{"heldout": 0.0}, {"heldout": 1.0}, {"replay": 1.0}, {"steps": 0}, {"variants": 0}, {"lr": 0.0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        FitConfig(**wrong)
