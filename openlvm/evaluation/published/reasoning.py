"""Reasoning by choice: changes of color, shape and size, and Raven's matrices; the likeliest option is the answer.

Changes are always drawn by OpenLVM's generator, as matrices are where no data is given; with data they are RAVEN's and
I-RAVEN's. Each puzzle is judged three ways, of which the last, without the context, must be at chance: where it is not,
the options give the answer away.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from openlvm.core.seeds import rng
from openlvm.evaluation.harness.predictors import Predictor
from openlvm.evaluation.harness.questions import Column, Episode, Question
from openlvm.evaluation.harness.records import items_of
from openlvm.evaluation.harness.scores import Reference
from openlvm.evaluation.harness.suite import Data, Plan, Suite
from openlvm.evaluation.measures.codes import CHOICE, CHOICE_AGAINST_ALONE, CHOICE_ALONE
from openlvm.evaluation.published import packaged
from openlvm.sources.catalog.table import CATALOG
from openlvm.sources.raven_npz import RavenProblems, kind_of
from openlvm.sources.worlds.changes import CHANCE, Attribute, Puzzle, change_puzzles
from openlvm.sources.worlds.matrices import draw_panel, matrix_puzzles, symbolic_puzzles
from openlvm.sources.worlds.raven import CONFIGURATIONS, Panel, attributes_of, first_cells

ATTRIBUTES: tuple[Attribute, ...] = ("color", "shape", "size")
METRICS = (CHOICE, CHOICE_AGAINST_ALONE, CHOICE_ALONE)
TRIALS = 300
"""Of each kind of change: 900 in all."""
PAIRS, SIZE = 3, 128
"""Examples of a change; pixels of generated pictures."""
OPTIONS = 8
"""Of a matrix, as in RAVEN."""
_WAYS = (
    "the option of the lowest perplexity (natural base, mean over its codes, softmax over the whole vocabulary) is "
    "chosen; equal ones share the point. against alone: by the ratio to the perplexity without any context; alone: by "
    "the latter, the control"
)


def matrix_question(puzzle: Puzzle) -> Question:
    """Eight panels, and options for the ninth."""
    return Question(style="sequence", frames=puzzle.context, options=puzzle.options, answer=puzzle.answer)


def change_question(puzzle: Puzzle) -> Question:
    """Pairs before and after the change, a query, and options for what becomes of it."""
    shown = puzzle.context
    pairs = list(zip(shown[:-1:2], shown[1:-1:2], strict=True))
    return Question(examples=pairs, query=shown[-1], options=puzzle.options, answer=puzzle.answer)


@dataclass(frozen=True)
class Comparing:
    """Chooses by comparing pictures, nothing learned: what options, or they and the query, give away."""

    name: str
    target: Callable[[Question], np.ndarray | None]
    """What the right option should resemble, [H, W, 3]; None where nothing is shown."""

    def describe(self) -> dict[str, Any]:
        """Its method, which has no options."""
        return {"predictor": "baseline", "method": self.name}

    def answers(self, questions: Sequence[Question], *, seed: int) -> list[np.ndarray]:
        """The options chosen."""
        costs = self.perplexities(questions)
        return [question.options[int(cost.argmin())] for question, cost in zip(questions, costs, strict=True)]

    def perplexities(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """In their place 1 + the mean absolute difference of each option in gray levels, float64 [O]."""
        return [self._costs(question) for question in questions]

    def _costs(self, question: Question) -> np.ndarray:
        target = self.target(question)
        if target is None:
            return np.full(len(question.options), np.nan)
        return np.array([1 + np.abs(option - target.astype(np.float64)).mean() for option in question.options])


def last_shown(question: Question) -> np.ndarray | None:
    """The query, or the eighth panel."""
    return question.context[-1] if question.context else None


def usual_option(question: Question) -> np.ndarray:
    """What most options show in each pixel: their median, which no context decides."""
    return np.asarray(np.median(np.stack(question.options), axis=0))


COMPARING = (Comparing("nearest option", last_shown), Comparing("usual option", usual_option))
"""Stand beside the models: the latter finds most answers among one-change options, and is at chance among others."""


def _numbered(count: int, kind: Callable[[int], str], seed: int) -> list[Episode]:
    """Episodes of generated puzzles: number and seed say which; scores are told apart by kind."""
    return [Episode(number=number, query=str(number), label=kind(number), seed=seed) for number in range(count)]


# ------------------------------------------------------------------------------------------------------------ changes


def _trials(data: Data) -> int:
    """900 are asked beside datasets; without any, as few as of packaged columns."""
    return TRIALS if data.episodes is None and not data.is_packaged else packaged.episodes_of(data)


def _change(attribute: Attribute, data: Data) -> Column:
    def question(episode: Episode) -> Question:
        first = int(episode.query)
        drawn = change_puzzles(attribute, count=1, first=first, seed=episode.seed, pairs=PAIRS, size=SIZE)
        return change_question(next(drawn))

    return Column(
        name=attribute,
        asks="choice",
        metrics=METRICS,
        episodes=partial(_numbered, _trials(data), lambda number: "", data.seed),
        question=question,
        data=f"OpenLVM's generator: one object changes in {attribute}; compares with no published number",
        protocol=(
            f"{PAIRS} pairs, then a query and {round(1 / CHANCE[attribute])} options that differ in {attribute} alone "
            f"(chance {CHANCE[attribute]:.1%}); combinations of form and color that training never changes; {_WAYS}"
        ),
    )


# ----------------------------------------------------------------------------------------------------------- matrices


def one_change_puzzle(number: int, *, seed: int) -> Puzzle:
    """A matrix with options as in RAVEN: seven are the answer with one attribute changed, each time another way.

    The answer is what most options agree in, which gives it away to whoever compares them (arXiv 2002.06838).
    """
    symbols = next(symbolic_puzzles(count=1, first=number, seed=seed))
    configuration, right = symbols.matrix.configuration, symbols.matrix.panels[-1]
    chance = rng("one-change options", seed, number)
    wrong = list(islice(_unlike(configuration, right, chance), OPTIONS - 1))
    answer = int(chance.integers(OPTIONS))
    panels = [*wrong[:answer], right, *wrong[answer:]]
    return Puzzle(
        key=symbols.key,
        kind=configuration,
        instance=configuration,
        context=[draw_panel(configuration, panel, SIZE) for panel in symbols.matrix.panels[:-1]],
        options=[draw_panel(configuration, panel, SIZE) for panel in panels],
        answer=answer,
    )


def _unlike(configuration: str, right: Panel, chance: np.random.Generator) -> Iterator[Panel]:
    """Panels that differ from one in one attribute, drawn first, and its value; none twice."""
    values = []
    for place, attribute in enumerate(attributes_of(configuration)):
        most = first_cells(attribute.levels) if attribute.name == "layout" else attribute.levels
        values.append([value for value in chance.permutation(np.arange(1, most + 1)).tolist() if value != right[place]])
    while any(values):
        place = int(chance.choice([place for place, left in enumerate(values) if left]))
        yield (*right[:place], values[place].pop(), *right[place + 1 :])


def impartial_puzzle(number: int, *, seed: int) -> Puzzle:
    """A matrix with options as in I-RAVEN (sources/worlds/matrices.py)."""
    return next(matrix_puzzles(count=1, first=number, seed=seed, options=OPTIONS, size=SIZE))


_CONFIGURATIONS = list(CONFIGURATIONS)


def _configuration(number: int) -> str:
    """Of a generated matrix: they take turns."""
    return _CONFIGURATIONS[number % len(_CONFIGURATIONS)]


def _matrices(row: str, generate: Callable[..., Puzzle], options: str, data: Data) -> Column:
    """A column of matrices: of a row of the catalogue, or generated with options of the same kind."""
    if data.is_packaged:
        what = "OpenLVM's generator, combinations of rules that training never shows; compares with no published number"
        episodes = partial(_numbered, packaged.episodes_of(data), _configuration, data.seed)

        def puzzle(episode: Episode) -> Puzzle:
            return generate(int(episode.query), seed=episode.seed)

    else:
        source = CATALOG[row].source(data.at(row), "test")
        assert isinstance(source, RavenProblems)
        what = f"{CATALOG[row].dataset}, test"
        episodes = partial(_problems, source, data)

        def puzzle(episode: Episode) -> Puzzle:
            return source.puzzle(episode.query)

    return Column(
        name=row,
        asks="choice",
        metrics=METRICS,
        episodes=episodes,
        question=lambda episode: matrix_question(puzzle(episode)),
        data=what,
        protocol=(
            f"eight panels in reading order, then one of {OPTIONS} options (chance {1 / OPTIONS:.1%}), {options}; "
            f"{_WAYS}"
        ),
    )


def _problems(source: RavenProblems, data: Data) -> list[Episode]:
    """Every problem of a split, or `data.episodes` drawn of all."""
    items = items_of(source)
    if data.episodes is not None:
        order = rng("problems", data.seed).permutation(len(items))[: data.episodes]
        items = [items[place] for place in sorted(order.tolist())]
    return [Episode(number=number, query=item, label=kind_of(item)) for number, item in enumerate(items)]


_ONE_CHANGE = "seven of which are the answer with one attribute changed, so that their majority gives it away"
_IMPARTIAL = "the leaves of a tree that changes an attribute a level, so that their majority tells nothing"


def _reference(name: str, raven: float | None, i_raven: float | None) -> Reference:
    """Accuracies in percent."""
    told = {
        "raven": (raven, "README of WellyZhang/RAVEN"),
        "i_raven": (i_raven, "README of husheng12345/SRAN"),
    }
    sources = ", ".join(source for value, source in told.values() if value is not None)
    who = "people" if name == "Human" else "trained on 42,000 matrices of the same data"
    return Reference(
        name=name,
        values={column: value / 100 for column, (value, _) in told.items() if value is not None},
        source=f"{sources}, read there; {who}",
    )


def _comparing() -> Sequence[Predictor]:
    return COMPARING


def _plan_of_matrices(row: str, generate: Callable[..., Puzzle], options: str) -> Plan:
    make = partial(_matrices, row, generate, options)
    return Plan(name=row, datasets=(row,), make=make, classical=_comparing)


SUITE = Suite(
    name="reasoning",
    about=(
        "Choices by lowest perplexity: changes of color, shape and size (900 trials beside datasets), and Raven's "
        "matrices, which LVM shows in a figure and gives no number for; the published rows were trained on them"
    ),
    plans=(
        *(Plan(name=name, make=partial(_change, name), classical=_comparing) for name in ATTRIBUTES),
        _plan_of_matrices("raven", one_change_puzzle, _ONE_CHANGE),
        _plan_of_matrices("i_raven", impartial_puzzle, _IMPARTIAL),
    ),
    references=(
        _reference("LSTM", 13.07, 18.9),
        _reference("WReN", 14.69, 23.8),
        _reference("ResNet", 53.43, 40.3),
        _reference("ResNet+DRT", 59.56, 40.4),
        _reference("CoPINet", None, 46.1),
        _reference("SRAN", None, 60.8),
        _reference("Human", 84.41, None),
    ),
)
"""Changes, and matrices."""
