"""From scenes to trials: which scene is asked and which examples are shown, drawn by (seed, task, number of the query).

Analogy: k examples of the query's group and not of its subject, unlike ones first, one frame of each. Sequence: the
first frames of a scene are shown, the next one is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openlvm.core.seeds import rng
from openlvm.evaluation.scenes import Scene
from openlvm.evaluation.tasks import PromptTask
from openlvm.evaluation.trials import Example, Trial, analogy_prompts


@dataclass(frozen=True, eq=False)
class Shown:
    """A query, and examples of its task in the order in which they are shown."""

    query: Scene
    frame: int
    """Of the query."""
    examples: list[tuple[Scene, int]]
    """Scenes and their frames."""


def draw_shown(scenes: Sequence[Scene], *, name: str, queries: int, pairs: int, seed: int) -> list[Shown]:
    """Queries in a drawn order, every scene in turn; more pairs add to the same first examples.

    Raises:
        ValueError: a query has too few scenes of its group, and not of its subject, beside it.
    """
    order = rng("queries", seed, name).permutation(len(scenes))
    members: dict[str, list[int]] = {}
    for number, scene in enumerate(scenes):
        members.setdefault(scene.group, []).append(number)
    shown = []
    for number in range(queries):
        chance = rng("examples", seed, name, number)
        query = scenes[int(order[number % len(order)])]
        others = [scenes[place] for place in chance.permutation(members[query.group])]
        chosen = _unlike_first([other for other in others if other.subject != query.subject])[:pairs]
        if len(chosen) < pairs:
            where = f"group {query.group!r}" if query.group else "the scenes"
            raise ValueError(
                f"{name}: needs {pairs} examples of other subjects than the query's; {where} has {len(chosen)}"
            )
        frame, *frames = [int(chance.integers(scene.num_frames)) for scene in (query, *chosen)]
        shown.append(Shown(query, frame, list(zip(chosen, frames, strict=True))))
    return shown


def _unlike_first(scenes: Sequence[Scene]) -> list[Scene]:
    """The first scene of each subject, then the others, each in the order given."""
    firsts: dict[str, Scene] = {}
    for scene in scenes:
        firsts.setdefault(scene.subject, scene)
    chosen = list(firsts.values())
    return chosen + [scene for scene in scenes if firsts[scene.subject] is not scene]


def examples_of(shown: Shown, source: str, target: str) -> list[Example]:
    """The examples' pictures and answers."""
    return [(scene.picture(source, frame), scene.picture(target, frame)) for scene, frame in shown.examples]


def analogy_trial(
    task: PromptTask, shown: Shown, *, wrong: tuple[str, str], misleading: Shown | None, mean: np.ndarray
) -> Trial:
    """A trial of an analogy task.

    Args:
        task: its `source` and `target` are those of this query.
        wrong: slots of the task that misleads.
        misleading: where its examples come from; None for the same scenes, and then what they ask for is known.
        mean: the mean training answer.
    """
    query, frame = shown.query, shown.frame
    others = misleading or shown
    prompts = analogy_prompts(
        examples_of(shown, task.source, task.target), examples_of(others, *wrong), query.picture(task.source, frame)
    )
    return Trial(
        task,
        prompts,
        query.picture(task.target, frame),
        mean,
        payload=query.truth(task.target, frame),
        misled=None if misleading else query.picture(wrong[1], frame),
        cluster=query.cluster,
    )


def sequence_trial(task: PromptTask, scene: Scene, other: Scene, *, frames: int, mean: np.ndarray) -> Trial:
    """A trial of a sequence task; the conditions are those of `evaluation.trials`.

    Args:
        other: of another subject; its frames mislead.
        frames: shown before the one that is asked for.
    """
    clip, misleading = scene.frames(task.source), other.frames(task.source)
    shown = clip[:frames]
    prompts = {
        "correct": shown,
        "wrong": [*misleading[: frames - 1], shown[-1]],
        "shuffled": [*shown[1:-1], shown[0], shown[-1]],
        "none": shown[-1:],
    }
    return Trial(task, prompts, clip[frames], mean, cluster=scene.cluster)


def draw_clips(scenes: Sequence[Scene], *, name: str, queries: int, seed: int) -> list[tuple[Scene, Scene]]:
    """Queries in a drawn order, and beside each the next scene of another subject."""
    order = [scenes[place] for place in rng("queries", seed, name).permutation(len(scenes))]
    drawn = []
    for number in range(queries):
        scene = order[number % len(order)]
        later = (order[(number + step) % len(order)] for step in range(1, len(order)))
        other = next((one for one in later if one.subject != scene.subject), None)
        if other is None:
            raise ValueError(f"{name}: needs scenes of at least two subjects, all {len(order)} show {scene.subject!r}")
        drawn.append((scene, other))
    return drawn
