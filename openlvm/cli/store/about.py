"""`openlvm store info|verify`: what a store holds and where it came from, and whether it is as it was written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from openlvm.cli.command import Outcome


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what a store holds: records, images, slots, the tokenizer it belongs to, its size, where it came from."""

    store: tyro.conf.Positional[Path]
    """Folder of the store."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Read every file of a store and compare its SHA-256 with what was written down."""

    store: tyro.conf.Positional[Path]
    """Folder of the store."""
    json: bool = False
    """Print one JSON object on stdout."""


def info(options: Info) -> Outcome:
    """What a store holds, with its passport and the stores it was made of."""
    from openlvm.store.format import Store

    store = Store.open(options.store)
    values = {"store": options.store, **store.info()}
    values |= {name: store.header[name] for name in ("passport", "origins") if name in store.header}
    width = max(map(len, values))
    lines = [line for name, value in values.items() for line in _lines(name, value)]
    return Outcome(values, "\n".join(f"{name:<{width}}  {value}" for name, value in lines))


def _lines(name: str, value: Any) -> list[tuple[str, Any]]:
    """A value as lines for people: a line for each entry of a passport, and for each store it was made of."""
    if name == "passport":
        return [(name if not place else "", f"{key}: {told}") for place, (key, told) in enumerate(value.items())]
    if name == "origins":
        return [("origin", f"{origin['name']}: {origin.get('passport') or origin['source']}") for origin in value]
    return [(name, value)]


def verify(options: Verify) -> Outcome:
    """Whether every file is as it was written."""
    from openlvm.store.format import Store

    store = Store.open(options.store)
    store.verify()
    values = {"store": options.store, "records": store.num_records, "images": store.num_images, "whole": True}
    return Outcome(values, f"{options.store}: {store.num_records} records, {store.num_images} images, all as written")
