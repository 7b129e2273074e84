"""Matrix puzzles can be solved by rules, and by nothing else; pictures show the symbols."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from scipy import ndimage

from openlvm.sources.worlds.drawing import INKS
from openlvm.sources.worlds.matrices import MatricesWorld, SymbolicPuzzle, draw_panel, matrix_puzzles, symbolic_puzzles
from openlvm.sources.worlds.raven import CONFIGURATIONS, SCALE, attributes_of

COUNT = 1400


@pytest.fixture(scope="module")
def puzzles() -> list[SymbolicPuzzle]:
    return list(symbolic_puzzles(count=COUNT, seed=1))


def within_noise(accuracy: float, chance: float, count: int) -> bool:
    return abs(accuracy - chance) < 3.3 * np.sqrt(chance * (1 - chance) / count)


def majority(puzzle: SymbolicPuzzle) -> int:
    """The option that agrees most with the other options, the first of the best."""
    counts = [Counter(values) for values in zip(*puzzle.options, strict=True)]
    return int(np.argmax([sum(c[v] for c, v in zip(counts, option, strict=True)) for option in puzzle.options]))


def test_a_majority_of_options_tells_nothing(puzzles):
    accuracy = np.mean([majority(puzzle) == puzzle.answer for puzzle in puzzles])
    assert within_noise(float(accuracy), 0.2, COUNT), accuracy
    minority = [
        int(np.argmin([sum(np.not_equal(o, other).sum() for other in p.options) for o in p.options[::-1]]))
        for p in puzzles
    ]
    accuracy = np.mean([4 - chosen == p.answer for chosen, p in zip(minority, puzzles, strict=True)])
    assert within_noise(float(accuracy), 0.2, COUNT), accuracy


def test_a_learned_taste_for_values_tells_nothing(puzzles):
    """How often each value of each attribute was right, counted on half of the puzzles."""
    right, shown = defaultdict(float), defaultdict(float)
    half = COUNT // 2
    for puzzle in puzzles[:half]:
        for number, option in enumerate(puzzle.options):
            for at in ((puzzle.matrix.configuration, place, value) for place, value in enumerate(option)):
                shown[at] += 1
                right[at] += number == puzzle.answer
    hits = 0
    for puzzle in puzzles[half:]:
        keys = [[(puzzle.matrix.configuration, *pair) for pair in enumerate(option)] for option in puzzle.options]
        tastes = [sum((right[at] + 2) / (shown[at] + 10) for at in option) for option in keys]
        hits += int(np.argmax(tastes)) == puzzle.answer
    assert within_noise(hits / half, 0.2, half), hits / half


def test_options_are_distinct_and_one_is_the_ninth_panel(puzzles):
    for puzzle in puzzles:
        assert len(set(puzzle.options)) == 5
        assert [option == puzzle.matrix.panels[8] for option in puzzle.options].index(True) == puzzle.answer
    places = np.bincount([puzzle.answer for puzzle in puzzles], minlength=5)
    assert np.abs(places - COUNT / 5).max() < 4 * np.sqrt(COUNT / 5)


def test_eight_options_halve_at_each_level():
    for puzzle in symbolic_puzzles(count=21, options=8):
        counts = [Counter(values) for values in zip(*puzzle.options, strict=True)]
        assert sum(sorted(count.values()) == [4, 4] for count in counts) == 3
        assert all(set(count.values()) in ({4}, {8}) for count in counts)


def test_pictures_show_number_color_and_place_of_objects():
    for puzzle in symbolic_puzzles(count=42, seed=2):
        configuration = puzzle.matrix.configuration
        values = dict(
            zip(((a.component, a.name) for a in attributes_of(configuration)), puzzle.options[0], strict=True)
        )
        picture = draw_panel(configuration, puzzle.options[0], 128)
        foreground = (picture != INKS["white"]).any(axis=-1)
        layouts = [values.get((place, "layout"), 1) for place in range(len(CONFIGURATIONS[configuration]))]
        assert ndimage.label(foreground)[1] == sum(map(int.bit_count, layouts))
        colors = {SCALE[value - 1] for (_, name), value in values.items() if name == "color"}
        assert colors == {name for name in SCALE if (picture == INKS[name]).all(axis=-1).sum() > 4}


def test_puzzles_are_drawn_from_the_symbols_and_repeat():
    drawn, again = (list(matrix_puzzles(count=8, seed=4, size=32)) for _ in range(2))
    for puzzle, same, symbols in zip(drawn, again, symbolic_puzzles(count=8, seed=4), strict=True):
        assert len(puzzle.context) == 8 and puzzle.answer == same.answer == symbols.answer
        assert all((a == b).all() for a, b in zip(puzzle.options, same.options, strict=True))
        expected = draw_panel(puzzle.kind, symbols.matrix.panels[8], 32)
        assert [(option == expected).all() for option in puzzle.options].count(True) == 1
        assert (puzzle.options[puzzle.answer] == expected).all()
    assert drawn[0].instance.startswith("Center/center type: ")


def test_world_gives_whole_matrices_of_its_configurations():
    world = MatricesWorld("train", count=7, size=32, seed=1)
    records = [record for part in world.parts() for record in world.read(part)]
    assert [record.label for record in records] == list(CONFIGURATIONS)
    assert all(record.num_frames == 9 for record in records)
    again = next(
        iter(MatricesWorld("train", count=1, configurations=("Center",), size=32, seed=1).read(world.parts()[0]))
    )
    assert all((a == b).all() for a, b in zip(again.slots["image"], records[0].slots["image"], strict=True))
    other = next(iter(MatricesWorld("heldout", count=1, size=32, seed=1).read(world.parts()[0])))
    assert any((a != b).any() for a, b in zip(other.slots["image"], records[0].slots["image"], strict=True))


def test_matrices_reject_options_that_mean_nothing():
    with pytest.raises(ValueError, match="no configuration called 'center'; did you mean Center"):
        MatricesWorld(configurations=("center",))
    with pytest.raises(ValueError, match="options=9 given; a matrix puzzle has 2 to 8"):
        next(symbolic_puzzles(count=1, options=9))
    with pytest.raises(ValueError, match="no split called 'val'"):
        MatricesWorld("val")
