"""The questions of a suite as files, so that any other system may answer them into a folder.

    DIR/index.jsonl            one JSON object an episode
    DIR/COLUMN/12/00.png …     the pictures shown, in the order of the prompt; never the truth

Answers go to ANSWERS/COLUMN/12.png, in any size, and `openlvm evaluate SUITE --predictions ANSWERS` scores them.
"""

import json
from pathlib import Path
from typing import Any

from openlvm.core.files import atomic_write
from openlvm.core.images import write_image
from openlvm.evaluation.harness.questions import Column, Episode, Question
from openlvm.evaluation.harness.suite import Data, Plan, Suite, require_data
from openlvm.training.progress import say

INDEX = "index.jsonl"


def write_questions(suite: Suite, at: Path, *, data: Data, plans: list[Plan]) -> int:
    """Write every episode of the columns that ask for pictures; returns their number.

    Raises:
        FileNotFoundError: datasets are not there.
        ValueError: no column asks for pictures.
    """
    require_data(plans, data)
    columns = [column for column in (plan.make(data) for plan in plans) if column.asks == "picture"]
    if not columns:
        raise ValueError(f"{suite.name} asks for likelihoods here, which pictures cannot answer; choose other columns")
    lines = []
    for column in columns:
        for episode in column.episodes():
            lines.append(_written(column, episode, column.question(episode), at))
        say(f"{column.name}: questions written")
    with atomic_write(at / INDEX) as file:
        file.write("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode())
    return len(lines)


def _written(column: Column, episode: Episode, question: Question, at: Path) -> dict[str, Any]:
    """Write the pictures of a question; its line of the index."""
    folder = Path(column.name) / str(episode.number)
    shown = [(folder / f"{place:02d}.png").as_posix() for place in range(len(question.context))]
    for name, picture in zip(shown, question.context, strict=True):
        write_image(at / name, picture)
    assert question.truth is not None
    height, width = question.truth.shape[:2]
    told = {"column": column.name, "number": episode.number, "style": question.style, "answer": f"{folder}.png",
            "height": height, "width": width}  # fmt: skip
    if question.style == "sequence":
        return {**told, "frames": shown}
    pairs = shown[: 2 * len(question.examples)]
    return {**told, "examples": list(zip(pairs[0::2], pairs[1::2], strict=True)), "query": shown[-1]}
