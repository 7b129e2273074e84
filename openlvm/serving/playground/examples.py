"""Ready examples: one prompt of every task on held-out pictures that come with OpenLVM, the demo's own."""

import json
import threading
from dataclasses import dataclass

import numpy as np
from PIL import Image

from openlvm.core.images import ImagePreparation
from openlvm.evaluation.suites.questions import Question, puzzle_name, puzzles, questions
from openlvm.serving.http.pictures import png_text
from openlvm.serving.playground.prompts import said
from openlvm.sources.worlds.changes import Puzzle

THUMBNAIL = 64
"""Pixels."""
STYLES = {"analogy": "analogy", "sequence": "complete", "composition": "compose"}
"""How a question is asked -> the mode of the page."""


@dataclass(frozen=True)
class Example:
    """One to press."""

    name: str
    mode: str
    icons: list[np.ndarray]
    """uint8 [size, size, 3], what it is about."""
    words: str
    """The page's own for its prompt (prompts.py)."""


class Examples:
    """Drawn when they are first asked for, which takes some seconds.

    Args:
        preparation: of the LVM that they are for.
    """

    def __init__(self, preparation: ImagePreparation):
        self.preparation = preparation
        self._known: dict[str, Example] = {}
        self._lock = threading.Lock()

    def all(self) -> dict[str, Example]:
        """By name; callable from any thread."""
        with self._lock:
            if not self._known:
                made = [_of_question(one) for one in questions(self.preparation, seed=0)]
                made += [_of_puzzle(one) for one in puzzles(self.preparation, seed=0)]
                self._known = {one.name: one for one in made}
        return self._known

    def cards(self) -> str:
        """What examples.js shows of them."""
        return json.dumps(
            [
                {"name": one.name, "mode": one.mode, "pictures": [png_text(_thumbnail(icon)) for icon in one.icons]}
                for one in self.all().values()
            ]
        )


def _of_question(one: Question) -> Example:
    mode = STYLES[one.style]
    if mode == "complete":
        sections = [[[frame] for frame in one.given]]
        names = [[[f"frame-{number}.png"] for number in range(1, len(one.given) + 1)]]
        icons = [one.given[0], one.given[-1]]
    else:
        sections = [*([list(pair) for pair in group] for group in one.groups), [[one.given[0]]]]
        marks = [""] if mode == "analogy" else [f"task-{number}-" for number in range(1, len(one.groups) + 1)]
        names = [
            [[f"{mark}{number}-input.png", f"{mark}{number}-answer.png"] for number in range(1, len(group) + 1)]
            for mark, group in zip(marks, one.groups, strict=True)
        ]
        names.append([["query.png"]])
        icons = [picture for group in one.groups for picture in group[0]][:4]
    return Example(one.name, mode, icons, said(mode, sections, names, truths=one.truths))


def _of_puzzle(one: Puzzle) -> Example:
    pictures = (one.context, one.options)
    sections = [[[picture] for picture in some] for some in pictures]
    names = [
        [[f"{word}-{number}.png"] for number in range(1, len(some) + 1)]
        for word, some in zip(("shown", "option"), pictures, strict=True)
    ]
    words = said("choose", sections, names, right=one.answer)
    return Example(f"puzzle of {puzzle_name(one)}", "choose", one.context[:2], words)


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    if max(picture.shape[:2]) <= THUMBNAIL:
        return picture
    return np.asarray(Image.fromarray(picture).resize((THUMBNAIL, THUMBNAIL)))
