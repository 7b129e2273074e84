"""Ways of drawing through the facade: ranks, gains, many queries, ensembles, drawing ahead, telling and cancelling."""

import weakref

import numpy as np
import pytest
import torch

from openlvm.model.cache import KVCache
from openlvm.prompting.engine.ensemble import generate_together
from openlvm.prompting.engine.generate import generate
from openlvm.prompting.lvm import LVM
from openlvm.prompting.prompts import example_orders
from openlvm.prompting.sampling import GREEDY, Sampling
from openlvm.prompting.scoring import target_log_probs

BOS = 16


@pytest.fixture
def lvm(bundle):
    return LVM(bundle)


@pytest.fixture
def codes(tokenizer, pictures):
    """int64 [10, 4] of the pictures."""
    return tokenizer.encode(torch.from_numpy(np.stack(pictures)))


def test_candidates_are_ranked_by_likelihood(lvm, bundle, pictures, codes):
    answer = lvm.complete(pictures[:3], num_frames=2, num_candidates=6, seed=1)
    row = torch.cat([torch.tensor([BOS]), codes[:3].flatten()])
    drawn = generate(bundle.decoder, [row], 8, num_codes=16, num_candidates=6, seed=1)
    means = drawn.log_probs[0].double().mean(1).numpy()
    assert np.allclose(answer.mean_log_probs, np.sort(means)[::-1]) and len(set(means.tolist())) == 6
    assert np.array_equal(answer.numbers, np.argsort(-means)) and answer.numbers.dtype == np.int64
    assert not np.array_equal(answer.numbers, np.arange(6))


@pytest.mark.parametrize("kind", ["bundle", "bare_bundle"])
def test_gain_is_what_the_examples_add(kind, pictures, request):
    """Mean of log p(answer | examples, query) - log p(answer | query), over the K codes, by whole rows."""
    bundle = request.getfixturevalue(kind)
    a, A, b, B, c = pictures[:5]
    answers = [
        LVM(bundle).analogy([(a, A), (b, B)], query=c, num_candidates=3, seed=2),
        LVM(bundle).compose([[(a, A)], [(b, B)]], query=c, num_candidates=3, seed=2),
    ]
    begin = [] if bundle.special.bos is None else [BOS]
    query = bundle.tokenizer.encode(torch.from_numpy(c[None]))[0].tolist()
    for answer in answers:
        for rank in range(3):
            row = torch.tensor([begin + query + answer.codes[rank, 0].tolist()])
            alone = target_log_probs(bundle.decoder, row, 4, num_codes=16)
            gain = float(answer.log_probs[rank, 0].mean() - alone.mean())
            assert answer.gain[rank] == pytest.approx(gain, abs=1e-5)
            assert answer.understood[rank] == (gain > 0)
    assert answers[0].gain.dtype == np.float32 and len(set(answers[0].gain.tolist())) == 3


def test_analogies_are_drawn_in_one_call_by_their_number(lvm, bundle, pictures, codes):
    pairs, queries = [tuple(pictures[:2]), tuple(pictures[2:4])], pictures[4:7]
    answers = lvm.analogies(pairs, queries, num_candidates=2, seed=6)
    rows = [torch.cat([torch.tensor([BOS]), codes[[0, 1, 2, 3, 4 + number]].flatten()]) for number in range(3)]
    drawn = generate(bundle.decoder, rows, 4, num_codes=16, num_candidates=2, seed=6)
    for number, answer in enumerate(answers):
        assert np.array_equal(answer.codes[:, 0], drawn.codes[number][answer.numbers])
        assert np.allclose(answer.log_probs[:, 0], drawn.log_probs[number][answer.numbers], atol=1e-5)
    alone = lvm.analogy(pairs, queries[0], num_candidates=2, seed=6)
    assert np.array_equal(alone.codes, answers[0].codes)
    assert np.allclose(alone.gain, answers[0].gain, atol=1e-5)


def test_ensemble_draws_from_several_orders_at_once(lvm, bundle, pictures, codes):
    pairs = [tuple(pictures[:2]), tuple(pictures[2:4])]
    answer = lvm.analogy(pairs, pictures[4], ensemble=2, num_candidates=3, seed=7)
    orders = [codes[[0, 1, 2, 3, 4]], codes[[2, 3, 0, 1, 4]]]  # the one given, and the only other one
    rows = [torch.cat([torch.tensor([BOS]), images.flatten()]) for images in orders]
    drawn = generate_together(bundle.decoder, rows, 4, num_codes=16, num_candidates=3, seed=7)
    assert np.array_equal(answer.codes[:, 0], drawn.codes[0][answer.numbers])
    assert np.allclose(answer.log_probs[:, 0], drawn.log_probs[0][answer.numbers], atol=1e-5)
    assert not np.allclose(lvm.analogy(pairs, pictures[4], num_candidates=3, seed=7).log_probs, answer.log_probs)


