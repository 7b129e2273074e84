"""Asking predictors the questions of columns, so that a run may be stopped anywhere and goes on where it was.

    OUT/request.json                         what is asked of whom; a run with another one is refused
    OUT/lines/COLUMN/PREDICTOR/00000.jsonl   a chunk of episodes: sums of each answer, one JSON object a line
    OUT/pictures/COLUMN/PREDICTOR/0.webp     answers to the first episodes; context and truth beside them

A chunk is whole or absent; chunks are dealt to processes in turn, and always hold the same episodes: one process or
many, stopped or not, the lines are the same. Scores come from the lines alone.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.files import atomic_write, read_json, write_json
from openlvm.core.images import ImagePreparation, write_image
from openlvm.core.ranks import Ranks
from openlvm.core.seeds import seed_of
from openlvm.evaluation.harness.baselines import Spoiled
from openlvm.evaluation.harness.predictors import Choices, Likelihoods, Predictor
from openlvm.evaluation.harness.questions import Column, Episode, Given, Question, digest, sums_of
from openlvm.training.progress import say

CHUNK = 16
"""Episodes asked together."""
SHOWN = 4
"""Episodes of each column whose pictures are kept."""
REQUEST = "request.json"
RESERVED = ("asked", "truth")
"""Folders beside those of predictors."""

Watch = Callable[[Column, Predictor, int, Sequence[np.ndarray], Sequence[Question]], None]
"""Is shown the pictures of a chunk (by its number) before their lines are written, so that nothing is missed."""


def unwatched(
    column: Column, predictor: Predictor, number: int, pictures: Sequence[np.ndarray], questions: Sequence[Question]
) -> None:
    """Nobody looks."""


def can_answer(predictor: Predictor, column: Column) -> bool:
    """Whether a predictor gives what a column asks for: likelihoods and choices need one that has them."""
    model = predictor.predictor if isinstance(predictor, Spoiled) else predictor
    return column.asks == "picture" or isinstance(model, Likelihoods if column.asks == "likelihood" else Choices)


def ask(
    columns: Sequence[Column],
    predictors: Sequence[Predictor],
    out: Path,
    *,
    suite: str,
    seed: int = 0,
    ranks: Ranks | None = None,
    may: Callable[[Predictor, Column], bool] = can_answer,
    watch: Watch = unwatched,
    told: Mapping[str, Any] | None = None,
) -> None:
    """Answer every episode of every column by every predictor that can, and write the lines.

    Args:
        columns: names must differ.
        predictors: names must differ.
        out: folder of the run; of several processes a folder all can write.
        suite: its name, kept in the request.
        seed: of the predictors' draws.
        ranks: which process this is among those that share the work.
        may: whether a predictor is asked a column; who cannot answer never is.
        watch: see `Watch`.
        told: what else decides the lines or belongs into the report, JSON values; kept in the request.

    Raises:
        ValueError: names that clash or cannot be folders; the folder of another request.
    """
    ranks = ranks or Ranks()
    _check_names(columns, predictors)
    lists = {column.name: list(column.episodes()) for column in columns}
    if empty := [name for name, episodes in lists.items() if not episodes]:
        raise ValueError(f"no episode in {', '.join(empty)}; ask at least one")
    able = {column.name: [one for one in predictors if can_answer(one, column) and may(one, column)]
            for column in columns}  # fmt: skip
    request = {
        "suite": suite,
        "seed": seed,
        "chunk": CHUNK,
        "columns": {
            column.name: {
                "episodes": len(lists[column.name]),
                "digest": digest(lists[column.name]),
                "metrics": [metric.name for metric in column.metrics],
                "predictors": [predictor.name for predictor in able[column.name]],
            }
            for column in columns
        },
        "predictors": {predictor.name: predictor.describe() for predictor in predictors},
        "row_order": [predictor.name for predictor in predictors],
        "told": dict(told or {}),
    }
    _claim(out, json.loads(json.dumps(request)), ranks)
    for place, column in enumerate(columns):
        for number, chunk in _chunks(lists[column.name]):
            if (place + number) % ranks.world_size == ranks.rank:
                _ask_chunk(column, able[column.name], number, chunk, out, seed, watch)


def num_missing(out: Path) -> int:
    """Chunks of a run that are not there yet: other processes may be at them."""
    request = read_json(out / REQUEST, "request of an evaluation")
    return sum(
        not _lines_at(out, name, predictor, number).exists()
        for name, column in request["columns"].items()
        for predictor in column["predictors"]
        for number in range(-(-column["episodes"] // request["chunk"]))
    )


def lines_of(out: Path, column: str, predictor: str) -> list[dict[str, Any]]:
    """The finished lines of one predictor in one column, by episode."""
    folder = out / "lines" / column / predictor
    lines = [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]
    return sorted(lines, key=lambda line: line["number"])


def _check_names(columns: Sequence[Column], predictors: Sequence[Predictor]) -> None:
    for what, names in (("column", [one.name for one in columns]), ("predictor", [one.name for one in predictors])):
        twice = sorted({name for name in names if names.count(name) > 1})
        odd = [name for name in names if name in RESERVED or not re.fullmatch(r"[\w.+ -]*\w[\w.+ -]*", name)]
        if twice or odd or not names:
            raise ValueError(f"names of {what}s must be there, differ and be fit for folders; twice {twice}, odd {odd}")


def _claim(out: Path, request: dict[str, Any], ranks: Ranks) -> None:
    """Begin a run, or go on with the same one."""
    if not (out / REQUEST).exists():
        if ranks.is_main:
            write_json(out / REQUEST, request)
        else:  # the first process writes it
            for _ in range(600):
                if (out / REQUEST).exists():
                    break
                time.sleep(0.1)
    begun = read_json(out / REQUEST, "request of an evaluation")
    if begun != request:
        differs = sorted(name for name in request.keys() | begun.keys() if request.get(name) != begun.get(name))
        raise ValueError(
            f"{out} holds another evaluation (its {', '.join(differs)} differ); give another folder or delete it"
        )


def _chunks(episodes: Sequence[Episode]) -> Iterator[tuple[int, Sequence[Episode]]]:
    for start in range(0, len(episodes), CHUNK):
        yield start // CHUNK, episodes[start : start + CHUNK]


def _lines_at(out: Path, column: str, predictor: str, number: int) -> Path:
    return out / "lines" / column / predictor / f"{number:05d}.jsonl"


def _ask_chunk(
    column: Column,
    predictors: Sequence[Predictor],
    number: int,
    chunk: Sequence[Episode],
    out: Path,
    seed: int,
    watch: Watch,
) -> None:
    files = {one.name: _lines_at(out, column.name, one.name, number) for one in predictors}
    waiting = [predictor for predictor in predictors if not files[predictor.name].exists()]
    if not waiting:
        return
    questions = [_named(column.question(episode), column.name, episode.number) for episode in chunk]
    for episode, question in zip(chunk, questions, strict=True):
        if episode.number < SHOWN:
            _keep_question(question, out / "pictures" / column.name / "asked" / str(episode.number))
    for predictor in waiting:
        start = time.monotonic()
        given = _given(column, predictor, questions, seed_of("evaluate", seed, column.name, number))
        seconds = (time.monotonic() - start) / len(chunk)
        if column.asks == "picture":
            given = [fitted(one, question) for one, question in zip(given, questions, strict=True)]
            watch(column, predictor, number, given, questions)
        lines = []
        for episode, question, scored in zip(chunk, questions, given, strict=True):
            cluster = episode.cluster or episode.query
            lines.append({
                "number": episode.number, "query": episode.query, "label": episode.label, "cluster": cluster,
                "sums": sums_of(column, scored, question), "seconds": round(seconds, 4),
            })  # fmt: skip
            if episode.number < SHOWN and column.asks == "picture":
                write_image(
                    out / "pictures" / column.name / predictor.name / f"{episode.number}.webp", scored, lossless=True
                )
        with atomic_write(files[predictor.name]) as file:
            file.write("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode())
    say(f"{column.name}: {number * CHUNK + len(chunk)} episodes")


def _named(question: Question, column: str, number: int) -> Question:
    """The question with its place, for predictors that look answers up."""
    return replace(question, told={**question.told, "column": column, "number": number})


def _given(column: Column, predictor: Predictor, questions: list[Question], seed: int) -> Sequence[Given]:
    if column.asks == "picture":
        return predictor.answers(questions, seed=seed)
    if column.asks == "likelihood":
        assert isinstance(predictor, Likelihoods)
        return predictor.likelihoods(questions)
    assert isinstance(predictor, Choices)
    alone = [replace(question, examples=(), query=None, frames=()) for question in questions]
    both = zip(predictor.perplexities(questions), predictor.perplexities(alone), strict=True)
    return [np.stack(pair) for pair in both]


def fitted(answer: np.ndarray, question: Question) -> np.ndarray:
    """An answer at the size of the truth, uint8 [H, W, 3]: bilinear; a square one is stretched to an oblong."""
    assert question.truth is not None
    height, width = question.truth.shape[:2]
    if answer.shape[:2] == (height, width):
        return answer
    if height == width:
        return ImagePreparation(size=height, fit="squash", filter="bilinear")(answer)
    from PIL import Image

    return np.asarray(Image.fromarray(answer).resize((width, height), Image.Resampling.BILINEAR))


def _keep_question(question: Question, folder: Path) -> None:
    names = ["frame"] * len(question.frames)
    if question.style == "analogy":
        names = [*("example", "answer") * len(question.examples), "query"]
    for place, (name, picture) in enumerate(zip(names, question.context, strict=False)):
        write_image(folder / f"{place:02d} {name}.webp", picture, lossless=True)
    if question.truth is not None:
        write_image(folder / "truth.webp", question.truth, lossless=True)
    for place, option in enumerate(question.options):
        name = "right option" if place == question.answer else "option"
        write_image(folder / f"{len(names) + place:02d} {name}.webp", option, lossless=True)
