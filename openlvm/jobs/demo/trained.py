"""The whole chain: from pictures to a small LVM that is prompted on objects it has never seen, and an honest report.

out/
  tokenizer/      only with from_scratch: a tokenizer trained here
  lvm/            stores, checkpoints and the bundle (jobs/train.py)
  report.json     every task under every condition (evaluation/trials.py)
  gallery.png     one prompt, answer and truth of each task
  index.html      the same and more, in one file
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.files import write_json
from openlvm.core.images import ImagePreparation, write_image
from openlvm.core.records import BadRecord
from openlvm.core.sheets import contact_sheet
from openlvm.evaluation.tasks import PromptTask
from openlvm.evaluation.trials import (
    Outcome,
    Scene,
    Trial,
    analogy_trials,
    mean_picture,
    overall,
    run_trials,
    sequence_trials,
    summarize,
)
from openlvm.jobs.demo.page import training_page
from openlvm.jobs.train import run_recipe
from openlvm.prompting.lvm import LVM
from openlvm.recipes.config import LVMConfig
from openlvm.recipes.demo import GENERATED, NUM_PAIRS, SAMPLING, TASKS, WRONG, demo
from openlvm.recipes.demo_tokenizer import demo_tokenizer
from openlvm.sentences.generated import add_generated
from openlvm.sentences.render import draw
from openlvm.sources.interface import Source
from openlvm.sources.pack import PackObjects, PackTurns, Split
from openlvm.sources.pack.motion import PackMotion
from openlvm.training.progress import say

QUERIES = 24  # per task
TRAINING_SCENES = 48  # from which the mean training answers are taken
SEQUENCE_FRAMES = 7  # shown before the one that is asked for
GALLERY_COLUMNS = 2 * NUM_PAIRS + 1  # pictures of a prompt


@dataclass(frozen=True)
class HeldOut:
    """Where the pictures of an evaluation come from; one record an object, so that no example shows the query's."""

    objects: Source
    turns: Source
    motion: Source


def _sources(split: Split) -> HeldOut:
    return HeldOut(PackObjects(split=split), PackTurns(split=split), PackMotion(split=split, clips=48))


def run_training_demo(*, out: Path, from_scratch: bool = False, tiny: bool = False, seed: int = 0) -> dict[str, Any]:
    """Make everything in the folder `out`; started again, it goes on where it was. Returns the report.

    Args:
        from_scratch: train the tokenizer too.
        tiny: a minute's form of everything.
        seed: of the decoder and of the evaluation.
    """
    start = time.monotonic()
    config = demo(tiny=tiny)
    config = replace(config, decoder=replace(config.decoder, train=replace(config.decoder.train, seed=seed)))
    if from_scratch:
        say("training the tokenizer")
        tokenizer = run_recipe(demo_tokenizer(tiny=tiny), at=out / "tokenizer", resume=True)
        config = _with_tokenizer(config, tokenizer)
    bundle = run_recipe(config, at=out / "lvm", resume=True)
    trained = time.monotonic()
    outcomes = evaluate(LVM.load(bundle), queries=2 if tiny else QUERIES, seed=seed)
    report: dict[str, Any] = {
        "tasks": summarize(outcomes),
        "seconds": {"until trained": round(trained - start, 1), "evaluation": round(time.monotonic() - trained, 1)},
        "decoder_parameters": config.model.num_parameters,
        "training_steps": config.decoder.train.steps,
    }
    report["overall"] = overall(report["tasks"])
    write_json(out / "report.json", report)
    write_image(out / "gallery.png", gallery(outcomes))
    training_page(out / "index.html", report, outcomes, run_at=out / "lvm", tokenizer=bundle / "tokenizer")
    say(summary(report))
    return report


def _with_tokenizer(config: LVMConfig, tokenizer_at: Path) -> LVMConfig:
    """The recipe with a tokenizer trained here, and the decoder's vocabulary to match."""
    from openlvm.bundle import vocab_size_for
    from openlvm.tokenizer.folder import load_tokenizer

    vocab_size = vocab_size_for(load_tokenizer(tokenizer_at).codebook_size)
    model = replace(config.decoder.model, vocab_size=vocab_size)
    return replace(config, tokenizer=str(tokenizer_at), decoder=replace(config.decoder, model=model))


