"""A fit's findings for people: a table of errors before and after, a page, a model card, a contact sheet."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.files import atomic_write
from openlvm.core.sheets import contact_sheet
from openlvm.jobs.fit.questions import NEW, Question, TaskScore
from openlvm.training.progress import spell_seconds

SHOWN_NEW, SHOWN_OLD = 6, 1  # questions of a task on the sheet, the first ones
CELL = 96  # pixels of a picture there
HEADER = f"{'task':24}{'asked':>6}{'before':>8}{'after':>8}{'change':>9} {'95 % interval':20}{'copy':>7}{'ceiling':>9}"
LEGEND = """mean absolute pixel error in 0 .. 1, lower is better; next frame where it differs from the frame before it
copy: the query itself; ceiling: the truth after encoding and decoding, which no decoder can beat on average"""


def table(scores: Sequence[TaskScore]) -> str:
    """A line for each task, at most 100 characters wide."""
    return "\n".join([HEADER, *map(_line, scores), LEGEND])


def _line(score: TaskScore) -> str:
    mean = {name: estimate.value for name, estimate in score.estimates.items()}
    low, high = score.estimates["change"].interval[1:]
    return (
        f"{score.task:24.24}{len(score.errors['before']):6}{mean['before']:8.3f}{mean['after']:8.3f}"
        f"{mean['change']:+9.3f} {f'[{low:+.3f}, {high:+.3f}]':20}{mean['copy']:7.3f}{mean['ceiling']:9.3f}"
    )


def verdict(scores: Sequence[TaskScore]) -> str:
    """In a sentence or two: is the folder learned, and what was lost."""
    new = next(score for score in scores if score.task == NEW)
    change = new.estimates["change"].interval
    if change.high < 0:
        told = "Held-out pairs are answered better than before, beyond the 95 % interval."
    elif change.low > 0:
        told = "Held-out pairs are answered worse than before, beyond the 95 % interval: use the LVM as it was."
    else:
        told = "Whether held-out pairs are answered better than before cannot be told: the interval holds 0."
    worse = [score.task for score in scores if score is not new and score.estimates["change"].interval.low > 0]
    old = [score for score in scores if score is not new]
    if not old:
        return told
    forgotten = f"Worse than before, beyond the interval: {', '.join(worse)}." if worse else "No old task got worse"
    return f"{told} {forgotten if worse else forgotten + ' beyond its interval.'}"


def page(at: Path, report: Mapping[str, Any], scores: Sequence[TaskScore]) -> None:
    """Write report.md."""
    seconds = report["seconds"]
    lines = [
        f"# {report['lvm']}, fitted to a folder of pairs",
        "",
        verdict(scores),
        "",
        f"{report['training_pairs']} pairs were learned from, {len(report['heldout_pairs'])} held out, "
        f"{len(report['left_out'])} left out because they could not be used. Answers come from three examples and a "
        "query; the examples of held-out queries are training pairs.",
        "",
        "```",
        table(scores),
        "```",
        "",
        "Intervals: percentiles of 1000 bootstrap resamples of what is shown (pairs, objects, clips).",
        f"Seconds: {', '.join(f'{name} {value:.0f}' for name, value in seconds.items())}; "
        f"{spell_seconds(report['expected_seconds'])} were expected. {report['threads']} threads.",
        "",
        "![First questions of each task: prompt, before, after, truth](gallery.png)",
        "",
    ]
    if report["left_out"]:
        lines += ["Left out:", "", *(f"- {key}: {reason}" for key, reason in report["left_out"].items()), ""]
    with atomic_write(at) as file:
        file.write("\n".join(lines).encode())


def card(report: Mapping[str, Any], scores: Sequence[TaskScore]) -> str:
    """README.md of the bundle."""
    config = report["config"]
    lines = [
        f"# {report['lvm']}, fitted by `openlvm fit`",
        "",
        f"- from: the LVM `{report['lvm']}`; its tokenizer is unchanged",
        f"- data: {report['training_pairs']} pairs of the folder `{report['pairs']}`, each in {config['variants']} "
        f"forms; {config['replay']:.0%} of the positions are from the packaged pictures of OpenLVM",
        f"- training: {config['steps']} steps of {config['positions']} positions of up to 16 pictures, seed "
        f"{config['seed']}",
        "- license: that of the LVM it comes from, and of the folder's pictures",
        "",
        verdict(scores),
        "",
        "```",
        table(scores),
        "```",
        "",
    ]
    return "\n".join(lines)


def gallery(questions: Sequence[Question], pictures: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
    """The first questions of each task, not the best: prompt, answers before and after (framed), truth.

    Returns:
        uint8 [H, W, 3].
    """
    rows: list[list[np.ndarray]] = []
    captions, titles, framed = [], [], []
    for task in dict.fromkeys(question.task for question in questions):
        mine = [number for number, question in enumerate(questions) if question.task == task]
        for number in mine[: SHOWN_NEW if task == NEW else SHOWN_OLD]:
            question = questions[number]
            framed += [(len(rows), len(question.prompt) + place) for place in (0, 1)]
            rows.append([*question.prompt, *(pictures[name][number] for name in ("before", "after")), question.truth])
            captions.append([*[""] * (len(question.prompt) - 1), "query", "before", "after", "truth"])
            titles.append(task)
    return contact_sheet(rows, captions=captions, titles=titles, cell=CELL, framed=framed)
