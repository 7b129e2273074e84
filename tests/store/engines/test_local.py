"""The local engine: processes that are killed, hang or fail lose nothing, and end with their parent."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from comparing import files_of
from deadly import Deadly

from openlvm.store.engines.crew import work_off
from openlvm.store.engines.local import Processes
from openlvm.store.engines.worker import Models
from openlvm.store.engines.worklist import Patience
from openlvm.store.part import Job
from openlvm.store.tokenize import tokenize


@pytest.fixture
def work(tmp_path, tiny_vqgan, picture_folder):
    """Let two processes write four parts, of which the third does something to its reader; names as finished."""

    def run(how, **options):
        patience = Patience(attempts=2, least_late=1.0, rest=0.01)
        source = Deadly(source=picture_folder, part="00002", how=how, counted_at=tmp_path / "counted", **options)
        job = Job(source, (), 0, 2, tmp_path / f"parts{source.times}")
        models = Models(str(tiny_vqgan), (), "cpu", "fp32")
        crew = Processes(job, models, models.load().facts(), workers=2)
        return [told["name"] for told in work_off(source.parts(), crew, patience)]

    return run


def test_killed_worker_loses_nothing(tmp_path, tiny_vqgan, picture_folder):
    """kill -9 in the middle of a part: the store is the one of a run without it."""
    deadly = Deadly(source=picture_folder, part="00001", how="kill", counted_at=tmp_path / "counted")
    tokenize(deadly, tokenizer=tiny_vqgan, at=tmp_path / "killed", workers=2, batch_size=2)
    tokenize(picture_folder, tokenizer=tiny_vqgan, at=tmp_path / "whole", batch_size=2)
    assert len(list((tmp_path / "counted").iterdir())) == 1
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_part_that_kills_every_worker_stops_the_work(work):
    with pytest.raises(OSError, match=r"part 00002 failed 2 times; .*killed .SIGKILL., perhaps for memory; lower"):
        work("kill", times=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exit", r"ended by itself .exit status 3"),
        ("raise", r"TypeError: a bug .deadly.py, line \d+"),
        ("oserror", "Input/output error"),
    ],
)
def test_what_may_pass_is_tried_again(work, tmp_path, how, words):
    assert sorted(work(how)) == ["00000", "00001", "00002", "00003"]
    with pytest.raises(OSError, match=f"part 00002 failed 2 times; the last time: .*{words}"):
        work(how, times=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [("full", OSError, "No space left on device"), ("wrong", ValueError, "two records with the key 'same'")],
)
def test_what_every_attempt_would_meet_stops_at_once(work, tmp_path, how, kind, words):
    with pytest.raises(kind, match=words):
        work(how, times=9)
    assert len(list((tmp_path / "counted").iterdir())) == 1


@pytest.mark.slow
def test_hanging_worker_is_overtaken_and_ended(work):
    start = time.monotonic()
    assert sorted(work("hang")) == ["00000", "00001", "00002", "00003"]
    assert time.monotonic() - start < 60


@pytest.mark.slow
def test_workers_die_with_their_parent(tmp_path, tiny_vqgan, picture_folder):
    script = (
        "from pathlib import Path\nfrom openlvm.store.tokenize import tokenize\n"
        "from openlvm.sources.layouts import ImageFolder\n"
        "if __name__ == '__main__':\n"
        f"    source = ImageFolder(at=Path({str(picture_folder.at)!r}), records_per_part=3)\n"
        f"    tokenize(source, tokenizer={str(tiny_vqgan)!r}, at={str(tmp_path / 'killed')!r}, workers=2)\n"
    )
    (tmp_path / "run.py").write_text(script)
    root = str(Path(__file__).parents[3])
    command = [sys.executable, str(tmp_path / "run.py")]
    running = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root}, start_new_session=True)
    while not list((tmp_path / "killed" / "parts").glob("0*")) and running.poll() is None:
        time.sleep(0.01)
    running.kill()
    running.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _is_alive(running.pid):
        time.sleep(0.1)
    assert not _is_alive(running.pid)
    tokenize(picture_folder, tokenizer=tiny_vqgan, at=tmp_path / "killed")
    tokenize(picture_folder, tokenizer=tiny_vqgan, at=tmp_path / "whole")
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def _is_alive(group: int) -> bool:
    """Whether a process of the group is still there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
