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

from openlvm.cli.main import main
from openlvm.core.files import read_json
from openlvm.core.images import ImagePreparation
from openlvm.core.runs import read_metrics
from openlvm.evaluation.trials import CONDITIONS
from openlvm.jobs.demo.page import loss_curve
from openlvm.jobs.demo.trained import drawn_scenes
from openlvm.recipes.demo import GENERATED, TASKS
from openlvm.sources.pack import PackObjects
from openlvm.tokenizer.folder import load_tokenizer

pytestmark = pytest.mark.timeout(300)  # the demo, made for whichever test comes first, is a minute of one core
COMMAND = (sys.executable, "-m", "openlvm")


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=300)


def losses(at: Path) -> list[tuple[int, float, float]]:
    return [(line["step"], line["loss"], line["grad_norm"]) for line in read_metrics(at)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`openlvm demo --train --tiny`, uninterrupted; the run of its training is in the folder `lvm`."""
    out = tmp_path_factory.mktemp("whole") / "demo"
    done = run("demo", "--train", "--tiny", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["page"]) == out / "index.html"
    return out


def test_demo_writes_page_gallery_and_report(demo):
    report = read_json(demo / "report.json", "report")
    assert list(report["tasks"]) == sorted(task.name for task in TASKS)
    for task in report["tasks"].values():
        assert set(task["pixel_error"]) == set(CONDITIONS)
        assert task["pixel_error"]["ceiling"] < task["pixel_error"]["mean"]
    errors = [task["pixel_error"]["wrong"] for task in report["tasks"].values()]
    assert report["overall"]["pixel_error"]["wrong"] == pytest.approx(np.mean(errors))
    page = (demo / "index.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)  # opens from disk, without a network
    assert all(f"<h2>{task.name}</h2>" in page for task in TASKS)
    assert np.asarray(Image.open(demo / "gallery.png")).std() > 30


@pytest.mark.slow
def test_demo_from_scratch_uses_the_tokenizer_it_trained(tmp_path):
    done = run("demo", "--train", "--tiny", "--from-scratch", "--out", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stderr
    own = load_tokenizer(tmp_path / "demo" / "tokenizer" / "tokenizer")
    used = load_tokenizer(tmp_path / "demo" / "lvm" / "bundle" / "tokenizer")
    assert used.fingerprint == own.fingerprint != load_tokenizer("demo").fingerprint
    assert (tmp_path / "demo" / "index.html").exists()


@pytest.mark.slow  # smaller trainings go on to the bit in cli/test_train, after kills in training/test_loop
def test_demo_killed_between_checkpoints_ends_the_same_to_the_bit(demo, tmp_path):
    """Its first steps are a second run with one seed; it is begun as a training and finished as a demo."""
    out, whole = tmp_path / "demo", demo / "lvm"
    at = out / "lvm"
    process = subprocess.Popen([*COMMAND, "train", "demo", "--tiny", "--run", str(at)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if (at / "metrics.jsonl").exists() and len(read_metrics(at)) >= 3:  # past the checkpoint after step 2
            process.kill()
        time.sleep(0.01)
    process.wait()
    assert process.returncode == -9
    before = losses(at)
    done = run("demo", "--train", "--tiny", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert len(losses(whole)) == 6 and losses(at) == losses(whole) and before == losses(whole)[: len(before)]
    weights = "bundle/decoder/model.safetensors"
    assert (at / weights).read_bytes() == (whole / weights).read_bytes()
    assert read_json(out / "report.json", "report")["tasks"] == read_json(demo / "report.json", "report")["tasks"]


def test_training_refuses_a_folder_that_holds_a_run(demo, capsys):
    assert main(["train", "demo", "--tiny", "--run", str(demo / "lvm")]) == 2
    assert "resume" in capsys.readouterr().err.strip().splitlines()[-1]


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
