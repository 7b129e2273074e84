"""Run folders: config written once, metrics cut on resume, unfinished checkpoints unseen."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from openlvm.core.runs import RunFolder, as_json, open_run, read_metrics


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)


@dataclass(frozen=True)
class Outer:
    steps: int = 3
    data: Path = Path("data/store")
    inner: Inner = Inner()


def test_config_roundtrips_through_its_file(tmp_path):
    run = open_run(tmp_path / "run", Outer())
    assert json.loads(run.config_at.read_text()) == as_json(Outer())
    assert as_json(Outer())["inner"] == {"type": "Inner", "lr": 0.1, "betas": [0.9, 0.95]}
    assert open_run(tmp_path / "run", Outer(), resume=True) == run


def test_run_rejects_a_folder_in_use(tmp_path):
    open_run(tmp_path, Outer())
    with pytest.raises(ValueError, match="already holds a run; resume it"):
        open_run(tmp_path, Outer())


def test_run_rejects_another_config_and_names_the_fields(tmp_path):
    before = open_run(tmp_path, Outer()).config_at.read_bytes()
    changed = replace(Outer(), steps=4, inner=Inner(betas=(0.9, 0.99)))
    with pytest.raises(ValueError, match=r"inner\.betas\[1\]: 0\.95 -> 0\.99; steps: 3 -> 4"):
        open_run(tmp_path, changed, resume=True)
    with pytest.raises(ValueError, match="steps: 3 -> 4"):
        open_run(tmp_path, changed, resume=True, may_differ=["inner.betas[1]"])
    assert (tmp_path / "config.json").read_bytes() == before
    open_run(tmp_path, changed, resume=True, may_differ=["inner.betas[1]", "steps"])
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 4


def test_config_rejects_what_json_cannot_hold():
    with pytest.raises(ValueError, match="not set"):
        as_json({"names": {"a"}})


def test_latest_checkpoint_ignores_unfinished_ones(tmp_path):
    run = open_run(tmp_path, Outer())
    assert run.latest_checkpoint() is None
    for step in (9, 1000, 200):
        run.checkpoint_at(step).mkdir()
    (run.checkpoints_at / ".tmp-77-step-00002000").mkdir()
    (run.checkpoints_at / "step-00003000-copy").mkdir()
    assert list(run.checkpoints()) == [9, 200, 1000]
    assert run.latest_checkpoint() == run.checkpoints_at / "step-00001000"
    open_run(tmp_path, Outer(), resume=True)
    assert not (run.checkpoints_at / ".tmp-77-step-00002000").exists()


def test_keep_last_deletes_the_oldest(tmp_path):
    run = open_run(tmp_path, Outer())
    for step in range(1, 6):
        run.checkpoint_at(step).mkdir()
        (run.checkpoint_at(step) / "state.json").write_text("{}")
    run.keep_last(2)
    assert sorted(folder.name for folder in run.checkpoints_at.iterdir()) == ["step-00000004", "step-00000005"]


def test_metrics_roundtrip_and_are_cut_with_a_torn_last_line(tmp_path):
    run = open_run(tmp_path, Outer())
    assert read_metrics(tmp_path) == []
    lines = [{"step": step, "loss": 1 / 3 + step * 1e-17} for step in range(1, 6)]
    for line in lines:
        run.append_metrics(line)
    with open(run.metrics_at, "a") as file:
        file.write('{"step": 6, "lo')
    assert read_metrics(tmp_path) == lines
    run.cut_metrics(3)
    run.append_metrics({"step": 4})
    assert read_metrics(tmp_path) == [*lines[:3], {"step": 4}]


def test_metrics_reject_not_a_number(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        RunFolder(tmp_path).append_metrics({"loss": float("nan")})


def test_metrics_reject_a_broken_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nrubbish\n')
    with pytest.raises(ValueError, match="not a readable metrics file"):
        read_metrics(tmp_path)
