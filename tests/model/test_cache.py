"""Caches that look back to pieces of others: trees of unequal rows, forks that stay what they were, memory let go."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from openlvm.model.cache import KVCache, Piece
from openlvm.model.decoder import Decoder, DecoderConfig

CONFIG = DecoderConfig(vocab_size=60, hidden_size=32, num_layers=2, num_heads=2, mlp_size=48, context=64)


@pytest.fixture
def decoder() -> Decoder:
    """Weights that are all large and random, so that every position matters."""
    made = Decoder(CONFIG).requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(0)
    for name, weight in made.named_parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2 + ("norm" in name))
    return made


def codes(length: int, seed: int, rows: int = 1) -> torch.Tensor:
    return torch.randint(0, 60, (rows, length), generator=torch.Generator().manual_seed(seed))


def read(decoder: Decoder, rows: torch.Tensor, past=(), room: int = 0) -> KVCache:
    cache = decoder.new_cache(rows=len(rows), room=rows.shape[1] + room, past=past)
    decoder.hidden(rows, cache=cache)
    return cache


def piece(cache: KVCache, rows: tuple[int, int], seen_by: tuple[int, int]) -> Piece:
    return Piece(cache, slice(*rows), slice(*seen_by), cache.filled)


def tree(decoder: Decoder, room: int) -> tuple[KVCache, list[torch.Tensor]]:
    """Six rows: three begin alike, and two of these go on alike; two have a longer piece each, one a third length.

    Returns:
        Their cache, and the codes int64 [T] behind each row.
    """
    first, pair, alone, second = codes(5, 1), codes(9, 2, rows=2), codes(7, 3), codes(4, 4)
    of_first, of_pair, of_alone = (read(decoder, some) for some in (first, pair, alone))
    of_second = read(decoder, second, past=[[piece(of_first, (0, 1), (0, 1))]])
    past = [
        [piece(of_first, (0, 1), (0, 3)), piece(of_pair, (0, 2), (3, 5)), piece(of_alone, (0, 1), (5, 6))],
        [piece(of_second, (0, 1), (1, 3))],
    ]
    longer = torch.cat([first[0], second[0]])
    return decoder.new_cache(rows=6, room=room, past=past), [first[0], longer, longer, pair[0], pair[1], alone[0]]


@pytest.mark.parametrize("pieces", [[1] * 8, [3, 1, 4], [2, 30, 1]], ids=str)
@torch.no_grad()
def test_tree_of_unequal_rows_equals_full_forward(decoder, pieces):
    cache, behind = tree(decoder, room=40)
    assert cache.position.tolist() == [[5], [9], [9], [9], [9], [7]] and cache.length == 9
    own = codes(sum(pieces), 7, rows=6)
    logits = torch.cat([decoder(some, cache=cache) for some in own.split(pieces, dim=1)], dim=1)
    for row, codes_behind in enumerate(behind):
        expected = decoder(torch.cat([codes_behind, own[row]])[None])[0, len(codes_behind) :]
        assert torch.allclose(logits[row], expected, atol=1e-5), row
    assert cache.length == 9 + own.shape[1]


@pytest.mark.parametrize("num_new", [3, 30])
@torch.no_grad()
def test_fork_of_a_tree_equals_full_forward(decoder, num_new):
    cache, behind = tree(decoder, room=2)
    own, later = codes(2, 7, rows=6), codes(num_new, 8, rows=12)
    decoder(own, cache=cache)
    logits = decoder(later, cache=cache.fork(2, room=num_new))
    for row in range(12):
        whole = torch.cat([behind[row // 2], own[row // 2], later[row]])
        assert torch.allclose(logits[row], decoder(whole[None])[0, -num_new:], atol=1e-5), row


@torch.no_grad()
def test_fork_stays_what_it_was_when_the_parent_goes_on(decoder):
    parent = read(decoder, codes(6, 1), room=3)
    fork = parent.fork(2, room=4)
    decoder(codes(3, 2), cache=parent)
    own = codes(4, 3, rows=2)
    expected = decoder(torch.cat([codes(6, 1).expand(2, -1), own], dim=1))[:, 6:]
    assert fork.length == 6 and torch.allclose(decoder(own, cache=fork), expected, atol=1e-5)


@torch.no_grad()
def test_rewound_cache_equals_one_that_never_went_on(decoder):
    cache = read(decoder, codes(6, 1), room=5)
    decoder(codes(5, 2), cache=cache)
    cache.rewind(7)
    again = decoder(codes(4, 3), cache=cache)
    whole = torch.cat([codes(6, 1), codes(5, 2)[:, :1], codes(4, 3)], dim=1)
    assert torch.allclose(again, decoder(whole)[:, 7:], atol=1e-5)
    with pytest.raises(ValueError, match="a cache of 11 positions cannot be rewound to 12"):
        cache.rewind(12)


class LargestMade(TorchDispatchMode):
    """Remembers how many numbers the largest tensor has that any operation gave."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made._base is None:
            self.largest = max(self.largest, made.untyped_storage().nbytes() // made.element_size())
        return made


@torch.no_grad()
def test_keys_that_rows_share_are_not_copied_for_them(decoder):
    """One new code of twelve rows makes nothing as large as their keys would be; thirty of them may."""
    parent = read(decoder, codes(32, 1))
    copied = 12 * 32 * CONFIG.hidden_size
    for num_new, at_most in ((1, copied / 3), (30, None)):
        fork = parent.fork(12, room=num_new)
        query = torch.randn(12, 2, num_new, 16)
        with LargestMade() as made:
            fork.attend(0, query, query, query)
        assert made.largest < at_most if at_most else made.largest >= copied


@torch.no_grad()
def test_freed_caches_hold_no_keys_though_someone_holds_them(decoder):
    cache, _ = tree(decoder, room=3)
    below = [each.cache for level in cache.past for each in level]
    tensors = [weakref.ref(t) for one in [cache, *below] for t in [*one.keys, *one.values]]
    assert all(ref() is not None for ref in tensors)
    cache.free()
    assert all(ref() is None for ref in tensors)
