"""The scenes that task families act on: what an instance of a task is, and shapes of its theme at random places."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import hypot

import numpy as np

from openlvm.sources.worlds.drawing import COLORS, SEEN_FORMS, UNSEEN_FORMS, Scene, Shape, random_background

MARGIN = 0.02  # between shapes, and between a shape and the border

Chance = np.random.Generator
Parameter = tuple[str | float, ...]


@dataclass(frozen=True)
class Instance:
    """A task: all pictures of one instance obey the same rule."""

    family: str
    number: int
    parameter: Parameter
    """What the family fixes, see the table above."""
    colors: tuple[str, ...]
    """Of its shapes; with `forms` the theme."""
    forms: tuple[str, ...]
    heldout: bool


def is_heldout_combination(form: str, color: str) -> bool:
    """Whether an object of this form and color is never changed by color, shape or size in training.

    Two colors of each form are held out, and one or two forms of each color: 18 of 90, every value among them.
    """
    return (list(COLORS).index(color) - SEEN_FORMS.index(form)) % 5 == 0


@cache
def combinations(heldout: bool) -> tuple[tuple[str, str], ...]:
    """All (form, color) of objects that color, shape and size may change in a split; no unseen forms among them."""
    pairs = ((form, color) for form in SEEN_FORMS for color in COLORS)
    return tuple(pair for pair in pairs if is_heldout_combination(*pair) == heldout)


def _placed(chance: Chance, radii: Sequence[float], shift: tuple[float, float] = (0, 0)) -> list[tuple[float, float]]:
    """Centers of circles that neither touch nor leave the picture, before and after a shift, all in it the same."""
    while True:
        places: list[tuple[float, float]] = []
        for _ in range(30 * len(radii)):
            if len(places) == len(radii):
                return places
            edge = radii[len(places)] + MARGIN
            x, y = (float(chance.uniform(edge - min(move, 0), 1 - edge - max(move, 0))) for move in shift)
            if all(
                hypot(x - other[0], y - other[1]) > edge + radius for other, radius in zip(places, radii, strict=False)
            ):
                places.append((x, y))
        radii = [0.95 * radius for radius in radii]  # too crowded


def _scattered(
    instance: Instance,
    chance: Chance,
    counts: tuple[int, int] = (1, 4),
    *,
    radius: tuple[float, float] = (0.11, 0.17),
    shift: tuple[float, float] = (0, 0),
    turned: bool = True,
    filled: bool = True,
) -> Scene:
    """Shapes of the instance's theme at random places; colors differ while there are enough of them."""
    count = int(chance.integers(counts[0], counts[1] + 1))
    radii = [float(chance.uniform(*radius)) for _ in range(count)]
    colors = chance.permutation(np.resize(instance.colors, max(count, len(instance.colors))))
    shapes = tuple(
        Shape(
            form=str(chance.choice(instance.forms)),
            color=str(color),
            x=x,
            y=y,
            radius=size,
            angle=float(15 * chance.integers(24)) if turned else 0.0,
            filled=filled,
        )
        for (x, y), size, color in zip(_placed(chance, radii, shift), radii, colors, strict=False)
    )
    return Scene(shapes, random_background(chance))


def some_shapes(instance: Instance, chance: Chance) -> Scene:
    """One to four shapes."""
    return _scattered(instance, chance)


def several_shapes(instance: Instance, chance: Chance) -> Scene:
    """Two to four shapes."""
    return _scattered(instance, chance, (2, 4))


def one_object(instance: Instance, chance: Chance) -> Scene:
    """One upright object of the split's combinations that is not yet what it becomes."""
    chosen = [pair for pair in combinations(instance.heldout) if not set(pair) & set(instance.parameter)]
    form, color = chosen[chance.integers(len(chosen))]
    return single_object(chance, form, color, room=max(1.0, _factor(instance)))


