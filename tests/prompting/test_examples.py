"""Examples from a store against the obvious loops: overlap by counting, support by whole rows."""

from collections import Counter

import numpy as np
import pytest
import torch
from fakes import Shape

from openlvm.prompting.examples import JUDGES, nearest_examples, overlap, support
from openlvm.prompting.scoring import target_log_probs
from openlvm.sentences.grammar import ImageRef
from openlvm.store.format import Store

K, BOS = 16, 16
QUERY = np.array([0, 0, 1, 5])
PAIR = Shape(slots=("image", "mask"))


@pytest.fixture
def store(make_store) -> Store:
    """Two parts; 13 records with both slots (one of three frames), 2 without a mask between them."""
    clip, bare = Shape(num_frames=3, slots=("image", "mask")), Shape()
    return make_store([[PAIR, bare, *[PAIR] * 5], [clip, bare, *[PAIR] * 6]])


def slow_overlap(codes, query):
    common = sum((Counter(codes.tolist()) & Counter(query.tolist())).values())
    return float(np.mean(codes == query)) + 0.5 * common / len(query)


def slow_nearest(store, query, exclude=()):
    """(worth, record, frame) of every record's best frame, the best first, equal ones as they stand in the store."""
    found = []
    for record in range(store.num_records):
        if record in exclude or store.slots_of(record) != ("image", "mask"):
            continue
        worths = [
            slow_overlap(store.codes([ImageRef(slot="image", record=record, frame=frame)])[0], query)
            for frame in range(store.num_frames(record))
        ]
        found.append((max(worths), record, int(np.argmax(worths))))
    return sorted(found, key=lambda one: (-one[0], one[1]))


def test_overlap_equals_counting_and_its_limits():
    rng = np.random.default_rng(0)
    query, codes = rng.integers(0, 6, 9), rng.integers(0, 6, (200, 9))
    assert np.allclose(overlap(codes, query), [slow_overlap(row, query) for row in codes])
    assert overlap(query[None], query) == 1.5 and overlap(query[None] + 6, query) == 0
    assert overlap(np.array([[1, 2, 2, 3]]), np.array([2, 1, 4, 4])) == 0.5 * 2 / 4  # places differ, two in common


@pytest.mark.parametrize("exclude", [(), (2, 7)])
def test_nearest_examples_equal_a_loop_over_the_store(store, exclude):
    found = nearest_examples(store, QUERY, source="image", target="mask", count=11, exclude=exclude)
    expected = slow_nearest(store, QUERY, exclude)[:11]
    assert [(one.record, one.frame) for one in found] == [(record, frame) for _, record, frame in expected]
    assert np.allclose([one.worth for one in found], [worth for worth, _, _ in expected])
    assert found[0].worth > found[-1].worth
    for one in found:
        for slot, codes in (("image", one.source), ("mask", one.target)):
            assert np.array_equal(codes, store.codes([ImageRef(slot=slot, record=one.record, frame=one.frame)])[0])


def test_of_each_record_only_the_nearest_frame_is_shown(store):
    """The query is frame 1 of a clip, whose other frames are the next nearest."""
    query = store.codes([ImageRef(slot="image", record=7, frame=1)])[0]
    found = nearest_examples(store, query, source="image", target="mask", count=13)
    expected = slow_nearest(store, query)
    assert [(one.record, one.frame) for one in found] == [(record, frame) for _, record, frame in expected]
    assert found[0][:2] == (7, 1) and found[0].worth == 1.5


def test_nearest_examples_do_not_depend_on_how_many_are_read_at_once(store, monkeypatch):
    together = nearest_examples(store, QUERY, source="mask", target="image", count=5)
    monkeypatch.setattr("openlvm.prompting.examples.IMAGES_AT_ONCE", 3)
    apart = nearest_examples(store, QUERY, source="mask", target="image", count=5)
    assert [one[:2] for one in apart] == [one[:2] for one in together]


@pytest.mark.parametrize("bos", [BOS, None])
def test_support_equals_whole_rows(store, decoder, bos, monkeypatch):
    monkeypatch.setattr("openlvm.prompting.examples.CODES_AT_ONCE", {"cpu": 100})  # several chunks
    examples = nearest_examples(store, QUERY, source="image", target="mask", count=8)
    made = support(decoder, examples, bos=bos, num_codes=K)
    for place, one in enumerate(examples):
        judges = [other for other in examples if other is not one][:JUDGES]
        begin = [] if bos is None else [bos]
        rows = [np.concatenate([begin, one.source, one.target, j.source, j.target]).astype(np.int64) for j in judges]
        scores = target_log_probs(decoder, torch.from_numpy(np.stack(rows)), 4, num_codes=K)
        assert made[place] == pytest.approx(float(scores.mean()), abs=1e-5)


def test_likelihood_chooses_among_the_nearest_by_support(store, decoder):
    ask = {"source": "image", "target": "mask", "decoder": decoder, "bos": BOS}
    pool = nearest_examples(store, QUERY, source="image", target="mask", count=7)
    found = nearest_examples(store, QUERY, count=3, by="likelihood", pool=7, **ask)
    worth = support(decoder, pool, bos=BOS, num_codes=K)
    best = np.argsort(-worth)[:3]
    assert [one.record for one in found] == [pool[place].record for place in best]
    assert [one.worth for one in found] == pytest.approx(sorted(worth)[::-1][:3])
    assert [one.record for one in found] != [one.record for one in pool[:3]]  # the choice matters here


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"count": 14}, "has 13 records with 'image' and 'mask' that may be shown, 14 were asked for"),
        ({"count": 0}, "count=0 must be at least 1 and at most pool=64"),
        ({"count": 5, "pool": 4}, "count=5 must be at least 1 and at most pool=4"),
        ({"target": "image"}, "source and target are both 'image'"),
        ({"target": "depth"}, "has no slot 'depth'; its slots are image, mask"),
        ({"by": "likely"}, "no way to choose examples called 'likely'; did you mean likelihood"),
        ({"by": "likelihood"}, "needs a decoder to judge the examples"),
    ],
)
def test_nearest_examples_reject(store, wishes, message):
    with pytest.raises(ValueError, match=message):
        nearest_examples(store, QUERY, **({"source": "image", "target": "mask", "count": 3} | wishes))


def test_nearest_examples_reject_what_cannot_be_judged(store, decoder):
    ask = {"source": "image", "target": "mask", "by": "likelihood", "decoder": decoder, "bos": BOS}
    with pytest.raises(ValueError, match="the query has 3 codes, images of .* have 4"):
        nearest_examples(store, QUERY[:3], count=1, **ask)
    with pytest.raises(ValueError, match="needs two at least; use by='overlap'"):
        nearest_examples(store, QUERY, count=1, pool=1, **ask)
    small = type(decoder)(type(decoder.config)(**{**vars(decoder.config), "context": 16}))
    with pytest.raises(ValueError, match="17 codes, which exceed the context of 16"):
        nearest_examples(store, QUERY, count=1, **(ask | {"decoder": small}))
