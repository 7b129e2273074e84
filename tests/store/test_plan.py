"""Order as a pure function: computed plans equal slow loops, on any number of ranks, with windows and passes."""

import pickle
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import slow_order
from fakes import FakeTokenizer, Shape, StoreMaker, number_of
from hypothesis import event, given, settings
from hypothesis import strategies as st

import openlvm.store.order as order_of_components
from openlvm.core.ranks import Ranks
from openlvm.sentences.grammar import ROLES, Category, ClipPairs, FreeForm, Pairs, Sequence, Single, Views
from openlvm.store.plan import Component, Plan

BOTH = ("image", "depth")
SHAPES = st.builds(
    Shape,
    num_frames=st.sampled_from([1, 1, 1, 4, 7]),
    label=st.sampled_from(["", "a", "b", "c"]),
    slots=st.sampled_from([BOTH, BOTH, ("image",)]),
)
WORLDS = st.lists(st.lists(SHAPES, min_size=4, max_size=16), min_size=2, max_size=5).filter(
    lambda parts: any(shape.slots == BOTH for part in parts for shape in part)
)
KINDS = st.sampled_from(
    [
        Single(),
        Pairs(target="depth", pairs=2),
        Pairs(target="depth", pairs=2, by_label=True),
        Category(classes=2, per_class=2),
        Category(per_class=3),
        FreeForm(candidates=BOTH, slots_per_record=1, records=2, by_label=True),
        Sequence(num_images=4, strides=(1, 2)),
        Views(num_images=4, full_turn=True),
        ClipPairs(target="depth", frames=4),
    ]
)


def mixed_plan(make_store, **options):
    """40 annotated pictures of 4 labels and 12 clips of 20 frames, in 4 + 3 parts; four kinds."""
    pictures = make_store([[Shape(label="abcd"[i % 4], slots=BOTH) for i in range(20)] for _ in range(4)])
    clips = make_store([[Shape(num_frames=20 + i) for i in range(8)] for _ in range(3)])
    components = [
        Component(pictures, Pairs(target="depth", pairs=4), 2),
        Component(pictures, Category(classes=2, per_class=2), 1),
        Component(pictures, Single(), 1),
        Component(clips, Sequence(num_images=16, strides=(1, 2)), 1.5),
    ]
    return Plan(components, **{"max_passes": 3, "num_positions": 24, "seed": 5, **options})


def seen_by(plan, positions):
    return [[plan.names[rows.component], rows.codes.tolist(), rows.roles.tolist()] for rows in plan.batch(positions)]


@settings(max_examples=50, deadline=None)
@given(
    world=WORLDS, kind=KINDS, window=st.sampled_from([None, 1, 2]), passes=st.integers(1, 3), seed=st.integers(0, 99)
)
def test_plan_equals_the_slow_loops(world, kind, window, passes, seed):
    with tempfile.TemporaryDirectory() as folder:
        store = StoreMaker(Path(folder))(world)
        components = [Component(store, kind, 2, "one"), Component(store, Pairs(target="depth", pairs=1), 1, "two")]
        try:
            plan = Plan(components, seed=seed, max_passes=passes, window_parts=window)
        except ValueError as error:
            assert "cannot fill a position" in str(error) or "would get 0 of" in str(error)
            event("too small")
            return
        expected = slow_order.positions(plan, window_parts=window)
        assert len(expected) == plan.num_positions
        for index, (component, sentences) in enumerate(expected):
            position = plan.position(index)
            assert (position.component, position.sentences) == (component, sentences), index
        for (component, sentences), rows in zip(expected, plan.read(range(plan.num_positions)), strict=True):
            assert rows.component == component
            assert np.array_equal(rows.codes, [store.codes(refs).ravel() for refs in sentences])
            assert rows.roles.tolist() == [[ROLES.index(ref.role) for ref in refs] for refs in sentences]


