"""What demo and playground ask: one prompt of every task, on held-out pictures, and one puzzle of each kind.

    analogy      a A b B c C | _          the suite's packaged tasks, 3 pairs
    sequence     f0 f1 f2 f3 f4 | _ _ _
    composition  a A b B  c C d D  e | _  two tasks, two pairs each; the answer has both done

Letters: F pictures of an answer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

import numpy as np

from openlvm.core.images import ImagePreparation
from openlvm.core.records import IMAGE, Payload
from openlvm.core.seeds import rng
from openlvm.evaluation.metrics import pixel_error
from openlvm.evaluation.scenes import Scene, scenes_of
from openlvm.evaluation.suites.mini import LISTED, NUM_PAIRS, SuiteTask
from openlvm.evaluation.suites.prompts import draw_shown, examples_of
from openlvm.evaluation.tasks import METRICS, Asked
from openlvm.evaluation.trials import Example
from openlvm.prompting.lvm import Choice
from openlvm.sources.interface import Source
from openlvm.sources.pack import PackGame, PackMotion, PackObjects, PackPoses, PackTurns
from openlvm.sources.worlds.changes import Attribute, Puzzle, change_puzzles
from openlvm.sources.worlds.matrices import matrix_puzzles

SHOWN, DRAWN = 5, 3
"""Frames of a sequence that are given, and that are asked for."""
COMPOSED = {"recoloring and flip": "recolored:brg", "segmentation and flip": "mask"}
"""Compositions: name -> the slot of the first task; the second exchanges left and right."""
ATTRIBUTES: tuple[Attribute, ...] = ("color", "shape", "size")
COMPOSED_PAIRS = 2  # of each task
SOURCES: Mapping[str, Source] = {
    "objects": PackObjects(split="heldout"),
    "turns": PackTurns(split="heldout", objects=16),
    "motion": PackMotion(split="heldout", clips=8),
    "poses": PackPoses(split="heldout"),
    "game": PackGame(split="heldout", frames_per_record=8),
}
"""Held-out pictures, fewer than the evaluation's: where scenes come from -> the source."""
ASKED = (*LISTED, SuiteTask(name="next frame of a game", pool="game", region="changed"))
"""One question of each: the suite's packaged tasks, and a film of a game."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """A prompt whose answer is drawn, before any model is asked; pictures uint8 [size, size, 3]."""

    name: str
    style: Literal["analogy", "sequence", "composition"]
    groups: list[list[Example]]
    """Example pairs of each task; none in a sequence."""
    given: list[np.ndarray]
    """The query; in a sequence the frames."""
    truths: list[np.ndarray]
    """F: what a perfect answer shows."""
    metric: str = "psnr"
    """Name in `evaluation.tasks.METRICS`."""
    region: Literal["all", "changed"] = "all"
    """Where the pixel error is taken; changed: where truth and the last picture given differ."""
    payload: Payload | None = None
    """The truth in its physical unit, for metrics that need meters."""

    @property
    def prompt(self) -> list[np.ndarray]:
        """All pictures that are given, in their order."""
        return [*(picture for group in self.groups for pair in group for picture in pair), *self.given]

    def error(self, answers: list[np.ndarray]) -> float:
        """Pixel error in 0..1, in the question's region, averaged over the F pictures."""
        return float(np.mean([self._error(*pair) for pair in zip(answers, self.truths, strict=True)]))

    def _error(self, answer: np.ndarray, truth: np.ndarray) -> float:
        differs = (self.given[-1] != truth).any(-1)
        everywhere = self.region == "all" or not differs.any()
        return pixel_error(answer, truth, None if everywhere else differs)

    def value(self, answers: list[np.ndarray]) -> float:
        """The question's own metric, averaged over the F pictures."""
        asked = [Asked(truth, self.given[-1], self.payload) for truth in self.truths]
        return float(np.mean([METRICS[self.metric](*pair) for pair in zip(answers, asked, strict=True)]))


