"""Pairs of pictures as people keep them: found by name, never by position, checked, and split for an honest score.

Three layouts, told apart by what lies in the folder; a folder that could be read in two ways is refused:

    two folders     pairs/input/cat.jpg  pairs/target/cat.png      the names are listed in GIVEN and ASKED
    side by side    pairs/cat.jpg        pairs/cat_target.png      the tail is one of ASKED; cat_input.jpg may be too
    a table         pairs/pairs.csv      "input,target" on its first line, then paths, relative to the table's folder
"""

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from openlvm.core.images import ImagePreparation, read_image
from openlvm.core.records import IMAGE, BadRecord, Record
from openlvm.core.seeds import rng
from openlvm.sources.interface import Part, split_into_parts
from openlvm.sources.listing import PICTURE_ENDINGS, find_files, natural_order
from openlvm.sources.pairs import SHAPE_TOLERANCE, PairedFolders

ANSWER = "answer"  # the slot of the pictures asked for
GIVEN = ("input", "inputs", "given", "image", "images", "source", "before")
ASKED = ("target", "targets", "answer", "answers", "output", "outputs", "label", "labels", "mask", "masks", "after")
TABLE = "pairs.csv"
FEWEST = 8  # pairs: six to learn from, two to be asked
MOST_HELDOUT = 32  # more would take longer to ask than they tell
MAX_BAD_SHARE = 0.1  # of the pairs may be unreadable; they are left out and counted
PAIRS_PER_PART = 256


@dataclass(frozen=True)
class Pair:
    """A picture and what it should become, paths relative to the pairs' folder."""

    key: str
    given: str
    asked: str


@dataclass(frozen=True)
class PairFiles:
    """Some pairs of a folder as a source: slots image and answer, F = 1, in the order given."""

    at: Path
    pairs: tuple[Pair, ...]

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture given and the one asked for."""
        return (IMAGE, ANSWER)

    def describe(self) -> dict[str, Any]:
        """The layout alone; the request of a store holds the names."""
        return {"layout": "fit pairs"}

    def parts(self) -> list[Part]:
        """Keys of the pairs."""
        return split_into_parts([pair.key for pair in self.pairs], PAIRS_PER_PART)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """A record for each pair."""
        by_key = {pair.key: pair for pair in self.pairs}
        for key in part.items:
            try:
                given, asked = read_pair(self.at, by_key[key])
                yield Record(key=key, slots={IMAGE: [given], ANSWER: [asked]})
            except (ValueError, OSError) as error:
                yield BadRecord(key, str(error))


def read_pair(at: Path, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures, uint8 [H, W, 3] each.

    Raises:
        ValueError, OSError: one cannot be read, or they are not of one shape, so that they would not lie on each other.
    """
    given, asked = (read_image(at / path) for path in (pair.given, pair.asked))
    (height, width), (other_height, other_width) = given.shape[:2], asked.shape[:2]
    if abs(width * other_height / (height * other_width) - 1) > SHAPE_TOLERANCE:
        sizes = f"{pair.given} is {width} x {height}, {pair.asked} is {other_width} x {other_height}"
        raise ValueError(f"{sizes}: not one shape. Crop or pad one of them")
    return given, asked


# ------------------------------------------------------------------------------------------------------------ finding


def find_pairs(at: Path, *, given: str = "", asked: str = "") -> PairFiles:
    """All pairs of a folder, in natural order of their names.

    Args:
        at: the folder, or a table.
        given, asked: names of the folders, tails or columns; "" takes those that are in GIVEN and ASKED.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no pairs, pictures without partner, or more than one way to read the folder.
    """
    if at.is_file() and at.suffix.lower() == ".csv":
        return PairFiles(at.parent, _of_table(at, given, asked))
    if (at / TABLE).is_file():
        return PairFiles(at, _of_table(at / TABLE, given, asked))
    files = find_files(at, PICTURE_ENDINGS, "pairs of pictures")
    folders = {path.partition("/")[0] for path in files if "/" in path}
    loose = [path for path in files if "/" not in path]
    if folders and loose:
        raise ValueError(
            f"{at} holds {len(loose)} pictures itself and more in {_listed(folders)}; it is not clear what the pairs "
            "are. Leave two folders, or pictures side by side"
        )
    pairs = _of_folders(at, folders, given, asked) if folders else _side_by_side(at, loose, given, asked)
    return PairFiles(at, pairs)


