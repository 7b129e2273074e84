"""Runs the suite: scenes, trials, answers and scores task by task, then curves of perplexity, then choices.

Only numbers and two outcomes of each task are kept, so memory does not grow with the number of tasks.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from openlvm.core.images import ImagePreparation
from openlvm.core.seeds import seed_of
from openlvm.evaluation.intervals import resamples
from openlvm.evaluation.perplexity.choices import Chosen, Puzzle, choose_all
from openlvm.evaluation.perplexity.curves import Curve, counts_that_fit, curve
from openlvm.evaluation.scenes import Scene, mean_answers, scenes_of
from openlvm.evaluation.suites.gates import MATRICES
from openlvm.evaluation.suites.mini import (
    EXAMPLE_COUNTS,
    FRAME_COUNTS,
    NUM_PAIRS,
    POOLS,
    SHOWN_FRAMES,
    TRAINING_SCENES,
    Split,
    SuiteTask,
)
from openlvm.evaluation.suites.prompts import (
    Shown,
    analogy_trial,
    draw_clips,
    draw_shown,
    examples_of,
    sequence_trial,
)
from openlvm.evaluation.suites.scores import TaskScores, score_task
from openlvm.evaluation.trials import Outcome, Trial, run_trials, woven
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import Sampling
from openlvm.sources.worlds.changes import change_puzzles
from openlvm.sources.worlds.matrices import matrix_puzzles
from openlvm.training.progress import say, spell_seconds

POOLS_AT_ONCE = 3  # whose scenes are in memory: that of the task, that which misleads, and the objects


class Scenes:
    """The scenes of every pool at one tokenizer's size; those of the last few pools are kept in memory."""

    def __init__(self, preparation: ImagePreparation):
        self.preparation = preparation
        self.heldout = lru_cache(maxsize=POOLS_AT_ONCE)(lambda pool: self._of(pool, "heldout", None))

    def training(self, pool: str) -> list[Scene]:
        """Scenes for the mean answer."""
        return self._of(pool, "train", TRAINING_SCENES)

    def _of(self, pool: str, split: Split, limit: int | None) -> list[Scene]:
        told = POOLS[pool]
        source = told.source(split)
        return scenes_of(source, self.preparation, subject=told.subject, grouped=told.grouped, limit=limit)


def trials_of(task: SuiteTask, scenes: Scenes, *, queries: int, seed: int) -> list[Trial]:
    """The trials of a task."""
    heldout, seen = scenes.heldout(task.pool), scenes.training(task.pool)
    if task.is_sequence:
        mean = np.rint(np.mean([scene.picture(task.source, SHOWN_FRAMES) for scene in seen], axis=0)).astype(np.uint8)
        clips = draw_clips(heldout, name=task.name, queries=queries, seed=seed)
        return [sequence_trial(task.prompt_task(), *pair, frames=SHOWN_FRAMES, mean=mean) for pair in clips]
    means = mean_answers(seen, task.targets)
    shown = draw_shown(heldout, name=task.name, queries=queries, pairs=NUM_PAIRS, seed=seed)
    misleading: Sequence[Shown | None] = [None] * queries
    if task.wrong_pool:
        others = scenes.heldout(task.wrong_pool)
        misleading = draw_shown(others, name=f"{task.name}, wrong", queries=queries, pairs=NUM_PAIRS, seed=seed)
    trials = []
    for number in range(queries):
        asked = task.prompt_task(number)
        trials.append(
            analogy_trial(
                asked,
                shown[number],
                wrong=task.wrong,
                misleading=misleading[number],
                mean=means[asked.target],
            )
        )
    return trials


@dataclass(frozen=True, eq=False)
class Answered:
    """A task's scores, and the outcomes that people look at."""

    scores: TaskScores
    first: Outcome
    """Of the first query, not the best."""
    worst: Outcome
    """The query whose error exceeds the tokenizer's most."""
    seconds: float