@dataclass(frozen=True, eq=False)
class Answered:
    """A question and what was drawn."""

    question: Question
    answers: list[np.ndarray]
    """F pictures uint8 [size, size, 3]."""
    ceilings: list[np.ndarray]
    """The truths after encoding and decoding: what no decoder can beat on average."""
    seconds: float


@dataclass(frozen=True, eq=False)
class Chosen:
    """A puzzle and the choice that was made."""

    puzzle: Puzzle
    choice: Choice
    seconds: float

    @property
    def name(self) -> str:
        """What the puzzle is about: "color", "shape", "size" or "matrix"."""
        return puzzle_name(self.puzzle)

    @property
    def captions(self) -> list[str]:
        """Under each option: its perplexity, and whether it is the right one."""
        right = [" right" if number == self.puzzle.answer else "" for number in range(len(self.puzzle.options))]
        return [f"{value:.3g}{word}" for value, word in zip(self.choice.perplexities, right, strict=True)]


def puzzle_name(puzzle: Puzzle) -> str:
    """What a puzzle is about: "color", "shape", "size" or "matrix"."""
    return puzzle.kind if puzzle.kind in ATTRIBUTES else "matrix"


def questions(preparation: ImagePreparation, *, seed: int) -> Iterator[Question]:
    """One question of every task, drawn at the tokenizer's size; examples and query show different held-out objects."""
    pools: dict[str, list[Scene]] = {}
    for task in ASKED:
        if task.pool not in pools:
            pools[task.pool] = scenes_of(SOURCES[task.pool], preparation)
        ask = _continuation if task.is_sequence else _analogy
        yield ask(task, pools[task.pool], seed)
    for name, slot in COMPOSED.items():
        yield _composition(name, slot, pools["objects"], seed)


def _analogy(task: SuiteTask, scenes: list[Scene], seed: int) -> Question:
    [shown] = draw_shown(scenes, name=task.name, queries=1, pairs=NUM_PAIRS, seed=seed)
    target = task.targets[0]
    return Question(
        name=task.name,
        style="analogy",
        groups=[examples_of(shown, task.source, target)],
        given=[shown.query.picture(task.source, shown.frame)],
        truths=[shown.query.picture(target, shown.frame)],
        metric=task.metric,
        region=task.region,
        payload=shown.query.truth(target, shown.frame),
    )


def _continuation(task: SuiteTask, scenes: list[Scene], seed: int) -> Question:
    frames = scenes[int(rng("queries", seed, task.name).permutation(len(scenes))[0])].frames(task.source)
    return Question(
        name=task.name,
        style="sequence",
        groups=[],
        given=frames[:SHOWN],
        truths=frames[SHOWN : SHOWN + DRAWN],
        metric=task.metric,
        region=task.region,
    )


def _composition(name: str, slot: str, scenes: list[Scene], seed: int) -> Question:
    [shown] = draw_shown(scenes, name=name, queries=1, pairs=2 * COMPOSED_PAIRS, seed=seed)
    first, second = (examples_of(shown, IMAGE, target) for target in (slot, "flipped"))
    return Question(
        name=name,
        style="composition",
        groups=[first[:COMPOSED_PAIRS], second[COMPOSED_PAIRS:]],
        given=[shown.query.picture(IMAGE, shown.frame)],
        truths=[np.ascontiguousarray(shown.query.picture(slot, shown.frame)[:, ::-1])],
        metric="iou" if slot == "mask" else "pixels_right",
    )


def puzzles(preparation: ImagePreparation, *, seed: int) -> Iterator[Puzzle]:
    """One puzzle of each kind, at the tokenizer's size."""
    changes = (change_puzzles(attribute, count=1, seed=seed) for attribute in ATTRIBUTES)
    for puzzle in chain(matrix_puzzles(count=1, seed=seed), *changes):
        context, options = ([preparation(one) for one in pictures] for pictures in (puzzle.context, puzzle.options))
        yield replace(puzzle, context=context, options=options)