def single_object(chance: Chance, form: str, color: str, *, room: float = 1.0) -> Scene:
    """One upright object; with `room`, it can grow by this factor where it stands."""
    radius = float(chance.uniform(0.17, 0.23))
    ((x, y),) = _placed(chance, [radius * room])
    return Scene((Shape(form, color, x, y, radius),), random_background(chance))


def _factor(instance: Instance) -> float:
    return float(instance.parameter[0]) if instance.family == "size" else 1.0


def movable_shapes(instance: Instance, chance: Chance) -> Scene:
    """One or two upright shapes that remain in the picture when they are shifted."""
    return _scattered(instance, chance, (1, 2), shift=vector_of(instance), turned=False)


def vector_of(instance: Instance) -> tuple[float, float]:
    """The shift of an instance of position, (x, y)."""
    x, y = instance.parameter
    return float(x), float(y)


def large_shapes(instance: Instance, chance: Chance) -> Scene:
    """One or two large shapes."""
    return _scattered(instance, chance, (1, 2), radius=(0.17, 0.22))


def row_of_equals(instance: Instance, chance: Chance) -> Scene:
    """Two to eight equal objects in the first places, in reading order, of a 3 x 3 grid."""
    count = int(chance.integers(2, 9))
    form, color = str(chance.choice(instance.forms)), str(chance.choice(instance.colors))
    shapes = tuple(Shape(form, color, *grid_place(place), radius=0.12) for place in range(count))
    return Scene(shapes, random_background(chance))


def grid_place(place: int) -> tuple[float, float]:
    """The center (x, y) of place 0 .. 8 of a 3 x 3 grid, in reading order."""
    return 0.2 + 0.3 * (place % 3), 0.2 + 0.3 * (place // 3)


def outlined_shapes(instance: Instance, chance: Chance) -> Scene:
    """The outlines of one to three shapes."""
    return _scattered(instance, chance, (1, 3), radius=(0.13, 0.19), filled=False)


def mixed_shapes(instance: Instance, chance: Chance) -> Scene:
    """Two to four shapes, of which at least one has what the instance selects and at least one has not."""
    wanted = str(instance.parameter[0])
    scene = _scattered(instance, chance, (2, 4))
    shapes = list(scene.shapes)
    num_wanted = int(chance.integers(1, len(shapes)))
    for place, shape in enumerate(shapes):
        is_color = wanted in COLORS
        others = [name for name in (instance.colors if is_color else instance.forms) if name != wanted]
        name = wanted if place < num_wanted else str(chance.choice(others))
        shapes[place] = replace(shape, color=name) if is_color else replace(shape, form=name)
    return Scene(tuple(shapes), scene.background)


def two_unlike_shapes(instance: Instance, chance: Chance) -> Scene:
    """Two upright shapes of different forms and colors."""
    scene = _scattered(instance, chance, (2, 2), radius=(0.14, 0.19), turned=False)
    forms = chance.choice(instance.forms, 2, replace=False)
    shapes = tuple(replace(shape, form=str(form)) for shape, form in zip(scene.shapes, forms, strict=True))
    return Scene(shapes, scene.background)


UNSEEN_SHARE = 0.25
"""Share of held-out records in which one form is replaced by one of UNSEEN_FORMS (corners excepted: few corners)."""


def with_unseen_form(instance: Instance, scene: Scene, chance: Chance) -> Scene:
    """In UNSEEN_SHARE of held-out scenes one form, not one that the task names, becomes an unseen one throughout."""
    free = sorted({shape.form for shape in scene.shapes} - set(map(str, instance.parameter)))
    if not instance.heldout or instance.family == "corners" or not free or chance.random() >= UNSEEN_SHARE:
        return scene
    old, unseen = free[chance.integers(len(free))], UNSEEN_FORMS[chance.integers(len(UNSEEN_FORMS))]
    return replace(scene, shapes=tuple(replace(s, form=unseen) if s.form == old else s for s in scene.shapes))
