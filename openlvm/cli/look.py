"""`openlvm look STORE --index 17`: any visual sentence of a store, drawn as a contact sheet."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from openlvm.cli.command import Outcome, parse, report
from openlvm.core.picking import pick
from openlvm.sentences.grammar import GRAMMAR, Kind


@dataclass(frozen=True, kw_only=True)
class Look:
    """Draw a sentence as the decoder is shown it: what the tokenizer gives back, with the records it comes from."""

    store: Path
    """Folder of the store."""
    index: int = 0
    """Number of the sentence in one pass over the store."""
    seed: int = 0
    """Of the order and of what a sentence draws (strides, frames)."""
    tokenizer: str = "demo"
    """Folder of the tokenizer the store was made with, or its embedded name."""
    out: Path = Path("sentence.png")
    """The picture written."""
    json: bool = False
    """Print one JSON object on stdout."""


USAGE = f"""usage: openlvm look STORE [KIND] --index N ...

Draws a visual sentence of a store as a contact sheet. Kinds: {", ".join(GRAMMAR)};
by default frames if the store has clips, pairs if it has annotations, single pictures otherwise.

openlvm look STORE KIND --help for all options of a kind"""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    if list(argv[:1]) in (["-h"], ["--help"]):
        print(USAGE)
        return
    if not argv or argv[0].startswith("-"):
        raise ValueError("the store is missing; see openlvm look --help")
    rest = ["--store", *argv]
    if len(argv) > 1 and not argv[1].startswith("-"):
        options = parse(_options_for(argv[1]), [*rest[:2], *rest[3:]], f"look {argv[0]} {argv[1]}")
    else:
        options = parse(Look, rest, "look")
    report(lambda: _look(options, getattr(options, "kind", None)), as_json=options.json)


def _options_for(kind: str) -> type:
    """The verb's options and, as flags beside them, those of a kind of sentence."""
    shown: Any = Annotated[pick(GRAMMAR, kind, "kind of sentence"), tyro.conf.arg(name="")]
    options = dataclasses.make_dataclass(f"Look_{kind}", [("kind", shown)], bases=(Look,), frozen=True, kw_only=True)
    options.__doc__ = Look.__doc__
    return options


def _look(options: Look, kind: Kind | None) -> Outcome:
    from openlvm.core.images import write_image
    from openlvm.jobs.own import kinds_for
    from openlvm.store.format import Store
    from openlvm.store.look import look
    from openlvm.tokenizer.folder import load_tokenizer

    tokenizer = load_tokenizer(options.tokenizer)
    store = Store.open(options.store, tokenizer)
    kind = kind or kinds_for(store)[0]
    sheet = look(store, tokenizer, kind, options.index, seed=options.seed)
    write_image(options.out, sheet.pixels)
    values = {"out": options.out, "kind": kind.name, "index": options.index, "header": sheet.header}
    return Outcome(values, f"{sheet.header}\n{options.out}")
