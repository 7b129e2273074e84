"""The training demo in its tiny form: all is written, nothing is invented, a kill changes nothing."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openlvm.core.images import ImagePreparation
from openlvm.core.runs import read_metrics
from openlvm.evaluation.trials import CONDITIONS
from openlvm.jobs.demo.page import loss_curve
from openlvm.jobs.demo.trained import drawn_scenes
from openlvm.recipes.demo import GENERATED, TASKS
from openlvm.sources.pack import PackObjects
from openlvm.tokenizer.folder import load_tokenizer

COMMAND = (sys.executable, "-m", "openlvm")


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=300)


def losses(at: Path) -> list[tuple[int, float, float]]:
    return [(line["step"], line["loss"], line["grad_norm"]) for line in read_metrics(at)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`openlvm train demo --tiny`, uninterrupted."""
    at = tmp_path_factory.mktemp("demo") / "whole"
    done = run("train", "demo", "--tiny", "--run", str(at))
    assert done.returncode == 0, done.stderr
    return at


@pytest.mark.timeout(300)
def test_demo_writes_page_gallery_and_report(tmp_path):
    done = run("demo", "--train", "--tiny", "--out", str(tmp_path / "demo"), "--json")
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["page"]) == tmp_path / "demo" / "index.html"
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert list(report["tasks"]) == sorted(task.name for task in TASKS)
    for task in report["tasks"].values():
        assert set(task["pixel_error"]) == set(CONDITIONS)
        assert task["pixel_error"]["ceiling"] < task["pixel_error"]["mean"]
    errors = [task["pixel_error"]["wrong"] for task in report["tasks"].values()]
    assert report["overall"]["pixel_error"]["wrong"] == pytest.approx(np.mean(errors))
    page = (tmp_path / "demo" / "index.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)  # opens from disk, without a network
    assert all(f"<h2>{task.name}</h2>" in page for task in TASKS)
    assert np.asarray(Image.open(tmp_path / "demo" / "gallery.png")).std() > 30
    again = run("demo", "--train", "--tiny", "--out", str(tmp_path / "demo"))
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "demo" / "report.json").read_text())["tasks"] == report["tasks"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_demo_from_scratch_uses_the_tokenizer_it_trained(tmp_path):
    done = run("demo", "--train", "--tiny", "--from-scratch", "--out", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stderr
    own = load_tokenizer(tmp_path / "demo" / "tokenizer" / "tokenizer")
    used = load_tokenizer(tmp_path / "demo" / "lvm" / "bundle" / "tokenizer")
    assert used.fingerprint == own.fingerprint != load_tokenizer("demo").fingerprint
    assert (tmp_path / "demo" / "index.html").exists()


@pytest.mark.timeout(300)
def test_training_repeats_with_one_seed(trained, tmp_path):
    done = run("train", "demo", "--tiny", "--run", str(tmp_path / "again"))
    assert done.returncode == 0, done.stderr
    assert len(losses(trained)) == 6 and losses(tmp_path / "again") == losses(trained)


@pytest.mark.timeout(300)
def test_training_killed_between_checkpoints_resumes_to_the_bit(trained, tmp_path):
    at = tmp_path / "killed"
    process = subprocess.Popen([*COMMAND, "train", "demo", "--tiny", "--run", str(at)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if (at / "metrics.jsonl").exists() and len(read_metrics(at)) >= 3:  # past the checkpoint after step 2
            process.kill()
        time.sleep(0.01)
    process.wait()
    assert process.returncode == -9
    done = run("train", "demo", "--tiny", "--run", str(at), "--resume")
    assert done.returncode == 0, done.stderr
    assert losses(at) == losses(trained)
    weights = "bundle/decoder/model.safetensors"
    assert (at / weights).read_bytes() == (trained / weights).read_bytes()


def test_training_refuses_a_folder_that_holds_a_run(trained):
    done = run("train", "demo", "--tiny", "--run", str(trained))
    assert done.returncode == 2
    assert "resume" in done.stderr.strip().splitlines()[-1]


def test_scenes_of_the_report_are_of_different_objects():
    records = [r for part in PackObjects(split="heldout").parts() for r in PackObjects(split="heldout").read(part)]
    names = [record.key.split("/")[0] for record in records]
    assert len(set(names)) == len(names) >= 30


def test_drawn_scenes_limit_takes_evenly():
    preparation = ImagePreparation(size=16)
    some = list(drawn_scenes(PackObjects(split="heldout"), preparation, GENERATED, limit=10))
    assert 10 <= len(some) <= 20 and set(GENERATED) <= set(some[0])
    assert all(picture.shape == (16, 16, 3) for pictures in some[0].values() for picture in pictures)


def test_loss_curve_draws_every_point():
    lines = [{"step": step, "loss": 6.0 - step} for step in range(1, 5)]
    points = re.search(r'points="([^"]+)"', loss_curve(lines))[1].split()
    heights = [float(point.split(",")[1]) for point in points]
    assert len(points) == 4 and heights == sorted(heights)