def _of_folders(at: Path, folders: set[str], given: str, asked: str) -> tuple[Pair, ...]:
    chosen = []
    for option, name, known in (("--given", given, GIVEN), ("--asked", asked, ASKED)):
        fitting = [name] if name else sorted(folder for folder in folders if folder.lower() in known)
        if len(fitting) != 1 or fitting[0] not in folders:
            raise ValueError(
                f"{at} holds the folders {_listed(folders)}: not clear which of them {option} is"
                f"{f', there is no {name!r}' if name else ''}. Name them with --given and --asked, or call them "
                f"{GIVEN[0]} and {ASKED[0]}"
            )
        chosen += fitting
    others = folders - set(chosen)
    if others and not (given and asked):
        raise ValueError(
            f"{at} holds more folders of pictures than {_listed(chosen)}: {_listed(others)}. "
            "Say which two are meant with --given and --asked"
        )
    parts = PairedFolders(at=at, folders={IMAGE: chosen[0], ANSWER: chosen[1]}).parts()
    return tuple(Pair(*item.split("//")) for part in parts for item in part.items)


def _side_by_side(at: Path, names: Sequence[str], given: str, asked: str) -> tuple[Pair, ...]:
    """x.png and x_target.png; the same tail on all that are asked for."""
    found: dict[str, dict[str, str]] = {"given": {}, "asked": {}}
    tails = set()
    for name in names:
        stem = PurePosixPath(name).stem
        tail = re.fullmatch(r"(.+)[_-]([^_-]+)", stem)
        key, role = stem, "given"
        if tail and tail[2].lower() in ((asked.lower(),) if asked else ASKED):
            key, role = tail[1], "asked"
            tails.add(tail[2])
        elif tail and tail[2].lower() in ((given.lower(),) if given else GIVEN):
            key = tail[1]
        if key in found[role]:
            raise ValueError(f"{found[role][key]} and {name} in {at} claim one pair, {key!r}; rename or remove one")
        found[role][key] = name
    if not tails:
        raise ValueError(
            f"no pairs in {at}: {len(names)} pictures side by side, none of which ends in "
            f"{f'_{asked}' if asked else f'_{ASKED[0]}, _{ASKED[2]}, _{ASKED[4]}'}. Put them into two folders, "
            f"{GIVEN[0]} and {ASKED[0]}, with equal names, or name the tail with --asked"
        )
    if len(tails) > 1:
        raise ValueError(f"{at} has pictures that end in {_listed(tails)}; say which are meant with --asked")
    _refuse_lonely(at, found)
    keys = sorted(found["given"], key=natural_order)
    return tuple(Pair(key, found["given"][key], found["asked"][key]) for key in keys)


def _refuse_lonely(at: Path, found: Mapping[str, Mapping[str, str]]) -> None:
    for role, other in (("given", "asked"), ("asked", "given")):
        lonely = sorted(found[role].keys() - found[other].keys(), key=natural_order)
        if lonely:
            raise ValueError(
                f"{len(lonely)} of {len(found[role])} pictures in {at} have no partner, first "
                f"{found[role][lonely[0]]!r}. A pair is x.png and x_target.png"
            )


