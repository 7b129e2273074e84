"""The decoder: equal to transformers, cached, forked and packed; its sizes and its first weights."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
import transformers

from openlvm.model.decoder import Decoder, DecoderConfig, GatedLinear
from openlvm.model.packed import pack
from openlvm.model.sizes import SIZES

TINY = DecoderConfig(vocab_size=60, hidden_size=32, num_layers=2, num_heads=2, mlp_size=48, context=40)
VARIANTS = {
    "plain": TINY,
    "biases": dataclasses.replace(TINY, attention_bias=True),
    "tied": dataclasses.replace(TINY, tie_embeddings=True),
    "theta": dataclasses.replace(TINY, rope_theta=500.0, rms_eps=1e-3),
}


def lively(config: DecoderConfig, seed: int = 0) -> Decoder:
    """A decoder whose weights are all large and random, norms and biases too, so that every one of them matters."""
    decoder = Decoder(config).requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, weight in decoder.named_parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2 + (1 if "norm" in name else 0))
    return decoder


def hf_twin(decoder: Decoder) -> transformers.LlamaForCausalLM:
    config = decoder.config
    twin = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            intermediate_size=config.mlp_size,
            max_position_embeddings=config.context,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            rms_norm_eps=config.rms_eps,
            attention_bias=config.attention_bias,
            tie_word_embeddings=config.tie_embeddings,
        )
    )
    loaded = twin.load_state_dict(decoder.state_dict(), strict=False)
    assert loaded.unexpected_keys == []
    assert set(loaded.missing_keys) <= ({"lm_head.weight"} if config.tie_embeddings else set())
    twin.tie_weights()
    return twin.eval()


def some_codes(rows: int, length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, 60, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_decoder_matches_transformers_llama(variant):
    decoder = lively(VARIANTS[variant])
    codes = some_codes(3, 40)
    expected = hf_twin(decoder)(codes).logits
    assert torch.allclose(decoder(codes), expected, atol=1e-5)
    assert expected.std() > 0.5  # a comparison of something


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_cached_decoding_equals_full_forward_and_transformers(variant):
    decoder = lively(VARIANTS[variant])
    codes = some_codes(3, 40)
    cache = decoder.new_cache(rows=3, room=40)
    pieces = [decoder(piece, cache=cache) for piece in codes.split([20, 5, *[1] * 15], dim=1)]
    assert cache.length == 40
    assert torch.allclose(torch.cat(pieces, dim=1), decoder(codes), atol=1e-5)
    theirs = transformers.DynamicCache()
    twin = hf_twin(decoder)
    expected = [twin(piece, past_key_values=theirs).logits for piece in codes.split([20, 5, *[1] * 15], dim=1)]
    assert torch.allclose(torch.cat(pieces, dim=1), torch.cat(expected, dim=1), atol=1e-5)


@torch.no_grad()
def test_forked_cache_equals_full_forward():
    """Two forks deep: 2 rows continue 1, and 6 continue those 2; several codes at once, and one by one."""
    decoder = lively(TINY)
    codes = some_codes(6, 40)
    codes[:, :12] = codes[0, :12]
    codes[:3, 12:20], codes[3:, 12:20] = codes[0, 12:20], codes[3, 12:20]
    expected = decoder(codes)
    root = decoder.new_cache(rows=1, room=12)
    decoder(codes[:1, :12], cache=root)
    middle = root.fork(2, room=8)
    assert torch.allclose(decoder(codes[::3, 12:20], cache=middle), expected[::3, 12:20], atol=2e-5)
    leaves = middle.fork(3, room=20)
    pieces = [decoder(piece, cache=leaves) for piece in codes[:, 20:].split([4, 1, 1, 3, *[1] * 11], dim=1)]
    assert torch.allclose(torch.cat(pieces, dim=1), expected[:, 20:], atol=2e-5)


@torch.no_grad()
def test_packed_rows_with_mask_and_positions_equal_separate_rows():
    decoder = lively(TINY)
    first, second = some_codes(1, 9), some_codes(1, 14, seed=2)
    packed = torch.cat([first, second], dim=1)
    document = torch.tensor([0] * 9 + [1] * 14)
    mask = (document[:, None] == document).tril()
    positions = torch.cat([torch.arange(9), torch.arange(14)])
    logits = decoder(packed, mask=mask, positions=positions)
    assert torch.allclose(logits[:, :9], decoder(first), atol=1e-5)
    assert torch.allclose(logits[:, 9:], decoder(second), atol=1e-5)
    assert torch.equal(logits, decoder(packed, mask=mask[None, None], positions=positions[None]))


@torch.no_grad()
def test_hidden_and_restricted_head_equal_forward():
    decoder = lively(TINY)
    codes = some_codes(2, 10)
    chosen = decoder.head(decoder.hidden(codes)[:, 3:5], num_codes=50)
    assert torch.allclose(chosen, decoder(codes)[:, 3:5, :50], atol=1e-6)


def test_autocast_keeps_norms_and_logits_float32_and_gives_gradients():
    decoder = Decoder(TINY)
    codes = some_codes(2, 20)
    seen = []
    decoder.model.norm.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = decoder(codes)
    assert logits.dtype == torch.float32 and seen == [torch.float32]
    assert torch.allclose(logits, decoder(codes), atol=0.02)
    logits.logsumexp(-1).mean().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in decoder.parameters())


def test_decoder_learns_one_batch():
    decoder = Decoder(TINY, seed=3)
    codes = some_codes(2, 16)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(decoder(codes)[:, :-1].flatten(0, 1), codes[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(4.1, abs=0.2)  # ln 60: it starts without an opinion
    assert losses[-1] < 0.1


def test_initial_weights_repeat_and_have_their_scale():
    config = dataclasses.replace(TINY, hidden_size=128, mlp_size=256)
    torch.manual_seed(1)
    first = Decoder(config, seed=7)
    torch.manual_seed(2)
    again, other = Decoder(config, seed=7), Decoder(config, seed=8)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    block = first.model.layers[0]
    assert not torch.equal(block.mlp.up_proj.weight, other.model.layers[0].mlp.up_proj.weight)
    assert block.self_attn.q_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert block.self_attn.o_proj.weight.std().item() == pytest.approx(0.02 / 2, rel=0.05)  # sqrt(2 * 2 layers)
    assert block.mlp.down_proj.weight.std().item() == pytest.approx(0.02 / 2, rel=0.05)


TABLE = {  # LVM's EasyLM/models/llama/llama_model.py at b6de939, vocabulary 8292, untied
    "debug": 2_451_072,
    "100m": 116_974_720,
    "300m": 290_968_576,
    "600m": 648_396_288,
    "1b": 1_147_119_616,
    "3b": 3_274_742_400,
    "7b": 6_544_199_680,
    "13b": 12_773_094_400,
    "20b": 20_722_710_528,
    "30b": 32_213_342_720,
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_have_the_published_numbers_of_parameters(name):
    with torch.device("meta"):
        decoder = Decoder(SIZES[name])
    counted = sum(weight.numel() for weight in decoder.parameters())
    assert counted == SIZES[name].num_parameters
    rounded = {
        "demo": 2.4e6,
        "mini": 2.88e6,
        "mini_128": 8.79e6,
        "nano": 15.2e6,
        "delvm_80m": 83.4e6,
        "delvm_300m": 299.5e6,
        "delvm_1b": 1164.2e6,
    }
    if name in TABLE:
        assert counted == TABLE[name]
    else:
        assert counted == pytest.approx(rounded[name], rel=0.02 if name == "demo" else 0.003)


def test_decoder_rejects_what_it_cannot_do():
    decoder = Decoder(TINY)
    with pytest.raises(ValueError, match="41 positions are more than the decoder's context of 40"):
        decoder(some_codes(1, 41))
    with pytest.raises(ValueError, match="room for 4 positions, 5 are needed"):
        decoder(some_codes(1, 5), cache=decoder.new_cache(rows=1, room=4))
    with pytest.raises(ValueError, match="give neither with a mask"):
        decoder(some_codes(1, 5), cache=decoder.new_cache(rows=1, room=5), mask=torch.ones(5, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="rope_scales must be 8 numbers above 0 for heads of 16 channels, given"):
        dataclasses.replace(TINY, rope_scales=(1.0,))
    with pytest.raises(ValueError, match="take the place of rope_theta=300.0; give one of them"):
        dataclasses.replace(TINY, rope_scales=(1.0,) * 8, rope_theta=300.0)
    with pytest.raises(ValueError, match="hidden_size=33 over num_heads=2 must give an even whole number"):
        dataclasses.replace(TINY, hidden_size=33)


@pytest.mark.parametrize("packed", [False, True])
def test_states_of_the_last_positions_are_those_of_all(packed):
    decoder = lively(TINY)
    if packed:
        pack(decoder)
    codes = torch.randint(0, TINY.vocab_size, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = decoder.hidden(codes)
        for num_last in (1, 5, 20):
            assert torch.allclose(decoder.hidden(codes, num_last=num_last), whole[:, -num_last:], atol=1e-5)
            cache = decoder.new_cache(rows=2, room=20)
            decoder.hidden(codes[:, :8], cache=cache)
            fork = cache.fork(1, room=12)
            last = min(num_last, 12)
            for reader in (cache, fork):
                found = decoder.hidden(codes[:, 8:], cache=reader, num_last=last)
                assert torch.allclose(found, whole[:, -last:], atol=1e-5)
    for wrong in (0, 21):
        with pytest.raises(ValueError, match="num_last"):
            decoder.hidden(codes, num_last=wrong)


@pytest.mark.parametrize("autocast", [False, True])
def test_the_gated_product_has_the_gradients_of_autograd(autocast):
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 5, 8), (2, 5, 8), (6, 8))
    given = [torch.randn(shape, generator=generator) for shape in shapes]
    found = []
    for way in (GatedLinear.apply, lambda gate, up, weight: F.linear(F.silu(gate) * up, weight)):
        gate, up, weight = (tensor.clone().requires_grad_() for tensor in given)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            narrow = torch.bfloat16 if autocast else torch.float32
            y = way(gate.to(narrow), up.to(narrow), weight)
        seen = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
        found.append([y, *torch.autograd.grad(y, (gate, up, weight), seen)])
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype and torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
