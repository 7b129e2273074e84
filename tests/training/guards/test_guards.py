"""Spikes, expected bands, rates and memory: rules by hand, and what a run does with them."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from small_plans import small_task
from training_toys import ToyTask, toy_config

from openlvm.core.runs import read_metrics
from openlvm.model.sizes import flops_per_token
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.guards.determinism import algorithms
from openlvm.training.guards.expected import alarm_of, band_at
from openlvm.training.guards.memory import peak_memory_gib
from openlvm.training.guards.rates import Clock, peak_flops
from openlvm.training.guards.spikes import SpikeConfig, SpikeWatch
from openlvm.training.loop import train
from openlvm.training.task import TaskLoss

CPU = torch.device("cpu")
WATCHED = SpikeConfig(deviations=6, window=8)


def filled_watch(**changes) -> SpikeWatch:
    """Eight losses of median 2 and median deviation 0.1: the limit is 2 + 6 * 1.4826 * 0.1."""
    config = SpikeConfig(**{"deviations": 6, "window": 8, **changes})
    return SpikeWatch(config, [1.7, 1.9, 1.9, 2.0, 2.0, 2.1, 2.1, 2.3])


def test_a_spike_stands_above_median_and_deviations():
    watch = filled_watch()
    assert watch.limit() == pytest.approx(2 + 6 * 1.4826 * 0.1)
    assert watch.sees(2.88) is None
    assert watch.sees(50.0) == pytest.approx(watch.limit()) and watch.in_a_row == 1
    assert 50.0 not in watch.losses and watch.sees(2.0) is None and watch.in_a_row == 0
    assert list(watch.losses)[-2:] == [2.88, 2.0] and len(watch.losses) == 8


def test_spikes_limits():
    assert SpikeWatch(WATCHED, [1.0] * 7).limit() == math.inf  # too few
    assert SpikeWatch(WATCHED, [2.0] * 8).limit() == pytest.approx(2 + 6 * 2e-3)  # no deviation at all
    assert SpikeWatch(SpikeConfig(), [1.0] * 99).sees(1e9) is None  # off
    with pytest.raises(ValueError, match="window=4 at least 8"):
        SpikeConfig(window=4)


class Spiking(ToyTask):
    """Its loss is a thousandfold at the positions given."""

    def __init__(self, *spikes: int, **settings):
        super().__init__(**settings)
        self.spikes = set(spikes)

    def loss(self, batch):
        loss = super().loss(batch)
        factor = 1000.0 if self.spikes & set(batch.data[2]) else 1.0
        return TaskLoss(loss.total * factor, loss.parts)


def lines_of(at) -> list[dict]:
    return [{name: value for name, value in line.items() if name != "timing"} for line in read_metrics(at)]


SMALL_WATCH = SpikeConfig(deviations=20, window=8)


def test_a_spike_is_skipped_and_told(tmp_path, capsys):
    config = toy_config(spikes=SMALL_WATCH, log_every=4)
    task, calm = Spiking(8 * 9 + 3), Spiking()  # in step 10
    train(config, task, tmp_path / "spiking")
    found = read_metrics(tmp_path / "spiking")
    assert [line["step"] for line in found] == [4, 8, 10, 12]
    told = found[2]
    assert told["skipped"]["in_a_row"] == 1 and told["loss"] > told["skipped"]["limit"] > 0
    assert "step 10 (positions 72..79): loss" in capsys.readouterr().err
    assert found[3]["loss"] < told["skipped"]["limit"]
    train(toy_config(log_every=4), calm, tmp_path / "calm")
    assert lines_of(tmp_path / "calm")[1] == lines_of(tmp_path / "spiking")[1]


def test_a_skipped_step_leaves_the_weights(tmp_path):
    """Checkpoints before and after step 10 hold the same weights; the optimizer's state too."""
    config = toy_config(steps=10, spikes=SMALL_WATCH, checkpoint_every=1)
    train(config, Spiking(8 * 9 + 3), tmp_path)
    nine, ten = (tmp_path / f"checkpoints/step-{step:08d}" for step in (9, 10))
    weights = [load_file(at / "net.safetensors") for at in (nine, ten)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in ("0.weight", "2.bias"))
    moments = [torch.load(at / "optimizer.pt", weights_only=True)["adamw"]["state"][0]["exp_avg"] for at in (nine, ten)]
    assert torch.equal(*moments)
    state = json.loads((tmp_path / "checkpoints/step-00000010/state.json").read_text())
    assert len(state["recent_losses"]) == 8 and state["skipped_in_a_row"] == 1


def test_watching_resumes_to_the_bit(tmp_path):
    config = toy_config(spikes=SMALL_WATCH)
    train(config, Spiking(75), tmp_path / "whole")

    class Dying(Spiking):
        def after_step(self, step):
            super().after_step(step)
            if step == 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, Dying(75), tmp_path / "cut")
    train(config, Spiking(75), tmp_path / "cut", resume=True)
    assert lines_of(tmp_path / "cut") == lines_of(tmp_path / "whole")
    assert "skipped" in lines_of(tmp_path / "cut")[9]


def test_spikes_roll_back_or_end_when_they_go_on(tmp_path):
    back = SpikeConfig(deviations=20, window=8, action="roll_back")
    train(toy_config(spikes=back, max_roll_backs=1), Spiking(75), tmp_path / "back")
    [told] = [line["rolled_back"] for line in read_metrics(tmp_path / "back") if "rolled_back" in line]
    assert told["from"] == 10 and told["to"] == 5 and "is a spike above" in told["reason"]
    short = SpikeConfig(deviations=20, window=8, max_in_a_row=2)
    with pytest.raises(ValueError, match=r"step 10 .* is a spike above .*, the 2th in a row\. Lower optim\.lr"):
        train(toy_config(spikes=short), Spiking(*range(64, 90)), tmp_path / "on")


