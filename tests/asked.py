"""For tests of suites: predictors whose answers are known, folders in official layouts, and scores as plain numbers."""

from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
from miniatures import labelled, moving, pictures, restoration
from PIL import Image

from openlvm.evaluation.harness import run
from openlvm.evaluation.harness.baselines import Simple
from openlvm.evaluation.harness.predictors import Predictor
from openlvm.evaluation.harness.questions import Column, Question
from openlvm.evaluation.harness.scores import number_of, write_scores

PERFECT = Simple("perfect", lambda question: question.truth)
INVERTED = Simple("inverted", lambda question: 255 - question.truth)
MINIATURES = pictures.MINIATURES | restoration.MINIATURES | labelled.MINIATURES | moving.MINIATURES


class Stopping:
    """Right answers, as those of a run that is killed when `most` were given."""

    def __init__(self):
        self.answered: list[Question] = []

    def __call__(self, question: Question, *, most: int) -> np.ndarray:
        if len(self.answered) == most:
            raise KeyboardInterrupt
        self.answered.append(question)
        return question.truth


def build(root: Path, *names: str) -> dict[str, dict]:
    """The miniatures of rows in folders of their names; what must be read of each."""
    return {name: MINIATURES[name](root / name) for name in names}


def scores(
    columns: Sequence[Column], predictors: Sequence[Predictor], out: Path
) -> dict[str, dict[str, dict[str, float]]]:
    """Ask, and read the report: column -> predictor -> metric -> value. No pictures are kept, which takes longer."""
    with mock.patch.object(run, "SHOWN", 0):
        run.ask(columns, predictors, out, suite="test")
    report = write_scores(columns, out)
    return {
        name: {
            row: {metric: number_of(found["value"]) for metric, found in told["values"].items()}
            for row, told in column["rows"].items()
        }
        for name, column in report["columns"].items()
    }


def resized(picture: np.ndarray, width: int, height: int, how: Image.Resampling) -> np.ndarray:
    """By Pillow alone."""
    return np.asarray(Image.fromarray(picture).resize((width, height), how))


def mse(first: np.ndarray, second: np.ndarray) -> float:
    """Of values in 0..1."""
    return float((((first.astype(float) - second.astype(float)) / 255) ** 2).mean())
