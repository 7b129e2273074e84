"""`openlvm store info|verify`: what a store holds, and whether it is as it was written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from openlvm.cli.command import Outcome, parse, report


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what a store holds: records, images, slots, the tokenizer it belongs to, its size."""

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


Verbs = Annotated[Info, tyro.conf.subcommand("info")] | Annotated[Verify, tyro.conf.subcommand("verify")]


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    options = parse(Verbs, argv, "store")
    report(lambda: _info(options) if isinstance(options, Info) else _verify(options), as_json=options.json)


def _info(options: Info) -> Outcome:
    from openlvm.store.format import Store

    store = Store.open(options.store)
    values = {"store": options.store, **store.info()}
    width = max(map(len, values))
    return Outcome(values, "\n".join(f"{name:<{width}}  {value}" for name, value in values.items()))


def _verify(options: Verify) -> Outcome:
    from openlvm.store.format import Store

    store = Store.open(options.store)
    store.verify()
    values = {"store": options.store, "records": store.num_records, "images": store.num_images, "whole": True}
    return Outcome(values, f"{options.store}: {store.num_records} records, {store.num_images} images, all as written")
