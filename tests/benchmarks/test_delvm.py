"""DeLVM's comparisons in miniature: what each training is given, and a rehearsal of the whole."""

import json
import sys

import pytest
from scripts import script

from openlvm.store.plan import Plan

delvm = script("benchmarks/delvm.py")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return delvm.Bench(tmp_path_factory.mktemp("delvm"), delvm.TINY)


def test_mixtures_are_what_they_are_called(bench):
    """Raw by size; the others in equal shares, duplication of the same records, augmentation of more."""
    plans = {mixture: Plan(bench.components(mixture, 0), max_passes=100) for mixture in delvm.MIXTURES}
    counts = {mixture: dict(zip(plan.names, plan.counts, strict=True)) for mixture, plan in plans.items()}
    assert counts["raw"]["mask"] < counts["raw"]["depth"] == counts["raw"]["normals"]
    for mixture in ("duplication", "augmentation"):
        assert len(set(counts[mixture].values())) == 1
    records = {mixture: plan.stores[-1].num_records for mixture, plan in plans.items()}
    assert records == {"raw": 8, "duplication": 8, "augmentation": 8 * delvm.TINY.variants}


def test_teacher_is_about_four_times_its_student(bench):
    assert 3.8 < bench.teacher.num_parameters / bench.student.num_parameters < 4.6


def test_table_gives_mean_and_spread():
    runs = [{f"{task} {what}": value for task in delvm.TASKS for what in ("loss", "accuracy")} for value in (1.0, 2.0)]
    assert "| raw | 1.500 (1.000-2.000) |" in delvm.table({"raw": runs})


@pytest.mark.slow
@pytest.mark.parametrize("what", ["balance", "distill"])
def test_benchmark_writes_every_side(what, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.json"
    command = ["delvm.py", what, "--run", str(tmp_path / "run"), "--out", str(out), "--tiny"]
    monkeypatch.setattr(sys, "argv", command)
    delvm.main()
    found = json.loads(out.read_text())["results"]
    sides = {"balance": set(delvm.MIXTURES), "distill": {"scratch", "distilled", "teacher"}}
    assert set(found) == sides[what]
    assert all(0 < run["mask accuracy"] <= 1 and run["mask loss"] > 0 for runs in found.values() for run in runs)
    shown = capsys.readouterr().out
    assert all(f"| {side} | " in shown for side in sides[what])
