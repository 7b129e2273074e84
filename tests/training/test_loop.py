"""The loop on a toy task: repetition, resuming after a kill, accumulation, ranks, messages."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import training_toys
from training_toys import ToyTask, toy_config

from openlvm.core.ranks import Ranks
from openlvm.core.runs import RunFolder, read_metrics
from openlvm.training.loop import train
from openlvm.training.optim import lr_share
from openlvm.training.parallel.collectives import positions_of
from openlvm.training.prefetch import prefetch
from openlvm.training.task import Review, TaskLoss


def lines_of(at: Path) -> list[dict]:
    """The metrics without what the clock says."""
    return [{name: value for name, value in line.items() if name != "timing"} for line in read_metrics(at)]


def weights_of(checkpoint: Path) -> bytes:
    return (checkpoint / "net.safetensors").read_bytes()


def test_training_repeats_to_the_bit(tmp_path):
    ends = [train(toy_config(), ToyTask(dropout=0.2), tmp_path / name) for name in ("a", "b")]
    assert (tmp_path / "a/metrics.jsonl").stat().st_size > 0
    assert lines_of(tmp_path / "a") == lines_of(tmp_path / "b")
    assert weights_of(ends[0]) == weights_of(ends[1])
    assert ends[0] == tmp_path / "a/checkpoints/step-00000012"


def test_training_depends_on_its_seed(tmp_path):
    for seed in (0, 1):
        train(toy_config(seed=seed), ToyTask(dropout=0.2), tmp_path / str(seed))
    assert lines_of(tmp_path / "0") != lines_of(tmp_path / "1")


def test_training_learns(tmp_path):
    train(toy_config(steps=150, checkpoint_every=1000), ToyTask(), tmp_path)
    losses = [line["loss"] for line in lines_of(tmp_path)]
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])


def test_training_resumes_bit_exact(tmp_path, monkeypatch):
    whole = train(toy_config(log_every=2), ToyTask(dropout=0.2), tmp_path / "whole")
    steps_taken = []

    class Dying(ToyTask):
        def after_step(self, step: int) -> None:
            super().after_step(step)
            steps_taken.append(step)
            if step == 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy_config(log_every=2), Dying(dropout=0.2), tmp_path / "cut")
    assert [line["step"] for line in lines_of(tmp_path / "cut")] == [2, 4, 6, 8]
    resumed = train(toy_config(log_every=2), ToyTask(dropout=0.2), tmp_path / "cut", resume=True)
    assert lines_of(tmp_path / "cut") == lines_of(tmp_path / "whole")  # parts span the checkpoint at 5
    assert weights_of(resumed) == weights_of(whole)
    train(toy_config(log_every=2), ToyTask(), tmp_path / "cut", resume=True)  # done: nothing more
    assert lines_of(tmp_path / "cut") == lines_of(tmp_path / "whole")


def test_training_resumes_after_kill_9(tmp_path):
    """Killed between two checkpoints, in a process of its own; the same losses and no step twice."""
    train(toy_config(log_every=2), ToyTask(dropout=0.2), tmp_path / "whole")
    at = tmp_path / "killed"
    command = [sys.executable, training_toys.__file__, str(at)]
    path = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen([*command, "0.1"], env={**os.environ, **path}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while [line["step"] for line in read_metrics(at)][-1:] != [8] and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert list(RunFolder(at).checkpoints()) == [5]
    subprocess.run([*command, "0"], env={**os.environ, **path}, check=True, capture_output=True)
    assert lines_of(at) == lines_of(tmp_path / "whole")


def test_accumulation_equals_one_big_batch(tmp_path):
    for name, per_forward in (("one", 8), ("four", 2), ("uneven", 3)):
        train(toy_config(), ToyTask(per_forward=per_forward), tmp_path / name)
    whole = [line["loss"] for line in lines_of(tmp_path / "one")]
    for name in ("four", "uneven"):
        assert [line["loss"] for line in lines_of(tmp_path / name)] == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_see_the_same_global_batch(world_size):
    shares = [positions_of(24, 8, Ranks(rank, world_size)) for rank in range(world_size)]
    assert [position for share in shares for position in share] == list(range(24, 32))
    weights = [batch.weight for share in shares for batch in ToyTask().micro_batches(3, share)]
    assert sum(weights) == sum(1.0 + position % 3 for position in range(24, 32))


def test_ranks_reject_an_uneven_split(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="positions_per_step=8 cannot be split evenly among 3 ranks"):
        train(toy_config(), ToyTask(), tmp_path / "run")
    with pytest.raises(ValueError, match="positions_per_step=2 .* 3 ranks; use a multiple of 3, or fewer ranks"):
        train(toy_config(positions_per_step=2), ToyTask(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_processes_match_one(tmp_path):
    """gloo, losses within 1e-6 relative: only the order of float sums differs."""
    train(toy_config(), ToyTask(), tmp_path / "one")
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    where["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, training_toys.__file__, str(tmp_path / "two"), "0", "plain"]
    running = [
        subprocess.Popen(command, env={**os.environ, **where, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    words = [process.communicate(timeout=90)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], words
    assert words[1].count("loss") == 0 and words[0].count("loss") == 12
    one, two = lines_of(tmp_path / "one"), lines_of(tmp_path / "two")
    for name in ("loss", "grad_norm"):
        assert [line[name] for line in two] == pytest.approx([line[name] for line in one], rel=1e-6)
    for left, right in zip(one, two, strict=True):
        assert right["parts"] == pytest.approx(left["parts"], rel=1e-6)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_resume_rejects_another_config(tmp_path):
    train(toy_config(steps=3), ToyTask(), tmp_path)
    with pytest.raises(ValueError, match=r"optim\.lr: 0\.01 -> 0\.02"):
        train(toy_config(steps=3, optim=replace(toy_config().optim, lr=0.02)), ToyTask(), tmp_path, resume=True)
    with pytest.raises(ValueError, match="already holds a run"):
        train(toy_config(steps=3), ToyTask(), tmp_path)


def test_rebatch_goes_on_at_the_next_position(tmp_path):
    train(toy_config(steps=5), ToyTask(), tmp_path)
    changed = toy_config(steps=5, positions_per_step=4)
    with pytest.raises(ValueError, match="positions_per_step: 8 -> 4"):
        train(changed, ToyTask(), tmp_path, resume=True)

    class Stopping(ToyTask):
        def after_step(self, step: int) -> None:
            if step == 6:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy_config(), Stopping(), tmp_path / "long")
    asked = []

    class Watching(ToyTask):
        def micro_batches(self, step: int, positions: range) -> list:
            asked.append((step, positions))
            return super().micro_batches(step, positions)

    train(toy_config(positions_per_step=4), Watching(), tmp_path / "long", resume=True, rebatch=True)
    assert asked[0] == (5, range(40, 44)) and asked[-1] == (11, range(64, 68))


def test_non_finite_loss_stops_and_keeps_the_weights(tmp_path):
    class Exploding(ToyTask):
        def loss(self, batch):
            loss = super().loss(batch)
            return TaskLoss(loss.total * float("inf")) if 48 in batch.data[2] else loss

    task = Exploding()
    with pytest.raises(ValueError, match=r"step 7 \(positions 48\.\.55\): loss inf.*Lower optim\.lr=0\.01"):
        train(toy_config(), task, tmp_path)
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert all(param.isfinite().all() for param in task.modules["net"].parameters())


class Diverging(ToyTask):
    """Its loss is infinite at the positions given; `asked` are all positions it was asked for."""

    def __init__(self, *bad: int, **settings: object):
        super().__init__(**settings)
        self.bad, self.asked = set(bad), []

    def loss(self, batch):
        self.asked += batch.data[2]
        loss = super().loss(batch)
        return TaskLoss(loss.total * float("inf")) if self.bad & set(batch.data[2]) else loss


def test_a_diverged_run_goes_back_and_on_with_the_next_data(tmp_path):
    task = Diverging(60)  # in step 8; checkpoints at 5, 10, 12
    train(toy_config(max_roll_backs=1), task, tmp_path)
    found = read_metrics(tmp_path)
    assert [line["step"] for line in found] == list(range(1, 13))
    assert found[5]["rolled_back"]["from"] == 8 and found[5]["rolled_back"]["to"] == 5
    assert "loss inf" in found[5]["rolled_back"]["reason"]
    assert found[5]["lr"] == found[4]["lr"] / 2 * lr_share(toy_config().optim, 5, 12) / lr_share(
        toy_config().optim, 4, 12
    )
    # no position twice and none left out, but for what the lost steps 6 and 7 had already seen
    assert task.asked == list(range(64)) + list(range(64, 120))


def test_a_roll_back_repeats_to_the_bit_after_a_kill(tmp_path):
    train(toy_config(max_roll_backs=1), Diverging(60, dropout=0.2), tmp_path / "whole")

    class Dying(Diverging):
        def after_step(self, step):
            super().after_step(step)
            if self.asked[-1] > 80:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy_config(max_roll_backs=1), Dying(60, dropout=0.2), tmp_path / "cut")
    train(toy_config(max_roll_backs=1), Diverging(60, dropout=0.2), tmp_path / "cut", resume=True)
    assert lines_of(tmp_path / "cut") == lines_of(tmp_path / "whole")


def test_a_run_stops_when_it_diverges_too_often(tmp_path):
    with pytest.raises(ValueError, match=r"positions 80\.\.87\): loss inf.*Lower optim\.lr"):
        train(toy_config(max_roll_backs=1), Diverging(60, 81), tmp_path)


def test_reviews_raise_alarms_and_roll_back(tmp_path):
    class Reviewed(ToyTask):
        def review(self, lines):
            sick = lines[-1]["step"] == 8 and not any("rolled_back" in line for line in lines)
            return Review(["odd steps: bad"] if lines[-1]["step"] % 2 else [], "sick" if sick else "")

    train(toy_config(max_roll_backs=1), Reviewed(), tmp_path)
    found = read_metrics(tmp_path)
    assert [line["step"] for line in found if "alarms" in line] == [1, 3, 5, 7, 9, 11]
    assert found[5]["rolled_back"]["reason"] == "step 8: sick"


def test_zero_weights_are_refused(tmp_path):
    class Weightless(ToyTask):
        def micro_batches(self, step, positions):
            return [replace(batch, weight=0.0) for batch in super().micro_batches(step, positions)]

    with pytest.raises(ValueError, match=r"all loss weights of positions 0\.\.7 are 0"):
        train(toy_config(), Weightless(), tmp_path)


def test_evaluators_run_at_their_cadence_in_eval_mode(tmp_path):
    task = ToyTask(dropout=0.5)

    def evaluator(done: int):
        assert not task.modules["net"].training and not torch.is_grad_enabled()
        yield "done", done
        yield "ratio", float("inf")

    train(toy_config(evaluate_every=5, log_every=4), task, tmp_path, evaluators=[evaluator])
    found = {line["step"]: line.get("evaluation") for line in lines_of(tmp_path)}
    assert found == {4: None, 8: None} | {done: {"done": done, "ratio": None} for done in (5, 10, 12)}


def test_checkpoints_keep_the_last_and_hold_buffers(tmp_path):
    train(toy_config(checkpoint_every=2), ToyTask(), tmp_path)
    assert list(RunFolder(tmp_path).checkpoints()) == [10, 12]
    state = json.loads((tmp_path / "checkpoints/step-00000010/state.json").read_text())
    assert (state["step"], state["next_position"], state["positions_per_step"]) == (10, 80, 8)
    task = ToyTask()
    train(toy_config(checkpoint_every=2), task, tmp_path, resume=True)
    assert task.modules["net"].steps_seen == 12


def test_progress_speaks_plain_lines_off_a_terminal(tmp_path, capsys):
    train(toy_config(log_every=6), ToyTask(), tmp_path, name="toy")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split("  ")[0] for line in err.splitlines()] == ["toy step 6/12", "toy step 12/12"]
    assert all(word in err for word in ("loss ", "examples/s", " left"))


def test_prefetch_keeps_order_and_raises_in_place():
    def reciprocal(value: int) -> float:
        return 1 / value

    seen = []
    with pytest.raises(ZeroDivisionError):
        for pair in prefetch(reciprocal, [1, 2, 0, 4]):
            seen.append(pair)
    assert seen == [(1, 1.0), (2, 0.5)]


def test_a_resumed_run_may_take_smaller_forwards(tmp_path):
    train(toy_config(), ToyTask(per_forward=8), tmp_path / "whole")

    class Dying(ToyTask):
        def after_step(self, step: int) -> None:
            if step == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy_config(positions_per_forward=8), Dying(per_forward=8), tmp_path / "cut")
    train(toy_config(positions_per_forward=2), ToyTask(per_forward=2), tmp_path / "cut", resume=True)
    losses = [[line["loss"] for line in lines_of(tmp_path / name)] for name in ("whole", "cut")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert json.loads((tmp_path / "cut/config.json").read_text())["positions_per_forward"] == 2
