"""A rank is killed: the others end with a line that says what to do, and the same command goes on to the bit."""

import signal
import time
from pathlib import Path

import pytest
from forked import joined
from split_runs import fork_ranks

from openlvm.core.runs import RunFolder, read_metrics


def lines_of(at: Path) -> list[dict]:
    return [{name: value for name, value in line.items() if name != "timing"} for line in read_metrics(at)]


@pytest.mark.usefixtures("ranks_of_both_kinds")
@pytest.mark.parametrize("parallel", [pytest.param("ddp", marks=pytest.mark.slow), "fsdp"])
def test_killing_a_rank_ends_the_others_and_the_run_resumes(tmp_path, parallel):
    at = tmp_path / "killed"
    run = {"at": str(at), "parallel": parallel, "resume": True}
    running = fork_ranks(2, [{**run, "slow_seconds": 0.2}], tmp_path)
    deadline = time.monotonic() + 60
    while [line["step"] for line in read_metrics(at)][-1:] not in ([7], [8]) and time.monotonic() < deadline:
        time.sleep(0.02)
    running[1].kill()
    words = [process.wait(timeout=60) for process in running][0]
    assert running[0].returncode not in (0, -signal.SIGKILL) and running[1].returncode == -signal.SIGKILL
    assert "rank 0 of 2 stops: another rank ended or does not answer" in words and "--resume" in words
    assert list(RunFolder(at).checkpoints()) == [5]
    joined(fork_ranks(2, [run, {"at": f"{tmp_path}/whole", "parallel": parallel}], tmp_path))
    assert lines_of(at) == lines_of(tmp_path / "whole")
