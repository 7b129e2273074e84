"""`openlvm tokenize LAYOUT --at DIR --store DIR`: pictures on disk become codes in a store."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from openlvm.cli.command import Outcome, parse, report
from openlvm.core.picking import pick
from openlvm.sources.layouts import LAYOUTS


@dataclass(frozen=True, kw_only=True)
class Tokenize:
    """Turn the pictures of a folder into a store of codes; a command that was killed goes on where it was."""

    store: Path
    """Folder of the store; made when absent."""
    tokenizer: str = "demo"
    """Folder of a tokenizer, or the name of an embedded one."""
    generated: tuple[str, ...] = ()
    """Slots made from the picture itself: gray, holes, noisy, edges, ... (openlvm/sentences/generated.py)."""
    seed: int = 0
    """Of the generated slots."""
    workers: int = 0
    """Processes that read and encode; 0 does it in this one. The store does not depend on it."""
    batch_size: int = 32
    """Pictures encoded together."""
    max_bad_share: float = 0.001
    """Unreadable records are skipped and counted; a larger share of them stops the work."""
    json: bool = False
    """Print one JSON object on stdout."""


def usage() -> str:
    """What `openlvm tokenize --help` prints, without a layout."""
    first_lines = {name: (layout.__doc__ or "").splitlines()[0] for name, layout in LAYOUTS.items()}
    lines = [f"  {name:<8}  {line}" for name, line in first_lines.items()]
    head = ["usage: openlvm tokenize LAYOUT --at DIR --store DIR ...", "", "How the pictures lie on disk:", ""]
    return "\n".join([*head, *lines, "", "openlvm tokenize LAYOUT --help for the options of one"])


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    if not argv or argv[0] in ("-h", "--help"):
        if not argv:
            raise ValueError(f"a layout is missing, one of {', '.join(LAYOUTS)}; see openlvm tokenize --help")
        print(usage())
        return
    options = parse(_options_for(argv[0]), argv[1:], f"tokenize {argv[0]}")
    report(lambda: _tokenize(options), as_json=options.json)


def _options_for(layout: str) -> type:
    """The verb's options and, as flags beside them, those of the layout."""
    source = pick(LAYOUTS, layout, "layout")
    fields = [("layout", Annotated[source, tyro.conf.arg(name="")])]
    options = dataclasses.make_dataclass(f"Tokenize_{layout}", fields, bases=(Tokenize,), frozen=True, kw_only=True)
    options.__doc__ = Tokenize.__doc__
    return options


def _tokenize(options: Any) -> Outcome:
    from openlvm.store.tokenize import tokenize

    store = tokenize(
        options.layout,
        tokenizer=options.tokenizer,
        at=options.store,
        generated=options.generated,
        seed=options.seed,
        workers=options.workers,
        batch_size=options.batch_size,
        max_bad_share=options.max_bad_share,
    )
    skipped = store.info()["skipped"]
    values = {
        "store": options.store, "records": store.num_records, "images": store.num_images, "skipped": skipped,
    }  # fmt: skip
    text = f"{options.store}: {store.num_records} records, {store.num_images} images, {skipped} unreadable skipped"
    return Outcome(values, text)
