"""`openlvm store duplicates|contamination`: records that show the same, in one store and in two."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import tyro

from openlvm.cli.command import Outcome
from openlvm.cli.store.rearrange import counts
from openlvm.core.files import atomic_write

SHOWN = 20
"""Groups and records that are printed; `--out` writes all."""


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Find records of a store that show the same: equal codes, and look-alikes."""

    store: tyro.conf.Positional[Path]
    """Folder of the store."""
    tokenizer: str = "demo"
    """The store's: a folder or a name; it tells the colors of codes."""
    exact: bool = False
    """Only equal codes; needs no tokenizer."""
    similarity: float = 0.9
    """Likeness from which two pictures are look-alikes, 0 to 1; docs/interchange.md says what it finds."""
    slot: str = "image"
    """What is compared."""
    out: Path | None = None
    """File for all groups, one JSON object a line."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """Find pictures of an evaluation store in a training store: as they are, mirrored, or cut at the borders."""

    store: tyro.conf.Positional[Path]
    """Folder of the training store."""
    against: Path
    """Folder of the evaluation store."""
    tokenizer: str = "demo"
    """The stores': a folder or a name."""
    similarity: float = 0.9
    """Likeness from which two pictures show the same, 0 to 1; docs/interchange.md says what it finds."""
    slot: str = "image"
    """What is compared."""
    out: Path | None = None
    """File for all that was found, one JSON object a line."""
    json: bool = False
    """Print one JSON object on stdout."""


def duplicates(options: Duplicates) -> Outcome:
    """Records of one store that show the same."""
    from openlvm.store.format import Store
    from openlvm.store.likeness.duplicates import find_duplicates, told
    from openlvm.tokenizer.folder import load_tokenizer

    store = Store.open(options.store)
    tokenizer = None if options.exact else load_tokenizer(options.tokenizer)
    found = find_duplicates(store, tokenizer=tokenizer, similarity=options.similarity, slot=options.slot)
    groups = _written(told(store, found), options.out)
    spare = {kind: sum(len(one.records) - 1 for one in getattr(found, kind)) for kind in ("exact", "near")}
    values = {
        **counts(options.store, store),
        "exact_groups": len(found.exact),
        "exact_copies": spare["exact"],
        "near_groups": len(found.near),
        "near_copies": spare["near"],
        "plain_pictures": found.plain,
        "groups": groups,
    }
    lines = [
        f"{options.store}: of {store.num_records:,} records, {spare['exact']:,} repeat the codes of another "
        f"({len(found.exact):,} groups), {spare['near']:,} look like another ({len(found.near):,} groups)",
        *(f"  {one['kind']:<5}  {one['likeness']:.3f}  {'  '.join(one['keys'][:8])}" for one in groups),
    ]
    if found.plain:
        lines.append(f"{found.plain:,} pictures of one color were compared by their codes only")
    return Outcome(values, "\n".join(lines))


def contamination(options: Contamination) -> Outcome:
    """Records of an evaluation store that a training store shows."""
    from openlvm.store.format import Store
    from openlvm.store.likeness.contamination import find_contamination, told
    from openlvm.tokenizer.folder import load_tokenizer

    train, against = Store.open(options.store), Store.open(options.against)
    tokenizer = load_tokenizer(options.tokenizer)
    found = find_contamination(train, against, tokenizer=tokenizer, similarity=options.similarity, slot=options.slot)
    records = _written(told(train, against, found), options.out)
    values = {
        "train": options.store,
        "against": options.against,
        "evaluation_records": found.evaluation_records,
        "contaminated": found.num_contaminated,
        "train_records": len({one.train for one in found.found}),
        "plain_pictures": found.plain,
        "records": records,
    }
    lines = [
        f"{options.store} shows {found.num_contaminated:,} of the {found.evaluation_records:,} records of "
        f"{options.against}, in {values['train_records']:,} of its own",
        *(
            f"  {one['key']}: " + "; ".join(f"{s['key']} {s['likeness']:.3f} {s['seen']}" for s in one["train"][:4])
            for one in records
        ),
    ]
    if found.plain:
        lines.append(f"{found.plain:,} evaluation pictures of one color were not looked for")
    return Outcome(values, "\n".join(lines))


def _written(told: Iterable[dict[str, Any]], out: Path | None) -> list[dict[str, Any]]:
    """The first of what was found; all of it goes into the file `out`, a JSON object a line."""
    told = iter(told)
    first = list(islice(told, SHOWN))
    if out is not None:
        with atomic_write(out) as file:
            for values in (*first, *told):
                file.write(json.dumps(values, ensure_ascii=False).encode() + b"\n")
    return first
