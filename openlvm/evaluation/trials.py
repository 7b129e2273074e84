"""Prompting a model under conditions that keep its scores honest.

Each query is answered five times: with correct examples, with examples of another task (`wrong`), with the answers of
the examples exchanged among them (`shuffled`), and with no example (`none`); beside them stand three answers that need
no model: the query itself (`copy`), the mean answer of the training set (`mean`) and the truth after encoding and
decoding (`ceiling`).

    analogy   correct   a A b B c C q    wrong  a α b β c γ q    shuffled  a B b C c A q    none  q
    sequence  correct   f0 f1 … f6       wrong  g0 … g5 f6       shuffled  f1 … f5 f0 f6    none  f6

Letters: N codes per image.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from openlvm.core.records import Payload
from openlvm.core.seeds import rng
from openlvm.evaluation.metrics import pixel_error
from openlvm.evaluation.tasks import METRICS, Asked, PromptTask
from openlvm.prompting.engine.generate import generate
from openlvm.prompting.lvm import LVM
from openlvm.prompting.prompts import code_row
from openlvm.prompting.sampling import Sampling
from openlvm.tokenizer.interface import Tokenizer

PROMPTED = ("correct", "wrong", "shuffled", "none")
CONDITIONS = (*PROMPTED, "copy", "mean", "ceiling")

Scene = Mapping[str, Sequence[np.ndarray]]
"""A drawn record: slot -> F pictures uint8 [size, size, 3]."""
Example = tuple[np.ndarray, np.ndarray]
"""A picture and its answer, uint8 [size, size, 3] each."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One query of one task with everything that is shown, before any model is asked."""

    task: PromptTask
    prompts: Mapping[str, list[np.ndarray]]
    """Condition -> pictures in the order of the prompt; the query is last."""
    truth: np.ndarray
    mean: np.ndarray
    """Mean answer of the training set, uint8 [size, size, 3]."""
    payload: Payload | None = None
    """The truth in its physical unit, resized, where the task's metric needs it."""
    misled: np.ndarray | None = None
    """What the wrong examples ask for, where it is known, uint8 [size, size, 3]."""
    cluster: str = ""
    """What is shown (object, clip, task instance): trials of one cluster are no independent draws."""

    @property
    def query(self) -> np.ndarray:
        """The picture that is to be answered."""
        return self.prompts["none"][0]

    @property
    def region(self) -> np.ndarray | None:
        """Where the pixel error is taken, bool [size, size]; None is everywhere."""
        if self.task.region == "all":
            return None
        differs = (self.query != self.truth).any(-1)
        return differs if differs.any() else None


@dataclass(frozen=True, eq=False)
class Outcome:
    """A trial with its answers."""

    trial: Trial
    answers: Mapping[str, np.ndarray]
    """Condition -> picture, for every condition of `CONDITIONS`."""

    def error(self, condition: str) -> float:
        """Pixel error of an answer in 0..1, in the region of the task."""
        return pixel_error(self.answers[condition], self.trial.truth, self.trial.region)

    def metric(self, condition: str) -> float:
        """The task's own metric of an answer."""
        asked = Asked(self.trial.truth, self.trial.query, self.trial.payload)
        return METRICS[self.trial.task.metric](self.answers[condition], asked)

    @property
    def does_wrong_task(self) -> bool | None:
        """With wrong examples, the answer is nearer to what they ask for than to the truth; None if that is unknown."""
        if self.trial.misled is None:
            return None
        given = self.answers["wrong"]
        return pixel_error(given, self.trial.misled) < pixel_error(given, self.trial.truth)


