"""Puzzles of change: three pairs show how an object changes; which picture shows the query changed in the same way?

    context  a A b B c C q        options  x y z        answer  the index of the right one

Options show the query's object at the query's place and differ in the changed attribute alone. Their values are drawn
without regard to which is right, and none is the query's: whoever looks at options and query, but not at the pairs, is
at chance. Every object, in the pairs too, is of a combination of form and color that training never changes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from openlvm.core.picking import pick
from openlvm.core.seeds import rng
from openlvm.sources.interface import require_positive
from openlvm.sources.worlds.arrangements import combinations, single_object
from openlvm.sources.worlds.drawing import COLORS, SEEN_FORMS, Scene, draw_scene
from openlvm.sources.worlds.families import FACTORS

Attribute = Literal["color", "shape", "size"]


@dataclass(frozen=True, eq=False)
class Puzzle:
    """A context, and options of which one continues it; pictures uint8 [size, size, 3]."""

    key: str
    kind: str
    """The attribute that changes, or the configuration of a matrix."""
    instance: str
    """The rule: "color/red"; "grid2/number:progression +1 ..."."""
    context: list[np.ndarray]
    options: list[np.ndarray]
    answer: int
    """Index of the right option."""


def _in_color(scene: Scene, color: str | float) -> Scene:
    return Scene((replace(scene.shapes[0], color=str(color)),), scene.background)


def _in_form(scene: Scene, form: str | float) -> Scene:
    return Scene((replace(scene.shapes[0], form=str(form)),), scene.background)


def _in_size(scene: Scene, factor: str | float) -> Scene:
    return Scene((replace(scene.shapes[0], radius=scene.shapes[0].radius * float(factor)),), scene.background)


@dataclass(frozen=True)
class _Change:
    values: tuple[str | float, ...]
    apply: Callable[[Scene, str | float], Scene]
    num_options: int


_CHANGES = {
    "color": _Change(tuple(COLORS), _in_color, 3),
    "shape": _Change(SEEN_FORMS, _in_form, 3),
    "size": _Change(FACTORS, _in_size, 2),
}
CHANCE = {name: 1 / change.num_options for name, change in _CHANGES.items()}
"""Accuracy of guessing."""


def change_puzzles(
    attribute: Attribute, *, count: int, first: int = 0, seed: int = 0, pairs: int = 3, size: int = 128
) -> Iterator[Puzzle]:
    """`count` puzzles from number `first` on, each a pure function of (seed, number).

    Args:
        attribute: what changes; there are 3 options for color and shape, 2 for size.
        count: how many puzzles.
        first: number of the first one.
        pairs: shown in the context.
        size: side of the pictures, pixels.
    """
    change = pick(_CHANGES, attribute, "attribute")
    require_positive(count=count, pairs=pairs, size=size)
    for number in range(first, first + count):
        yield _puzzle(attribute, change, f"{attribute}/{number}", seed=seed, pairs=pairs, size=size)


def _puzzle(attribute: str, change: _Change, key: str, *, seed: int, pairs: int, size: int) -> Puzzle:
    chance = rng("change puzzle", seed, key)
    objects = combinations(heldout=True)
    query = objects[chance.integers(len(objects))]
    free = [value for value in change.values if value not in query]
    values = [free[place] for place in chance.permutation(len(free))[: change.num_options]]
    answer = int(chance.integers(change.num_options))
    others = [one for one in objects if one != query and values[answer] not in one]
    shown = [others[place] for place in chance.permutation(len(others))[:pairs]]
    room = max(FACTORS) if attribute == "size" else 1.0
    scenes = [single_object(chance, form, color, room=room) for form, color in [*shown, query]]
    context = [picture for scene in scenes[:-1] for picture in (scene, change.apply(scene, values[answer]))]
    return Puzzle(
        key=key,
        kind=attribute,
        instance=f"{attribute}/{values[answer]}",
        context=[draw_scene(scene, size) for scene in [*context, scenes[-1]]],
        options=[draw_scene(change.apply(scenes[-1], value), size) for value in values],
        answer=answer,
    )
