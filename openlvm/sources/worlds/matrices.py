"""Raven's matrices as pictures: records of nine panels, and puzzles whose options give nothing away.

Options are built as in I-RAVEN (Hu et al., AAAI 2021, arXiv 2002.06838, section 4): a tree that changes one attribute a
level, so that its eight leaves are the corners of a cube, each as far from the others as every other. We take some of
the corners at random, then one of them as the answer. The wrong values are the answer's values of another matrix, drawn
in the same way: right and wrong can be exchanged, so that without the context every option is as likely.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from openlvm.core.picking import pick
from openlvm.core.records import BadRecord, Record
from openlvm.core.seeds import rng
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.worlds.changes import Puzzle
from openlvm.sources.worlds.drawing import Scene, Shape, draw_scene, paper
from openlvm.sources.worlds.raven import CONFIGURATIONS, SCALE, Matrix, Panel, attributes_of, random_matrix

RECORDS_PER_PART = 256
TREE_LEVELS = 3  # attributes that options differ in
MAX_OPTIONS = 2**TREE_LEVELS

Split = Literal["train", "heldout"]


def draw_panel(configuration: str, panel: Panel, size: int) -> np.ndarray:
    """A panel's picture, uint8 [size, size, 3]."""
    values = {
        (attribute.component, attribute.name): value
        for attribute, value in zip(attributes_of(configuration), panel, strict=True)
    }
    shapes = []
    for place, component in enumerate(CONFIGURATIONS[configuration]):
        layout = values.get((place, "layout"), 1)
        form = component.types[values[place, "type"] - 1]
        radius = component.radii[values.get((place, "size"), 1) - 1]
        color = SCALE[values[place, "color"] - 1]
        shapes += [
            Shape(form, color, x, y, radius, filled=component.filled)
            for cell, (x, y) in enumerate(component.cells)
            if layout >> cell & 1
        ]
    return draw_scene(Scene(tuple(shapes), paper("white")), size)


@dataclass(frozen=True)
class MatricesWorld:
    """Raven's matrices: F = 9, slot image, the panels in reading order. Label: the configuration.

    Key: "<configuration>/<number>". Splits share no combination of (configuration, rule of each attribute).
    """

    split: Split = "train"
    count: int = 1000
    """Matrices in all; configurations take turns."""
    configurations: tuple[str, ...] = tuple(CONFIGURATIONS)
    """Names of `CONFIGURATIONS`."""
    size: int = 128
    """Side of a panel's picture, pixels."""
    seed: int = 0

    def __post_init__(self):
        require_positive(count=self.count, configurations=len(self.configurations), size=self.size)
        pick({"train": 0, "heldout": 0}, self.split, "split")
        for name in self.configurations:
            pick(CONFIGURATIONS, name, "configuration")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image",)

    def describe(self) -> dict[str, Any]:
        return describe_fields("matrices_world", self) | {"configurations": list(self.configurations)}

    def parts(self) -> list[Part]:
        names = self.configurations
        keys = [f"{names[number % len(names)]}/{number // len(names)}" for number in range(self.count)]
        return split_into_parts(keys, RECORDS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        for key in part.items:
            name = key.split("/")[0]
            matrix = random_matrix(name, rng("matrices world", self.seed, key), heldout=self.split == "heldout")
            panels = [draw_panel(name, panel, self.size) for panel in matrix.panels]
            yield Record(key=key, slots={"image": panels}, label=name)


@dataclass(frozen=True)
class SymbolicPuzzle:
    """A matrix whose last panel is asked for, and options of which the one at `answer` is that panel."""

    key: str
    matrix: Matrix
    options: tuple[Panel, ...]
    answer: int


def matrix_puzzles(
    *, count: int, first: int = 0, seed: int = 0, split: Split = "heldout", options: int = 5, size: int = 128
) -> Iterator[Puzzle]:
    """`count` puzzles from number `first` on: the context is eight panels; configurations take turns.

    Args:
        count: how many puzzles.
        first: number of the first one.
        split: whose combinations of rules.
        options: panels to choose from, 2 to 8.
        size: side of a picture, pixels.
    """
    for puzzle in symbolic_puzzles(count=count, first=first, seed=seed, split=split, options=options):
        matrix = puzzle.matrix
        named = zip(attributes_of(matrix.configuration), matrix.rules, strict=True)
        components = CONFIGURATIONS[matrix.configuration]
        rules = ", ".join(f"{components[one.component].name} {one.name}: {rule}" for one, rule in named)
        yield Puzzle(
            key=puzzle.key,
            kind=matrix.configuration,
            instance=f"{matrix.configuration}/{rules}",
            context=[draw_panel(matrix.configuration, panel, size) for panel in matrix.panels[:-1]],
            options=[draw_panel(matrix.configuration, panel, size) for panel in puzzle.options],
            answer=puzzle.answer,
        )


def symbolic_puzzles(
    *, count: int, first: int = 0, seed: int = 0, split: Split = "heldout", options: int = 5
) -> Iterator[SymbolicPuzzle]:
    """The puzzles of `matrix_puzzles` before they are drawn."""
    require_positive(count=count)
    pick({"train": 0, "heldout": 0}, split, "split")
    if not 2 <= options <= MAX_OPTIONS:
        raise ValueError(f"options={options} given; a matrix puzzle has 2 to {MAX_OPTIONS}")
    names = list(CONFIGURATIONS)
    for number in range(first, first + count):
        name = names[number % len(names)]
        key = f"{name}/{number // len(names)}"
        yield _puzzle(key, name, rng("matrix puzzle", seed, split, key), heldout=split == "heldout", options=options)


def _puzzle(key: str, name: str, chance: np.random.Generator, *, heldout: bool, options: int) -> SymbolicPuzzle:
    while True:
        matrix, other = (random_matrix(name, chance, heldout=heldout) for _ in range(2))
        right, wrong = matrix.panels[-1], other.panels[-1]
        unlike = [place for place, (a, b) in enumerate(zip(right, wrong, strict=True)) if a != b]
        if len(unlike) >= TREE_LEVELS:
            break
    changed = [unlike[place] for place in chance.permutation(len(unlike))[:TREE_LEVELS]]
    leaves = chance.permutation(MAX_OPTIONS)[:options]
    answer = int(chance.integers(options))
    panels = []
    for leaf in leaves ^ leaves[answer]:  # bit k: whether the attribute of level k is wrong
        panel = list(right)
        for level, place in enumerate(changed):
            panel[place] = wrong[place] if leaf >> level & 1 else right[place]
        panels.append(tuple(panel))
    return SymbolicPuzzle(key, matrix, tuple(panels), answer)
