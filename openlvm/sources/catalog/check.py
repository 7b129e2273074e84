"""Looking at a dataset's folder before it is tokenized: what is there, against what its row promises."""

from dataclasses import dataclass, field
from pathlib import Path

from openlvm.core.records import BadRecord
from openlvm.sources.catalog.row import Row

MAX_TOLD = 10
"""Bad records that are named."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found of one split."""

    split: str
    items: int
    """Pictures, films or objects found."""
    promised: int | None
    """How many the publisher says there are."""
    read: int
    """Items that were read."""
    records: int
    """Good records they gave."""
    bad: int
    """Records that could not be read."""
    told: tuple[str, ...]
    """The first bad ones, each as "key: reason"."""
    frames: dict[str, int] = field(default_factory=dict)
    """Slot -> pictures or annotations in the good records."""

    @property
    def is_as_promised(self) -> bool:
        """Everything is there and what was read is whole."""
        return not self.bad and self.promised in (None, self.items)


def check_split(row: Row, at: Path, split: str, *, limit: int) -> Checked:
    """Count a split's items and read some of them, spread evenly over the whole.

    Args:
        row: of the catalogue.
        at: folder of the dataset.
        split: of `row.splits`.
        limit: items to read; 0 reads all.

    Raises:
        FileNotFoundError: a folder or an annotation file is missing.
        ValueError: files without partners, named by key, or a malformed annotation file.
    """
    source = row.source(at, split)
    parts = source.parts()
    items = sum(len(part.items) for part in parts)
    every = max(1, items // limit) if limit else 1
    records = bad = read = number = 0
    told: list[str] = []
    frames: dict[str, int] = {}
    for part in parts:
        chosen = tuple(item for place, item in enumerate(part.items, number) if place % every == 0)
        number += len(part.items)
        if not chosen:
            continue
        read += len(chosen)
        for record in source.read(type(part)(part.name, chosen)):
            if isinstance(record, BadRecord):
                bad += 1
                told += [f"{record.key}: {record.reason}"] if len(told) < MAX_TOLD else []
                continue
            records += 1
            for slot, payloads in record.slots.items():
                frames[slot] = frames.get(slot, 0) + len(payloads)
    return Checked(
        split=split, items=items, promised=row.promised.get(split), read=read, records=records, bad=bad,
        told=tuple(told), frames=frames,
    )  # fmt: skip
