"""Beyond the context: each frame against a loop that builds its context anew and keeps nothing."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch

from openlvm.model.cache import KVCache
from openlvm.model.decoder import Decoder
from openlvm.prompting.drawing import How
from openlvm.prompting.long import _Sliding, draw_long
from openlvm.prompting.sampling import GREEDY, Sampling, choose_codes, row_seeds

K, BOS, FIT = 16, 16, 8


def images_of(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, K, (count, 4), generator=torch.Generator().manual_seed(seed))


def how(**wishes) -> How:
    return How(**({"sampling": Sampling(), "seed": 3} | wishes))


@torch.no_grad()
def slow(bundle, images, num_frames, keep, candidate, sampling=None, seed=3):
    """Codes and log-probabilities [F * N] of one candidate."""
    shown, codes, log_probs = list(images), [], []
    seeds, begin = row_seeds(seed, [0], candidate + 1)[-1:], [] if bundle.special.bos is None else [BOS]
    for frame in range(num_frames):
        shown = shown if len(shown) < FIT else shown[-keep:]
        row = torch.cat([torch.tensor(begin, dtype=torch.int64), *shown])
        for place in range(4):
            logits = bundle.decoder(row[None])[:, -1, :K]
            code = choose_codes(logits, sampling or Sampling(), seeds, frame * 4 + place)
            codes.append(code)
            log_probs.append(logits.log_softmax(1)[0, code])
            row = torch.cat([row, code])
        shown.append(row[-4:])
    return torch.cat(codes), torch.cat(log_probs)


@pytest.mark.parametrize(("given", "keep"), [(2, 7), (7, 7), (5, 3), (3, 1)])
@pytest.mark.parametrize("kind", ["bundle", "bare_bundle"])
def test_sliding_equals_contexts_built_anew(kind, given, keep, request):
    bundle, images = request.getfixturevalue(kind), images_of(given)
    made, error = draw_long(bundle, images, 9, how(num_candidates=2), keep=keep, reuse=False)
    assert error is None and len({tuple(row.tolist()) for row in made.codes[0]}) == 2
    for candidate in range(2):
        codes, log_probs = slow(bundle, images, 9, keep, candidate)
        assert torch.equal(made.codes[0, candidate], codes)
        assert torch.allclose(made.log_probs[0, candidate], log_probs, atol=1e-5)


def test_greedy_sliding_equals_contexts_built_anew(bundle):
    made = draw_long(bundle, images_of(4), 7, how(sampling=GREEDY), keep=7, reuse=False).drawn
    assert torch.equal(made.codes[0, 0], slow(bundle, images_of(4), 7, 7, 0, GREEDY)[0])
    assert (made.entropies > 0).all() and made.entropies.max() <= torch.tensor(K).log() + 1e-5


def test_exact_sliding_has_the_same_bits_whatever_else_is_drawn(bundle):
    three = draw_long(bundle, images_of(5), 8, how(num_candidates=3, exact=True), keep=4, reuse=False).drawn
    one = draw_long(bundle, images_of(5), 8, how(exact=True), keep=4, reuse=False).drawn
    assert torch.equal(three.log_probs[:, :1], one.log_probs) and torch.equal(three.codes[:, :1], one.codes)


@pytest.mark.parametrize("kind", ["bundle", "bare_bundle"])
def test_keys_turned_back_equal_those_computed_anew(kind, request):
    """In the first layer a key depends on its code and place alone; in the second on what was dropped, too."""
    bundle, images = request.getfixturevalue(kind), images_of(8).repeat(2, 1, 1)
    images[1] += torch.tensor(1)
    images %= K
    old, new = _Sliding(bundle, images, 3, True), _Sliding(bundle, images[:, 5:], 3, True)
    old.logits_of_next_image(1), new.logits_of_next_image(1)
    old.drop_keys(5)
    assert old.cache.filled == new.cache.filled == 12 + (bundle.special.bos is not None)
    length = old.cache.filled
    for ours, anew in ((old.cache.keys, new.cache.keys), (old.cache.values, new.cache.values)):
        assert torch.allclose(ours[0][:, :, :length], anew[0][:, :, :length], atol=1e-5)
        assert not torch.allclose(ours[1][:, :, :length], anew[1][:, :, :length], atol=1e-2)


def test_reuse_is_exact_in_one_layer_and_says_how_far_off_it_is_in_two(bundle):
    shallow = Decoder(replace(bundle.decoder.config, num_layers=1)).eval().requires_grad_(False)
    shallow.load_state_dict({name: weight for name, weight in bundle.decoder.state_dict().items() if ".1." not in name})
    wishes = how(num_candidates=2)
    for decoder, low, high in ((shallow, 0, 1e-5), (bundle.decoder, 1e-3, 50)):
        some = replace(bundle, decoder=decoder)
        made, errors = draw_long(some, images_of(7), 12, wishes, keep=5, reuse=True)
        anew = draw_long(some, images_of(7), 12, wishes, keep=5, reuse=False).drawn
        assert len(errors) == 2 and all(low <= error <= high for error in errors)  # first and last of the four slides
        assert torch.equal(made.codes, anew.codes) == (decoder is shallow)
    once = draw_long(bundle, images_of(7), 2, wishes, keep=5, reuse=True)
    assert len(once.reuse_error) == 1  # the first slide is the last one


def test_reuse_measures_the_first_code_after_the_slide(bundle):
    """Greedily, one frame beyond the context: its first log-probabilities differ from those anew by what is told."""
    wishes = how(sampling=GREEDY)
    reused, (error,) = draw_long(bundle, images_of(7), 2, wishes, keep=5, reuse=True)
    anew = draw_long(bundle, images_of(7), 2, wishes, keep=5, reuse=False).drawn
    assert torch.equal(reused.codes[..., :4], anew.codes[..., :4])
    difference = float((reused.log_probs - anew.log_probs)[0, 0, 4].abs())
    assert 0 < difference <= error + 1e-6 or reused.codes[0, 0, 4] != anew.codes[0, 0, 4]


def test_codes_are_told_and_a_cancelled_drawing_frees_its_memory(bundle, monkeypatch):
    told, caches = [], []
    wishes = how(num_candidates=2, on_codes=lambda *said: told.append(said))
    made = draw_long(bundle, images_of(6), 4, wishes, keep=4, reuse=False).drawn
    assert [int(places[0]) for _, places, _ in told] == list(range(16)) and told[0][0] == [(0, 0), (0, 1)]
    assert torch.equal(torch.cat([codes for _, _, codes in told], dim=1), made.codes[0])

    class Cancelled(Exception):
        pass

    def cancel(numbers, places, codes):
        if int(places[0]) == 9:
            raise Cancelled

    original = KVCache.__init__
    monkeypatch.setattr(
        KVCache,
        "__init__",
        lambda self, keys, *rest, **more: [
            caches.extend(map(weakref.ref, keys)),
            original(self, keys, *rest, **more),
        ][1],
    )
    with pytest.raises(Cancelled) as kept:
        draw_long(bundle, images_of(6), 4, how(num_candidates=2, on_codes=cancel), keep=4, reuse=False)
    gc.collect()
    assert kept.value is not None and len(caches) > 4 and not [one for one in caches if one() is not None]


def test_sliding_rejects_drawing_ahead(bundle):
    with pytest.raises(ValueError, match="fast=True draws within the context alone, .* leave it out"):
        draw_long(bundle, images_of(7), 2, how(fast=True), keep=5, reuse=False)
