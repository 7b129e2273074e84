"""`openlvm train`: recipes by name, their fields as flags, runs that repeat and resume."""

import json

import numpy as np
import pytest

from openlvm.cli.main import main
from openlvm.core.images import write_image
from openlvm.core.runs import read_metrics
from openlvm.recipes import RECIPES


@pytest.fixture
def store_at(tokenizer_at, tmp_path, openlvm_json):
    """A store of four clips of sixteen frames."""
    for clip in "abcd":
        for frame in range(16):
            pixels = np.full((16, 16, 3), 15 * frame, dtype=np.uint8)
            write_image(tmp_path / "clips" / clip / f"{frame}.png", pixels)
    at = tmp_path / "store"
    openlvm_json("tokenize", "frames", "--at", tmp_path / "clips", "--store", at, "--tokenizer", tokenizer_at)
    return at


@pytest.fixture
def own(store_at, tokenizer_at):
    """The words of a tiny training on that store."""
    return ["train", "own", "--tiny", "--store", store_at, "--tokenizer", tokenizer_at]


def losses(run):
    return [(line["step"], line["loss"]) for line in read_metrics(run)]


def test_own_pictures_give_an_lvm_that_answers(own, tmp_path, openlvm_json):
    trained = openlvm_json(*own, "--run", tmp_path / "run")
    assert trained["trained"] == str(tmp_path / "run" / "bundle")
    told = json.loads((tmp_path / "run" / "config.json").read_text())
    assert told["train"]["steps"] == 4
    frames = [tmp_path / "clips" / "a" / f"{frame}.png" for frame in range(3)]
    words = ["--frames", 2, "--lvm", trained["trained"], "--out", tmp_path / "out"]
    assert len(openlvm_json("prompt", "sequence", *frames, *words)["images"]) == 2


def test_training_repeats_and_resumes_to_the_bit(own, tmp_path, openlvm_json):
    for name in ("one", "two"):
        openlvm_json(*own, "--run", tmp_path / name)
    expected = losses(tmp_path / "one")
    assert len(expected) == 4
    assert losses(tmp_path / "two") == expected
    last = max((tmp_path / "two" / "checkpoints").iterdir())
    last.rename(tmp_path / "aside")
    openlvm_json(*own, "--run", tmp_path / "two", "--resume")
    assert losses(tmp_path / "two") == expected


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_torchrun_trains_as_one_process_does(own, tmp_path, openlvm_json, by_torchrun):
    """The command of docs/scale.md: processes of their own, with nothing in common but their environment."""
    openlvm_json(*own, "--run", tmp_path / "one")
    whole = [*own, "--run", tmp_path / "two", "--train.parallel", "fsdp", "--train.async-checkpoints"]
    ended = by_torchrun(*whole)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("two/bundle") == 1  # one of them prints
    assert [step for step, _ in losses(tmp_path / "two")] == [1, 2, 3, 4]
    for (_, found), (_, expected) in zip(losses(tmp_path / "two"), losses(tmp_path / "one"), strict=True):
        assert found == pytest.approx(expected, rel=1e-5)
    shard = max((tmp_path / "two/checkpoints").rglob("__1_0.distcp"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    damaged = by_torchrun(*whole, "--resume")
    assert damaged.returncode and damaged.stderr.count(f"error: {shard} is damaged: its SHA-256") == 2


def test_fields_of_a_recipe_are_flags(own, tmp_path, openlvm_json):
    openlvm_json(*own, "--run", tmp_path / "run", "--train.steps", 2, "--train.optim.lr", "2e-3")
    told = json.loads((tmp_path / "run" / "config.json").read_text())["train"]
    assert (told["steps"], told["optim"]["lr"]) == (2, 2e-3)


def test_training_rejects_bad_input(own, tmp_path, openlvm_error, openlvm_json):
    assert "did you mean own" in openlvm_error("train", "onw", "--tiny")
    assert "the recipe is missing" in openlvm_error("train", "--tiny")
    assert "--train.steps" in openlvm_error(*own, "--train.stps", 3)
    assert "steps=0 must be at least 1" in openlvm_error(*own, "--train.steps", 0)
    assert "no store at" in openlvm_error(*own, "--store", tmp_path / "none")
    openlvm_json(*own, "--run", tmp_path / "run")
    assert "already holds a run" in openlvm_error(*own, "--run", tmp_path / "run")
    changed = [*own, "--run", tmp_path / "run", "--resume", "--train.optim.lr", "0.5"]
    assert "optim.lr" in openlvm_error(*changed)


def test_help_lists_the_recipes(capsys):
    assert main(["train", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in RECIPES)


def test_dry_run_tells_the_costs_and_starts_nothing(tmp_path, openlvm_json, openlvm_error, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = openlvm_json("train", "lvm_7b", "--dry-run", "--gpus", 64, "--gpu", "h100", "--mfu", 0.5)
    assert told["parameters"] == 6_544_199_680 and told["tokens"] == pytest.approx(420e9, rel=0.001)
    assert told["seconds"] == pytest.approx(told["flops"] / (64 * 0.5 * 989e12))
    assert told["fits"] is True and told["memory_bytes"]["total"] < 72e9
    shorter = openlvm_json("train", "lvm_7b", "--dry-run", "--gpus", 64, "--decoder.train.steps", 10_000)
    assert shorter["tokens"] == pytest.approx(10_000 * 128 * 4097)
    assert "this recipe trains a tokenizer" in openlvm_error("train", "demo_tokenizer", "--dry-run")
    assert "cannot be split evenly among 3 devices" in openlvm_error("train", "lvm_7b", "--dry-run", "--gpus", 3)
    assert list(tmp_path.iterdir()) == []


def test_recipes_on_stores_say_what_they_lack(tmp_path, openlvm_error, tokenizer_at):
    words = ["train", "lvm_300m", "--run", tmp_path / "run", "--tokenizer", tokenizer_at]
    fitting = ["--decoder.model.vocab-size", 132, "--decoder.model.context", 65]
    assert "--decoder.model.vocab-size 132 --decoder.model.context 65" in openlvm_error(*words)
    assert "needs stores of codes: --stores DIR" in openlvm_error(*words, *fitting)
    assert "no store at" in openlvm_error(*words, *fitting, "--stores", tmp_path / "none")
