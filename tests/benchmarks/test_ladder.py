"""The ladder compares runs after what all of them have reached, by hand-written metrics."""

import json
from pathlib import Path

import pytest
from scripts import script

from openlvm.core.runs import as_json
from openlvm.model.sizes import SIZES

ROOT = Path(__file__).parents[2]


ladder = script("benchmarks/ladder.py")


def _run(at: Path, seconds_a_line: float, lines: int, size: str) -> Path:
    """A run with a line every 10 steps, whose loss is its step; the first line took a minute of compilation."""
    at.mkdir()
    timing = [{"seconds": seconds, "tokens_per_second": 100 / seconds} for seconds in (60.0, seconds_a_line)]
    with open(at / "metrics.jsonl", "w") as file:
        for number in range(1, lines + 1):
            told = {"step": 10 * number, "loss": 10.0 * number, "timing": timing[number > 1]}
            file.write(json.dumps(told) + "\n")
    config = {"model": as_json(SIZES[size]), "train": {"positions_per_step": 4}}
    (at / "config.json").write_text(json.dumps(config))
    return at


def test_runs_are_compared_after_equal_seconds_and_after_equal_steps(tmp_path):
    runs = [_run(tmp_path / "small", 2.0, 41, "mini"), _run(tmp_path / "large", 8.0, 11, "demo")]
    found = ladder.ladder(runs)
    assert found["parameters"] == {"small": SIZES["mini"].num_parameters, "large": SIZES["demo"].num_parameters}
    seconds, steps = found["after_equal_seconds"], found["after_equal_step"]
    assert (seconds["small"]["step"], seconds["large"]["step"]) == (410, 110)
    assert (seconds["small"]["seconds"], seconds["large"]["seconds"]) == (80, 80)
    assert (seconds["small"]["tokens_per_second"], seconds["large"]["tokens_per_second"]) == (50, 12)
    assert steps["small"]["step"] == steps["large"]["step"] == 110 and steps["small"]["positions"] == 440
    assert steps["small"]["seconds"] == 20 and steps["large"]["seconds"] == 80
    assert steps["large"]["averaged_lines"] == 8 and steps["large"]["loss"] == 75  # mean of 40, 50, ..., 110


@pytest.mark.slow
def test_toys_are_trained_once_and_reported(tmp_path):
    pytest.importorskip("matplotlib")
    told = ladder.climb(tmp_path, [0], tiny=True)
    assert [run["run"] for run in told["runs"]] == ["toy_300k-0", "toy_1m-0", "toy_3m-0"]
    assert [point["size"] for point in told["points"]] == ["0.33M", "0.95M", "2.9M"]
    assert told["loss"] == "held-out" and len(told["power_laws"]) == 2
    written = {path: path.read_bytes() for path in tmp_path.glob("toy_*/metrics.jsonl")}
    assert len(written) == 3 and ladder.climb(tmp_path, [0], tiny=True) == told
    assert all(path.read_bytes() == text for path, text in written.items())


def test_a_run_that_was_stopped_too_early_is_refused(tmp_path):
    with pytest.raises(ValueError, match="fewer than two lines of metrics; give it more seconds"):
        ladder.ladder([_run(tmp_path / "short", 1.0, 1, "mini")])