@settings(max_examples=50, deadline=None)
@given(world=WORLDS, kind=KINDS, window=st.sampled_from([None, 1, 2]), passes=st.integers(1, 3))
def test_every_sentence_of_a_pass_appears_once_in_it(world, kind, window, passes):
    """A record is seen at most once in each pass, and exactly once in a whole one unless grouping left it over."""
    with tempfile.TemporaryDirectory() as folder:
        store = StoreMaker(Path(folder))(world)
        try:
            plan = Plan([Component(store, kind)], max_passes=passes, window_parts=window)
        except ValueError as error:
            assert "cannot fill a position" in str(error)
            event("too small")
            return
        order, per_position = plan.orders[0], plan.sentences_per_position[0]
        seen = Counter()
        for index in range(plan.num_positions):
            for refs in plan.position(index).sentences:
                seen.update({ref.record for ref in refs})
        assert max(seen.values()) <= passes
        planned = plan.num_positions * per_position
        assert sum(seen.values()) == planned * kind.chunks * kind.records_per_chunk
        alike = np.arange(passes + 1) * order.pass_size
        ends = alike if order.passes_are_alike else order.starts[:: order.windows_per_pass]
        sentences = order.records(np.arange(ends[-1]))
        for turn in range(passes):
            of_pass = sentences[ends[turn] : ends[turn + 1]].ravel()
            assert len(set(of_pass.tolist())) == len(of_pass)
            if not kind.grouped:
                left_over = order.num_members - len(of_pass)
                assert left_over < kind.records_per_chunk * order.windows_per_pass


