"""Costs told beforehand: against hand counts, and against what autograd really keeps."""

from dataclasses import replace

import pytest
import torch

from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.sizes import SIZES
from openlvm.recipes import RECIPES
from openlvm.recipes.costs import activation_bytes, estimate, memory_of, spell, work_of


def _kept_bytes(shape: DecoderConfig, precision: str, tokens: int) -> int:
    """Bytes that autograd keeps for the backward of `hidden`, without weights, their copies and rotary tables."""
    decoder = Decoder(shape)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*decoder.parameters(), *decoder.buffers())}
    kept: dict[int, torch.Tensor] = {}  # holding them keeps their addresses apart

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tokens in tensor.shape and tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
    ):
        decoder.hidden(torch.zeros(1, tokens, dtype=torch.long))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activation_bytes_match_what_autograd_keeps(precision):
    shape = DecoderConfig(vocab_size=60, hidden_size=96, num_layers=2, num_heads=3, mlp_size=256, context=300)
    more = replace(shape, num_layers=3)
    of_a_block = _kept_bytes(more, precision, 300) - _kept_bytes(shape, precision, 300)
    assert of_a_block / 300 == pytest.approx(activation_bytes(shape, precision=precision, is_cpu=True), rel=0.001)


def test_lvm_300m_costs_what_hand_counts_say():
    found = estimate(RECIPES["lvm_300m"](), gpu="h200", gpus=8, mfu=0.5)
    assert found.work.model.num_parameters == 290_968_576
    assert found.tokens == pytest.approx(420e9, rel=0.001)
    a_block = 4 * 1024**2 + 3 * 1024 * 2688
    assert found.flops_per_token == 6 * (22 * a_block + 8292 * 1024 + 22 * 1024 * 4097)
    assert found.seconds == pytest.approx(found.flops / (8 * 0.5 * 989e12))
    assert found.memory.weights == found.memory.gradients == 4 * 290_968_576
    assert found.memory.optimizer == 8 * 290_968_576
    assert found.fits is True and found.checkpoint_bytes == 12 * 290_968_576
    assert estimate(RECIPES["lvm_300m"](), gpu="rtx4090", gpus=8).fits is False


def test_sharding_divides_what_is_kept_and_recomputing_shrinks_activations():
    work = work_of(RECIPES["lvm_7b"]())
    whole = memory_of(replace(work, train=replace(work.train, parallel="ddp", activation_checkpointing=False)), gpus=16)
    shared = memory_of(replace(work, train=replace(work.train, parallel="fsdp")), gpus=16)
    nodes = memory_of(work, gpus=16)
    assert work.train.parallel == "hsdp"
    assert whole.weights == 16 * shared.weights == 8 * nodes.weights
    assert whole.optimizer == 16 * shared.optimizer and whole.gradients == 16 * shared.gradients
    assert shared.activations < whole.activations / 5
    assert shared.gathered < whole.gathered / 10


def test_muon_keeps_one_number_for_hidden_matrices():
    mini = work_of(RECIPES["mini"]())
    adam = replace(mini, train=replace(mini.train, optim=replace(mini.train.optim, optimizer="adamw")))
    spared = 6 * (4 * 192**2 + 3 * 192 * 512)
    assert memory_of(adam, gpus=1).optimizer - memory_of(mini, gpus=1).optimizer == 4 * spared


def test_teacher_adds_a_third_of_its_training():
    student = estimate(RECIPES["delvm_300m"](), gpu="a100", gpus=8)
    taught = estimate(RECIPES["delvm_kd_1b_to_300m"](), gpu="a100", gpus=8)
    teacher = estimate(RECIPES["delvm_1b"](), gpu="a100", gpus=8)
    assert taught.flops_per_token == pytest.approx(student.flops_per_token + teacher.flops_per_token / 3)
    assert taught.memory.teacher == 2 * teacher.work.model.num_parameters
    assert student.tokens == pytest.approx(40_000 * 262_144, rel=0.001)


def test_lengths_are_those_of_the_sentences():
    work = work_of(RECIPES["toy_300k"]())
    assert (work.length, work.tokens_per_position) == (8 * 64 + 1, 2 * (8 * 64 + 1))
    delvm = work_of(RECIPES["delvm_300m"]())
    assert (delvm.length, delvm.tokens_per_position) == (2049, 2 * 2049)
    assert work_of(RECIPES["own"]()).model == SIZES["demo"]


def test_every_decoder_recipe_has_an_estimate_in_both_forms():
    for name, recipe in RECIPES.items():
        if "tokenizer" in name:
            continue
        for tiny in (False, True):
            told = spell(name, estimate(recipe(tiny=tiny), gpu="h200"))
            assert told.startswith(f"{name} on 1 x h200") and "time" in told


def test_what_is_too_large_says_what_to_set():
    found = estimate(replace(RECIPES["lvm_7b"](), decoder=_plain(RECIPES["lvm_7b"]().decoder)), gpu="h100", gpus=4)
    assert found.fits is False
    told = spell("lvm_7b", found)
    assert "too large: share the model with --decoder.train.parallel fsdp" in told
    told = spell("lvm_300m", estimate(RECIPES["lvm_300m"](), gpu="rtx4090"))
    assert (
        "too large: lower --decoder.train.positions-per-forward, set --decoder.train.activation-checkpointing" in told
    )


def _plain(decoder):
    return replace(decoder, train=replace(decoder.train, parallel="ddp", activation_checkpointing=False))


def test_estimate_rejects_what_cannot_be():
    config = RECIPES["lvm_300m"]()
    with pytest.raises(ValueError, match="positions_per_step=128 cannot be split evenly among 3 devices"):
        estimate(config, gpu="h200", gpus=3)
    with pytest.raises(ValueError, match="gpus=0 must be at least 1"):
        estimate(config, gpu="h200", gpus=0)
    with pytest.raises(ValueError, match=r"mfu=1.5 lie in 0..1"):
        estimate(config, gpu="h200", mfu=1.5)
    with pytest.raises(ValueError, match="no device called 'h20'; did you mean h200"):
        estimate(config, gpu="h20")
    with pytest.raises(ValueError, match="this recipe trains a tokenizer"):
        estimate(RECIPES["demo_tokenizer"](), gpu="h200")