def evaluate(lvm: LVM, *, queries: int, seed: int) -> list[Outcome]:
    """Every task of the recipe, on held-out objects before held-out photographs."""
    preparation = lvm.bundle.tokenizer.preparation
    heldout, training = _sources("heldout"), _sources("train")
    scenes = list(drawn_scenes(heldout.objects, preparation, GENERATED))
    seen = list(drawn_scenes(training.objects, preparation, GENERATED, limit=TRAINING_SCENES))
    by_name = {task.name: task for task in TASKS}
    trials: list[Trial] = []
    for task in TASKS:
        if task.style == "analogy":
            mean = mean_picture([picture for scene in seen for picture in scene[task.target]])
            wrong = by_name[WRONG[task.name]]
            trials += analogy_trials(task, wrong, scenes, mean, queries=queries, pairs=NUM_PAIRS, seed=seed)
        else:
            trials += _sequences(task, heldout, training, preparation, queries=queries, seed=seed)
    say(f"prompting: {len(trials)} queries of {len(TASKS)} tasks")
    return run_trials(lvm, trials, sampling=SAMPLING, seed=seed)


def _sequences(
    task: PromptTask, heldout: HeldOut, training: HeldOut, preparation: ImagePreparation, *, queries: int, seed: int
) -> list[Trial]:
    """Trials of next view (turns) and next frame (moving objects)."""
    source, seen = (held.turns if task.name == "next view" else held.motion for held in (heldout, training))
    mean = mean_picture(
        [scene["image"][SEQUENCE_FRAMES] for scene in drawn_scenes(seen, preparation, (), limit=TRAINING_SCENES)]
    )
    scenes = list(drawn_scenes(source, preparation, ()))
    return sequence_trials(task, scenes, mean, queries=queries, frames=SEQUENCE_FRAMES, seed=seed)


def drawn_scenes(
    source: Source, preparation: ImagePreparation, generated: Sequence[str], *, limit: int | None = None
) -> Iterator[Scene]:
    """Records of a source with all slots drawn at the tokenizer's size; a limit takes them evenly from all parts."""
    records = [record for part in source.parts() for record in source.read(part)]
    chosen = records if limit is None else records[:: max(1, len(records) // limit)]
    for record in chosen:
        assert not isinstance(record, BadRecord), record  # the pack is ours
        whole = add_generated(record, generated, seed=0)
        yield {slot: [draw(payload, preparation) for payload in payloads] for slot, payloads in whole.slots.items()}


def gallery(outcomes: Sequence[Outcome], per_task: int = 1) -> np.ndarray:
    """The first queries of every task, not the best ones: prompt, answer (framed), truth; uint8 [H, W, 3]."""
    rows: list[list[np.ndarray]] = []
    titles, captions = [], []
    for name in dict.fromkeys(outcome.trial.task.name for outcome in outcomes):
        for outcome in [one for one in outcomes if one.trial.task.name == name][:per_task]:
            prompt = outcome.trial.prompts["correct"]
            rows.append([*prompt, outcome.answers["correct"], outcome.trial.truth])
            titles.append(name)
            captions.append([*_captions(outcome.trial), "answer", "truth"])
    framed = [(row, GALLERY_COLUMNS) for row in range(len(rows))]
    return contact_sheet(rows, captions=captions, titles=titles, cell=96, framed=framed)


def _captions(trial: Trial) -> list[str]:
    if trial.task.style == "sequence":
        return [f"frame {number}" for number in range(1, len(trial.prompts["correct"]) + 1)]
    return [*("example", "its answer") * NUM_PAIRS, "query"]


def summary(report: dict[str, Any]) -> str:
    """What a person reads at the end, in a few lines."""
    whole = report["overall"]
    lines = [f"{'task':14} {'pixel error':>11} {'copying':>8} {'wrong ex.':>9} {'ceiling':>8}   own metric"]
    for name, task in report["tasks"].items():
        error, value = task["pixel_error"], task["value"]["correct"]
        lines.append(
            f"{name:14} {error['correct']:11.3f} {error['copy']:8.3f} {error['wrong']:9.3f} {error['ceiling']:8.3f}"
            f"   {task['metric']} {value:.3g}"
        )
    lines.append(
        f"better than copying the query on {len(whole['beats_copying'])} of {len(report['tasks'])} tasks; error with "
        f"wrong examples x {whole['wrong_over_correct']:.2f}, with shuffled answers "
        f"x {whole['shuffled_over_correct']:.2f}"
    )
    return "\n".join(lines)
