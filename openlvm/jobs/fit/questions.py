"""What a fit asks before and after: the held-out pairs, and old tasks of the package, so that forgetting shows.

    held out   a A b B c C | q     examples from the training pairs, drawn anew for every query
    old        a A b B c C | q     the suite's tasks on held-out objects, or the frames of a clip

Answers are kept as codes. Letters: n questions, N codes per image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openlvm.core.files import read_json, write_json
from openlvm.core.images import ImagePreparation
from openlvm.core.seeds import rng, seed_of
from openlvm.evaluation.intervals import Estimate, resamples
from openlvm.evaluation.metrics import pixel_error
from openlvm.evaluation.scenes import Scene, scenes_of
from openlvm.evaluation.suites.mini import LISTED, SHOWN_FRAMES, SuiteTask
from openlvm.evaluation.suites.prompts import draw_clips, draw_shown, examples_of
from openlvm.evaluation.suites.questions import SOURCES
from openlvm.evaluation.trials import encode_each_once, woven
from openlvm.jobs.fit.folder import Pair, PairFiles, Split, read_pair
from openlvm.prompting.engine.generate import generate
from openlvm.prompting.lvm import LVM
from openlvm.prompting.prompts import code_row

NEW = "held-out pairs"
NUM_PAIRS = 3  # examples before a query: with query and answer, the 8 images of the sentences trained on
FEWEST_ASKED = 24  # questions about the pairs: few pairs are asked several times, with other examples
OLD = ("segmentation", "depth", "edges", "colorization", "flip", "recoloring (seen)", "next frame")
"""Tasks of the suite `mini` that are asked again."""


@dataclass(frozen=True, eq=False)
class Question:
    """One prompt; pictures uint8 [size, size, 3]."""

    task: str
    prompt: list[np.ndarray]
    """The query, or the last frame given, is last."""
    truth: np.ndarray
    only_changed: bool
    """The error is taken where truth and query differ."""
    cluster: str
    """What is shown; questions of one cluster are no independent witnesses."""

    def error(self, answer: np.ndarray) -> float:
        """Mean absolute pixel error of an answer in 0 .. 1."""
        differs = (self.prompt[-1] != self.truth).any(-1)
        return pixel_error(answer, self.truth, differs if self.only_changed and differs.any() else None)


def pair_questions(files: PairFiles, found: Split, preparation: ImagePreparation, *, seed: int) -> list[Question]:
    """Every held-out pair is asked, with examples of the training pairs; few of them several times."""

    @cache  # the same array object each time, so that it is encoded once
    def pictures(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        given, asked = read_pair(files.at, pair)
        return preparation(given), preparation(asked)

    questions = []
    for number in range(max(FEWEST_ASKED, len(found.heldout))):
        pair = found.heldout[number % len(found.heldout)]
        query, truth = pictures(pair)
        drawn = rng("fit, examples", seed, number).permutation(len(found.training))[:NUM_PAIRS]
        examples = [pictures(found.training[place]) for place in drawn]
        questions.append(Question(NEW, [*woven(examples), query], truth, False, pair.key))
    return questions


def old_questions(preparation: ImagePreparation, *, queries: int, seed: int) -> list[Question]:
    """`queries` questions of each task of OLD."""
    pools: dict[str, list[Scene]] = {}
    questions: list[Question] = []
    for task in [task for task in LISTED if task.name in OLD] if queries else []:
        if task.pool not in pools:
            pools[task.pool] = scenes_of(SOURCES[task.pool], preparation)
        ask = _frames if task.is_sequence else _analogies
        questions += ask(task, pools[task.pool], queries, seed)
    return questions


def _analogies(task: SuiteTask, scenes: Sequence[Scene], queries: int, seed: int) -> list[Question]:
    questions = []
    for number, shown in enumerate(draw_shown(scenes, name=task.name, queries=queries, pairs=NUM_PAIRS, seed=seed)):
        target = task.targets[number % len(task.targets)]
        query, truth = (shown.query.picture(slot, shown.frame) for slot in (task.source, target))
        prompt = [*woven(examples_of(shown, task.source, target)), query]
        questions.append(Question(task.name, prompt, truth, task.region == "changed", shown.query.cluster))
    return questions


def _frames(task: SuiteTask, scenes: Sequence[Scene], queries: int, seed: int) -> list[Question]:
    clips = [clip for clip, _ in draw_clips(scenes, name=task.name, queries=queries, seed=seed)]
    return [
        Question(task.name, frames[:SHOWN_FRAMES], frames[SHOWN_FRAMES], task.region == "changed", clip.cluster)
        for clip, frames in ((clip, clip.frames(task.source)) for clip in clips)
    ]


def answered(at: Path, lvm: LVM, questions: Sequence[Question], *, seed: int) -> torch.Tensor:
    """Codes int64 [n, N] of the answers, drawn as the LVM suggests; read from the file `at` if they are there."""
    if at.exists():
        return torch.tensor(read_json(at, "answers of a fit"), dtype=torch.int64)
    bundle = lvm.bundle
    codes = encode_each_once(bundle.tokenizer, [question.prompt for question in questions])
    drawn = generate(
        bundle.decoder,
        [code_row(images, bundle.special.bos) for images in codes],
        bundle.tokenizer.codes_per_image,
        num_codes=bundle.tokenizer.codebook_size,
        sampling=lvm.sampling,
        seed=seed_of("fit, answers", seed),
    ).codes[:, 0]
    write_json(at, drawn.tolist())
    return drawn


@dataclass(frozen=True, eq=False)
class TaskScore:
    """One task before and after, pixel errors float64 [n] of its n questions."""

    task: str
    errors: Mapping[str, np.ndarray]
    """before, after; copy: the query as the answer; ceiling: the truth through the tokenizer."""
    estimates: Mapping[str, Estimate]
    """Means of the same, and change = after - before."""
    clusters: int

    def report(self) -> dict[str, Any]:
        """JSON values; 95 % intervals are bootstrapped over what is shown."""
        return {
            "questions": len(self.errors["before"]),
            "clusters": self.clusters,
            **{name: estimate.interval._asdict() for name, estimate in self.estimates.items()},
            "errors": {name: np.round(errors, 5).tolist() for name, errors in self.errors.items()},
        }


def scored(
    questions: Sequence[Question], pictures: Mapping[str, Sequence[np.ndarray]], *, seed: int
) -> list[TaskScore]:
    """Scores of every task.

    Args:
        pictures: before, after, ceiling -> a picture for each question.
    """
    scores = []
    for task in dict.fromkeys(question.task for question in questions):
        mine = [number for number, question in enumerate(questions) if question.task == task]
        given = {**pictures, "copy": [question.prompt[-1] for question in questions]}
        errors = {name: np.array([questions[n].error(some[n]) for n in mine]) for name, some in given.items()}
        clusters = [questions[number].cluster for number in mine]
        weights = resamples(clusters, "fit", seed, task)
        estimates = {name: Estimate.mean(some, weights) for name, some in errors.items()}
        estimates["change"] = estimates["after"] - estimates["before"]
        scores.append(TaskScore(task, errors, estimates, len(set(clusters))))
    return scores
