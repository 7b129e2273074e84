"""Decoder training on drawn codes: layouts agree, data are a function of the position, one batch is learned."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_plans import SPECIAL, DrawnPlan, N, small_decoder, small_task

from openlvm.core.ranks import Ranks
from openlvm.core.runs import read_metrics
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.decoder.rows import LossConfig
from openlvm.training.loop import train
from openlvm.training.parallel.collectives import positions_of


def summed(task, positions=range(9)):
    """(loss sum, weight sum, gradient of the embedding, parts) over the batches of some positions."""
    total, weight, parts = 0.0, 0.0, {}
    for batch in task.micro_batches(0, positions):
        loss = task.loss(batch)
        loss.total.backward()
        total, weight = total + loss.total.item(), weight + batch.weight
        for name, (part_sum, part_weight) in loss.parts.items():
            old = parts.get(name, (0.0, 0.0))
            parts[name] = (old[0] + float(part_sum), old[1] + float(part_weight))
    return total, weight, task.decoder.model.embed_tokens.weight.grad, parts


def by_hand(task, positions=range(9)):
    """The same with one sentence at a time and torch's own cross entropy."""
    total = weight = 0.0
    per_role = np.array([task.loss_weights.context, task.loss_weights.query, task.loss_weights.answer])
    for position in positions:
        found = task.plan.sentences(position)
        for codes, roles in zip(found.codes, found.roles, strict=True):
            ids = torch.tensor([SPECIAL.bos, *codes, SPECIAL.eos])
            weights = per_role[[*np.repeat(roles, N), roles[-1]]]
            losses = F.cross_entropy(task.decoder(ids[None, :-1])[0], ids[1:], reduction="none")
            total += (losses * torch.from_numpy(weights)).sum()
            weight += weights.sum()
    total.backward()
    return total.item(), weight, task.decoder.model.embed_tokens.weight.grad


@pytest.mark.parametrize("layout", ["dense", "packed"])
@pytest.mark.parametrize("loss", [LossConfig(query=0.5, answer=2.0), LossConfig(context=0.3, query=0.0)])
def test_loss_equals_one_sentence_at_a_time(layout, loss):
    total, weight, grad, _ = summed(small_task(layout, loss=loss, per_forward=3))
    expected_total, expected_weight, expected_grad = by_hand(small_task(loss=loss))
    assert weight == pytest.approx(expected_weight, rel=1e-6)
    assert total / weight == pytest.approx(expected_total / expected_weight, rel=1e-5)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-5)


def test_packed_equals_dense_in_all_parts():
    *_, dense = summed(small_task("dense"))
    *_, packed = summed(small_task("packed", per_forward=4))
    assert dense.keys() == packed.keys() == {"of 16", "of 4", "of 3", "role:context", "role:query", "role:answer"}
    for name, pair in dense.items():
        assert packed[name] == pytest.approx(pair, rel=1e-5)


def test_parts_make_up_the_loss():
    total, weight, _, parts = summed(small_task())
    assert sum(parts[name][0] for name in ("of 16", "of 4", "of 3")) == pytest.approx(total, rel=1e-6)
    assert sum(parts[name][1] for name in ("of 16", "of 4", "of 3")) == pytest.approx(weight, rel=1e-6)
    assert parts["role:context"][1] == 3 * (16 * N + 1)


def test_packed_rows_have_one_shape_and_padding_counts_for_nothing():
    batches = small_task("packed", per_forward=3).micro_batches(0, range(9))
    assert {tuple(batch.data.tensors["inputs"].shape) for batch in batches} == {(3, 4 * (4 * N + 1))}
    real = [batch.units for batch in small_task("dense").micro_batches(0, range(9))]
    assert sum(batch.units for batch in batches) == sum(real)


def test_stream_rows_are_the_text_of_the_plan():
    plan = DrawnPlan(images=(4,), num_positions=10)
    task = small_task("stream", plan=plan, decoder=small_decoder(context=50))
    text = [i for p in range(10) for codes in plan.sentences(p).codes for i in (SPECIAL.bos, *codes, SPECIAL.eos)]
    assert task.num_positions == (len(text) - 1) // 50
    batches = task.micro_batches(0, range(task.num_positions))
    inputs = [code for batch in batches for code in batch.data.tensors["inputs"].flatten().tolist()]
    targets = [code for batch in batches for code in batch.data.tensors["targets"].flatten().tolist()]
    assert inputs == text[: len(inputs)] and targets == text[1 : len(inputs) + 1]
    assert task.loss(batches[0]).total.isfinite()


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_see_the_same_sentences(world_size):
    task = small_task(per_forward=1)
    shares = [positions_of(8, 8, Ranks(rank, world_size)) for rank in range(world_size)]
    rows = [
        tuple(row)
        for share in shares
        for b in task.micro_batches(1, share)
        for row in b.data.tensors["inputs"].tolist()
    ]
    whole = [tuple(row) for b in task.micro_batches(1, range(8, 16)) for row in b.data.tensors["inputs"].tolist()]
    assert sorted(rows) == sorted(whole) and len(whole) > 8


def test_task_rejects_what_does_not_fit():
    with pytest.raises(ValueError, match="sentences of 65 tokens are longer than the decoder's context=64"):
        small_task(decoder=small_decoder(context=64))
    with pytest.raises(
        ValueError, match=r"layout=stream needs sentences of one length, given components of \[16, 4, 3\]"
    ):
        small_task("stream")
    with pytest.raises(ValueError, match="position 70 was asked for, the plan has 64"):
        small_task().micro_batches(0, range(63, 71))


@pytest.mark.parametrize("layout", ["dense", "packed"])
def test_decoder_learns_one_batch(tmp_path, layout):
    optim = OptimConfig(lr=1e-2, optimizer="muon", warmup_steps=5)
    config = TrainConfig(steps=60, positions_per_step=3, positions_per_forward=3, optim=optim, log_every=20)
    plan = DrawnPlan(num_positions=180, different=3)
    train(config, small_task(layout, plan=plan), tmp_path)
    assert read_metrics(tmp_path)[-1]["loss"] < 0.3  # 4.8 at first; the first code of a sentence cannot be known


def test_bf16_stays_near_fp32(tmp_path):
    for precision in ("fp32", "bf16"):
        config = TrainConfig(
            steps=3, positions_per_step=3, optim=OptimConfig(lr=1e-3), precision=precision, log_every=1
        )
        train(config, small_task(), tmp_path / precision)
    exact, low = ([line["loss"] for line in read_metrics(tmp_path / name)] for name in ("fp32", "bf16"))
    assert exact != low and low == pytest.approx(exact, rel=1e-2)


@pytest.mark.parametrize("layout", ["dense", "packed", "stream"])
def test_decoder_training_resumes_bit_exact(tmp_path, layout):
    def task():
        plan = DrawnPlan(images=(4,)) if layout == "stream" else DrawnPlan()
        return small_task(layout, plan=plan, per_forward=1)

    class Interrupted(Exception):
        pass

    def stop(done: int):
        raise Interrupted
        yield

    optim = OptimConfig(lr=1e-2, optimizer="muon")
    config = TrainConfig(steps=6, positions_per_step=4, optim=optim, log_every=1, checkpoint_every=2, evaluate_every=3)
    train(config, task(), tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config, task(), tmp_path / "cut", evaluators=[stop])
    train(config, task(), tmp_path / "cut", resume=True)
    whole, cut = ([line | {"timing": 0} for line in read_metrics(tmp_path / name)] for name in ("whole", "cut"))
    assert whole == cut and len(whole) == 6
