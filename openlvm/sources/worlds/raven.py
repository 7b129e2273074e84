"""Raven's progressive matrices as symbols: configurations, attributes, rules, and panels that obey them.

The seven configurations and the rules are those of RAVEN (Zhang et al., CVPR 2019, arXiv 1903.02741, section 3), with
smaller scales. A panel is a tuple of integers, one for each attribute of its configuration; a rule says how an
attribute goes along each row:

    constant            a a a
    progression+d       a a+d a+2d       (of the layout: shift+d, every cell moves on d places, the last to the first)
    arithmetic+, -      a b a+b, a b a-b (of the layout: union, difference)
    distribute          the same three values in every row, moved on by one from row to row

An attribute's values are 1 .. its number of levels. A layout is a bit for each cell of a grid: under a rule of number
the first cells in reading order are taken, under a rule of position any. Other than in RAVEN, all objects of a
component are equal, nothing varies without a rule, and rows 1 and 2 leave one continuation of row 3 under all rules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from openlvm.core.seeds import seed_of

HELDOUT_ONE_IN = 5  # combinations of rules
Row = tuple[int, int, int]
Panel = tuple[int, ...]
"""A value of each attribute, in the order of `attributes_of`."""


@dataclass(frozen=True)
class Component:
    """A part of a panel: equal objects in some or all of its cells."""

    name: str
    cells: tuple[tuple[float, float], ...]
    """Centers (x, y), shares of the panel's side, in reading order."""
    radii: tuple[float, ...]
    """Of the sizes 1, 2, ..., shares of the side; a single one is no attribute."""
    types: tuple[str, ...]
    """Forms of the types 1, 2, ..."""
    filled: bool = True


@dataclass(frozen=True)
class Attribute:
    """What varies by a rule: layout, type, size or color of a component."""

    component: int
    """Its place in the configuration."""
    name: str
    levels: int
    """Number of values; of cells for a layout."""


TYPES = ("triangle", "square", "cross", "star", "circle")
OUTER_TYPES = ("square", "hexagon", "circle")  # wide enough for a grid
SCALE = ("yellow", "orange", "red", "purple", "blue", "green")
"""Colors 1, 2, ... of every component."""


def _grid(side: int, first: float, step: float) -> tuple[tuple[float, float], ...]:
    return tuple((first + step * column, first + step * row) for row in range(side) for column in range(side))


def _single(name: str, x: float, y: float, radii: tuple[float, ...]) -> Component:
    return Component(name, ((x, y),), radii, TYPES)


_HALVES = (0.1, 0.16, 0.22)
_OUT = Component("out", ((0.5, 0.5),), (0.46,), OUTER_TYPES, filled=False)
CONFIGURATIONS: dict[str, tuple[Component, ...]] = {
    "Center": (_single("center", 0.5, 0.5, (0.14, 0.22, 0.3, 0.38)),),
    "2x2Grid": (Component("grid", _grid(2, 0.26, 0.48), (0.1, 0.15, 0.21), TYPES),),
    "3x3Grid": (Component("grid", _grid(3, 0.18, 0.32), (0.085, 0.115, 0.15), TYPES),),
    "Left-Right": (_single("left", 0.25, 0.5, _HALVES), _single("right", 0.75, 0.5, _HALVES)),
    "Up-Down": (_single("up", 0.5, 0.25, _HALVES), _single("down", 0.5, 0.75, _HALVES)),
    "Out-InCenter": (_OUT, _single("in", 0.5, 0.5, (0.1, 0.16, 0.22))),
    "Out-InGrid": (_OUT, Component("in", _grid(2, 0.39, 0.22), (0.095,), TYPES)),
}
"""RAVEN's seven; the smallest object is 11 pixels wide in a picture of 64."""


def attributes_of(configuration: str) -> list[Attribute]:
    """What varies in a configuration, component by component."""
    found = []
    for place, component in enumerate(CONFIGURATIONS[configuration]):
        levels = {
            "layout": len(component.cells),
            "type": len(component.types),
            "size": len(component.radii),
            "color": len(SCALE),
        }
        found += [Attribute(place, name, number) for name, number in levels.items() if number > 1]
    return found


# -------------------------------------------------------------------------------------------------------------- rules


@dataclass(frozen=True)
class Rule:
    """How an attribute goes along a row; `shift`, `union` and `difference` are of layouts."""

    kind: Literal["constant", "progression", "arithmetic", "distribute"]
    name: str
    continued: Callable[[int, int], int | None]
    """The third value, from the first two; None where the rule does not allow them. Not used by distribute."""


def first_cells(number: int) -> int:
    """The layout with the first cells taken."""
    return (1 << number) - 1


def _progression(step: int, levels: int) -> Rule:
    return Rule(
        "progression",
        f"progression{step:+d}",
        lambda a, b: b + step if b == a + step and 1 <= b + step <= levels else None,
    )


def _arithmetic(sign: int, levels: int) -> Rule:
    name = "arithmetic" + "-+"[sign > 0]
    return Rule("arithmetic", name, lambda a, b: a + sign * b if 1 <= a + sign * b <= levels else None)


def _shift(step: int, cells: int) -> Rule:
    def moved(layout: int) -> int:
        return ((layout << step) | (layout >> (cells - step))) & first_cells(cells)

    return Rule("progression", f"shift{step:+d}", lambda a, b: moved(b) if b == moved(a) != a else None)


