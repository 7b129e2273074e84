"""What every source of data offers: names of its slots, a description, units of work, and records read lazily."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from openlvm.core.records import BadRecord, Record


@dataclass(frozen=True)
class Part:
    """A unit of work: some items of a source, read together and written to the store as one part."""

    name: str
    """Its number with five digits: "00000", "00001", ..."""
    items: tuple[str, ...]
    """Keys or paths relative to the source's root; each gives at least one record."""


class Source(Protocol):
    """A data set as it lies on disk. Sources are frozen dataclasses, so that they can be sent to other processes."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots its records have, "image" first."""
        ...

    def describe(self) -> dict[str, Any]:
        """Layout and options as JSON values; written into the store, which refuses to continue with another source."""
        ...

    def parts(self) -> list[Part]:
        """The same list on every call and machine.

        Raises:
            FileNotFoundError: a folder is missing.
            ValueError: a folder is empty, or items lack a partner.
        """
        ...

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """Records in the order of the part's items, read one at a time."""
        ...


def split_into_parts(items: list[str], size: int) -> list[Part]:
    """Consecutive parts of `size` items, the last one shorter; the same items always give the same parts."""
    chunks = [tuple(items[start : start + size]) for start in range(0, len(items), size)]
    return [Part(f"{number:05d}", chunk) for number, chunk in enumerate(chunks)]


def describe_fields(layout: str, source: Any) -> dict[str, Any]:
    """The layout's name and a source's options as JSON values; `at` is left out, since a data set may be moved."""
    options = {name: value for name, value in asdict(source).items() if name != "at"}
    return {"layout": layout, **options}


def require_positive(**numbers: int) -> None:
    """A ValueError for the first of a source's options that is below 1."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name}={number} must be at least 1")
