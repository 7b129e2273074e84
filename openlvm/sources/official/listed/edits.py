"""InstructPix2Pix: pictures and their edited versions, listed in the dataset's seeds.json."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openlvm.core.files import read_json
from openlvm.core.images import MAX_PIXELS
from openlvm.core.picking import pick
from openlvm.core.records import IMAGE, BadRecord, Record
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.official.matched import item_of, read_items

EDITED = "edited"
SHARES = {"train": (0, 90), "val": (90, 95), "test": (95, 100)}
"""Split -> first and last hundredth of the list of prompts, as the publisher's loader has them."""
MAX_PROMPT_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class EditedPictures:
    """Pictures before and after an edit, labelled by the instruction: pairs of one instruction are one task.

    seeds.json                       [["0000000", ["1234", "77"]], ...]
    0000000/prompt.json              {"input": ..., "edit": "make it a watercolor", "output": ...}
    0000000/1234_0.jpg, 1234_1.jpg   Record("0000000/1234", label="make it a watercolor")
    """

    at: Path
    """Folder of seeds.json."""
    split: Literal["train", "val", "test"]
    """Part of the list of prompts."""
    records_per_part: int = 1000
    """Pairs read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Pairs with a larger picture are skipped and reported, before it is decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)
        pick(SHARES, self.split, "split")

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture before, and after."""
        return (IMAGE, EDITED)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("edited_pictures", self)

    def parts(self) -> list[Part]:
        """Pairs in the order of the list; no folder is opened.

        Raises:
            FileNotFoundError: no seeds.json.
            ValueError: it is no such list, or the split has nothing.
        """
        at = Path(self.at) / "seeds.json"
        listed = read_json(at, "list of prompts and seeds")
        if not isinstance(listed, list) or not all(_is_entry(entry) for entry in listed):
            raise ValueError(f'{at} must be a list of ["prompt folder", ["seed", ...]]')
        first, last = (len(listed) * share // 100 for share in SHARES[self.split])
        pairs = [(folder, str(seed)) for folder, seeds in listed[first:last] for seed in seeds]
        if not pairs:
            raise ValueError(f"{at} has no pair for the split {self.split!r}; it lists {len(listed)} prompts")
        paths = [(f"{folder}/{seed}", [f"{folder}/{seed}_0.jpg", f"{folder}/{seed}_1.jpg"]) for folder, seed in pairs]
        return split_into_parts([item_of(key, "", files) for key, files in paths], self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each pair."""
        for found in read_items(part.items, Path(self.at), self.slots, max_pixels=self.max_pixels):
            if isinstance(found, BadRecord):
                yield found
                continue
            try:
                label = instruction(Path(self.at) / found.key.rpartition("/")[0] / "prompt.json")
                yield Record(key=found.key, slots=found.slots, label=label)
            except (ValueError, OSError) as error:
                yield BadRecord(found.key, str(error))


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and ".." not in entry[0].split("/")
        and isinstance(entry[1], list)
        and all(str(seed).isalnum() for seed in entry[1])
    )


def instruction(at: Path) -> str:
    """What a prompt.json says was done to the picture."""
    if at.stat().st_size > MAX_PROMPT_BYTES:
        raise ValueError(f"{at} has {at.stat().st_size:,} bytes; the limit is {MAX_PROMPT_BYTES:,}")
    try:
        said = json.loads(at.read_text(encoding="utf-8"))["edit"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f'{at} is no JSON object with an instruction under "edit"') from None
    return str(said).strip()
