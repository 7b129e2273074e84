"""What a drawing needs is a bound on what its caches hold, and what the LVM would refuse is refused before it waits."""

import pytest
from cache_bytes import bytes_of_caches

from openlvm.prompting.engine import memory
from openlvm.prompting.sampling import Sampling
from openlvm.serving.work import room
from openlvm.serving.work.asked import Analogy, Complete, Compose, Way
from openlvm.serving.work.room import need_of


def way(**how) -> Way:
    return Way(**{"sampling": Sampling(), **how})


@pytest.mark.parametrize(
    ("given", "asked", "how"),
    [
        (5, {"num_frames": 4}, {"num_candidates": 3, "exact": True}),
        (5, {"num_frames": 20}, {}),
        (5, {"num_frames": 20}, {"num_candidates": 3}),
        (5, {"num_frames": 20}, {"num_candidates": 3, "exact": True}),
        (20, {"num_frames": 20, "slide": True, "keep": 3}, {"num_candidates": 2}),
        (5, {"num_frames": 20, "keep": 14, "reuse": True}, {"num_candidates": 3}),
        (15, {"num_frames": 3, "keep": 2, "reuse": True}, {}),
        (15, {"num_frames": 3, "reuse": True}, {"num_candidates": 3, "sampling": Sampling(temperature=0)}),
        (3, {"num_frames": 12, "reuse": True}, {"num_candidates": 3}),
        (3, {"num_frames": 12}, {"num_candidates": 3, "fast": True}),
        (3, {"num_frames": 12}, {"fast": True}),
        (3, {"num_frames": 12}, {"num_candidates": 4, "ahead": 1}),
    ],
    ids=str,
)
def test_caches_of_frames_are_bounded(lvm, pictures, monkeypatch, given, asked, how):
    check(lvm, Complete(images=pictures[:given], **asked), way(**how), monkeypatch)


@pytest.mark.parametrize("candidates", [1, 3, 30])
@pytest.mark.parametrize("how", [{}, {"fast": True}, {"ahead": 1}, {"exact": True}, {"ensemble": 2}, {"ensemble": 5}])
def test_caches_of_analogies_are_bounded(lvm, pictures, monkeypatch, candidates, how):
    pairs = [(pictures[2 * number], pictures[2 * number + 1]) for number in range(4 if how.get("ensemble") else 7)]
    ensemble = how.get("ensemble", 1)
    asked = Analogy(pairs=pairs, query=pictures[19], ensemble=ensemble)
    ways = {name: value for name, value in how.items() if name != "ensemble"}
    check(lvm, asked, way(num_candidates=candidates, **ways), monkeypatch)


def check(lvm, asked, how, monkeypatch):
    real = memory.bytes_needed
    monkeypatch.setattr(room, "bytes_needed", lambda *given, **more: real(*given, **more)._replace(activations=0))
    need = need_of(lvm.bundle, asked, how)
    sums = bytes_of_caches(monkeypatch)
    asked.ask(lvm, **how.wishes)
    assert max(sums) <= need.bytes <= 3 * max(sums), (max(sums), need.bytes)


def test_windows_and_diagonals_count_what_a_step_reads(lvm, pictures):
    """Their activations are those of many rows, though they are few."""
    asked = Complete(images=pictures[:2], num_frames=2)
    plain, fast, ahead = (need_of(lvm.bundle, asked, way(**how)) for how in ({}, {"fast": True}, {"ahead": 1}))
    assert fast.bytes > 2 * plain.bytes and ahead.bytes > 1.5 * plain.bytes


def test_what_the_pool_can_draw_is_not_alone(lvm, pictures):
    pairs = [(pictures[0], pictures[1])]
    for asked in (
        Complete(images=pictures[:4], num_frames=12, slide=True, keep=3),
        Analogy(pairs=pairs, query=pictures[2]),
        Compose(groups=[pairs], query=pictures[2]),
    ):
        assert not need_of(lvm.bundle, asked, way(num_candidates=2)).is_alone
        for special in ({"exact": True}, {"fast": True}, {"ahead": 2}):
            assert need_of(lvm.bundle, asked, way(**special)).is_alone
    assert need_of(lvm.bundle, Complete(images=pictures[:4], num_frames=13), way()).is_alone


@pytest.mark.parametrize(
    ("asked", "how", "words"),
    [
        ({"images": 20}, {}, "20 images and 1 more do not fit: .* or slide=True"),
        ({"images": 3, "keep": 16}, {}, "keep=16 must lie in 1 .. 15"),
        ({"images": 5, "num_frames": 12}, {"fast": True}, "fast=True draws within the context alone"),
        ({"images": 20, "slide": True, "num_frames": 2}, {"ahead": 2}, "ahead=2 draws within the context alone"),
        ({"images": 3}, {"fast": True, "exact": True}, "exact=True and fast=True are different ways of drawing"),
        ({"pairs": 2, "ensemble": 3}, {}, "ensemble=3 must lie in 1 .. 2"),
        ({"pairs": 2, "ensemble": 2}, {"exact": True}, "exact=True draws a prompt by itself; .* leave out ensemble"),
        ({"pairs": 9}, {}, "19 images and 1 more do not fit: .* or ensemble=2 or more"),
        ({"groups": 9}, {}, "19 images and 1 more do not fit"),
    ],
    ids=str,
)
def test_room_rejects_what_the_lvm_would_in_its_words(lvm, pictures, asked, how, words):
    pairs = [(pictures[number], pictures[number + 1]) for number in range(asked.get("pairs", asked.get("groups", 0)))]
    if "pairs" in asked:
        question = Analogy(pairs=pairs, query=pictures[0], ensemble=asked.get("ensemble", 1))
    elif "groups" in asked:
        question = Compose(groups=[pairs], query=pictures[0])
    else:
        question = Complete(**{"num_frames": 1} | asked | {"images": pictures[: asked["images"]]})
    with pytest.raises(ValueError, match=words):
        need_of(lvm.bundle, question, way(**how))
    with pytest.raises(ValueError, match=words):
        question.ask(lvm, **way(**how).wishes)


def test_room_rejects_drawing_ahead_what_has_no_rows(lvm, pictures, monkeypatch):
    monkeypatch.setattr(type(lvm.bundle.tokenizer), "codes_per_image", 3)
    with pytest.raises(ValueError, match="pictures of 3 codes are no squares of codes"):
        need_of(lvm.bundle, Complete(images=pictures[:2], num_frames=1), way(ahead=1))
