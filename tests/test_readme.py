"""The README is true: its commands run as they stand (training in its tiny form), and its files are there."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openlvm.cli.main import main
from openlvm.core.files import read_json
from openlvm.core.images import write_image

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
MARKED = re.compile(r"<!-- test: (?P<name>[\w ]+) -->\n```\w+\n(?P<body>.*?)```", re.DOTALL)
BLOCKS = {match["name"]: match["body"] for match in MARKED.finditer(TEXT)}


def commands(block: str) -> list[list[str]]:
    """The words after `openlvm` of each line of a block."""
    lines = [shlex.split(line, comments=True) for line in BLOCKS[block].replace("\\\n", " ").splitlines()]
    return [words[1:] for words in lines if words and words[0] == "openlvm"]


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status = main([*words, "--tiny"] if words[0] == "train" and "--tiny" not in words else words)
    assert status == 0, capsys.readouterr().err


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty working folder with clips and pictures of the names that the README uses."""
    monkeypatch.chdir(tmp_path)
    for clip in ("wave", "boat", "bird"):
        for frame in range(1, 17):
            columns = np.arange(48) * 5 + 8 * frame
            pixels = np.broadcast_to(columns[None, :, None] % 256, (40, 48, 3)).astype(np.uint8)
            write_image(tmp_path / "my" / "clips" / clip / f"frame{frame}.jpg", np.ascontiguousarray(pixels))
    for number, name in enumerate(("a", "b", "c", "d", "a-mask", "b-mask")):
        write_image(tmp_path / f"{name}.png", np.full((48, 40, 3), 40 * number, dtype=np.uint8))
    return tmp_path


def test_every_command_of_the_readme_is_tested_or_made():
    fenced = re.findall(r"```(?:bash|python)\n(.*?)```", TEXT, re.DOTALL)
    untested = [block for block in fenced if block not in BLOCKS.values()]
    lines = [line.split("#")[0].strip() for block in untested for line in block.splitlines()]
    assert lines == ["make demo", "make demo-train", "make test"]
    rules = (ROOT / "Makefile").read_text()
    assert all(f"\n{line.removeprefix('make ')}: " in rules for line in lines)


def test_links_and_pictures_of_the_readme_are_there():
    named = [name.split("#")[0] for name in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in name]
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_tree_of_the_readme_names_what_is_there():
    [tree] = re.findall(r"^```\n(openlvm/\n.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    parts = re.findall(r"^  (\w+(?:/|\.py)) ", tree, re.MULTILINE)
    there = {path.name + ("/" if path.is_dir() else "") for path in (ROOT / "openlvm").iterdir()}
    hidden = {"__init__.py", "__main__.py", "__pycache__/"}
    assert set(parts) == there - hidden


def test_own_pictures_become_a_store_a_model_and_answers(desk, capsys):
    for words in [*commands("own pictures"), *commands("own model")]:
        run(words, capsys)
    assert (desk / "sentence.png").exists()
    assert (desk / "runs" / "prompt" / "sheet.png").exists()
    for words in commands("prompts"):
        run(words, capsys)
    assert len(list((desk / "runs" / "prompt").glob("candidate-*.png"))) >= 4
    names: dict[str, Any] = {}
    exec(BLOCKS["python"], names)
    size = names["lvm"].bundle.tokenizer.image_size
    assert names["done"].images.shape == (1, 1, size, size, 3)


def test_quick_start_answers(desk):
    names: dict[str, Any] = {}
    exec(BLOCKS["quick start"], names)
    assert names["done"].images.shape[-1] == 3 and names["done"].images.dtype == np.uint8


def test_tokenizers_are_trained_adapted_and_measured(desk, capsys):
    for words in commands("tokenizers"):
        status = main(words)
        assert status == 0, capsys.readouterr().err
    assert (desk / "runs" / "fine-tuned" / "tokenizer" / "model.safetensors").exists()
    assert (desk / "runs" / "tokenizer-evaluation" / "grid.png").exists()


def test_a_fit_is_planned(desk, capsys):
    for number in range(12):
        for name, value in ((f"{number}", 20 * number), (f"{number}_target", 255 - 20 * number)):
            write_image(desk / "my" / "pairs" / f"{name}.png", np.full((24, 24, 3), value, dtype=np.uint8))
    for words in commands("fit"):
        run(words, capsys)


@pytest.mark.slow
def test_a_paper_recipe_says_its_cost_runs_small_and_is_reported(desk, capsys):
    for words in commands("training"):
        run(words, capsys)
    assert "lvm-tiny" in (desk / "runs" / "report" / "report.md").read_text()
    assert read_json(desk / "runs" / "llama" / "config.json", "config")["architectures"] == ["LlamaForCausalLM"]


def test_datasets_are_listed_and_stores_looked_into(desk, capsys):
    for words in [*commands("own pictures")[:1], *commands("datasets")]:
        run(words, capsys)
    assert (desk / "data" / "clips.jsonl").exists()


def test_evaluations_are_run_and_compared(desk, capsys):
    for words in commands("evaluations"):
        run(words, capsys)
    assert (desk / "runs" / "bar2022" / "report.html").exists()
    assert "mini" in (desk / "runs" / "compared" / "report.md").read_text()
