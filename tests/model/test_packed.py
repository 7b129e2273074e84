"""Weights laid out for drawing: the same results, nothing stored twice, undone by a move."""

import copy

import pytest
import torch

from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.folder import load_decoder, save_decoder
from openlvm.model.packed import pack, to_int8
from openlvm.model.products import Int8Linear

CODES = torch.randint(0, 40, (2, 24), generator=torch.Generator().manual_seed(1))


def decoder_of(bias: bool, tied: bool) -> Decoder:
    config = DecoderConfig(
        vocab_size=40, hidden_size=64, num_layers=2, num_heads=2, mlp_size=96, context=32,
        attention_bias=bias, tie_embeddings=tied,
    )  # fmt: skip
    decoder = Decoder(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for weight in decoder.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2 + (weight.ndim == 1))
    return decoder


@pytest.fixture(params=[(False, False), (True, True)], ids=["plain", "biases and one table"])
def decoder(request) -> Decoder:
    return decoder_of(*request.param)


@torch.inference_mode()
def logits_step_by_step(decoder: Decoder) -> torch.Tensor:
    """As an engine reads: a beginning at once, then one by one; float32 [2, 24, V]."""
    cache = decoder.new_cache(rows=2, room=24)
    parts = [decoder(CODES[:, :9], cache=cache)]
    parts += [decoder(CODES[:, place : place + 1], cache=cache) for place in range(9, 24)]
    return torch.cat(parts, dim=1)


def test_packing_changes_rounding_only(decoder):
    with torch.inference_mode():
        expected = decoder(CODES)
    packed = pack(copy.deepcopy(decoder))
    with torch.inference_mode():
        assert torch.allclose(packed(CODES), expected, atol=1e-5)
    assert torch.allclose(logits_step_by_step(packed), expected, atol=1e-5)
    assert torch.allclose(packed(CODES), expected, atol=1e-5)  # with gradients possible: the Linears themselves
    twice = pack(packed)
    assert torch.allclose(logits_step_by_step(twice), expected, atol=1e-5)


def test_nothing_is_stored_twice_and_the_packed_product_is_what_runs(decoder):
    pack(decoder)
    attention = decoder.model.layers[0].self_attn
    before = logits_step_by_step(decoder)
    attention.q_proj.weight.mul_(2)  # a view: the packed product sees it
    assert not torch.allclose(logits_step_by_step(decoder), before, atol=1e-3)
    stores = {weight.untyped_storage().data_ptr() for weight in decoder.parameters()}
    assert attention.packed.weight.untyped_storage().data_ptr() in stores


def test_a_packed_decoder_is_saved_as_any_other(decoder, tmp_path):
    save_decoder(decoder, tmp_path / "plain")
    save_decoder(pack(decoder), tmp_path / "packed")
    name = "model.safetensors"
    assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "packed" / name).read_bytes()


def test_moving_undoes_packing(decoder):
    pack(decoder).to(torch.float64)
    assert decoder.model.layers[0].self_attn.packed is None and decoder.model.layers[0].mlp.packed is None
    with torch.inference_mode():
        assert decoder.hidden(CODES).dtype == torch.float64


def test_bfloat16_keeps_a_float32_cache_on_a_cpu(decoder):
    expected = logits_step_by_step(decoder)
    half = pack(decoder.to(torch.bfloat16))
    assert half.new_cache(rows=1, room=4).keys[0].dtype == torch.float32
    assert torch.allclose(logits_step_by_step(half), expected, atol=0.08 * float(expected.abs().max()))


def test_int8_is_near_and_a_quarter_of_the_memory(decoder, monkeypatch):
    expected = logits_step_by_step(decoder)
    products = sum(weight.numel() for name, weight in decoder.named_parameters() if "proj.weight" in name)
    small = pack(to_int8(decoder))
    held = {buffer.untyped_storage().data_ptr(): buffer for buffer in small.buffers() if buffer.dtype == torch.int8}
    table = 40 * 64
    assert sum(buffer.untyped_storage().nbytes() for buffer in held.values()) == products + table
    near = logits_step_by_step(small)
    error = (near - expected).abs().max() / expected.abs().max()
    assert 1e-4 < error < 0.08  # rounded, and no more
    monkeypatch.setattr("openlvm.model.products._works", {"cpu": False})  # without the kernel
    assert torch.allclose(logits_step_by_step(small), near, atol=0.05 * float(expected.abs().max()))
    with pytest.raises(ValueError, match="int8"):
        save_decoder(small, "nowhere")


def test_int8_rounds_each_output_to_its_own_scale():
    weight = torch.tensor([[1.0, -0.5, 0.25], [100.0, 50.0, 0.0]])
    linear = Int8Linear(weight)
    assert linear.weight.abs().amax(dim=1).tolist() == [127, 127]
    restored = linear.weight * linear.scale.float()[:, None]
    assert torch.allclose(restored, weight, atol=0.01 * 100) and torch.allclose(restored[0], weight[0], atol=0.01)


def test_the_embedded_lvm_says_the_same_in_every_precision():
    from openlvm.bundle import load_bundle

    codes = torch.randint(0, 1024, (1, 200), generator=torch.Generator().manual_seed(2))
    found = {}
    for name in ("plain", "packed", "int8"):
        decoder = load_bundle("mini").decoder
        decoder = {"plain": lambda d: d, "packed": pack, "int8": lambda d: pack(to_int8(d))}[name](decoder)
        with torch.inference_mode():
            found[name] = decoder(codes).log_softmax(-1)
    assert torch.allclose(found["packed"], found["plain"], atol=1e-4)
    kl = (found["plain"].exp() * (found["plain"] - found["int8"])).sum(-1).mean()
    assert 0 < kl < 0.01  # nats a code


def test_load_decoder_after_packing_is_plain(decoder, tmp_path):
    save_decoder(pack(decoder), tmp_path)
    again = load_decoder(tmp_path)
    assert again.model.layers[0].self_attn.packed is None
    assert torch.allclose(logits_step_by_step(again), logits_step_by_step(decoder), atol=1e-5)
