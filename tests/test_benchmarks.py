"""Every benchmark runs in its tiny form, and what it prints can be read by a machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HARNESSES = (
    "loader",
    "tokenizer",
    "generation",
    "scoring",
    "speculation",
    "training",
    "tokenizing",
    "cluster",
    "serving",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", HARNESSES)
def test_benchmark_prints_ours_and_a_ratio(name, tmp_path):
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "BENCH_OUT": str(tmp_path / "out.jsonl")}
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--tiny"]
    shown = subprocess.run(command, capture_output=True, text=True, env=settings, timeout=100)
    assert shown.returncode == 0, shown.stderr
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert lines == [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert all(line["command"].startswith(f"python benchmarks/{name}.py") for line in lines)
    assert all(line["value"] > 0 for line in lines)
    ratios = [line for line in lines if line["unit"] == "ratio"]
    assert ratios or name == "tokenizer"  # its peers are not among the test dependencies


def test_gpu_programme_refuses_an_unknown_step():
    shown = subprocess.run(["bash", str(ROOT / "benchmarks" / "gpu.sh"), "9"], capture_output=True, text=True)
    assert shown.returncode == 2
    assert "steps: 1a mini's tokenizer" in shown.stderr