@pytest.mark.parametrize("window", [None, 1, 2])
def test_global_batch_repeats_on_any_world_size(make_store, window):
    plan = mixed_plan(make_store, window_parts=window)
    for step in range(plan.num_positions // 4):
        expected = seen_by(plan, range(step * 4, step * 4 + 4))
        for world_size in (1, 2, 4):
            share, batch = 4 // world_size, []
            for rank in range(world_size):
                ranks = Ranks(rank=rank, world_size=world_size)
                start = step * 4 + ranks.rank * share
                batch += seen_by(mixed_plan_again(plan, window), range(start, start + share))
            assert batch == expected


def mixed_plan_again(plan, window):
    """The same plan as another process makes it."""
    weights = [2, 1, 1, 1.5]
    parts = zip(plan.stores, plan.kinds, weights, strict=True)
    components = [Component(store.at, kind, weight) for store, kind, weight in parts]
    return Plan(components, max_passes=3, num_positions=24, seed=5, window_parts=window)


def test_plan_repeats_golden_order(make_store):
    """Runs resume by a number: the sentence at a position never changes."""
    plan = mixed_plan(make_store)
    assert plan.counts == [9, 4, 4, 7]
    found = [(rows.component, number_of(rows.codes.reshape(-1, 4))[0]) for rows in plan.batch(range(8))]
    assert found == [(3, 136), (3, 516), (0, 124), (1, 20), (0, 126), (3, 170), (0, 10), (1, 32)]


def test_plan_resumes_at_any_position(make_store):
    plan = mixed_plan(make_store, window_parts=1)
    whole = seen_by(plan, range(24))
    assert seen_by(pickle.loads(pickle.dumps(plan)), range(9, 24)) == whole[9:]
    assert seen_by(plan, [20, 3, 3]) == [whole[20], whole[3], whole[3]]


def test_positions_are_equal_work(make_store):
    plan = mixed_plan(make_store)
    for rows in plan.read(range(24)):
        size = plan.images[rows.component]
        assert rows.codes.shape == (16 // size, size * 4) and rows.roles.shape == (16 // size, size)
        assert rows.codes.dtype == np.int64


def test_windows_keep_neighbors_together(make_store):
    """With windows of 1 part, a chunk of the run reads few parts; without, nearly all."""
    store = make_store([[Shape() for _ in range(64)] for _ in range(8)])
    for window, most in ((1, 2), (None, 8)):
        plan = Plan([Component(store, Single())], window_parts=window)
        assert plan.num_positions == 32
        parts = [{ref.record // 64 for p in range(c, c + 4) for s in plan.position(p).sentences for ref in s} for c in
                 range(0, 32, 4)]  # fmt: skip
        assert (max(map(len, parts)) <= most) and (window or min(map(len, parts)) > 4)


def test_seed_and_pass_change_the_order(make_store):
    store = make_store([[Shape() for _ in range(64)]])
    first = number_of(np.stack([r.codes for r in Plan([Component(store, Single())]).read(range(4))]).reshape(-1, 4))
    other = Plan([Component(store, Single())], seed=1).batch(range(4))
    assert sorted(first) == list(range(64))
    assert not np.array_equal(first, number_of(np.stack([r.codes for r in other]).reshape(-1, 4)))
    order = Plan([Component(store, Single())], max_passes=2).orders[0]
    passes = order.records(np.arange(128)).reshape(2, 64)
    assert sorted(passes[1]) == list(range(64)) and not np.array_equal(passes[0], passes[1])


def test_category_combines_different_labels(make_store):
    """Groups of two: a has 4, b 3, c 1; rounds abc, ab, ab, a give one sentence each but the last."""
    labels = ["a"] * 9 + ["b"] * 6 + ["c"] * 3
    store = make_store([[Shape(label=label) for label in labels]])
    order = Plan([Component(store, Category(classes=2, per_class=2))], max_passes=4).orders[0]
    assert order.pass_size == 3
    for records in order.records(np.arange(12)).tolist():
        names = [labels[record] for record in records]
        assert names[0] == names[1] != names[2] == names[3]


def test_plan_counts_follow_the_weights(make_store):
    plan = mixed_plan(make_store, num_positions=22)
    assert plan.counts == [8, 4, 4, 6] and sum(plan.counts) == 22  # 8, 4, 4, 6 are 22 x (2, 1, 1, 1.5) / 5.5
    report = plan.report()
    for words in ("36.4%", "positions", "22 positions in 1 chunks, seed 5", "store1/pairs"):
        assert words in report


def test_plan_takes_the_most_that_passes_allow(make_store):
    store = make_store([[Shape(slots=BOTH) for _ in range(40)]])
    pairs, single = Component(store, Pairs(target="depth"), 1), Component(store, Single(), 1)
    assert Plan([pairs]).counts == [5] and Plan([single]).counts == [2]
    assert Plan([pairs, single]).counts == [2, 2]
    assert Plan([pairs, single], max_passes=3).counts == [7, 7]
    sized = [Component(store, Pairs(target="depth")), Component(store, Single())]
    assert Plan(sized).counts == [5, 2]


def test_report_counts_what_is_dropped(make_store):
    shapes = [Shape(num_frames=3)] * 2 + [Shape(num_frames=5, slots=BOTH)] * 9 + [Shape(num_frames=3, slots=BOTH)] * 4
    plan = Plan([Component(make_store([shapes]), ClipPairs(target="depth", frames=4), name="clips")])
    assert "2 lack a slot, 4 too short" in plan.report()
    grouped = [Shape(label="a")] * 19 + [Shape(label="b")] * 5 + [Shape()] * 3
    plan = Plan([Component(make_store([grouped]), Category(per_class=8), name="classes")])
    assert "3 without label, 8 left over by grouping in a pass" in plan.report()


def test_plan_rejects_more_passes_than_asked_for(make_store):
    store = make_store([[Shape() for _ in range(64)]])
    with pytest.raises(
        ValueError, match=r"'s' would get 5 of num_positions=5; max_passes=1 over it give 4.*raise max_"
    ):
        Plan([Component(store, Single(), name="s")], num_positions=5)
    assert Plan([Component(store, Single(), name="s")], num_positions=5, max_passes=2).counts == [5]


@pytest.mark.parametrize("kind", [Single(), Category(classes=2, per_class=2)])
def test_any_number_of_passes_costs_nothing(make_store, kind):
    """All passes over a whole store are alike: they are counted, not laid out, and seen in the same order."""
    store = make_store([[Shape(label="ab"[i % 2]) for i in range(32)] for _ in range(3)])
    few, many = (Plan([Component(store, kind, 1)], num_positions=12, max_passes=n) for n in (3, 10**6))
    assert seen_by(many, range(12)) == seen_by(few, range(12)) and many.report() == few.report()
    whole = Plan([Component(store, kind)], max_passes=10**6)
    assert whole.counts == [10**6 * whole.orders[0].pass_size // whole.sentences_per_position[0]]
    assert len(whole.batch([0, whole.num_positions - 1])) == 2 and len(whole.orders[0].starts) == 2
    with pytest.raises(ValueError, match=r"too many, 2\^52 is the most; lower num_positions, or max_passes"):
        Plan([Component(store, kind)], max_passes=10**15)


def test_plan_rejects_more_windows_than_can_be_laid_out(make_store, monkeypatch):
    store = make_store([[Shape() for _ in range(16 + i)] for i in range(4)])
    one_line = "max_passes={} over 2 windows of 2 parts .* {} windows is the most. Lower max_passes to {}, or"
    with pytest.raises(ValueError, match=one_line.format(10**6, 2**17, 2**16)):
        Plan([Component(store, Single())], max_passes=10**6, window_parts=2)
    monkeypatch.setattr(order_of_components, "MAX_WINDOWS", 8)
    few, many = (
        Plan([Component(store, Single(), 1)], max_passes=n, window_parts=2, num_positions=12) for n in (4, 10**6)
    )
    assert seen_by(many, range(12)) == seen_by(few, range(12))
    with pytest.raises(ValueError, match=one_line.format(10**6, 8, 4)):
        Plan([Component(store, Single(), 1)], max_passes=10**6, window_parts=2, num_positions=100)


def test_plan_rejects_clips_shorter_than_the_sentence(make_store):
    store = make_store([[Shape(num_frames=5) for _ in range(20)]])
    with pytest.raises(ValueError, match="cannot fill a position.*dropped: 20 too short"):
        Plan([Component(store, Sequence(num_images=8))])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight": 0.0}, "weight=0.0; weights are above 0"),
        ({"weight": "size"}, 'all "size" or all numbers'),
        ({"name": "b"}, "several components are called b"),
        ({"kind": Pairs(target="flow")}, "has no slot 'flow'; its slots are image, depth"),
        ({"weight": 1e-6}, "would get 0 of 20 positions"),
    ],
)
def test_plan_rejects_component(make_store, change, words):
    store = make_store([[Shape(slots=BOTH) for _ in range(400)]])
    first = {"store": store, "kind": Single(), "weight": 1.0, "name": "a", **change}
    with pytest.raises(ValueError, match=words):
        Plan([Component(**first), Component(store, Single(), 1.0, "b")], num_positions=20)


def test_plan_rejects_settings(make_store, tmp_path):
    component = Component(make_store([[Shape() for _ in range(16)]]), Single())
    with pytest.raises(ValueError, match="at least one component"):
        Plan([])
    with pytest.raises(ValueError, match="window_parts=0 must be at least 1"):
        Plan([component], window_parts=0)
    with pytest.raises(ValueError, match="positions 0 to 1 were asked for; the plan has 1"):
        Plan([component]).batch([0, 1])
    with pytest.raises(ValueError, match="num_positions=0 must be at least 1"):
        Plan([component], num_positions=0)


def test_plan_rejects_stores_of_two_tokenizers(make_store):
    shapes = [[Shape() for _ in range(16)]]
    ours, theirs = make_store(shapes), make_store(shapes, tokenizer=FakeTokenizer("other"))
    with pytest.raises(ValueError, match="all stores of a plan must be made with one tokenizer"):
        Plan([Component(ours, Single()), Component(theirs, Single())])
    with pytest.raises(ValueError, match="made with another tokenizer"):
        Plan([Component(theirs, Single())], tokenizer=FakeTokenizer())
