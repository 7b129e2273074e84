"""`openlvm prompt sequence|analogy|compose|choose`: pictures in, pictures out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from openlvm.cli.command import Outcome, find_pictures, parse, report

if TYPE_CHECKING:
    import numpy as np

    from openlvm.prompting.lvm import LVM, Answer

Pair = tuple[Path, Path]


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every prompt says."""

    lvm: str = "mini"
    """The LVM that answers: a bundle folder, or "mini", which comes with OpenLVM."""
    seed: int = 0
    """Of the chances taken; the same call gives the same answer."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Drawing(Common):
    """What every prompt says whose answer is drawn."""

    out: Path = Path("runs/prompt")
    """Folder the answers are written to: sheet.png and candidate-C-image-I.png."""
    candidates: int = 1
    """Answers drawn to the same prompt."""
    temperature: float | None = None
    """Of sampling; 0 takes the likeliest code each time. By default what the LVM suggests, or else 1."""
    top_k: int | None = None
    """Sample among this many likeliest codes only."""
    top_p: float | None = None
    """Sample among the likeliest codes that hold this share of the probability."""


@dataclass(frozen=True, kw_only=True)
class Continue(Drawing):
    """Continue a sequence: frames of a clip, views of an object, pictures of a category."""

    images: tyro.conf.Positional[tuple[str, ...]]
    """Pictures, folders or patterns, in order."""
    frames: int = 1
    """Pictures to add."""


@dataclass(frozen=True, kw_only=True)
class Analogy(Drawing):
    """Show a task by examples, and have it done on a picture."""

    pairs: tuple[Pair, ...]
    """Examples: picture and answer, picture and answer, ..."""
    query: Path
    """The picture to answer."""


@dataclass(frozen=True, kw_only=True)
class Compose(Drawing):
    """Show several tasks, a group of examples each, and have them all done on a picture."""

    group: tyro.conf.UseAppendAction[tuple[tuple[Pair, ...], ...]]
    """Examples of one task: picture and answer, ...; once for each task."""
    query: Path
    """The picture to answer."""


@dataclass(frozen=True, kw_only=True)
class Choose(Common):
    """Say which of several pictures fits best after the others (the lowest perplexity)."""

    context: tuple[str, ...]
    """Pictures, folders or patterns, in order."""
    options: tuple[str, ...]
    """The pictures to choose from."""


Verbs = (
    Annotated[Continue, tyro.conf.subcommand("sequence")]
    | Annotated[Analogy, tyro.conf.subcommand("analogy")]
    | Annotated[Compose, tyro.conf.subcommand("compose")]
    | Annotated[Choose, tyro.conf.subcommand("choose")]
)


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    options = parse(Verbs, argv, "prompt")
    report(lambda: _choose(options) if isinstance(options, Choose) else _draw(options), as_json=options.json)


def _load(name: str) -> "LVM":
    from openlvm.prompting.lvm import LVM

    return LVM.load(name)


def _draw(options: Continue | Analogy | Compose) -> Outcome:
    given, answer_of = _prompt_of(options)
    wanted: dict[str, Any] = {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    lvm = _load(options.lvm)
    sampling = replace(lvm.sampling, **{name: value for name, value in wanted.items() if value is not None})
    answer = answer_of(lvm, num_candidates=options.candidates, sampling=sampling, seed=options.seed)
    written = _write(
        options.out, [[lvm.bundle.tokenizer.preparation(picture) for picture in row] for row in given], answer
    )
    mean_log_probs = [float(row.mean()) for row in answer.log_probs]
    values = {"sheet": options.out / "sheet.png", "images": written, "mean_log_prob": mean_log_probs}
    return Outcome(values, "\n".join(map(str, [values["sheet"], *written])))


def _prompt_of(options: Continue | Analogy | Compose) -> tuple[list[list["np.ndarray"]], Any]:
    """The prompt's pictures in the rows of a contact sheet, and the call that answers it."""
    from openlvm.core.images import read_image

    def read_pairs(pairs: Sequence[Pair]) -> list[tuple["np.ndarray", "np.ndarray"]]:
        return [(read_image(picture), read_image(answer)) for picture, answer in pairs]

    if isinstance(options, Continue):
        images = [read_image(path) for path in find_pictures(options.images)]
        return [images], lambda lvm, **how: lvm.complete(images, num_frames=options.frames, **how)
    query = read_image(options.query)
    if isinstance(options, Analogy):
        pairs = read_pairs(options.pairs)
        return [[*_flat(pairs), query]], lambda lvm, **how: lvm.analogy(pairs, query=query, **how)
    groups = [read_pairs(group) for group in options.group]
    rows = [*map(_flat, groups), [query]]
    return rows, lambda lvm, **how: lvm.compose(groups, query=query, **how)


def _flat(pairs: Sequence[tuple["np.ndarray", "np.ndarray"]]) -> list["np.ndarray"]:
    """a, A, b, B, ... of (a, A), (b, B), ..."""
    return [picture for pair in pairs for picture in pair]


def _write(out: Path, given: list[list["np.ndarray"]], answer: "Answer") -> list[Path]:
    """The contact sheet (the prompt's rows, then a row for each candidate) and each answered picture."""
    from openlvm.core.images import write_image
    from openlvm.core.sheets import contact_sheet

    candidates = [list(frames) for frames in answer.images]
    titles = ["prompt", *[""] * (len(given) - 1), *(f"answer {number}" for number in range(len(candidates)))]
    write_image(out / "sheet.png", contact_sheet([*given, *candidates], titles=titles))
    written = []
    for number, frames in enumerate(candidates):
        for frame, picture in enumerate(frames):
            written.append(out / f"candidate-{number}-image-{frame}.png")
            write_image(written[-1], picture)
    return written


def _choose(options: Choose) -> Outcome:
    context, candidates = find_pictures(options.context), find_pictures(options.options)
    choice = _load(options.lvm).choose(context=context, options=candidates)
    perplexities = [float(value) for value in choice.perplexities]
    values = {"index": choice.index, "picture": candidates[choice.index], "perplexities": perplexities}
    lines = [
        f"{'*' if index == choice.index else ' '} {value:10.2f}  {path}"
        for index, (value, path) in enumerate(zip(perplexities, candidates, strict=True))
    ]
    return Outcome(values, "\n".join(["  perplexity  picture", *lines]))
