"""Every kind of sentence composes images that exist, in the order of the design."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openlvm.core.seeds import seed_of
from openlvm.sentences.grammar import (
    GRAMMAR,
    Category,
    ClipPairs,
    FreeForm,
    ImageRef,
    Pairs,
    Sequence,
    Single,
    Views,
)
from openlvm.sentences.sentence import compose_many, records_per_sentence

KINDS = [
    Single(),
    Sequence(strides=(8, 12, 24)),
    Sequence(num_images=1),
    Views(),
    Views(num_images=8, stride=3, full_turn=True),
    Category(),
    Category(classes=4, per_class=4),
    Pairs(target="depth"),
    Pairs(source="gray", target="image", pairs=3, by_label=True),
    FreeForm(candidates=("image", "depth", "edges", "normals", "mask"), slots_per_record=5, records=3),
    FreeForm(candidates=("image", "depth", "mask"), slots_per_record=2, records=4, by_label=True),
    ClipPairs(target="mask", strides=(1, 2, 3, 4)),
    ClipPairs(target="mask", frames=5, arrangement="separate"),
]
FRAMES = st.integers(1, 120)


def composed(kind, num_frames, seed=0):
    return kind.compose(list(range(100, 100 + len(num_frames))), num_frames, "test", seed)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=40)
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_every_kind_composes_images_that_exist(kind, data, seed):
    fitting = FRAMES.filter(lambda frames: kind.accepts(frames, kind.slots))
    num_frames = data.draw(st.lists(fitting, min_size=records_per_sentence(kind), max_size=records_per_sentence(kind)))
    refs = composed(kind, num_frames, seed)
    assert len(refs) == kind.num_images == len(kind.roles) == len(kind.members) <= 16
    assert len(set(refs)) == len(refs), "no image comes twice"
    for ref, member, role in zip(refs, kind.members, kind.roles, strict=True):
        assert ref.record == 100 + member and ref.role == role and ref.slot in kind.slots
        assert 0 <= ref.frame < num_frames[member]
    assert {ref.record for ref in refs} == set(range(100, 100 + len(num_frames))), "every record is shown"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_compose_many_equals_one_by_one(kind):
    size = records_per_sentence(kind)
    chance = np.random.default_rng(0)
    records, num_frames = chance.integers(0, 1000, (20, size)), chance.integers(24, 90, (20, size))
    seeds = np.array([seed_of("s", number) for number in range(20)], dtype=np.uint64)
    rows = zip(records.tolist(), num_frames.tolist(), strict=True)
    expected = [kind.compose(*row, "s", number) for number, row in enumerate(rows)]
    assert compose_many(kind, records, num_frames, seeds) == expected
    assert len({str(sentence) for sentence in expected}) > 1


def test_grammar_names_the_kinds_of_the_design():
    names = ["single", "sequence", "views", "category", "pairs", "free_form", "clip_pairs"]
    assert list(GRAMMAR) == names and all(kind.name == name for name, kind in GRAMMAR.items())


def test_sequence_uses_all_its_strides_and_starts():
    kind = Sequence(num_images=4, strides=(2, 5))
    drawn = [[ref.frame for ref in composed(kind, [20], seed)] for seed in range(400)]
    steps = {(frames[1] - frames[0], frames[0]) for frames in drawn}
    assert all(np.ptp(np.diff(frames)) == 0 for frames in drawn)
    assert steps == {(2, start) for start in range(14)} | {(5, start) for start in range(5)}


def test_sequence_shrinks_its_stride_in_a_short_clip():
    frames = [ref.frame for ref in composed(Sequence(num_images=4, strides=(30,)), [12])]
    assert np.diff(frames).tolist() == [3, 3, 3]


def test_sequence_refuses_clip_shorter_than_the_sentence():
    kind = Sequence(num_images=4)
    assert not kind.accepts(3, ["image"]) and kind.accepts(4, ["image"])
    with pytest.raises(ValueError, match="cannot be made of records of 3 frames"):
        composed(kind, [3])


def test_views_wrap_round_on_a_full_turn_only():
    turn = [composed(Views(full_turn=True), [24], seed) for seed in range(200)]
    assert {frames[0].frame for frames in turn} == set(range(24))
    assert all((b.frame - a.frame) % 24 == 1 for refs in turn for a, b in zip(refs, refs[1:], strict=False))
    half = [composed(Views(), [24], seed) for seed in range(200)]
    assert {refs[0].frame for refs in half} == set(range(9))
    assert all(b.frame - a.frame == 1 for refs in half for a, b in zip(refs, refs[1:], strict=False))


def test_views_show_no_view_twice():
    assert not Views(num_images=9, stride=3, full_turn=True).accepts(24, ["image"])
    assert Views(num_images=8, stride=3, full_turn=True).accepts(24, ["image"])
    assert Views(num_images=16, stride=5, full_turn=True).accepts(24, ["image"])


def test_pairs_alternate_query_and_answer():
    refs = composed(Pairs(target="depth", pairs=2), [1, 1])
    assert refs == [
        ImageRef(100, "image", 0, "query"),
        ImageRef(100, "depth", 0, "answer"),
        ImageRef(101, "image", 0, "query"),
        ImageRef(101, "depth", 0, "answer"),
    ]


def test_pairs_take_both_images_from_one_frame():
    for seed in range(50):
        refs = composed(Pairs(target="depth", pairs=4), [9, 1, 30, 5], seed)
        assert all(a.frame == b.frame for a, b in zip(refs[::2], refs[1::2], strict=True))


def test_free_form_keeps_one_drawn_order_in_a_sentence():
    kind = FreeForm(candidates=("a", "b", "c"), slots_per_record=2, records=3)
    orders = set()
    for seed in range(200):
        slots = [ref.slot for ref in composed(kind, [1, 1, 1], seed)]
        assert slots[:2] == slots[2:4] == slots[4:]
        orders.add(tuple(slots[:2]))
    assert orders == {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")}


@pytest.mark.parametrize(
    ("arrangement", "slots", "steps"),
    [("interleaved", "aBaBaB", [0, 0, 2, 2, 4, 4]), ("separate", "aaaBBB", [0, 2, 4, 0, 2, 4])],
)
def test_clip_pairs_arrange_frames_and_annotations(arrangement, slots, steps):
    kind = ClipPairs(source="a", target="B", frames=3, arrangement=arrangement, strides=(2,))
    refs = composed(kind, [30])
    assert "".join(ref.slot for ref in refs) == slots
    assert [ref.frame - refs[0].frame for ref in refs] == steps


def test_category_shows_class_after_class():
    refs = composed(Category(classes=2, per_class=3), [1] * 6)
    assert [ref.record for ref in refs] == [100, 101, 102, 103, 104, 105]


def test_accepts_asks_for_every_slot():
    kind = Pairs(target="depth")
    assert kind.accepts(1, ["image", "depth", "edges"]) and not kind.accepts(1, ["image", "edges"])


def test_compose_rejects_wrong_number_of_records():
    with pytest.raises(ValueError, match="takes 8 records a sentence, given 3"):
        composed(Pairs(target="depth"), [1, 1, 1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sequence(num_images=17),
        lambda: Views(num_images=0),
        lambda: Views(num_images=4, stride=0),
        lambda: Category(classes=4, per_class=5),
        lambda: Pairs(target="depth", pairs=9),
        lambda: FreeForm(candidates=("a", "b", "c"), slots_per_record=3, records=6),
        lambda: ClipPairs(target="mask", frames=9),
        lambda: Sequence(strides=(2, 0)),
        lambda: Sequence(strides=()),
    ],
)
def test_kinds_reject_too_many_images_or_none(make):
    with pytest.raises(ValueError, match="a sentence has 1 to 16"):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Pairs(target="image"), "both 'image'"),
        (lambda: ClipPairs(source="mask", target="mask"), "both 'mask'"),
        (lambda: ClipPairs(target="mask", arrangement="mixed"), "no arrangement 'mixed'"),
        (lambda: FreeForm(candidates=("a", "a"), slots_per_record=1, records=2), "different candidates"),
        (lambda: FreeForm(candidates=("a", "b"), slots_per_record=3, records=2), "different candidates"),
    ],
)
def test_kinds_reject_contradictions(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_grammar_repeats_golden_sentences():
    """Sentences of old runs are recomputed, not stored: these never change."""
    assert [ref.frame for ref in composed(Sequence(num_images=4, strides=(1, 2, 3)), [50])] == [5, 6, 7, 8]
    assert [ref.frame for ref in composed(Category(per_class=5), [9, 20, 1, 7, 50])] == [1, 2, 0, 0, 34]
    kind = FreeForm(candidates=("a", "b", "c", "d"), slots_per_record=3, records=1)
    assert "".join(ref.slot for ref in composed(kind, [1])) == "cab"