def test_bands_are_straight_between_steps():
    bands = ((10, 1.0, 3.0), (20, 0.0, 2.0))
    assert band_at(bands, 15) == (0.5, 2.5) and band_at(bands, 10) == (1.0, 3.0) and band_at(bands, 20) == (0.0, 2.0)
    assert band_at(bands, 9) is None and band_at(bands, 21) is None and band_at((), 5) is None
    assert band_at(bands[:1], 10) == (1.0, 3.0)
    assert alarm_of(bands, 15, 2.5) == ""
    assert alarm_of(bands, 15, 2.6).startswith("loss 2.6000 lies above the band 0.5 .. 2.5 expected at step 15")
    assert "below" in alarm_of(bands, 15, 0.4)
    with pytest.raises(ValueError, match="steps ascending, lowest < highest"):
        toy_config(expected_loss=((5, 1.0, 2.0), (5, 1.0, 2.0)))


def test_a_loss_outside_its_band_is_an_alarm(tmp_path, capsys):
    train(toy_config(expected_loss=((3, 0.0, 1e-6), (4, 0.0, 1e6))), ToyTask(), tmp_path)
    alarms = {line["step"]: line["alarms"] for line in read_metrics(tmp_path) if "alarms" in line}
    assert list(alarms) == [3] and "lies above the band 0 .. 1e-06 expected at step 3" in alarms[3][0]
    assert "train step 3: loss" in capsys.readouterr().err


def test_lines_tell_rates_waiting_and_memory(tmp_path):
    train(toy_config(steps=2), ToyTask(), tmp_path)
    timing = read_metrics(tmp_path)[-1]["timing"]
    assert timing["mfu"] is None and timing["examples_per_second"] > 0
    assert 0 <= timing["data_wait_seconds"] < timing["seconds"]
    assert 0.05 < timing["peak_memory_gib"] < 64 and timing["peak_memory_gib"] <= peak_memory_gib(CPU)


def test_mfu_is_operations_over_peak(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    gpu = torch.device("cuda", 0)
    assert peak_flops(gpu, "bf16") == 989e12
    assert peak_flops(gpu, "fp32") is None and peak_flops(CPU, "bf16") is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 PCIe")
    assert peak_flops(gpu, "bf16") == 756e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Another")
    assert peak_flops(gpu, "bf16") is None
    clock = Clock("tokens", CPU, peak=1e9)
    clock.count(10, 5e8, 0.25)
    read = clock.read()
    assert read["mfu"] == pytest.approx(5e8 / read["seconds"] / 1e9) and read["data_wait_seconds"] == 0.25
    assert clock.read()["mfu"] is None  # nothing counted since


def test_operations_of_forwards_do_not_depend_on_the_layout():
    """Sentences of 64, 16 and 12 codes, one row or several, padded or not: 6 N + 6 V D + 6 L D T for each token."""
    config = small_task().decoder.config
    counted = {
        layout: sum(batch.flops for batch in small_task(layout).micro_batches(0, range(6)))
        for layout in ("dense", "packed")
    }
    positions = {64: (1, 65), 16: (4, 17), 12: (5, 13)}  # codes -> sentences of a position, tokens of each
    by_hand = sum(2 * n * length * flops_per_token(config, length) for n, length in positions.values())
    assert counted["dense"] == pytest.approx(by_hand) and counted["packed"] == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_out_of_memory_says_what_to_lower(tmp_path, error):
    class Large(ToyTask):
        def loss(self, batch):
            raise error

    with pytest.raises(ValueError, match=r"out of memory on cpu in step 1.* positions_per_forward=4 to 2 .*; or set "):
        train(toy_config(positions_per_forward=4), Large(), tmp_path)


def test_other_errors_are_not_taken_for_memory(tmp_path):
    class Wrong(ToyTask):
        def loss(self, batch):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(toy_config(), Wrong(), tmp_path)


def test_deterministic_algorithms_are_a_switch(tmp_path):
    seen = []

    class Watching(ToyTask):
        def loss(self, batch):
            seen.append(torch.are_deterministic_algorithms_enabled())
            return super().loss(batch)

    for is_on in (False, True):
        train(toy_config(steps=2, deterministic=is_on), Watching(per_forward=8), tmp_path / str(is_on))
    assert seen == [False, False, True, True] and not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ZeroDivisionError), algorithms(CPU, deterministic=True):
        raise ZeroDivisionError
    assert not torch.are_deterministic_algorithms_enabled()


def test_settings_reject_what_contradicts():
    values = {"steps": 1, "positions_per_step": 1, "optim": OptimConfig(lr=1.0)}
    with pytest.raises(ValueError, match="ranks_per_shard=4 is for parallel=hsdp, given fsdp"):
        TrainConfig(**values, parallel="fsdp", ranks_per_shard=4)
    with pytest.raises(ValueError, match="async_checkpoints is for parallel=fsdp and hsdp"):
        TrainConfig(**values, async_checkpoints=True)


@pytest.mark.parametrize("setting", [{"parallel": "fsdp"}, {"activation_checkpointing": True}])
def test_tasks_without_blocks_are_not_split(tmp_path, setting):
    with pytest.raises(ValueError, match="is for decoders; what is trained here has no blocks"):
        train(toy_config(**setting), ToyTask(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
