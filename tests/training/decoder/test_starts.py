"""Starts of a decoder: what is written into fresh weights, and that it does what it says."""

import dataclasses

import pytest
import torch

from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.training.decoder.starts import PEAK, embedding_from_codebook, fresh_decoder, look_back, same_place

TINY = DecoderConfig(vocab_size=60, hidden_size=32, num_layers=2, num_heads=2, mlp_size=48, context=40)
BACK = DecoderConfig(
    vocab_size=60, hidden_size=128, num_layers=2, num_heads=2, mlp_size=48, context=200, rope_theta=100.0,
    attention_bias=True,
)  # fmt: skip
BACK3 = dataclasses.replace(BACK, hidden_size=96, num_layers=3, num_heads=3)


def test_embedding_from_codebook_keeps_likeness_and_leaves_special_ids():
    decoder = Decoder(TINY)
    before = decoder.model.embed_tokens.weight.detach().clone()
    vectors = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)) + 5
    vectors[1] = vectors[0] + 0.01
    embedding_from_codebook(decoder, vectors, generator=torch.Generator().manual_seed(1))
    table = decoder.model.embed_tokens.weight.detach()
    assert torch.equal(table[50:], before[50:])
    assert table[:50].std().item() == pytest.approx(0.02, rel=0.01)
    distances = torch.cdist(table[:1], table[1:50])[0]
    assert distances.argmin() == 0 and distances[0] < 0.05 * distances.median()
    with pytest.raises(ValueError, match=r"\[K, channels\] with K <= 60, not \[61, 8\]"):
        embedding_from_codebook(decoder, torch.zeros(61, 8), generator=torch.Generator())


def attention_of(decoder: Decoder, layer: int, codes: torch.Tensor) -> torch.Tensor:
    """Attention of a layer over the embedded codes, the slow way with complex rotations: float [heads, T, T]."""
    config = decoder.config
    block = decoder.model.layers[layer]
    x = block.input_layernorm(decoder.model.embed_tokens(codes))
    half = config.head_dim // 2
    angles = torch.arange(len(codes))[:, None] * config.rope_theta ** -(torch.arange(half) / half)
    turned = []
    for projection in (block.self_attn.q_proj, block.self_attn.k_proj):
        first, second = projection(x).view(len(codes), config.num_heads, 2, half).unbind(2)
        turned.append(torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)[:, None])
    logits = torch.einsum("tae,sae->ats", turned[0], turned[1].conj()).real / config.head_dim**0.5
    hidden = torch.ones(len(codes), len(codes)).triu(1).bool()
    return logits.masked_fill(hidden, -torch.inf).softmax(-1)


@torch.no_grad()
def test_look_back_attends_to_its_offset_whatever_the_codes():
    decoder = Decoder(BACK)
    look_back(decoder, [[63, 7], [15]])
    codes = torch.randint(0, 60, (200,), generator=torch.Generator().manual_seed(0))
    for layer, head, offset in ((0, 0, 63), (0, 1, 7), (1, 0, 15)):
        attention = attention_of(decoder, layer, codes)[head]
        places = torch.arange(offset, 200)
        assert (attention[places].argmax(-1) == places - offset).float().mean() > 0.95
        near = sum(attention[places[1:-1], places[1:-1] - offset + by] for by in (-1, 0, 1))
        assert near.min() > 0.9 and attention[places, places - offset].mean() > 0.55
    free = attention_of(decoder, 1, codes)[1]
    assert free[150].max() < 0.05  # a head without an offset looks everywhere


@torch.no_grad()
def test_look_back_has_the_stated_peak():
    decoder = Decoder(BACK)
    look_back(decoder, [[5]])
    attention = decoder.model.layers[0].self_attn
    query, key = attention.q_proj.bias[:64], attention.k_proj.bias[:64]
    turned = torch.polar(torch.ones(32), 5 * BACK.rope_theta ** -(torch.arange(32) / 32))
    dot = (torch.complex(query[:32], query[32:]) * turned * torch.complex(key[:32], key[32:]).conj()).real.sum()
    assert (dot / 8).item() == pytest.approx(PEAK, rel=1e-5)


def test_look_back_of_nothing_changes_nothing():
    decoder, other = Decoder(TINY), Decoder(TINY)
    look_back(decoder, ())
    assert all(torch.equal(a, b) for a, b in zip(decoder.parameters(), other.parameters(), strict=True))


def test_look_back_rejects_what_does_not_fit():
    with pytest.raises(ValueError, match="needs attention_bias=True"):
        look_back(Decoder(TINY), [[1]])
    with pytest.raises(ValueError, match="for 2 layers of 2 heads"):
        look_back(Decoder(BACK), [[1, 2, 3]])


def test_same_place_is_where_it_says():
    """Sentence of images of 2 x 2 codes behind BOS: position 1 + 4 i + r holds code r of image i."""
    (here, own, above), *_ = same_place(4)
    for image, row, column in ((1, 1, 0), (3, 1, 1)):
        wanted = 1 + 4 * image + 2 * row + column
        asking = wanted - 1  # predicts the code at `wanted`
        assert asking - here == wanted - 4 and asking - above == wanted - 2
        assert wanted - own == wanted - 4


def test_fresh_decoder_repeats_and_takes_both_starts():
    vectors = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))

    def made(**options):
        return fresh_decoder(BACK3, seed=1, **options).state_dict()

    plain = made(vectors=None, codes_per_image=None)
    both = made(vectors=vectors, codes_per_image=16)
    again = made(vectors=vectors, codes_per_image=16)
    assert all(torch.equal(both[name], again[name]) for name in both)
    changed = {name for name in both if not torch.equal(both[name], plain[name])}
    biases = {f"model.layers.{layer}.self_attn.{part}_proj.bias" for layer in range(3) for part in "qk"}
    assert changed == {"model.embed_tokens.weight", *biases}