_CONSTANT = Rule("constant", "constant", lambda a, b: a if a == b else None)
_DISTRIBUTE = Rule("distribute", "distribute", lambda a, b: None)
_UNION = Rule("arithmetic", "union", lambda a, b: a | b if a | b not in (a, b) else None)
_DIFFERENCE = Rule("arithmetic", "difference", lambda a, b: a & ~b if a & ~b not in (0, a) else None)


def _of_number(rule: Rule) -> Rule:
    """A rule of values as one of layouts whose first cells are taken."""

    def continued(a: int, b: int) -> int | None:
        numbers = a.bit_length(), b.bit_length()
        if (a, b) != tuple(map(first_cells, numbers)):
            return None
        third = rule.continued(*numbers)
        return None if third is None else first_cells(third)

    return Rule(rule.kind, f"number {rule.name}", continued)


def rules_of(attribute: Attribute) -> dict[str, Rule]:
    """All rules that an attribute can obey, by name."""
    levels = attribute.levels
    steps = [step for step in (1, -1, 2, -2) if 2 * abs(step) < levels]
    if attribute.name == "layout":
        numbers = [*(_progression(step, levels) for step in steps), _arithmetic(1, levels), _arithmetic(-1, levels)]
        by_number = [_of_number(rule) for rule in (*numbers, _DISTRIBUTE)]
        rules = [_CONSTANT, _shift(1, levels), _shift(levels - 1, levels), _UNION, _DIFFERENCE, _DISTRIBUTE, *by_number]
    else:
        rules = [_CONSTANT, *(_progression(step, levels) for step in steps), _DISTRIBUTE]
        if attribute.name != "type":  # RAVEN: types do not add up
            rules += [_arithmetic(1, levels), _arithmetic(-1, levels)]
    return {rule.name: rule for rule in rules}


def _values(attribute: Attribute, rule: str) -> list[int]:
    """What the values of an attribute can be under a rule."""
    if attribute.name != "layout":
        return list(range(1, attribute.levels + 1))
    if rule.startswith("number"):
        return [first_cells(number) for number in range(1, attribute.levels + 1)]
    return list(range(1, first_cells(attribute.levels) + 1))


def continuations(attribute: Attribute, rows: list[Row], first: int, second: int) -> set[int]:
    """Every third value of row 3 that some rule gives which rows 1 and 2 obey."""
    found = set()
    for rule in rules_of(attribute).values():
        third = rule.continued(first, second)
        if third is not None and all(rule.continued(*row[:2]) == row[2] for row in rows):
            found.add(third)
    one, two = rows
    if set(one) == set(two) and len(set(one)) == 3 and {first, second} < set(one) and first != second:
        found |= set(one) - {first, second}
    return found


def _rows(attribute: Attribute, rule: Rule, chance: np.random.Generator) -> list[Row]:
    """Three rows that obey a rule, of which the first two leave one continuation of the third."""
    values = _values(attribute, rule.name)
    while True:
        if rule.name.endswith("distribute"):
            three = [values[place] for place in chance.permutation(len(values))[:3]]
            move = int(chance.integers(1, 3))
            rows = [(three[-n * move % 3], three[(1 - n * move) % 3], three[(2 - n * move) % 3]) for n in range(3)]
        else:
            rows = [_row(values, rule, chance) for _ in range(3)]
        if len(continuations(attribute, rows[:2], *rows[2][:2])) == 1:
            return rows


def _row(values: list[int], rule: Rule, chance: np.random.Generator) -> Row:
    while True:
        first = values[chance.integers(len(values))]
        if rule.name == "constant":
            return first, first, first
        if rule.name.startswith("shift"):
            seconds = [value for value in values if rule.continued(first, value) is not None]
        else:
            seconds = values
        if seconds:
            second = seconds[chance.integers(len(seconds))]
            third = rule.continued(first, second)
            if third is not None:
                return first, second, third


# ----------------------------------------------------------------------------------------------------------- matrices


@dataclass(frozen=True)
class Matrix:
    """A 3 x 3 matrix: the rule of each attribute and nine panels in reading order, of which the last is the answer."""

    configuration: str
    rules: tuple[str, ...]
    panels: tuple[Panel, ...]


def is_heldout_combination(configuration: str, rules: tuple[str, ...]) -> bool:
    """Whether training never shows these rules together (1 in 5)."""
    return seed_of("worlds", "raven", configuration, *rules) % HELDOUT_ONE_IN == 0


def _random_rule(table: dict[str, Rule], chance: np.random.Generator) -> Rule:
    """First a kind, all being as likely, then one of its rules."""
    kinds = sorted({rule.kind for rule in table.values()})
    kind = kinds[chance.integers(len(kinds))]
    rules = [rule for rule in table.values() if rule.kind == kind]
    return rules[chance.integers(len(rules))]


def random_matrix(configuration: str, chance: np.random.Generator, *, heldout: bool) -> Matrix:
    """A matrix whose combination of rules is, or is not, held out; at least one rule is not "constant"."""
    attributes = attributes_of(configuration)
    tables = [rules_of(attribute) for attribute in attributes]
    while True:
        names = tuple(_random_rule(table, chance).name for table in tables)
        if set(names) != {"constant"} and is_heldout_combination(configuration, names) == heldout:
            break
    columns = [
        [value for row in _rows(attribute, table[name], chance) for value in row]
        for attribute, table, name in zip(attributes, tables, names, strict=True)
    ]
    return Matrix(configuration, names, tuple(zip(*columns, strict=True)))