def _of_table(at: Path, given: str, asked: str) -> tuple[Pair, ...]:
    with open(at, newline="", encoding="utf-8-sig") as file:
        header, *rows = [row for row in csv.reader(file) if row] or [[]]
    columns = []
    for name, known in ((given, GIVEN), (asked, ASKED)):
        fitting = [
            place for place, title in enumerate(header) if title.strip().lower() in ((name.lower(),) if name else known)
        ]
        if len(fitting) != 1:
            raise ValueError(
                f"{at} begins with {','.join(header) or 'nothing'!r}; its first line must name the columns, such as "
                f'"{GIVEN[0]},{ASKED[0]}", or name them with --given and --asked'
            )
        columns += fitting
    pairs: dict[str, Pair] = {}
    for number, row in enumerate(rows, 2):
        if len(row) <= max(columns):
            raise ValueError(f"{at}, line {number}: {len(row)} columns, expected at least {max(columns) + 1}")
        first, second = (row[column].strip() for column in columns)
        key = str(PurePosixPath(first).with_suffix("")) if first else ""
        if not first or not second or key in pairs:
            raise ValueError(f"{at}, line {number}: {f'{first} comes twice' if key in pairs else 'a path is missing'}")
        pairs[key] = Pair(key, first, second)
    if not pairs:
        raise ValueError(f"{at} names no pairs")
    return tuple(pairs.values())


def _listed(names: set[str] | Sequence[str]) -> str:
    return ", ".join(sorted(names, key=natural_order))


# ------------------------------------------------------------------------------------------------------------- judging


@dataclass(frozen=True)
class Checked:
    """The pairs that can be used."""

    pairs: tuple[Pair, ...]
    looks: tuple[str, ...]
    """Of each pair: SHA-256 of its given picture as the tokenizer sees it; equal pictures are one."""
    digest: str
    """SHA-256 of all names and pictures: a fit that is gone on with must find the same."""
    bad: tuple[tuple[str, str], ...]
    """Key and reason of the pairs that were left out."""


def checked(files: PairFiles, preparation: ImagePreparation) -> Checked:
    """Read every pair once.

    Raises:
        ValueError: more than MAX_BAD_SHARE cannot be read, or fewer than FEWEST are left.
    """
    good, looks, bad = [], [], []
    digest = hashlib.sha256()
    for pair in files.pairs:
        try:
            given, asked = (preparation(picture).tobytes() for picture in read_pair(files.at, pair))
        except (ValueError, OSError) as error:
            bad.append((pair.key, str(error)))
            continue
        good.append(pair)
        looks.append(hashlib.sha256(given).hexdigest())
        digest.update(pair.key.encode(errors="surrogateescape") + b"\0" + given + asked)
    if len(bad) > MAX_BAD_SHARE * len(files.pairs):
        told = "; ".join(f"{key}: {reason}" for key, reason in bad[:3])
        raise ValueError(
            f"{len(bad)} of {len(files.pairs)} pairs in {files.at} cannot be used, more than {MAX_BAD_SHARE:.0%}: "
            f"{told}"
        )
    if len(good) < FEWEST:
        raise ValueError(f"{files.at} has {len(good)} pairs that can be used; at least {FEWEST} are needed")
    return Checked(tuple(good), tuple(looks), digest.hexdigest(), tuple(bad))


@dataclass(frozen=True)
class Split:
    """Pairs to learn from, and pairs that only ask."""

    training: tuple[Pair, ...]
    heldout: tuple[Pair, ...]


def split(found: Checked, *, share: float, seed: int) -> Split:
    """Hold out a share of the pairs, 2 .. MOST_HELDOUT, drawn by the seed; pairs of equal given pictures stay together.

    Raises:
        ValueError: too few different pictures are given.
    """
    wanted = min(MOST_HELDOUT, max(2, round(share * len(found.pairs))))
    names = sorted(set(found.looks))
    drawn = [names[place] for place in rng("fit, held out", seed).permutation(len(names))]
    heldout: set[str] = set()
    for name in drawn:
        if sum(look in heldout for look in found.looks) >= wanted:
            break
        heldout.add(name)
    sides: tuple[list[Pair], list[Pair]] = ([], [])
    for pair, look in zip(found.pairs, found.looks, strict=True):
        sides[look in heldout].append(pair)
    if len(sides[0]) < FEWEST - 2:
        raise ValueError(
            f"{len(found.pairs)} pairs show {len(names)} different pictures; without {len(sides[1])} that are held out "
            f"{len(sides[0])} pairs are left, at least {FEWEST - 2} are needed"
        )
    return Split(tuple(sides[0]), tuple(sides[1]))
