"""What the page says about a prompt, as a request of the API; and a prompt as the page shows it.

The page's words (prompt.js): {mode, sections, truths, right}; sections hold items, items hold slots, a slot is a
picture {name, data} or null.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from openlvm.serving.http.pictures import decoded_text, png_text
from openlvm.serving.http.wire import check_marks

MAX_NAME = 60
FILE = "repeat.py"
"""The call that repeats an answer, beside the pictures (answers/repeat.py)."""
RESERVED = (FILE, "answer", "repeated")
"""Names of what else lies beside them."""


@dataclass(frozen=True)
class Named:
    """A picture as it was dropped."""

    name: str
    """Of its file; no two pictures of a prompt have the same."""
    data: str
    """The file, base64."""
    number: int
    """Of the picture among those of the prompt, from 0."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What the page asks."""

    verb: str
    given: Mapping[str, Any]
    """Fields of the request -> pictures (`Named`), nested as the verb wants them."""
    truths: tuple[str, ...] = ()
    """What a perfect answer shows (base64 pictures), for an example that was not changed."""
    right: int | None = None
    """The option that is right, of such an example."""
    pictures: tuple[Named, ...] = ()
    """All that are given, each once."""
    files: tuple[bytes, ...] = ()
    """Theirs."""

    def request(self, **how: Any) -> str:
        """The API's request, JSON, which names files by their numbers: what is given twice is one picture."""
        return json.dumps({**mapped(self.given, lambda picture: picture.number), **how})


def read_prompt(text: str) -> Prompt:
    """What the page's words ask.

    Raises:
        ValueError: a picture is missing, or the words are none of the page's.
    """
    try:
        check_marks(text)
        found = json.loads(text)
        mode, sections = found["mode"], [_items(items) for items in found["sections"]]
        names = _Names()
        truths = tuple(str(picture["data"]) for picture in found["truths"])
        given = _GIVEN[mode](sections)
        right = found["right"] if isinstance(found["right"], int) else None
        named = {key: mapped(value, names) for key, value in given.items()}
    except (TypeError, KeyError, IndexError, AttributeError, json.JSONDecodeError, RecursionError):
        raise ValueError("this page and its server do not understand each other; load the page again") from None
    pictures = tuple(names.known.values())
    files = tuple(decoded_text(picture.data, picture.name) for picture in pictures)
    return Prompt(verb=mode, given=named, truths=truths, right=right, pictures=pictures, files=files)


def _items(items: Any) -> list[list[dict[str, str] | None]]:
    """Without those whose slots are all empty."""
    return [list(item) for item in items if any(item)]


def _strip(items: list[Any], title: str) -> list[Any]:
    if not items:
        raise ValueError(f"{title} is empty; drop pictures on it, or load an example")
    return [item[0] for item in items]


def _pairs(items: list[Any], title: str) -> list[Any]:
    if not items:
        raise ValueError(f"{title} has no pair; drop pictures on it, or load an example")
    for number, item in enumerate(items, 1):
        if len(item) != 2 or None in item:
            raise ValueError(f"{title}: pair {number} lacks a picture; a pair is an input and its answer")
    return items


def _query(items: list[Any]) -> Any:
    return _strip(items, "Query")[0]


_GIVEN = {
    "complete": lambda sections: {"images": _strip(sections[0], "Frames")},
    "analogy": lambda sections: {"pairs": _pairs(sections[0], "Examples"), "query": _query(sections[1])},
    "compose": lambda sections: {
        "groups": [_pairs(items, f"Task {number}") for number, items in enumerate(sections[:-1], 1)],
        "query": _query(sections[-1]),
    },
    "choose": lambda sections: {"context": _strip(sections[0], "Shown"), "options": _strip(sections[1], "Options")},
}
"""Mode -> the fields of its request, of its sections."""


class _Names:
    """Gives each picture a name that is safe in any folder; the same file given twice keeps its name."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Named] = {}

    def __call__(self, picture: Mapping[str, str]) -> Named:
        name, data = str(picture["name"]), str(picture["data"])
        if (name, data) not in self.known:
            self.known[name, data] = Named(self._free(safe_name(name)), data, len(self.known))
        return self.known[name, data]

    def _free(self, name: str) -> str:
        taken = {*RESERVED, *(picture.name.casefold() for picture in self.known.values())}  # some disks ignore case
        stem, ending = PurePath(name).stem, PurePath(name).suffix
        candidates: Iterator[str] = iter([name, *(f"{stem}-{number}{ending}" for number in range(2, len(taken) + 3))])
        return next(one for one in candidates if one.casefold() not in taken)


def safe_name(name: str) -> str:
    """The last part of a name, without letters that folders, shells or Python's strings take for something else."""
    kept = re.sub(r"[^\w.-]+", "_", re.split(r"[\\/]", name)[-1])[-MAX_NAME:].lstrip(".-")
    return kept or "picture"


def mapped(value: Any, act: Any) -> Any:
    """`act` of every picture within nested lists and mappings; pictures are `Named` or as the page has them."""
    if isinstance(value, list):
        return [mapped(one, act) for one in value]
    if isinstance(value, Mapping) and "data" not in value:
        return {key: mapped(one, act) for key, one in value.items()}
    return act(value)


# ------------------------------------------------------------------------------------------------------ for the page


def said(
    mode: str,
    sections: Sequence[Sequence[Sequence[np.ndarray]]],
    names: Sequence[Sequence[Sequence[str]]],
    *,
    truths: Sequence[np.ndarray] = (),
    right: int | None = None,
) -> str:
    """The page's words for a prompt.

    Args:
        sections: pictures uint8 [H, W, 3] by section, item and slot.
        names: of their files, in the same order.
    """
    told = [
        [
            [{"name": name, "data": png_text(picture)} for name, picture in zip(of_item, item, strict=True)]
            for of_item, item in zip(of_section, section, strict=True)
        ]
        for of_section, section in zip(names, sections, strict=True)
    ]
    right_ones = [{"name": "truth.png", "data": png_text(picture)} for picture in truths]
    return json.dumps({"mode": mode, "sections": told, "truths": right_ones, "right": right})
