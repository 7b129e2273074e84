"""One position in few calls is the same position through the modules; products turned around are products."""

import pytest
import torch
import torch.nn.functional as F

from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.packed import pack, to_int8
from openlvm.model.products import product, turned_product
from openlvm.model.step import CapturedStep, next_hidden, step_of


def lively(bias: bool) -> Decoder:
    config = DecoderConfig(
        vocab_size=40, hidden_size=64, num_layers=3, num_heads=4, mlp_size=96, context=32, attention_bias=bias
    )
    decoder = Decoder(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for weight in decoder.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2 + (weight.ndim == 1))
    return decoder


def codes(*shape: int) -> torch.Tensor:
    return torch.randint(0, 40, shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 8, 9])
@torch.inference_mode()
def test_a_step_is_a_forward_of_one_position(rows, bias):
    decoder = pack(lively(bias))
    asked = codes(rows, 12)
    whole = lively(bias).hidden(asked)  # through the modules, all at once
    cache = decoder.new_cache(rows=rows, room=12)
    decoder.hidden(asked[:, :5], cache=cache)
    for place in range(5, 12):
        assert torch.allclose(next_hidden(decoder, asked[:, place], cache), whole[:, place], atol=1e-5)
        assert cache.filled == place + 1


@torch.inference_mode()
def test_a_step_of_rows_with_unequal_beginnings():
    from openlvm.prompting.engine.prefixes import paths_of, read_paths

    decoder, plain = pack(lively(False)), lively(False)
    prompts = [codes(7), torch.cat([codes(7), codes(3)]), codes(2)]
    paths = paths_of(prompts, share_from=1)
    _, cache = read_paths(decoder, paths, room=2, num_codes=40)
    new = torch.tensor([1, 2, 3])
    states = next_hidden(decoder, new, cache)
    for row, path in enumerate(paths):
        whole = torch.cat([prompts[path.prompt], new[row : row + 1]])
        assert torch.allclose(states[row], plain.hidden(whole[None])[0, -1], atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("rounded", ["int8", "bfloat16", "not packed"])
def test_other_weights_go_through_the_modules(rounded):
    ways = {"int8": lambda d: pack(to_int8(d)), "bfloat16": lambda d: pack(d.bfloat16()), "not packed": lambda d: d}
    decoder = ways[rounded](lively(False))
    states = []
    for way in (next_hidden, lambda d, new, cache: d.hidden(new[:, None], cache=cache)[:, 0]):
        cache = decoder.new_cache(rows=2, room=8)
        decoder.hidden(codes(2, 7), cache=cache)
        states.append(way(decoder, codes(2), cache))
    assert torch.equal(*states)


@pytest.mark.parametrize("rows", [1, 2, 8, 9, 16, 300])
@pytest.mark.parametrize("bias", [False, True])
def test_a_turned_product_is_a_product(rows, bias):
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(rows, 24, generator=generator), torch.randn(40, 24, generator=generator)
    added = torch.randn(40, generator=generator) if bias else None
    expected = F.linear(x, weight, added)
    assert torch.allclose(turned_product(x, weight, added), expected, atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(product(x[:, None], weight, added)[:, 0], expected, atol=1e-4)
        assert product(x[:0], weight, added).shape == (0, 40)
    weight.requires_grad_()
    product(x, weight, added).sum().backward()  # with gradients: the library's own
    assert torch.allclose(weight.grad, x.sum(0).expand(40, -1), atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("shared", [False, True])
def test_a_step_that_can_be_recorded_is_the_same_step(shared):
    """With the place in a tensor every tensor keeps its shape from step to step, which is what a CUDA graph needs."""
    decoder = pack(lively(False))
    states = []
    for recorded in (False, True):
        cache = decoder.new_cache(rows=2, room=12)
        decoder.hidden(codes(2, 5), cache=cache)
        cache = cache.fork(2, room=6) if shared else cache
        for tensor in (*cache.keys, *cache.values):
            tensor[:, :, cache.filled :] = torch.nan  # memory as it may be found
        if recorded:
            cache.keep_place()
        for step in range(4):
            new = torch.arange(cache.rows) + step
            states.append(decoder.hidden(new[:, None], cache=cache))
            if recorded:
                cache.place += 1
    for plain, found in zip(states[:4], states[4:], strict=True):
        assert torch.allclose(plain, found, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.inference_mode()
@pytest.mark.parametrize("shared", [False, True])
def test_a_captured_step_is_the_same_step(shared):
    decoder = pack(lively(False).cuda())
    found = []
    for num_steps in (1, 99):  # plain, captured
        cache = decoder.new_cache(rows=2, room=12)
        decoder.hidden(codes(2, 5).cuda(), cache=cache)
        cache = cache.fork(2, room=6) if shared else cache
        step = step_of(decoder, cache, num_codes=40, num_steps=num_steps)
        assert isinstance(step, CapturedStep) == (num_steps == 99)
        found.append([step(torch.arange(cache.rows, device="cuda") + i).clone() for i in range(5)])
        with pytest.raises(ValueError):
            for _ in range(9):
                step(torch.arange(cache.rows, device="cuda"))
    for plain, captured in zip(*found, strict=True):
        assert torch.allclose(plain, captured, atol=1e-4)
