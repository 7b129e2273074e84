"""`openlvm store export|import`: token files of LVM and DeLVM out of stores, and stores out of them."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from openlvm.cli.command import Outcome
from openlvm.cli.store.rearrange import counts, told
from openlvm.core.picking import pick
from openlvm.sentences.grammar import GRAMMAR

if TYPE_CHECKING:
    from openlvm.store.format import Store
    from openlvm.store.interchange.write import Exported

TokenFile = Literal["lvm-jsonl", "delvm-bin"]


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Write the sentences of one pass over a store, each a line, as a token file of LVM or DeLVM."""

    store: tyro.conf.Positional[Path]
    """Folder of the store."""
    format: TokenFile
    """lvm-jsonl: base64 of int32; delvm-bin: lists of numbers, and FILE.meta beside it."""
    out: Path
    """The file written; must not exist. DeLVM looks for a folder called vision: data/vision/train.bin."""
    seed: int = 0
    """Of the order and of what a sentence draws (strides, frames)."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a store as a token file of LVM or DeLVM: every record a line, or with a KIND every sentence."""

    store: tyro.conf.Positional[Path]
    """Folder of the store. A KIND of sentence may follow: openlvm store export STORE pairs --target depth ..."""
    format: TokenFile
    """lvm-jsonl: base64 of int32; delvm-bin: lists of numbers, and FILE.meta beside it."""
    out: Path
    """The file written; must not exist. DeLVM looks for a folder called vision: data/vision/train.bin."""
    tokens_only: bool = False
    """Leave out key, label and slots, which the readers of LVM and DeLVM pass over and `import` restores."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """Make a store of token files of LVM or DeLVM: a line of S images becomes a record of S frames."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """The files, all of one format."""
    format: TokenFile
    """lvm-jsonl: base64 of int32; delvm-bin: lists of numbers, and FILE.meta beside it."""
    tokenizer: str
    """The tokenizer that made the codes, which the files do not say: a folder, "lvm", "delvm", or an embedded name."""
    store: Path
    """Folder of the new store; absent or empty."""
    stream: int = 0
    """Join the lines end to end and cut records of so many images: for lines that are not whole images; 0 does not."""
    records_per_part: int = 1000
    """Records written as one part of the store."""
    max_bad_share: float = 0.001
    """Lines that do not fit are skipped and counted; a larger share of them stops the work."""
    dataset: str = ""
    """Its published name, for the store's passport."""
    licence: str = ""
    """A note on its terms, for the passport."""
    home: str = ""
    """Address of its page, for the passport."""
    json: bool = False
    """Print one JSON object on stdout."""


def with_kind(kind: str) -> type:
    """The options of exporting sentences and, as flags beside them, those of a kind of sentence."""
    shown: Any = Annotated[pick(GRAMMAR, kind, "kind of sentence"), tyro.conf.arg(name="")]
    options = dataclasses.make_dataclass(
        f"Sentences_{kind}", [("kind", shown)], bases=(Sentences,), frozen=True, kw_only=True
    )
    options.__doc__ = Sentences.__doc__
    return options


def export(options: Export) -> Outcome:
    """A token file of a store's records."""
    from openlvm.store.format import Store
    from openlvm.store.interchange.write import export_records

    store = Store.open(options.store)
    written = export_records(store, options.out, options.format, described=not options.tokens_only)
    return _written(options.out, store, written)


def export_sentences(options: Any) -> Outcome:
    """A token file of one pass of sentences over a store."""
    from openlvm.store.format import Store
    from openlvm.store.interchange.write import export_sentences
    from openlvm.store.plan import Component, Plan

    plan = Plan([Component(Store.open(options.store), options.kind)], seed=options.seed)
    outcome = _written(options.out, plan.stores[0], export_sentences(plan, options.out, options.format))
    return Outcome(outcome.values, f"{plan.report()}\n{outcome.text}")


def _written(out: Path, store: "Store", exported: "Exported") -> Outcome:
    per_token = exported.bytes / exported.tokens
    ours = store.info()["bytes"] / (store.num_images * store.codes_per_image)
    values = {"out": out, **exported._asdict(), "bytes_per_token": per_token, "store_bytes_per_token": ours}
    text = f"{out}: {exported.lines:,} lines, {exported.tokens:,} tokens, {per_token:.2f} bytes a token"
    return Outcome(values, f"{text} (the store: {ours:.2f})")


def import_(options: Import) -> Outcome:
    """A store of token files."""
    from openlvm.store.format import Passport
    from openlvm.store.interchange.read import import_files
    from openlvm.tokenizer.folder import load_tokenizer

    store, left_over = import_files(
        options.files,
        options.store,
        options.format,
        tokenizer=load_tokenizer(options.tokenizer),
        stream=options.stream,
        records_per_part=options.records_per_part,
        max_bad_share=options.max_bad_share,
        passport=Passport(dataset=options.dataset, licence=options.licence, home=options.home),
    )
    skipped = store.info()["skipped"]
    values = {**counts(options.store, store), "skipped": skipped, "codes_left_over": left_over}
    left = f", {left_over} codes left over at the end" if options.stream else ""
    return Outcome(values, f"{told(options.store, store)}, {skipped} unreadable lines skipped{left}")
