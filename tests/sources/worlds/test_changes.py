"""Puzzles of change have one right option, which nobody finds without the context."""

import numpy as np
import pytest

from openlvm.sources.worlds import arrangements, changes
from openlvm.sources.worlds.changes import CHANCE, Puzzle, change_puzzles
from openlvm.sources.worlds.drawing import COLORS

COUNT = 600
SIZE = 32
ATTRIBUTES = ("color", "shape", "size")


@pytest.fixture(scope="module", params=ATTRIBUTES)
def puzzles(request) -> list[Puzzle]:
    return list(change_puzzles(request.param, count=COUNT, seed=3, size=SIZE))


def object_area(picture: np.ndarray) -> float:
    """Pixels unlike the picture's border."""
    return float((np.abs(picture.astype(int) - np.median(picture[0], axis=0)).max(axis=-1) > 60).sum())


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


CONTEXT_FREE = {
    "nearest to the query": lambda p: int(np.argmin([distance(o, p.context[-1]) for o in p.options])),
    "farthest from the query": lambda p: int(np.argmax([distance(o, p.context[-1]) for o in p.options])),
    "largest object": lambda p: int(np.argmax([object_area(o) for o in p.options])),
    "smallest object": lambda p: int(np.argmin([object_area(o) for o in p.options])),
    "brightest": lambda p: int(np.argmax([o.mean() for o in p.options])),
    "nearest to the other options": lambda p: int(
        np.argmin([sum(distance(o, other) for other in p.options) for o in p.options])
    ),
    "first": lambda p: 0,
    "last": lambda p: len(p.options) - 1,
}


def within_noise(accuracy: float, chance: float, count: int = COUNT) -> bool:
    return abs(accuracy - chance) < 3.3 * np.sqrt(chance * (1 - chance) / count)


def test_context_free_choosers_are_at_chance(puzzles):
    for name, choose in CONTEXT_FREE.items():
        accuracy = float(np.mean([choose(p) == p.answer for p in puzzles]))
        assert within_noise(accuracy, CHANCE[puzzles[0].kind]), (puzzles[0].kind, name, accuracy)


def test_a_learned_context_free_chooser_is_at_chance(puzzles):
    """Ridge regression from query and option to being right, fitted on half of the puzzles."""

    def features(p: Puzzle) -> np.ndarray:
        thumbs = [x.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3)).ravel() / 255 for x in (p.context[-1], *p.options)]
        return np.stack([np.concatenate([option, option - thumbs[0], [1]]) for option in thumbs[1:]])

    half = COUNT // 2
    inputs = np.concatenate([features(p) for p in puzzles[:half]])
    targets = np.concatenate([np.arange(len(p.options)) == p.answer for p in puzzles[:half]]).astype(float)
    weights = np.linalg.solve(inputs.T @ inputs + 3 * np.eye(inputs.shape[1]), inputs.T @ targets)
    right = [int(np.argmax(features(p) @ weights)) == p.answer for p in puzzles[half:]]
    assert within_noise(float(np.mean(right)), CHANCE[puzzles[0].kind], half), np.mean(right)


def test_the_context_tells_the_answer(puzzles):
    """Who knows what the pairs end in (color) or how they grow (size) always finds the answer."""
    for p in puzzles:
        if p.kind == "color":
            target = COLORS[p.instance.split("/")[1]]
            ends = [(picture == target).all(axis=-1).any() for picture in p.context[1::2]]
            found = [n for n, option in enumerate(p.options) if (option == target).all(axis=-1).any()]
        elif p.kind == "size":
            grows = [object_area(b) > object_area(a) for a, b in zip(p.context[:-1:2], p.context[1::2], strict=True)]
            ends = [grow == grows[0] for grow in grows]
            found = [n for n, o in enumerate(p.options) if (object_area(o) > object_area(p.context[-1])) == grows[0]]
        else:
            continue
        assert all(ends) and found == [p.answer], p.key


def test_options_are_unlike_each_other_and_the_query(puzzles):
    for p in puzzles[:100]:
        pictures = [p.context[-1], *p.options]
        assert len(p.context) == 7 and len({picture.tobytes() for picture in pictures}) == len(pictures)
        backgrounds = {tuple(map(tuple, picture[0, [0, -1]])) for picture in pictures}
        assert len(backgrounds) == 1 or p.kind == "size"


def test_place_and_value_of_the_answer_are_uniform(puzzles):
    num_options = len(puzzles[0].options)
    places = np.bincount([p.answer for p in puzzles], minlength=num_options)
    values = np.unique([p.instance for p in puzzles], return_counts=True)[1]
    for counts in (places, values):
        expected = COUNT / len(counts)
        assert np.abs(counts - expected).max() < 4 * np.sqrt(expected), counts
    assert len(values) == {"color": 10, "shape": 9, "size": 2}[puzzles[0].kind]


def test_puzzles_repeat_and_depend_on_the_seed():
    first, again = (list(change_puzzles("color", count=4, seed=1)) for _ in range(2))
    other = next(change_puzzles("color", count=1, seed=2))
    assert all(
        a.answer == b.answer
        and all((x == y).all() for x, y in zip(a.context + a.options, b.context + b.options, strict=True))
        for a, b in zip(first, again, strict=True)
    )
    assert other.context[0].tobytes() != first[0].context[0].tobytes()


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_object_is_of_a_heldout_combination_and_every_pair_changes(attribute, monkeypatch):
    shown = []

    def single_object(chance, form, color, **options):
        shown.append((form, color))
        return arrangements.single_object(chance, form, color, **options)

    monkeypatch.setattr(changes, "single_object", single_object)
    for puzzle in change_puzzles(attribute, count=100, size=SIZE):
        target = puzzle.instance.split("/")[1]
        assert len(shown) == len(set(shown)) == 4 and set(shown) <= set(arrangements.combinations(heldout=True))
        assert all(target not in one for one in shown)
        assert all((a != b).any() for a, b in zip(puzzle.context[:-1:2], puzzle.context[1::2], strict=True))
        shown.clear()


def test_change_puzzles_rejects_unknown_attribute():
    with pytest.raises(ValueError, match="no attribute called 'colour'; did you mean color"):
        next(change_puzzles("colour", count=1))
