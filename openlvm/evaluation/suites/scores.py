"""Scores of one task's outcomes with their uncertainty, and the same over tasks.

Letters: n queries, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openlvm.evaluation.intervals import Estimate, mean_of, resamples
from openlvm.evaluation.suites.mini import SuiteTask
from openlvm.evaluation.trials import CONDITIONS, Outcome

RIVALS = ("copy", "mean", "none")
"""What an answer has to beat: the query, the mean training answer, the same model without examples."""


@dataclass(frozen=True, eq=False)
class TaskScores:
    """One task: estimates that share their resamples, and the plain numbers."""

    task: SuiteTask
    errors: dict[str, np.ndarray]
    """Condition -> pixel error of each query, float64 [n]."""
    values: dict[str, np.ndarray]
    """Condition -> the task's own metric of each query, float64 [n]."""
    error: dict[str, Estimate]
    """Condition -> mean pixel error."""
    value: dict[str, Estimate]
    """Condition -> mean of the metric."""
    does_wrong_task: Estimate | None
    """Share of the queries whose answer to wrong examples is nearer to what these ask for than to the truth."""
    clusters: int
    """Objects, clips or task instances among the queries."""

    def beats(self, rival: str) -> dict[str, bool]:
        """Lower pixel error than a rival of `RIVALS`: in the mean, and beyond the interval of the difference."""
        difference = (self.error["correct"] - self.error[rival]).interval
        return {"mean": difference.value < 0, "interval": difference.high < 0}

    def ratio(self, condition: str) -> Estimate:
        """Pixel error under another condition over that with correct examples."""
        return self.error[condition] / self.error["correct"]


def score_task(task: SuiteTask, outcomes: Sequence[Outcome], *, seed: int) -> TaskScores:
    """Scores of all outcomes of a task."""
    clusters = [outcome.trial.cluster or str(number) for number, outcome in enumerate(outcomes)]
    weights = resamples(clusters, seed, task.name)
    errors = {name: np.array([outcome.error(name) for outcome in outcomes]) for name in CONDITIONS}
    values = {name: np.array([outcome.metric(name) for outcome in outcomes]) for name in CONDITIONS}
    wrong = [outcome.does_wrong_task for outcome in outcomes]
    return TaskScores(
        task=task,
        errors=errors,
        values=values,
        error={name: Estimate.mean(found, weights) for name, found in errors.items()},
        value={name: Estimate.mean(found, weights) for name, found in values.items()},
        does_wrong_task=None if None in wrong else Estimate.mean(np.array(wrong, dtype=float), weights),
        clusters=len(set(clusters)),
    )


def task_report(scores: TaskScores) -> dict[str, Any]:
    """A task's scores as JSON values; `queries` holds the pixel error of each query under each condition."""
    task = scores.task
    return {
        "group": task.group,
        "region": task.region,
        "clusters": scores.clusters,
        "pixel_error": {name: as_json(found) for name, found in scores.error.items()},
        "minus": {rival: as_json(scores.error["correct"] - scores.error[rival]) for rival in RIVALS},
        "beats": {rival: scores.beats(rival) for rival in RIVALS},
        "over_correct": {name: as_json(scores.ratio(name)) for name in ("wrong", "shuffled")},
        "does_wrong_task": as_json(scores.does_wrong_task) if scores.does_wrong_task else None,
        "metric": task.metric,
        "value": {name: as_json(found) for name, found in scores.value.items()},
        "queries": {name: np.round(found, 5).tolist() for name, found in scores.errors.items()},
    }


def as_json(estimate: Estimate) -> dict[str, float] | None:
    """Value and interval; None where it is no number (the PSNR of equal pictures)."""
    return estimate.interval._asdict() if estimate.is_finite else None


@dataclass(frozen=True, eq=False)
class Overall:
    """Over several tasks, each with an equal vote."""

    error: dict[str, Estimate]
    """Condition -> mean pixel error."""
    beaten: dict[str, list[str]]
    """"mean" and "interval" -> the tasks whose answer beats all three rivals that way."""
    does_wrong_task: Estimate | None

    @property
    def over_ceiling(self) -> Estimate:
        """Pixel error beyond that of the tokenizer."""
        return self.error["correct"] - self.error["ceiling"]

    def ratio(self, condition: str) -> Estimate:
        """Mean pixel error under another condition over that with correct examples."""
        return self.error[condition] / self.error["correct"]


def overall(tasks: Sequence[TaskScores]) -> Overall:
    """Means over tasks."""
    misled = [one.does_wrong_task for one in tasks if one.does_wrong_task]
    return Overall(
        error={name: mean_of([one.error[name] for one in tasks]) for name in CONDITIONS},
        beaten={
            way: [one.task.name for one in tasks if all(one.beats(rival)[way] for rival in RIVALS)]
            for way in ("mean", "interval")
        },
        does_wrong_task=mean_of(misled) if misled else None,
    )


def overall_report(whole: Overall) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "pixel_error": {name: as_json(found) for name, found in whole.error.items()},
        "over_ceiling": as_json(whole.over_ceiling),
        "over_correct": {name: as_json(whole.ratio(name)) for name in ("wrong", "shuffled")},
        "beats_copy_mean_none": whole.beaten,
        "does_wrong_task": as_json(whole.does_wrong_task) if whole.does_wrong_task else None,
    }
