"""Matrices obey the rules that they name, and rows 1 and 2 leave one answer."""

from collections import Counter

import numpy as np
import pytest

from openlvm.core.seeds import rng
from openlvm.sources.worlds.matrices import SymbolicPuzzle, symbolic_puzzles
from openlvm.sources.worlds.raven import (
    CONFIGURATIONS,
    Attribute,
    attributes_of,
    continuations,
    is_heldout_combination,
    random_matrix,
    rules_of,
)


def cells(layout: int) -> set[int]:
    return {cell for cell in range(9) if layout >> cell & 1}


def obeys(name: str, row: tuple[int, int, int], levels: int) -> bool:
    """What each rule means, in the test's own words."""
    if name.startswith("number "):
        assert all(cells(value) == set(range(len(cells(value)))) for value in row)
        return obeys(name.removeprefix("number "), tuple(len(cells(value)) for value in row), levels)
    a, b, c = row
    if name == "constant":
        return a == b == c
    if name.startswith("progression"):
        return b - a == c - b == int(name.removeprefix("progression"))
    if name.startswith("shift"):
        step = int(name.removeprefix("shift"))
        return all({(cell + step) % levels for cell in cells(x)} == cells(y) for x, y in ((a, b), (b, c)))
    if name in ("union", "difference"):
        return cells(c) == (cells(a) | cells(b) if name == "union" else cells(a) - cells(b))
    if name.startswith("arithmetic"):
        return c == (a + b if name.endswith("+") else a - b)
    return name == "distribute" and len({a, b, c}) == 3


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_rows_obey_the_rules_they_name(configuration):
    attributes = attributes_of(configuration)
    seen = [set() for _ in attributes]
    for number in range(150):
        matrix = random_matrix(configuration, rng("test", configuration, number), heldout=number % 2 == 0)
        assert is_heldout_combination(configuration, matrix.rules) == (number % 2 == 0)
        assert set(matrix.rules) != {"constant"}
        for place, (attribute, name) in enumerate(zip(attributes, matrix.rules, strict=True)):
            values = [panel[place] for panel in matrix.panels]
            rows = [tuple(values[start : start + 3]) for start in (0, 3, 6)]
            assert all(obeys(name, row, attribute.levels) for row in rows), (attribute, name, rows)
            assert name.endswith("distribute") <= (len({frozenset(row) for row in rows}) == 1)
            highest = 2**attribute.levels - 1 if attribute.name == "layout" else attribute.levels
            assert min(values) >= 1 and max(values) <= highest
            assert continuations(attribute, rows[:2], *rows[2][:2]) == {rows[2][2]}
            seen[place].add(name)
    for attribute, names in zip(attributes, seen, strict=True):
        assert len(names) >= 0.8 * len(rules_of(attribute)), (attribute, names)


def test_continuations_lists_every_answer_that_a_rule_allows():
    color = Attribute(0, "color", 6)
    assert continuations(color, [(1, 2, 3), (2, 3, 5)], 1, 2) == {3}  # arithmetic+ alone: 2 3 5 is no progression
    assert continuations(color, [(1, 2, 3), (1, 2, 3)], 2, 3) == {4, 5, 1}  # progression+1, arithmetic+, distribute
    assert continuations(color, [(1, 2, 3), (3, 1, 2)], 2, 3) == {1}
    assert continuations(color, [(5, 5, 5), (2, 2, 2)], 4, 4) == {4}
    assert continuations(color, [(1, 5, 2), (3, 6, 1)], 1, 1) == set()


def test_kinds_of_rules_are_as_likely_as_each_other():
    kinds = {rule.name: rule.kind for rule in rules_of(Attribute(0, "color", 6)).values()}
    names = [random_matrix("Center", rng("kinds", number), heldout=number % 5 == 0).rules[2] for number in range(400)]
    counts = Counter(kinds[name] for name in names)
    assert set(counts) == {"constant", "progression", "arithmetic", "distribute"}
    assert min(counts.values()) > 60 and max(counts.values()) < 140  # 100 each, and noise of chance and of the split


def test_a_fifth_of_combinations_is_held_out():
    names = list(rules_of(Attribute(0, "color", 6)))
    share = np.mean([is_heldout_combination("Center", (a, b, c)) for a in names for b in names for c in names])
    assert share == pytest.approx(0.2, abs=0.06)


def solve(puzzle: SymbolicPuzzle) -> list[int]:
    """The options whose row 3 obeys, in each attribute, a rule that rows 1 and 2 obey."""
    matrix, fitting = puzzle.matrix, []
    for number, option in enumerate(puzzle.options):
        panels = [*matrix.panels[:8], option]
        fits = True
        for place, attribute in enumerate(attributes_of(matrix.configuration)):
            rows = [tuple(panel[place] for panel in panels[start : start + 3]) for start in (0, 3, 6)]
            fits &= any(_all_obey(name, rows, attribute.levels) for name in rules_of(attribute))
        fitting += [number] if fits else []
    return fitting


def _all_obey(name: str, rows: list, levels: int) -> bool:
    first = name.startswith("number")
    if first and any(cells(value) != set(range(len(cells(value)))) for row in rows for value in row):
        return False
    if name.endswith("distribute") and len({frozenset(row) for row in rows}) != 1:
        return False
    return all(obeys(name, row, levels) for row in rows)


def test_a_rule_solver_finds_the_answer_of_every_puzzle_and_no_other():
    assert all(solve(puzzle) == [puzzle.answer] for puzzle in symbolic_puzzles(count=350, seed=1))
