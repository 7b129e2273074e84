"""What the verbs share: reading options from a dataclass, finding pictures, and printing what came out."""

import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, is_dataclass
from glob import glob
from pathlib import Path
from typing import Any, get_args, get_origin

import tyro

from openlvm.core.ranks import ranks_from_environment
from openlvm.sources.listing import PICTURE_ENDINGS, find_files, natural_order


@dataclass(frozen=True)
class Outcome:
    """What a verb has to say: for a program (`values`, JSON-able) and for a person (`text`)."""

    values: Mapping[str, Any]
    text: str


def parse(options: Any, argv: Sequence[str], verb: str) -> Any:
    """The options of a verb as its dataclass, or one of a union of them; fields are flags, field docstrings their help.

    Raises:
        ValueError: an option is unknown, missing or malformed; one line.
    """
    complaint = io.StringIO()
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff)
    registry = tyro.constructors.ConstructorRegistry()
    registry.primitive_rule(_only_in_recipes)
    try:
        with redirect_stderr(complaint):
            return tyro.cli(options, prog=f"openlvm {verb}", args=argv, config=config, registry=registry)
    except SystemExit as leaving:
        if not leaving.code:  # --help
            raise
        raise ValueError(f"{_one_line(complaint.getvalue())}; see openlvm {verb} --help") from None


def _only_in_recipes(told: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """Lists of settings (the components of a plan) stay as their recipe has them: one flag each, which says so."""
    if get_origin(told.type) is not tuple or not any(map(is_dataclass, get_args(told.type))):
        return None

    def refuse(words: list[str]) -> Any:
        raise ValueError("a list of settings cannot be given on the command line; write a recipe")

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="{recipe}",
        instance_from_str=refuse,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [f"{len(value)}-in-the-recipe"],
    )


def _one_line(panel: str) -> str:
    """The message inside the frame that tyro draws around it."""
    lines = []
    for line in panel.splitlines():
        words = line.strip("╭╮╰╯│─ ")
        if words.startswith(("For full helptext", "Argument helptext")):
            break
        if words:
            lines.append(words)
    return f"{lines[0].lower()}: {' '.join(lines[1:])}" if len(lines) > 1 else " ".join(lines)


def report(action: Callable[[], Outcome], *, as_json: bool) -> None:
    """Do the work and print its outcome on stdout, of several ranks the first one's.

    With `as_json` nothing else reaches stdout; logs go to stderr.
    """
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        outcome = action()
    if ranks_from_environment().is_main:
        print(json.dumps(outcome.values, default=str) if as_json else outcome.text)


def find_pictures(words: Sequence[str]) -> list[Path]:
    """The pictures that words on a command line mean: files as given, folders and patterns in natural order.

    Raises:
        FileNotFoundError: a word names nothing.
    """
    found: list[Path] = []
    for word in words:
        if Path(word).is_dir():
            found += [Path(word) / name for name in find_files(Path(word), PICTURE_ENDINGS, "pictures")]
        elif Path(word).exists():
            found.append(Path(word))
        else:
            matches = sorted(glob(word, recursive=True), key=natural_order)
            if not matches:
                raise FileNotFoundError(f"no picture at {word}")
            found += map(Path, matches)
    return found