def mean_picture(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of pictures of one size, uint8."""
    return np.rint(np.mean(np.stack(pictures), axis=0)).astype(np.uint8)


def analogy_trials(
    task: PromptTask,
    wrong: PromptTask,
    scenes: Sequence[Scene],
    mean: np.ndarray,
    *,
    queries: int,
    pairs: int,
    seed: int,
) -> list[Trial]:
    """Trials of an analogy task; examples and query are different scenes, the frame of each is drawn.

    Args:
        wrong: the task whose examples mislead.
        scenes: held-out scenes that have the slots of both tasks.
        queries: trials to make; scenes are used as queries in turn, in a drawn order.
    """
    if len(scenes) <= pairs:
        raise ValueError(f"{pairs} example pairs and a query need {pairs + 1} scenes, given {len(scenes)}")
    order = rng("queries", seed, task.name).permutation(len(scenes))
    trials = []
    for number in range(queries):
        query = int(order[number % len(order)])
        chance = rng("examples", seed, task.name, number)
        others = [int(other) for other in chance.permutation(len(scenes)) if other != query][:pairs]
        frames = [int(chance.integers(len(scenes[scene][task.source]))) for scene in [query, *others]]
        shown = list(zip(others, frames[1:], strict=True))
        examples = [(scenes[scene][task.source][frame], scenes[scene][task.target][frame]) for scene, frame in shown]
        misleading = [
            (scenes[scene][wrong.source][frame], scenes[scene][wrong.target][frame]) for scene, frame in shown
        ]
        prompts = analogy_prompts(examples, misleading, scenes[query][task.source][frames[0]])
        trials.append(Trial(task, prompts, scenes[query][task.target][frames[0]], mean))
    return trials


def analogy_prompts(
    examples: Sequence[Example], misleading: Sequence[Example], query: np.ndarray
) -> dict[str, list[np.ndarray]]:
    """What is shown under each condition of `PROMPTED`, from right examples, those of another task, and a query."""
    given, answers = [example[0] for example in examples], [example[1] for example in examples]
    shuffled = zip(given, answers[1:] + answers[:1], strict=True)
    return {
        "correct": [*woven(examples), query],
        "wrong": [*woven(misleading), query],
        "shuffled": [*woven(shuffled), query],
        "none": [query],
    }


def woven(examples: Iterable[Example]) -> list[np.ndarray]:
    """(a, A), (b, B) as a, A, b, B."""
    return [picture for example in examples for picture in example]


def sequence_trials(
    task: PromptTask, scenes: Sequence[Scene], mean: np.ndarray, *, queries: int, frames: int, seed: int
) -> list[Trial]:
    """Trials of a sequence task: `frames` pictures of a scene are shown, the next one is asked for."""
    order = rng("queries", seed, task.name).permutation(len(scenes))
    trials = []
    for number in range(queries):
        clip, other = (scenes[int(order[(number + offset) % len(order)])][task.source] for offset in (0, 1))
        shown = list(clip[:frames])
        prompts = {
            "correct": shown,
            "wrong": [*other[: frames - 1], shown[-1]],
            "shuffled": [*shown[1:-1], shown[0], shown[-1]],
            "none": shown[-1:],
        }
        trials.append(Trial(task, prompts, clip[frames], mean))
    return trials


def run_trials(lvm: LVM, trials: Sequence[Trial], *, sampling: Sampling, seed: int) -> list[Outcome]:
    """Answer every trial once under every condition: the same bits on every call with the same seed."""
    bundle, tokenizer = lvm.bundle, lvm.bundle.tokenizer
    prompts = [trial.prompts[condition] for trial in trials for condition in PROMPTED]
    codes = encode_each_once(tokenizer, [*prompts, *([trial.truth] for trial in trials)])  # [S, N] each
    rows = [code_row(images, bundle.special.bos) for images in codes[: len(prompts)]]
    drawn = generate(
        bundle.decoder, rows, tokenizer.codes_per_image, num_codes=tokenizer.codebook_size,
        sampling=sampling,
        seed=seed,
    ).codes[:, 0]  # fmt: skip
    answers = _decode_all(tokenizer, drawn)
    ceilings = _decode_all(tokenizer, torch.cat(codes[len(prompts) :]))
    outcomes = []
    for number, trial in enumerate(trials):
        prompted = dict(zip(PROMPTED, answers[number * len(PROMPTED) :], strict=False))
        free = {"copy": trial.query, "mean": trial.mean, "ceiling": ceilings[number]}
        outcomes.append(Outcome(trial, prompted | free))
    return outcomes


def encode_each_once(
    tokenizer: Tokenizer, prompts: Sequence[Sequence[np.ndarray]], at_once: int = 64
) -> list[torch.Tensor]:
    """Codes int64 [S, N] of the S pictures of each prompt; a picture that many prompts hold is encoded once.

    Args:
        prompts: pictures uint8 [size, size, 3]; the same array object is the same picture.
    """
    unique = {id(picture): picture for prompt in prompts for picture in prompt}
    pictures, place = list(unique.values()), {name: number for number, name in enumerate(unique)}
    chunks = [np.stack(pictures[start : start + at_once]) for start in range(0, len(pictures), at_once)]
    codes = torch.cat([tokenizer.encode(torch.from_numpy(chunk)).cpu() for chunk in chunks])
    return [codes[[place[id(picture)] for picture in prompt]] for prompt in prompts]


def _decode_all(tokenizer: Tokenizer, codes: torch.Tensor, at_once: int = 64) -> np.ndarray:
    return torch.cat([tokenizer.decode(chunk).cpu() for chunk in codes.split(at_once)]).numpy()


def summarize(outcomes: Sequence[Outcome]) -> dict[str, dict]:
    """Per task: queries, pixel error and own metric under each condition, and the standard error for `correct`."""
    report: dict[str, dict] = {}
    for name in dict.fromkeys(outcome.trial.task.name for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.trial.task.name == name]
        errors = {condition: [outcome.error(condition) for outcome in mine] for condition in CONDITIONS}
        values = {condition: [outcome.metric(condition) for outcome in mine] for condition in CONDITIONS}
        task = mine[0].trial.task
        report[name] = {
            "style": task.style,
            "region": task.region,
            "queries": len(mine),
            "pixel_error": {condition: float(np.mean(found)) for condition, found in errors.items()},
            "pixel_error_standard_error": float(np.std(errors["correct"]) / np.sqrt(len(mine))),
            "metric": task.metric,
            "value": {condition: _finite_mean(found) for condition, found in values.items()},
        }
    return report


def _finite_mean(values: Sequence[float]) -> float | None:
    """Mean, or None where it is infinite (the PSNR of equal pictures)."""
    mean = float(np.mean(values))
    return mean if np.isfinite(mean) else None


def overall(report: Mapping[str, Mapping]) -> dict:
    """Over all tasks: mean pixel errors, their ratios to `correct`, and the tasks on which copying is beaten."""
    means = {c: float(np.mean([task["pixel_error"][c] for task in report.values()])) for c in CONDITIONS}
    beaten = [name for name, task in report.items() if task["pixel_error"]["correct"] < task["pixel_error"]["copy"]]
    return {
        "pixel_error": means,
        "wrong_over_correct": means["wrong"] / means["correct"],
        "shuffled_over_correct": means["shuffled"] / means["correct"],
        "beats_copying": beaten,
    }
