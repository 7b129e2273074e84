"""Checkpoints in shards on one process: round trips, whole folders or none, and what is refused."""

import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from small_plans import small_decoder
from split_runs import train_small

from openlvm.core.runs import RunFolder, read_metrics
from openlvm.training.checkpoint import TrainState, load_checkpoint, load_state, load_weights, write_state
from openlvm.training.config import OptimConfig
from openlvm.training.guards.damage import write_list
from openlvm.training.optim import make_optimizer
from openlvm.training.parallel.shards import ShardWriter, filled, tensors_of, without_weights

STATE = TrainState(
    step=3, next_position=24, positions_per_step=8, world_size=1, config_hash="ab", meters={},
    recent_losses=(1.5, 1.25), skipped_in_a_row=1,
)  # fmt: skip


def stepped(seed: int):
    """A decoder after one step, with its optimizer: Muon and AdamW."""
    decoder = small_decoder(seed=seed)
    optimizers = make_optimizer({"decoder": decoder}, OptimConfig(lr=0.1, optimizer="muon"))
    torch.manual_seed(seed)
    for param in decoder.parameters():
        param.grad = torch.randn_like(param)
    optimizers.step()
    return decoder, optimizers


@pytest.fixture
def saved(tmp_path) -> Path:
    decoder, optimizers = stepped(0)
    at = tmp_path / "step-00000003"
    writer = ShardWriter(is_main=True, in_background=False)
    writer.save(at, tensors_of({"decoder": decoder}, optimizers), lambda folder: write_state(folder, STATE))
    return at


def load(at: Path, seed: int = 1):
    decoder, optimizers = stepped(seed)
    return load_checkpoint(at, {"decoder": decoder}, optimizers), decoder, optimizers


def test_shards_roundtrip(saved):
    state, decoder, optimizers = load(saved)
    assert state == STATE == load_state(saved)
    before = tensors_of({"decoder": stepped(0)[0]}, None)
    after = tensors_of({"decoder": decoder}, None)
    assert all(torch.equal(after[name], before[name]) for name in before)
    same, kept = stepped(0), tensors_of({"decoder": decoder}, optimizers)
    expected = tensors_of({"decoder": same[0]}, same[1])
    assert kept.keys() == expected.keys() and all(torch.equal(kept[name], expected[name]) for name in kept)
    assert {name.split("/")[-1] for name in kept if name.startswith("optimizer")} >= {"momentum", "exp_avg", "step"}


def test_a_copy_without_weights_is_filled_from_a_checkpoint(saved):
    decoder = small_decoder(seed=5)
    empty = without_weights(decoder)
    assert all(param.is_meta for param in empty.parameters()) and not empty.model.cos.is_meta
    codes = torch.arange(12)[None]
    whole = filled(empty, saved, "decoder")
    torch.testing.assert_close(whole(codes), stepped(0)[0](codes), rtol=0, atol=0)


def test_a_checkpoint_that_was_not_finished_is_not_seen(tmp_path):
    decoder, optimizers = stepped(0)

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    run = RunFolder(tmp_path)
    writer = ShardWriter(is_main=True, in_background=False)
    with pytest.raises(KeyboardInterrupt):
        writer.save(run.checkpoint_at(3), tensors_of({"decoder": decoder}, optimizers), killed)
    assert run.latest_checkpoint() is None and list(run.checkpoints_at.iterdir())
    writer.save(run.checkpoint_at(3), tensors_of({"decoder": decoder}, optimizers), lambda at: write_state(at, STATE))
    assert list(run.checkpoints()) == [3] and len(list(run.checkpoints_at.iterdir())) == 1


def test_shards_reject_damage(saved):
    [shard] = (saved / "shards").glob("*.distcp")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match=rf"distcp is damaged: {len(whole) - 10} bytes, written were {len(whole)}"):
        load(saved)
    shard.write_bytes(os.urandom(len(whole)))
    write_list(saved, {})  # as if it had been written so
    with pytest.raises(ValueError, match=r"shards is damaged \(.*delete that folder, and the run goes on"):
        load(saved)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks shards/{re.escape(shard.name)}; copy it there"):
        load(saved)


def test_shards_reject_another_model(saved):
    wide = small_decoder(hidden_size=64)
    with pytest.raises(ValueError, match=r"of another model: decoder.lm_head.weight is \[116, 32\].*\[116, 64\] here"):
        load_weights(saved, {"decoder": wide})
    deep = small_decoder(num_layers=3)
    with pytest.raises(ValueError, match=r"decoder.model.layers.2.* is absent there"):
        load_weights(saved, {"decoder": deep})
    decoder = small_decoder()
    with pytest.raises(ValueError, match=r"optimizer/muon/.*which this run has not"):
        load_checkpoint(saved, {"decoder": decoder}, make_optimizer({"decoder": decoder}, OptimConfig(lr=0.1)))


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm-was-done",)


def test_metadata_that_names_code_is_not_run(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metadata = saved / "shards/.metadata"
    harm = pickle.dumps(Harm()).ljust(metadata.stat().st_size, b".")
    metadata.write_bytes(harm[: metadata.stat().st_size])
    with pytest.raises(ValueError, match=r"metadata is damaged: its SHA-256"):
        load(saved)
    write_list(saved, {})  # by whoever wrote the harm
    with pytest.raises(ValueError, match=r"no part of a checkpoint \(it names posix.mkdir"):
        load(saved)
    assert not Path("harm-was-done").exists()


def test_one_process_trains_with_shards_as_without(tmp_path):
    for name, parallel in (("ddp", "ddp"), ("fsdp", "fsdp")):
        train_small(tmp_path / name, parallel=parallel, keep_checkpoints=1)
    losses = [[line["loss"] for line in read_metrics(tmp_path / name)] for name in ("ddp", "fsdp")]
    assert losses[0] == losses[1]
    assert [path.name for path in (tmp_path / "fsdp/checkpoints").iterdir()] == ["step-00000010"]