def test_ensemble_shows_more_pairs_than_fit(lvm, bundle, pictures, codes):
    pairs = list(zip(pictures[:5], pictures[5:], strict=True))  # three pairs, a query and an answer fit
    answer = lvm.analogy(pairs, pictures[0], ensemble=4, seed=1)
    rows = []
    for order in example_orders(5, 3, 4, seed=1):
        shown = [number for example in order for number in (example, example + 5)]
        rows.append(torch.cat([torch.tensor([BOS]), codes[[*shown, 0]].flatten()]))
    assert np.array_equal(answer.codes[0], generate_together(bundle.decoder, rows, 4, num_codes=16, seed=1).codes[0])
    with pytest.raises(ValueError, match="11 images and 1 more do not fit: .*Give at most 7, or ensemble=2 or more"):
        lvm.analogy(pairs, pictures[0])
    with pytest.raises(ValueError, match=r"ensemble=3 must lie in 1 .. 2: .* ways to show 2 of 2 pairs"):
        lvm.analogy(pairs[:2], pictures[0], ensemble=3)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(temperature=0.5, top_k=5)], ids=str)
def test_fast_gives_the_same_answer(lvm, pictures, sampling):
    how = {"num_candidates": 2, "seed": 4, "sampling": sampling}
    asks = [
        lambda **more: lvm.complete(pictures[:4], num_frames=3, **how, **more),
        lambda **more: lvm.analogy([tuple(pictures[:2]), tuple(pictures[2:4])], pictures[4], **how, **more),
        lambda **more: lvm.compose([[tuple(pictures[:2])], [tuple(pictures[2:4])]], pictures[4], **how, **more),
        lambda **more: lvm.analogies([tuple(pictures[:2])], pictures[3:6], **how, **more)[2],
        lambda **more: lvm.complete([], num_frames=8, **how, **more),
    ]
    for ask in asks:
        plain, fast = ask(), ask(fast=True)
        assert np.array_equal(fast.codes, plain.codes) and np.array_equal(fast.numbers, plain.numbers)
        assert np.allclose(fast.log_probs, plain.log_probs, atol=1e-5)
        assert np.allclose(fast.entropies, plain.entropies, atol=1e-5)


@pytest.mark.parametrize("how", [{}, {"exact": True}, {"fast": True}, {"ensemble": 2}], ids=str)
def test_codes_are_told_as_they_are_drawn_and_raising_ends_it(lvm, pictures, how):
    pairs, told = [tuple(pictures[:2]), tuple(pictures[2:4])], {}

    def tell(numbers, places, codes):
        for number, row in zip(numbers, codes, strict=True):
            for place, code in zip(places.tolist(), row.tolist(), strict=True):
                assert told.setdefault((*number, place), code) == code

    answer = lvm.analogy(pairs, pictures[4], num_candidates=2, on_codes=tell, **how)
    expected = {
        (0, int(c), n): int(answer.codes[rank, 0, n]) for rank, c in enumerate(answer.numbers) for n in range(4)
    }
    assert told == expected

    class Cancelled(Exception):
        pass

    def cancel(numbers, places, codes):
        raise Cancelled

    with pytest.raises(Cancelled):
        lvm.analogy(pairs, pictures[4], num_candidates=2, on_codes=cancel, **how)


@pytest.mark.parametrize(
    "wishes", [{"fast": True}, {"ahead": 1}, {"ensemble": 2}, {"num_frames": 9}], ids=lambda wishes: next(iter(wishes))
)
def test_cancelling_frees_the_caches_of_every_way_of_drawing(bundle, pictures, monkeypatch, wishes):
    """Even while the exception, whose traceback names the caches, is still held."""
    lvm = LVM(bundle)
    tensors, begin = [], KVCache.__init__

    def watched(self, keys, values, **how):
        begin(self, keys, values, **how)
        tensors.extend(weakref.ref(tensor) for tensor in [*self.keys, *self.values])

    def cancel(rows, places, codes):
        raise KeyboardInterrupt

    monkeypatch.setattr(KVCache, "__init__", watched)
    pairs = [(pictures[0], pictures[1]), (pictures[2], pictures[3])]
    with pytest.raises(KeyboardInterrupt) as caught:
        if "num_frames" in wishes:
            lvm.complete(pictures[:3], on_codes=cancel, **wishes)
        else:
            lvm.analogy(pairs, pictures[4], on_codes=cancel, **wishes)
    assert caught.value and tensors and [ref for ref in tensors if ref() is not None] == []