def answer_task(lvm: LVM, task: SuiteTask, scenes: Scenes, *, queries: int, sampling: Sampling, seed: int) -> Answered:
    """Prompt the model with every trial of a task under every condition."""
    start = time.monotonic()
    trials = trials_of(task, scenes, queries=queries, seed=seed)
    outcomes = run_trials(lvm, trials, sampling=sampling, seed=seed_of("evaluate", seed, task.name))
    scores = score_task(task, outcomes, seed=seed)
    worst = int(np.argmax(scores.errors["correct"] - scores.errors["ceiling"]))
    seconds = time.monotonic() - start
    error = {name: found.value for name, found in scores.error.items()}
    say(
        f"{task.name:32} error {error['correct']:.3f}  copy {error['copy']:.3f}  ceiling {error['ceiling']:.3f}  "
        f"{task.metric} {scores.value['correct'].value:.3g}  {spell_seconds(seconds)}"
    )
    return Answered(scores, outcomes[0], outcomes[worst], round(seconds, 1))


def example_curve(lvm: LVM, task: SuiteTask, scenes: Scenes, *, queries: int, seed: int) -> Curve:
    """Perplexity of a task's true answer by examples shown: the first ones of the same drawn examples."""
    counts = counts_that_fit(EXAMPLE_COUNTS, images_each=2, others=2, images_in_context=lvm.bundle.images_in_context)
    shown = draw_shown(scenes.heldout(task.pool), name=task.name, queries=queries, pairs=max(counts), seed=seed)
    prompts = []
    for number, one in enumerate(shown):
        asked = task.prompt_task(number)
        examples = examples_of(one, asked.source, asked.target)
        ending = [one.query.picture(asked.source, one.frame), one.query.picture(asked.target, one.frame)]
        prompts.append([[*woven(examples[:count]), *ending] for count in counts])
    weights = resamples([one.query.cluster for one in shown], seed, task.name, "examples")
    return _told(f"{task.name} by examples", curve(lvm, prompts, counts, weights))


def frame_curve(lvm: LVM, name: str, pool: str, scenes: Scenes, *, queries: int, seed: int) -> Curve:
    """Perplexity of the last frame of a clip by the number of frames shown right before it."""
    clips = scenes.heldout(pool)
    fit = min(min(scene.num_frames for scene in clips), lvm.bundle.images_in_context)
    counts = counts_that_fit(FRAME_COUNTS, images_each=1, others=1, images_in_context=fit)
    chosen = [scene for scene, _ in draw_clips(clips, name=name, queries=queries, seed=seed)]
    frames = [scene.frames("image")[:fit] for scene in chosen]
    prompts = [[clip[-count - 1 :] for count in counts] for clip in frames]
    weights = resamples([scene.cluster for scene in chosen], seed, name, "frames")
    return _told(f"{name} by frames", curve(lvm, prompts, counts, weights))


def _told(name: str, found: Curve) -> Curve:
    spelled = "  ".join(
        f"{count}: {nats.exp().value:.2f}" for count, nats in zip(found.counts, found.nats, strict=True)
    )
    say(f"perplexity, {name}: {spelled}")
    return found


def reasoning(lvm: LVM, *, puzzles: int, seed: int) -> dict[str, list[Chosen]]:
    """Choices in every reasoning test: kind -> one for each puzzle."""
    chosen: dict[str, list[Chosen]] = {}
    for kind, drawn in _tests(puzzles, seed):
        chosen[kind] = choose_all(lvm, drawn)
        right = np.mean([one.picks("in context") == one.answer for one in chosen[kind]])
        say(f"choices, {kind}: {right:.1%} of {len(chosen[kind])}")
    return chosen


def _tests(puzzles: int, seed: int) -> Iterable[tuple[str, Iterable[Puzzle]]]:
    yield "color", change_puzzles("color", count=puzzles, seed=seed, pairs=NUM_PAIRS)
    yield "shape", change_puzzles("shape", count=puzzles, seed=seed, pairs=NUM_PAIRS)
    yield "size", change_puzzles("size", count=puzzles, seed=seed, pairs=NUM_PAIRS)
    yield MATRICES, matrix_puzzles(count=puzzles, seed=seed)
