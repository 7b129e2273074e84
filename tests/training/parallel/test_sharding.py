"""Runs split over ranks equal whole ones, repeat, and go on from checkpoints that other numbers of ranks wrote."""

import shutil
from pathlib import Path

import pytest
import torch
from forked import joined
from small_plans import small_decoder
from split_runs import finish, fork_ranks, start_ranks, train_small

from openlvm.core.runs import read_metrics
from openlvm.training.checkpoint import load_weights

MUON = {"optimizer": "muon"}
UNEVEN = [16, 16, 4]  # of four ranks with 2 positions each, the second has two lengths: one forward more


def lines_of(at: Path) -> list[dict]:
    return [{name: value for name, value in line.items() if name != "timing"} for line in read_metrics(at)]


def weights_of(checkpoint: Path, **shape) -> dict[str, torch.Tensor]:
    decoder = small_decoder(seed=9, **shape)
    load_weights(checkpoint, {"decoder": decoder})
    return decoder.state_dict()


def assert_equal_but_for_rounding(one: Path, several: Path, *, steps: int = 5) -> None:
    """The first steps within 1e-6 relative, as the design asks; the others within 1e-5."""
    for left, right in zip(lines_of(one), lines_of(several), strict=True):
        tolerance = 1e-6 if left["step"] <= steps else 1e-5
        for name in ("loss", "grad_norm"):
            assert right[name] == pytest.approx(left[name], rel=tolerance), (name, left["step"])
        for name in ("parts", "evaluation"):
            assert right.get(name, {}) == pytest.approx(left.get(name, {}), rel=1e-5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Runs on one process and on two, by name."""
    at = tmp_path_factory.mktemp("runs")
    two = fork_ranks(
        2,
        [
            {"at": f"{at}/fsdp", "parallel": "fsdp"},
            {
                "at": f"{at}/async", "parallel": "fsdp", "async_checkpoints": True,
                "activation_checkpointing": True, "deterministic": True,
            },
            {"at": f"{at}/muon2", "parallel": "fsdp", "optim": MUON, "tied": True},
            {"at": f"{at}/bf16", "parallel": "fsdp", "precision": "bf16"},
            {"at": f"{at}/exploding2", "parallel": "fsdp", "explode": True, "max_roll_backs": 1},
            {"at": f"{at}/codebook2", "parallel": "fsdp", "codebook": True},
        ],
        at,
    )  # fmt: skip
    train_small(at / "one")
    train_small(at / "muon", optim=MUON, tied=True)
    train_small(at / "codebook", codebook=True)
    train_small(at / "exploding", explode=True, max_roll_backs=1)
    joined(two)
    return at


def test_a_split_run_equals_a_whole_one(runs):
    assert_equal_but_for_rounding(runs / "one", runs / "fsdp")
    whole = weights_of(runs / "one/checkpoints/step-00000010")
    split = weights_of(runs / "fsdp/checkpoints/step-00000010")
    torch.testing.assert_close(split, whole, rtol=0, atol=2e-5)


def test_a_frozen_codebook_is_split_too(runs):
    assert_equal_but_for_rounding(runs / "codebook", runs / "codebook2")


def test_muon_on_shares_equals_muon(runs):
    assert_equal_but_for_rounding(runs / "muon", runs / "muon2")
    ends = [weights_of(runs / name / "checkpoints/step-00000010", tie_embeddings=True) for name in ("muon", "muon2")]
    torch.testing.assert_close(*ends, rtol=0, atol=2e-5)


def test_split_runs_repeat_to_the_bit(runs):
    """Recomputed blocks and checkpoints written in the background change nothing."""
    assert lines_of(runs / "async") == lines_of(runs / "fsdp")
    for step in (5, 10):
        ends = [weights_of(runs / name / f"checkpoints/step-{step:08d}") for name in ("async", "fsdp")]
        assert all(torch.equal(left, right) for left, right in zip(*map(dict.values, ends), strict=True))


def test_bf16_gathers_low_and_sums_high(runs):
    losses = [[line["loss"] for line in lines_of(runs / name)] for name in ("one", "bf16")]
    assert losses[1] == pytest.approx(losses[0], rel=0.01) and losses[1] != losses[0]
    assert {t.dtype for t in weights_of(runs / "bf16/checkpoints/step-00000010").values()} == {torch.float32}


def test_a_split_run_goes_back_when_it_diverges(runs):
    found = lines_of(runs / "exploding2")
    assert [line["step"] for line in found if "rolled_back" in line] == [6]
    assert_equal_but_for_rounding(runs / "exploding", runs / "exploding2")


def cut_to_step_5(run: Path, copy: Path) -> Path:
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoints/step-00000010")
    return copy


def test_one_process_goes_on_where_two_stopped(runs, tmp_path):
    for name, more in (("fsdp", {}), ("muon2", {"optim": MUON, "tied": True})):
        at = cut_to_step_5(runs / name, tmp_path / name)
        train_small(at, parallel="fsdp", resume=True, **more)
        assert_equal_but_for_rounding(runs / name, at, steps=10)
        assert lines_of(at)[:5] == lines_of(runs / name)[:5]


@pytest.mark.slow
def test_four_ranks_equal_one(runs, tmp_path):
    more = cut_to_step_5(runs / "fsdp", tmp_path / "more")
    four = start_ranks(
        4,
        [
            {"at": f"{tmp_path}/ddp"},
            {"at": f"{tmp_path}/uneven4", "parallel": "fsdp", "images": UNEVEN},
            {"at": f"{tmp_path}/hsdp", "parallel": "hsdp", "ranks_per_shard": 2, "positions_per_forward": 1},
            {"at": f"{tmp_path}/muon4", "parallel": "hsdp", "ranks_per_shard": 2, "optim": MUON, "tied": True},
            {"at": str(more), "parallel": "fsdp", "resume": True},
        ],
    )
    train_small(tmp_path / "uneven", images=UNEVEN)
    finish(four)
    assert_equal_but_for_rounding(runs / "one", tmp_path / "ddp")
    assert_equal_but_for_rounding(runs / "one", tmp_path / "hsdp")
    assert_equal_but_for_rounding(runs / "muon", tmp_path / "muon4")
    assert_equal_but_for_rounding(tmp_path / "uneven", tmp_path / "uneven4")
    assert_equal_but_for_rounding(runs / "fsdp", more, steps=10)
    again = cut_to_step_5(tmp_path / "uneven4", tmp_path / "again")
    finish(start_ranks(2, [{"at": str(again), "parallel": "fsdp", "images": UNEVEN, "resume": True}]))
    assert_equal_but_for_rounding(tmp_path / "uneven4", again, steps=10)


@pytest.mark.slow
@pytest.mark.timeout(450)
def test_compiled_and_recomputed_blocks_equal_plain_ones(tmp_path):
    together = {"parallel": "fsdp", "compile": True, "activation_checkpointing": True, "images": [16]}
    running = start_ranks(2, [{"at": f"{tmp_path}/compiled", **together}])
    train_small(tmp_path / "plain", images=[16])
    finish(running, timeout=400)
    assert_equal_but_for_rounding(tmp_path / "plain", tmp_path / "compiled", steps=0)


@pytest.mark.gpu
def test_cuda_repeats_to_the_bit_with_deterministic_algorithms(tmp_path):
    how = {"device": "cuda", "deterministic": True, "precision": "bf16", "activation_checkpointing": True}
    finish(start_ranks(1, [{"at": f"{tmp_path}/{name}", **how} for name in ("a", "b")]))
    assert lines_of(tmp_path / "a") == lines_of(tmp_path / "b")
    assert read_metrics(tmp_path / "a")[-1]["timing"]["peak_memory_gib"] > 0
