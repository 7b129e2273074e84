"""Task families of flat scenes: what an instance of each fixes, on which scenes it acts, and what it makes of them.

    family      an instance fixes                      its answer
    recoloring  a permutation of the palette           every shape in the color that its own is mapped to
    color       a color                                the one object in that color
    shape       a form                                 the one object in that form
    size        a factor                               the one object larger or smaller
    position    a vector                               all shapes shifted
    rotation    an angle                               every shape turned about its center
    reflection  left-right or up-down                  the picture mirrored
    count       one more or one fewer                  the row of equal objects with another or without its last
    outline     a line's color and a paper's           the shapes' outlines alone
    corners     a dot's color and a paper's            dots on the shapes' corners alone
    fill        a color, or each outline's own         outlined shapes, filled
    select      a color or a form                      only the shapes that have it
    transpose   one of two diagonals                   the picture mirrored in it
    swap        nothing                                two shapes with their places exchanged

An instance has a theme besides: the few colors and forms of its scenes. Positions, backgrounds and counts are free.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from openlvm.core.seeds import rng, seed_of
from openlvm.sources.worlds.arrangements import (
    Chance,
    Instance,
    Parameter,
    grid_place,
    large_shapes,
    mixed_shapes,
    movable_shapes,
    one_object,
    outlined_shapes,
    row_of_equals,
    several_shapes,
    some_shapes,
    two_unlike_shapes,
    vector_of,
)
from openlvm.sources.worlds.drawing import COLORS, INKS, SEEN_FORMS, Scene, Shape, corners, paper

THEME = 4  # colors and forms of an instance
HELDOUT_ONE_IN = 5  # instances
CORNERED = ("square", "bar", "triangle", "hexagon")  # few corners, far enough apart for a dot on each
TURNED = ("bar", "triangle", "half")  # forms whose turn by any multiple of 15 degrees but 180 is seen
SOLID = tuple(form for form in SEEN_FORMS if form != "ring")  # an outlined circle is no ring
STEPS = (-0.3, -0.15, 0.0, 0.15, 0.3)  # of a shift, shares of the side
FACTORS = (1.6, 0.6)  # of a size
DOT = 5 / 128  # radius of a dot on a corner
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Family:
    """How the instances of a family are drawn, the scenes they act on, and their answers."""

    parameter: Callable[[Chance], Parameter]
    scene: Callable[[Instance, Chance], Scene]
    answer: Callable[[Instance, Scene], Scene]
    held_out: Literal["parameter", "theme", "combination"]
    """What a held-out instance does not share with training: its parameter; for families of few parameters its
    parameter in company with its theme; or the combination of form and color of its object."""
    forms: tuple[str, ...] = SEEN_FORMS


# ------------------------------------------------------------------------------------------------------------ answers


def _each(change: Callable[[Instance, Shape], Shape]) -> Callable[[Instance, Scene], Scene]:
    """The answer that changes every shape by itself and leaves the background."""
    return lambda instance, scene: replace(scene, shapes=tuple(change(instance, shape) for shape in scene.shapes))


def _recolored(instance: Instance, shape: Shape) -> Shape:
    targets = dict(zip(COLORS, instance.parameter, strict=True))
    return replace(shape, color=str(targets[shape.color]))


def _shifted(instance: Instance, shape: Shape) -> Shape:
    x, y = vector_of(instance)
    return replace(shape, x=shape.x + x, y=shape.y + y)


def _mirrored(instance: Instance, scene: Scene) -> Scene:
    """Reflected in a line: a point (x, y), directions, and with them the upright axes of the shapes."""
    moved: dict[str, Callable[[float, float], tuple[float, float]]] = {
        "left-right": lambda x, y: (1 - x, y),
        "up-down": lambda x, y: (x, 1 - y),
        "diagonal": lambda x, y: (y, x),
        "antidiagonal": lambda x, y: (1 - y, 1 - x),
    }
    name = str(instance.parameter[0])
    turned = {"left-right": 180.0, "up-down": 0.0, "diagonal": 90.0, "antidiagonal": 270.0}[name]
    shapes = []
    for shape in scene.shapes:
        x, y = moved[name](shape.x, shape.y)
        shapes.append(replace(shape, x=x, y=y, angle=(turned - (shape.angle - 90) + 90) % 360))
    back = scene.background
    return Scene(tuple(shapes), replace(back, angle=(turned - back.angle) % 360))


def _counted(instance: Instance, scene: Scene) -> Scene:
    if instance.parameter == ("one fewer",):
        return replace(scene, shapes=scene.shapes[:-1])
    x, y = grid_place(len(scene.shapes))
    return replace(scene, shapes=(*scene.shapes, replace(scene.shapes[-1], x=x, y=y)))


def _lines(instance: Instance, scene: Scene) -> Scene:
    line, ground = map(str, instance.parameter)
    return Scene(tuple(replace(shape, color=line, filled=False) for shape in scene.shapes), paper(ground))


def _dots(instance: Instance, scene: Scene) -> Scene:
    dot, ground = map(str, instance.parameter)
    points = [point for shape in scene.shapes for point in corners(shape)]
    return Scene(tuple(Shape("circle", dot, x, y, DOT) for x, y in points), paper(ground))


def _filled(instance: Instance, shape: Shape) -> Shape:
    color = str(instance.parameter[0])
    return replace(shape, filled=True, color=shape.color if color == "own" else color)


def _selected(instance: Instance, scene: Scene) -> Scene:
    wanted = instance.parameter[0]
    return replace(scene, shapes=tuple(shape for shape in scene.shapes if wanted in (shape.color, shape.form)))


def _swapped(instance: Instance, scene: Scene) -> Scene:
    first, second = scene.shapes
    places = ((second.x, second.y), (first.x, first.y))
    return replace(
        scene, shapes=tuple(replace(one, x=x, y=y) for one, (x, y) in zip(scene.shapes, places, strict=True))
    )


# --------------------------------------------------------------------------------------------------------- parameters


def _one_of(*names: str | float) -> Callable[[Chance], Parameter]:
    return lambda chance: (names[chance.integers(len(names))],)


def _permutation(chance: Chance) -> Parameter:
    """Targets of the palette's colors in its order, none its own."""
    names = list(COLORS)
    while True:
        targets = [names[place] for place in chance.permutation(len(names))]
        if all(name != target for name, target in zip(names, targets, strict=True)):
            return tuple(targets)


