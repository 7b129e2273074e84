"""`openlvm prompt batch`: its options; the answers are tested with the job."""

import json
from pathlib import Path

import pytest
from opinions import with_opinions

from openlvm.core.images import read_image
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import GREEDY


@pytest.fixture(scope="module")
def lvm_at(lvm_at, tmp_path_factory):
    return with_opinions(lvm_at, tmp_path_factory.mktemp("opinions") / "lvm")


@pytest.fixture
def lines_at(pictures, tmp_path):
    a, b, c, d, e, f = (str(path) for path in sorted(pictures.iterdir()))
    lines = [{"input": [a, b, query], "output": f"{number}.png", "target": c} for number, query in enumerate((d, e))]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return tmp_path / "lines.jsonl"


def test_batch_answers_and_compares(openlvm_json, lines_at, lvm_at, pictures, tmp_path):
    words = ["--lvm", lvm_at, "--out", tmp_path / "out", "--temperature", 0]
    found = openlvm_json("prompt", "batch", lines_at, *words)
    assert (found["lines"], found["answered"], found["bad"]) == (2, 2, {})
    lvm = LVM.load(lvm_at)
    pairs = [(pictures / "a.png", pictures / "b.png")]
    expected = lvm.analogy(pairs, pictures / "e.png", sampling=GREEDY)
    assert (read_image(tmp_path / "out" / "1.png") == expected.images[0, 0]).all()
    results = [json.loads(line) for line in Path(found["results"]).read_text().splitlines()]
    context = [pictures / f"{name}.png" for name in "abd"]
    assert results[0]["perplexity"] == pytest.approx(lvm.score(context, pictures / "c.png"))
    assert 0 < found["pixel_error"] < 1
    again = openlvm_json("prompt", "batch", lines_at, *words)
    assert (again["answered"], again["answered_before"], again["perplexity"]) == (0, 2, found["perplexity"])


def test_batch_says_what_it_would_cost(openlvm_json, lines_at, lvm_at, tmp_path):
    words = ["--lvm", lvm_at, "--out", tmp_path / "out", "--candidates", 3, "--dry-run"]
    found = openlvm_json("prompt", "batch", lines_at, *words)
    assert (found["prompts"], found["codes_given"], found["codes_to_draw"]) == (2, 2 * 13, 2 * 3 * 4)
    assert not (tmp_path / "out").exists()


def test_batch_rejects_bad_input(openlvm_error, lines_at, lvm_at, tmp_path):
    words = ["--lvm", lvm_at, "--out", tmp_path / "out"]
    assert "no file of JSON lines" in openlvm_error("prompt", "batch", tmp_path / "none.jsonl", *words)
    assert "leave out --score-only" in openlvm_error("prompt", "batch", lines_at, *words, "--score-only", "--dry-run")
    assert "max_bad=2.0" in openlvm_error("prompt", "batch", lines_at, *words, "--max-bad", 2)
    lines_at.write_text("\n")
    assert "has no lines" in openlvm_error("prompt", "batch", lines_at, *words)
    assert not (tmp_path / "out").exists()
