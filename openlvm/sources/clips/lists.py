"""The list files that say which clips a split has and what they show: text, CSV, JSON, one JSON object a line.

A row of any of them is looked at through templates: "{youtube_id}_{time_start:0>6}", "{0}", "{annotations[0][label]}".
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openlvm.sources.listing import VIDEO_ENDINGS


@dataclass(frozen=True, kw_only=True)
class ClipList:
    """Where a split's clips are listed, and how a row of the list reads.

    On disk, and what it says:

        trainlist01.txt  Run/v_Run_g01.avi 31      ClipList(files="trainlist01.txt")
        train.csv        label,id / running,a7     ClipList(files="train.csv", rows="table", clip="{id}")
        all.json         {"videos": [{"id": 7}]}   ClipList(files="all.json", rows="json", inside="videos", clip="{id}")
    """

    files: str
    """Path below the dataset's folder, or a pattern with `*` that several files fit."""
    rows: Literal["words", "cells", "table", "json", "jsonl"] = "words"
    """words: a line's words are {0}, {1} ...; cells: the same of a CSV without a header; table: a CSV with one."""
    clip: str = "{0}"
    """Template of the clip's name: its path, or the end of it; the ending of a film may be there or not."""
    label: str = ""
    """Template of its label; "" takes the folder that the clip lies in."""
    inside: str = ""
    """json: the member that holds the rows, a list or an object (its names are {key}); jsonl: that of each line."""
    only: str = ""
    """Template that must read `equals` in the rows that belong to the split."""
    equals: str = ""
    """See `only`."""
    delimiter: str = ","
    """Between the cells of a CSV."""


@dataclass(frozen=True)
class Listed:
    """One clip of a list."""

    clip: str
    """Its name without the ending of a film."""
    label: str
    """Its label, or "" where the list has none."""


def read_list(root: Path, listing: ClipList) -> list[Listed]:
    """The clips of a list, each once (the first row counts), in the list's order.

    Raises:
        FileNotFoundError: no file fits.
        ValueError: a malformed file, a row without a field that a template names, or no clip at all.
    """
    clips: dict[str, str] = {}
    files = _files(root, listing.files)
    for path in files:
        for number, (cells, fields) in enumerate(_rows(path, listing), 1):
            try:
                if listing.only and listing.only.format(*cells, **fields) != listing.equals:
                    continue
                clip = without_ending(listing.clip.format(*cells, **fields))
                label = listing.label.format(*cells, **fields)
            except (LookupError, TypeError, AttributeError, ValueError) as error:
                raise ValueError(
                    f"row {number} of {path} has no {error}; expected what {listing.clip!r}, {listing.label!r} and "
                    f"{listing.only!r} name. Is it the publisher's file?"
                ) from None
            if not clip or clip.startswith("/") or "//" in clip or ".." in clip.split("/"):
                raise ValueError(f"row {number} of {path} names the clip {clip!r}, which is no path below a folder")
            clips.setdefault(clip, label)
    if not clips:
        chosen = f" with {listing.only} = {listing.equals!r}" if listing.only else ""
        raise ValueError(f"{', '.join(map(str, files[:3]))} lists no clip{chosen}")
    return [Listed(clip, label) for clip, label in clips.items()]


def match_clips(wanted: Iterable[str], found: Iterable[str]) -> dict[str, str]:
    """Clip -> the path that is its name or ends with it; a clip without a path is left out.

    Args:
        wanted: names, as lists have them: "v_Run_g01", "Run/v_Run_g01".
        found: paths relative to one folder, the endings of films included or not.

    Raises:
        ValueError: two paths fit one name.
    """
    by_last: dict[str, list[str]] = {}
    for path in found:
        by_last.setdefault(without_ending(path).rpartition("/")[2], []).append(path)
    matched: dict[str, str] = {}
    for clip in wanted:
        fits = [
            path for path in by_last.get(clip.rpartition("/")[2], ()) if f"/{without_ending(path)}".endswith(f"/{clip}")
        ]
        if len(fits) > 1:
            raise ValueError(f"two files fit the clip {clip!r}: {fits[0]} and {fits[1]}. Remove or rename one")
        if fits:
            matched[clip] = fits[0]
    return matched


def without_ending(name: str) -> str:
    """The path of a film without its ending: "a/b.mp4" -> "a/b"; only endings of films go, so that "clip.7" stays."""
    stem, dot, ending = name.rpartition(".")
    return stem if f"{dot}{ending.lower()}" in VIDEO_ENDINGS else name


def _files(root: Path, pattern: str) -> list[Path]:
    found = sorted(root.glob(pattern)) if "*" in pattern else [root / pattern]
    if not found or not found[0].is_file():
        raise FileNotFoundError(f"no list of clips at {root / pattern}; it is part of the publisher's annotations")
    return found


def _rows(path: Path, listing: ClipList) -> Iterator[tuple[list[str], Mapping[str, Any]]]:
    """Each row as its cells by place and by name; one of the two is empty."""
    if listing.rows == "json":
        yield from _json_rows(_parsed(path.read_text(encoding="utf-8"), str(path)), listing.inside, path)
        return
    with open(path, encoding="utf-8-sig", newline="") as file:
        if listing.rows == "table":
            yield from (([], row) for row in csv.DictReader(file, delimiter=listing.delimiter))
        elif listing.rows == "cells":
            yield from ((row, {}) for row in csv.reader(file, delimiter=listing.delimiter) if row)
        elif listing.rows == "words":
            yield from ((line.split(), {}) for line in file if line.strip())
        else:
            for number, line in enumerate(file, 1):
                if line.strip():
                    inner = _parsed(line, f"line {number} of {path}")
                    yield from _json_rows(inner, listing.inside, path) if listing.inside else [([], inner)]


def _json_rows(document: Any, inside: str, path: Path) -> Iterator[tuple[list[str], Mapping[str, Any]]]:
    rows = document
    if inside:
        if not isinstance(document, dict) or inside not in document:
            raise ValueError(f"{path} has no member {inside!r}. Is it the publisher's file?")
        rows = document[inside]
    if isinstance(rows, dict):
        rows = [{"key": key, **row} for key, row in rows.items() if isinstance(row, dict)]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} must hold a list of objects{f' in {inside!r}' if inside else ''}")
    yield from (([], row) for row in rows)


def _parsed(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}. It may be truncated or damaged") from None
