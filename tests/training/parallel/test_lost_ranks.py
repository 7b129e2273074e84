"""A rank is killed: the others end with a line that says what to do, and the same command goes on to the bit."""

import signal
import time
from pathlib import Path

import pytest
from split_runs import finish, start_ranks

from openlvm.core.runs import RunFolder, read_metrics


def lines_of(at: Path) -> list[dict]:
    return [{name: value for name, value in line.items() if name != "timing"} for line in read_metrics(at)]


@pytest.mark.parametrize("parallel", [pytest.param("ddp", marks=pytest.mark.slow), "fsdp"])
def test_killing_a_rank_ends_the_others_and_the_run_resumes(tmp_path, parallel):
    at = tmp_path / "killed"
    run = {"at": str(at), "parallel": parallel, "resume": True}
    running = start_ranks(2, [{**run, "slow_seconds": 0.2}])
    deadline = time.monotonic() + 60
    while [line["step"] for line in read_metrics(at)][-1:] not in ([7], [8]) and time.monotonic() < deadline:
        time.sleep(0.02)
    running[1].send_signal(signal.SIGKILL)
    words = running[0].communicate(timeout=60)[1]
    assert running[0].returncode != 0 and running[1].wait() == -signal.SIGKILL
    assert "rank 0 of 2 stops: another rank ended or does not answer" in words and "--resume" in words
    assert list(RunFolder(at).checkpoints()) == [5]
    finish(start_ranks(2, [run, {"at": f"{tmp_path}/whole", "parallel": parallel}]))
    assert lines_of(at) == lines_of(tmp_path / "whole")
