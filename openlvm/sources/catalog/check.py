"""Looking at a dataset's folder before it is tokenized: what is there, against what its row promises."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from openlvm.core.records import BadRecord, Record
from openlvm.sources.catalog.row import Row
from openlvm.sources.interface import Part, Source

MAX_TOLD = 10
"""Bad records that are named."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found of one split."""

    split: str
    missing: str = ""
    """Why there is nothing: the folder or file that is not there; then all numbers are 0."""
    items: int = 0
    """Pictures, films or objects found; of tar archives, the archives."""
    promised: int | None = None
    """How many the publisher says there are."""
    read: int = 0
    """Items that were read."""
    records: int = 0
    """Good records they gave."""
    bad: int = 0
    """Records that could not be read."""
    told: tuple[str, ...] = ()
    """The first bad ones, each as "key: reason"."""
    frames: dict[str, int] = field(default_factory=dict)
    """Slot -> pictures or annotations in the good records."""
    labels: int = 0
    """Different labels of the good records."""

    @property
    def is_as_promised(self) -> bool:
        """Everything is there and what was read is whole."""
        return not self.missing and not self.bad and self.promised in (None, self.items)


def check_splits(row: Row, at: Path, *, limit: int) -> list[Checked]:
    """Every split of a dataset; one whose files are not there is a line, since few have downloaded all.

    Raises:
        FileNotFoundError: no split is there; names what each lacks.
        ValueError: files without partners, named by key, or a malformed annotation file.
    """
    found = []
    for split in row.splits:
        try:
            found.append(check_split(row, at, split, limit=limit))
        except FileNotFoundError as error:
            found.append(Checked(split=split, promised=row.promised.get(split), missing=str(error)))
    if all(checked.missing for checked in found):
        raise FileNotFoundError(
            f"{at} is not {row.dataset} as it is published: "
            + "; ".join(f"{checked.split}: {checked.missing}" for checked in found)
            + f". `openlvm catalog {row.name}` shows its layout"
        )
    return found


def check_split(row: Row, at: Path, split: str, *, limit: int) -> Checked:
    """Count a split's items and read some of them, spread evenly over the whole.

    Args:
        row: of the catalogue.
        at: folder of the dataset.
        split: of `row.splits`.
        limit: items to read, and about the records read of them all; 0 reads everything.

    Raises:
        FileNotFoundError: a folder or an annotation file is missing.
        ValueError: files without partners, named by key, or a malformed annotation file.
    """
    source = row.source(at, split)
    parts = source.parts()
    items = sum(len(part.items) for part in parts)
    every = -(-items // limit) if limit else 1
    chosen = -(-items // every)
    each = max(1, -(-limit // chosen)) if limit else None  # records of an item: an archive has ten thousand
    records = bad = 0
    told: list[str] = []
    frames: dict[str, int] = {}
    labels: set[str] = set()
    for record in _some(source, parts, every, each):
        if isinstance(record, BadRecord):
            bad += 1
            told += [f"{record.key}: {record.reason}"] if len(told) < MAX_TOLD else []
            continue
        records += 1
        labels.add(record.label)
        for slot, payloads in record.slots.items():
            frames[slot] = frames.get(slot, 0) + len(payloads)
    return Checked(
        split=split, items=items, promised=row.promised.get(split), read=chosen, records=records, bad=bad,
        told=tuple(told), frames=frames, labels=len(labels - {""}),
    )  # fmt: skip


def _some(source: Source, parts: list[Part], every: int, each: int | None) -> Iterator[Record | BadRecord]:
    """The first `each` records of every `every`-th item."""
    number = 0
    for part in parts:
        for place, item in enumerate(part.items, number):
            if place % every == 0:
                yield from islice(source.read(Part(part.name, (item,))), each)
        number += len(part.items)
