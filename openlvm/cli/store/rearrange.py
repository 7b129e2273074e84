"""`openlvm store merge|split|sample`: new stores from the records of others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from openlvm.cli.command import Outcome

if TYPE_CHECKING:
    from openlvm.store.format import Store


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Join stores of one tokenizer to one store; their slots are united, where each part came from is kept."""

    stores: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of two stores or more."""
    store: Path
    """Folder of the new store; absent or empty."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Share the records of a store out to several; the same record always goes the same way."""

    source: tyro.conf.Positional[Path]
    """Folder of the store that is split."""
    shares: tuple[str, ...]
    """Names and shares that sum to 1: train=.98 heldout=.02."""
    store: Path
    """Folder in which each new store gets a folder of its name."""
    seed: int = 0
    """Another seed shares them out otherwise."""
    by: Literal["record", "label"] = "record"
    """label: all records of a label go the same way."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Copy some records of a store into a new one, drawn at random."""

    source: tyro.conf.Positional[Path]
    """Folder of the store that is sampled."""
    records: int
    """How many."""
    store: Path
    """Folder of the new store; absent or empty."""
    seed: int = 0
    """Another seed draws others."""
    json: bool = False
    """Print one JSON object on stdout."""


def merge(options: Merge) -> Outcome:
    """Several stores as one."""
    from openlvm.store.rearrange.merge import merge as merged

    store, clash = merged(options.stores, options.store)
    values = {**counts(options.store, store), "slots": list(store.slots), "clash": clash}
    said = f"; both have a key {clash!r}, so keys begin with the name of their store" if clash else ""
    return Outcome(values, f"{told(options.store, store)}{said}")


def split(options: Split) -> Outcome:
    """One store as several."""
    from openlvm.store.format import Store
    from openlvm.store.rearrange.select import split as shared_out

    shares = _shares(options.shares)
    stores = shared_out(Store.open(options.source), options.store, shares, seed=options.seed, by=options.by)
    values = {"stores": [counts(store.at, store) for store in stores.values()]}
    return Outcome(values, "\n".join(told(store.at, store) for store in stores.values()))


def sample(options: Sample) -> Outcome:
    """Some records of a store."""
    from openlvm.store.format import Store
    from openlvm.store.rearrange.select import sample as sampled

    store = sampled(Store.open(options.source), options.store, options.records, seed=options.seed)
    return Outcome(counts(options.store, store), told(options.store, store))


def _shares(words: Sequence[str]) -> dict[str, float]:
    """train=.98 heldout=.02 as a dictionary."""
    shares: dict[str, float] = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            share = float(number)
        except ValueError:
            raise ValueError(f"--shares takes names with numbers, train=.98 heldout=.02, given {word!r}") from None
        if name in shares:
            raise ValueError(f"--shares names {name!r} twice")
        shares[name] = share
    return shares


def counts(at: Path, store: "Store") -> dict[str, Any]:
    """What a new store holds, for a program."""
    return {"store": at, "records": store.num_records, "images": store.num_images}


def told(at: Path, store: "Store") -> str:
    """The same for a person."""
    return f"{at}: {store.num_records} records, {store.num_images} images"
