"""A byte that changed in a checkpoint is one line that names the file; ranks share the reading; kills harm nothing."""

import re
import shutil
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch.distributed as dist
from forked import joined
from small_plans import small_decoder
from split_runs import die, fail_to_read, fork_each, fork_ranks, train_small, train_struck

from openlvm.core.runs import RunFolder, read_metrics
from openlvm.training.checkpoint import load_checkpoint, load_state
from openlvm.training.config import OptimConfig
from openlvm.training.guards.damage import FILES, files_of, share_of
from openlvm.training.optim import make_optimizer


def losses_of(at: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(at)]


def flip(file: Path, place: int) -> None:
    """Change the lowest bit of one byte."""
    whole = bytearray(file.read_bytes())
    whole[place] ^= 1
    file.write_bytes(whole)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """A run on two ranks, split."""
    at = tmp_path_factory.mktemp("runs") / "two"
    joined(fork_ranks(2, [{"at": str(at), "parallel": "fsdp"}], at.parent))
    return at


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_any_byte_that_changed_is_found(tmp_path, parallel):
    train_small(tmp_path, parallel=parallel)
    at = RunFolder(tmp_path).latest_checkpoint()
    names = files_of(at)
    assert len(names) == 3 and "state.json" in names
    decoder = small_decoder()
    optimizers = make_optimizer({"decoder": decoder}, OptimConfig(lr=0.1))
    for name in names:
        whole = (at / name).read_bytes()
        for place in (0, len(whole) // 3, len(whole) // 2, len(whole) - 2):
            flip(at / name, place)
            with pytest.raises(ValueError, match=rf"{re.escape(name)} is (damaged|not a readable).*delete that folder"):
                load_checkpoint(at, {"decoder": decoder}, optimizers)
            (at / name).write_bytes(whole)
    whole = (at / "state.json").read_bytes()
    flip(at / "state.json", whole.index(b'"next_position": ') + len('"next_position": '))
    with pytest.raises(ValueError, match=r"state.json is damaged.*delete that folder"):
        load_state(at)
    (at / "state.json").write_bytes(whole)
    assert load_checkpoint(at, {"decoder": decoder}, optimizers).step == 10


def test_damage_of_the_list_itself_is_told_as_such(tmp_path):
    """Whichever byte of it changed: no file is blamed for it, and none is left out."""
    train_small(tmp_path, steps=5)
    at = RunFolder(tmp_path).latest_checkpoint()
    whole = (at / FILES).read_bytes()
    for place in range(len(whole)):
        flip(at / FILES, place)
        with pytest.raises(ValueError, match=r"files.json is (damaged|not a readable list).*delete that folder"):
            load_state(at)
        (at / FILES).write_bytes(whole)
    for other in (b"{}", b"[]", b'{"files": {}}', whole[:-20]):
        (at / FILES).write_bytes(other)
        with pytest.raises(ValueError, match=r"files.json is (damaged|not a readable list).*delete that folder"):
            load_state(at)
    for name in (FILES, "state.json"):
        (at / FILES).write_bytes(whole)
        (at / name).unlink()
        with pytest.raises(FileNotFoundError, match=rf"{name}.*delete that folder, and the run goes on"):
            load_state(at)


def test_ranks_read_each_file_once_and_their_own_shards(monkeypatch):
    shards = [f"shards/__{rank}_{part}.distcp" for rank in range(4) for part in (0, 1)]
    names = ["shards/.metadata", "state.json", "optimizer.pt", *shards]
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    for world_size in (1, 2, 3, 4, 8):
        monkeypatch.setattr(dist, "get_world_size", lambda size=world_size: size)
        read: Counter[str] = Counter()
        for rank in range(world_size):
            monkeypatch.setattr(dist, "get_rank", lambda number=rank: number)
            share = share_of(names)
            read.update(share)
            if world_size == 4:
                assert set(share) >= {name for name in shards if f"__{rank}_" in name}
        assert read == Counter(names)


def test_damage_of_one_shard_stops_all_ranks_and_the_run_goes_on_from_the_checkpoint_before(two, tmp_path):
    at = tmp_path / "damaged"
    shutil.copytree(two, at)
    folder = RunFolder(at).checkpoint_at(10)
    flip(folder / "shards/__1_0.distcp", 5000)
    run = {"at": str(at), "parallel": "fsdp", "resume": True}
    running = fork_ranks(2, [run], tmp_path)
    words = [process.wait(timeout=100) for process in running]
    assert all(process.returncode for process in running)
    assert all("__1_0.distcp is damaged: its SHA-256 is not" in told for told in words)
    with pytest.raises(ValueError, match=r"__1_0.distcp is damaged.*goes on from the checkpoint before"):
        train_small(**run)
    shutil.rmtree(folder)
    joined(fork_ranks(2, [run], tmp_path))
    assert losses_of(at) == losses_of(two)


@pytest.mark.parametrize("moment", ["digests_of", "write_list", "sync_folder"])
def test_kill_9_while_a_checkpoint_is_digested_leaves_the_one_before(two, tmp_path, moment):
    """Killed in the second checkpoint, of step 10, before it bears its name."""
    at = tmp_path / "killed"
    [killed] = fork_each(1, train_struck, str(at), f"parallel.shards.{moment}", die, words_at=tmp_path)
    killed.wait(timeout=100)
    assert killed.returncode == -signal.SIGKILL and list(RunFolder(at).checkpoints()) == [5]
    train_small(at, parallel="fsdp", resume=True)
    assert list(RunFolder(at).checkpoints()) == [5, 10] and losses_of(at) == pytest.approx(losses_of(two), rel=1e-5)


@pytest.mark.usefixtures("ranks_of_both_kinds")
@pytest.mark.parametrize("in_background", [False, True])
def test_a_rank_killed_while_it_digests_ends_the_other(two, tmp_path, in_background):
    at = tmp_path / "killed"
    struck = partial(train_struck, rank=1, async_checkpoints=in_background)
    running = fork_each(2, struck, str(at), "parallel.shards.digests_of", die, words_at=tmp_path)
    words = [process.wait(timeout=100) for process in running]
    assert running[1].returncode == -signal.SIGKILL and running[0].returncode not in (0, -signal.SIGKILL)
    assert "another rank ended or does not answer" in words[0] and list(RunFolder(at).checkpoints()) == [5]
    joined(fork_ranks(2, [{"at": str(at), "parallel": "fsdp", "resume": True}], tmp_path))
    assert list(RunFolder(at).checkpoints()) == [5, 10] and losses_of(at) == losses_of(two)


def test_what_one_rank_cannot_read_is_told_by_all(two, tmp_path):
    """A failing disk says so more often than it answers wrongly, and not to every machine."""
    at = tmp_path / "unread"
    shutil.copytree(two, at)
    struck = partial(train_struck, rank=1, of="__1_0.distcp", resume=True)
    running = fork_each(2, struck, str(at), "guards.damage.sha256_of", fail_to_read, words_at=tmp_path)
    for told in [process.wait(timeout=100) for process in running]:
        assert "cannot be read (Input/output error); " in told and "goes on from the checkpoint before" in told
