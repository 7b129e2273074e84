"""Predictors that learn nothing, to stand in every table: what a score is worth shows beside them.

copy       the query itself, or the last frame
mean       the mean of the answers shown
nearest    the answer of the example whose picture is nearest to the query
none       the model without examples
wrong      the model with examples of another task: inversion
shuffled   the model with the examples' answers exchanged among them
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from openlvm.core.images import read_image
from openlvm.core.picking import pick
from openlvm.evaluation.harness.predictors import Choices, Likelihoods, Predictor
from openlvm.evaluation.harness.questions import Likelihood, Question

SIDE = 64  # pixels to which pictures are shrunk before they are compared
ENDINGS = (".png", ".webp", ".jpg")


@dataclass(frozen=True)
class Simple:
    """A function of one question as a predictor."""

    name: str
    answer: Callable[[Question], np.ndarray]

    def describe(self) -> dict[str, Any]:
        return {"predictor": "baseline", "method": self.name}

    def answers(self, questions: Sequence[Question], *, seed: int) -> list[np.ndarray]:
        return [self.answer(question) for question in questions]


def copied(question: Question) -> np.ndarray:
    """The last picture of the prompt."""
    return question.context[-1]


def mean_answer(question: Question) -> np.ndarray:
    """The mean of the answers shown (of the frames, in a sequence), at the size of the first; a gray without any."""
    shown = [answer for _, answer in question.examples] or list(question.frames)
    if not shown:
        return np.full_like(copied(question), 128)
    height, width = shown[0].shape[:2]
    return np.rint(np.mean([_resized(one, width, height) for one in shown], axis=0)).astype(np.uint8)


def nearest_answer(question: Question) -> np.ndarray:
    """The answer of the example nearest to the query in pixels; the query without examples."""
    if not question.examples or question.query is None:
        return copied(question)
    query = _resized(question.query, SIDE, SIDE).astype(np.float64)
    distances = [((_resized(picture, SIDE, SIDE) - query) ** 2).sum() for picture, _ in question.examples]
    return question.examples[int(np.argmin(distances))][1]


def _resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


SIMPLE = (Simple("copy", copied), Simple("mean", mean_answer), Simple("nearest", nearest_answer))
"""For every column that asks for pictures."""


def without_examples(question: Question) -> Question:
    """The query alone, or the last frame."""
    return replace(question, examples=(), frames=tuple(question.frames[-1:]))


def with_wrong_examples(question: Question) -> Question:
    """Examples of inversion instead; of a sequence the frames before the last, inverted."""
    examples = [(picture, 255 - picture) for picture, _ in question.examples]
    frames = [*(255 - frame for frame in question.frames[:-1]), *question.frames[-1:]]
    return replace(question, examples=examples, frames=frames)


def with_shuffled_answers(question: Question) -> Question:
    """Every example has the answer of the next one; of a sequence all frames but the last change places."""
    answers = [answer for _, answer in question.examples]
    examples = [
        (picture, answer) for (picture, _), answer in zip(question.examples, answers[1:] + answers[:1], strict=True)
    ]
    frames = list(question.frames)
    return replace(
        question, examples=examples, frames=[*frames[1:-1], *frames[:1], *frames[-1:]] if len(frames) > 1 else frames
    )


CONDITIONS: dict[str, Callable[[Question], Question]] = {
    "none": without_examples,
    "wrong": with_wrong_examples,
    "shuffled": with_shuffled_answers,
}
"""What a model's prompt is spoiled by -> how."""


class Spoiled:
    """A predictor whose prompts are spoiled: if its scores do not fall, it did not use the examples."""

    def __init__(self, predictor: Predictor, condition: str):
        pick(CONDITIONS, condition, "condition")
        self.predictor, self.condition = predictor, condition

    @property
    def name(self) -> str:
        return f"{self.predictor.name}, {self.condition}".replace(",", "")

    def describe(self) -> dict[str, Any]:
        return {**self.predictor.describe(), "condition": self.condition}

    def answers(self, questions: Sequence[Question], *, seed: int) -> list[np.ndarray]:
        return self.predictor.answers(self._spoiled(questions), seed=seed)

    def likelihoods(self, questions: Sequence[Question]) -> list[Likelihood]:
        assert isinstance(self.predictor, Likelihoods)
        return self.predictor.likelihoods(self._spoiled(questions))

    def perplexities(self, questions: Sequence[Question]) -> list[np.ndarray]:
        assert isinstance(self.predictor, Choices)
        return self.predictor.perplexities(self._spoiled(questions))

    def _spoiled(self, questions: Sequence[Question]) -> list[Question]:
        return [CONDITIONS[self.condition](question) for question in questions]


class PredictedFolder:
    """Pictures another system predicted: FOLDER/<column>/<episode number>.png (or .webp, .jpg).

    `openlvm evaluate SUITE --questions DIR` writes what is to be answered.
    """

    def __init__(self, at: Path, name: str = ""):
        self.at, self._name = Path(at), name or Path(at).name
        if not self.at.is_dir():
            raise FileNotFoundError(f"no folder of predicted pictures at {at}")

    @property
    def name(self) -> str:
        return self._name

    def describe(self) -> dict[str, Any]:
        files = sorted(
            (str(path.relative_to(self.at)), path.stat().st_size) for path in self.at.rglob("*") if path.is_file()
        )
        return {"predictor": "folder", "files": len(files), "listing": sha256(repr(files).encode()).hexdigest()}

    def answers(self, questions: Sequence[Question], *, seed: int) -> list[np.ndarray]:
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> np.ndarray:
        place = self.at / str(question.told["column"]) / str(question.told["number"])
        for ending in ENDINGS:
            if place.with_suffix(ending).is_file():
                return read_image(place.with_suffix(ending))
        raise FileNotFoundError(f"no predicted picture {place}.png; give one for every episode of the column")