def _shift(chance: Chance) -> Parameter:
    vectors = [(x, y) for x in STEPS for y in STEPS if (x, y) != (0, 0)]
    return vectors[chance.integers(len(vectors))]


def _ink_and_paper(chance: Chance) -> Parameter:
    """Two inks of which one is clearly the lighter."""
    while True:
        ink, ground = (str(name) for name in chance.choice(list(INKS), 2, replace=False))
        if abs(float(np.dot(LUMA, INKS[ink])) - float(np.dot(LUMA, INKS[ground]))) >= 60:
            return ink, ground


FAMILIES: dict[str, Family] = {
    "recoloring": Family(_permutation, several_shapes, _each(_recolored), "parameter"),
    "color": Family(
        _one_of(*COLORS),
        one_object,
        _each(lambda task, shape: replace(shape, color=str(task.parameter[0]))),
        "combination",
    ),
    "shape": Family(
        _one_of(*SEEN_FORMS),
        one_object,
        _each(lambda task, shape: replace(shape, form=str(task.parameter[0]))),
        "combination",
    ),
    "size": Family(
        _one_of(*FACTORS),
        one_object,
        _each(lambda task, shape: replace(shape, radius=shape.radius * float(task.parameter[0]))),
        "combination",
    ),
    "position": Family(_shift, movable_shapes, _each(_shifted), "parameter"),
    "rotation": Family(
        _one_of(*(15.0 * turn for turn in range(1, 24) if turn != 12)),
        large_shapes,
        _each(lambda task, shape: replace(shape, angle=(shape.angle + float(task.parameter[0])) % 360)),
        "parameter",
        TURNED,
    ),
    "reflection": Family(_one_of("left-right", "up-down"), some_shapes, _mirrored, "theme"),
    "count": Family(_one_of("one more", "one fewer"), row_of_equals, _counted, "theme"),
    "outline": Family(_ink_and_paper, some_shapes, _lines, "parameter", SOLID),
    "corners": Family(_ink_and_paper, large_shapes, _dots, "parameter", CORNERED),
    "fill": Family(_one_of(*["own"] * 5, *COLORS), outlined_shapes, _each(_filled), "theme", SOLID),
    "select": Family(_one_of(*COLORS, *SEEN_FORMS), mixed_shapes, _selected, "theme"),
    "transpose": Family(_one_of("diagonal", "antidiagonal"), some_shapes, _mirrored, "theme"),
    "swap": Family(_one_of("swap"), two_unlike_shapes, _swapped, "theme"),
}
"""All families by name."""
HELDOUT_FAMILIES = ("transpose", "swap")
"""Families that training never shows; all of their instances are held out."""


def instance_of(name: str, number: int) -> Instance:
    """Instance `number` >= 0 of a family; the same for every world."""
    family = FAMILIES[name]
    chance = rng("worlds", name, number)
    parameter = family.parameter(chance)
    colors = _theme(chance, tuple(COLORS), parameter if name == "select" else ())
    forms = _theme(chance, family.forms, parameter if name == "select" else ())
    kept_apart = {
        "parameter": parameter,
        "theme": (*parameter, *sorted(colors), *sorted(forms)),
        "combination": (number,),
    }
    identity = "/".join(map(str, kept_apart[family.held_out]))
    heldout = name in HELDOUT_FAMILIES or seed_of("worlds", name, identity) % HELDOUT_ONE_IN == 0
    return Instance(name, number, parameter, colors, forms, heldout)


def _theme(chance: Chance, names: tuple[str, ...], wanted: Parameter) -> tuple[str, ...]:
    """THEME of the names, among them the one that is wanted."""
    order = sorted(chance.permutation(len(names)).tolist(), key=lambda place: names[place] not in wanted)
    return tuple(names[place] for place in order[:THEME])


def instances(name: str, *, heldout: bool, count: int) -> list[Instance]:
    """The first `count` instances of a family that are, or are not, held out.

    Raises:
        ValueError: training asks for a family that is held out whole.
    """
    if name in HELDOUT_FAMILIES and not heldout:
        raise ValueError(
            f"{name!r} is held out whole; choose the split 'heldout', or another task than {HELDOUT_FAMILIES}"
        )
    found: list[Instance] = []
    number = 0
    while len(found) < count:
        candidate = instance_of(name, number)
        found += [candidate] if candidate.heldout == heldout else []
        number += 1
    return found
