"""`openlvm tokenize LAYOUT|DATASET --at DIR --store DIR`: pictures on disk become codes in a store."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from openlvm.cli.command import Outcome, parse, report
from openlvm.cli.tokenize_progress import TokenizeProgress
from openlvm.core.picking import pick
from openlvm.sources.catalog.row import Row
from openlvm.sources.catalog.table import CATALOG
from openlvm.sources.layouts import LAYOUTS


@dataclass(frozen=True, kw_only=True)
class Tokenize:
    """Turn the pictures of a folder into a store of codes; a command that was killed goes on where it was."""

    store: Path
    """Folder of the store; made when absent."""
    tokenizer: str = "demo"
    """Folder of a tokenizer, or its name."""
    generated: tuple[str, ...] = ()
    """Slots made from the picture itself: gray, holes, noisy, edges, over:pose, ... (docs/sentences.md)."""
    annotators: tuple[str, ...] = ()
    """Slots that models draw, slot=kind:what each: depth=hf:Intel/dpt-large (docs/annotators.md)."""
    styles: tuple[str, ...] = ()
    """How slots are drawn, slot=style each, where that is not the usual way: pose=openpose (docs/sentences.md)."""
    variants: int = 1
    """Times a record is stored: as it is, then cropped and mirrored, all its slots alike (docs/sentences.md)."""
    seed: int = 0
    """Of the generated slots, and of the variants."""
    engine: Literal["local", "ray"] = "local"
    """This machine; or a Ray cluster, of which one is started here without --ray-address."""
    workers: int = 0
    """Processes that read and encode; 0 does it in this one, with ray on all the cluster has."""
    ray_address: str = ""
    """Of a running Ray cluster; "auto" on one of its machines."""
    workers_per_gpu: int = 8
    """With ray, processes that share one GPU."""
    device: str = "cpu"
    """cpu or cuda, of the tokenizer and the annotators."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 is faster and changes few codes."""
    batch_size: int = 32
    """Pictures encoded together."""
    shard: str = "0/1"
    """i/n: every n-th part from the i-th on, for n commands on n machines with a store each."""
    max_bad_share: float = 0.001
    """Unreadable records are skipped, counted and written down; a larger share of them stops the work."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class TokenizeLayout(Tokenize):
    """Turn the pictures of a folder into a store of codes; a command that was killed goes on where it was."""

    dataset: str = ""
    """What the data are called, for the store's passport."""
    licence: str = ""
    """A note on their terms, for the passport."""
    home: str = ""
    """Address of their page, for the passport."""


@dataclass(frozen=True, kw_only=True)
class TokenizeDataset(Tokenize):
    """Turn a dataset of the catalogue, as its publisher has it, into a store of codes; goes on where it was killed."""

    at: Path
    """Folder of the dataset, as it was unpacked."""
    split: str = ""
    """train, val, ...; the first of the dataset when left out."""


def usage() -> str:
    """What `openlvm tokenize --help` prints, without a layout."""
    first_lines = {name: (layout.__doc__ or "").splitlines()[0] for name, layout in LAYOUTS.items()}
    lines = [f"  {name:<8}  {line}" for name, line in first_lines.items()]
    head = ["usage: openlvm tokenize LAYOUT|DATASET --at DIR --store DIR ...", "", "How the pictures lie on disk:", ""]
    tail = [
        "",
        f"or one of {len(CATALOG)} published datasets, as `openlvm catalog` lists them.",
        "",
        "openlvm tokenize LAYOUT --help for the options of one",
    ]
    return "\n".join([*head, *lines, *tail])


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    if not argv or argv[0] in ("-h", "--help"):
        if not argv:
            raise ValueError(
                f"a layout is missing, one of {', '.join(LAYOUTS)} or a name of openlvm catalog; "
                "see openlvm tokenize --help"
            )
        print(usage())
        return
    options = parse(_options_for(argv[0]), argv[1:], f"tokenize {argv[0]}")
    report(lambda: _tokenize(argv[0], options), as_json=options.json)


def _options_for(name: str) -> type:
    """The verb's options and, as flags beside them, those of the layout; a dataset brings its own defaults."""
    if name not in LAYOUTS and name in CATALOG:
        row = CATALOG[name]
        brought = {"generated": row.generated, "annotators": row.annotators, "styles": _words(row.styles)}
        fields: list[Any] = [(key, tuple[str, ...], field(default=value)) for key, value in brought.items() if value]
        base: type = TokenizeDataset
    else:
        source = pick({**CATALOG, **LAYOUTS}, name, "layout or dataset")
        fields = [("layout", Annotated[source, tyro.conf.arg(name="")])]
        base = TokenizeLayout
    options = dataclasses.make_dataclass(f"Tokenize_{name}", fields, bases=(base,), frozen=True, kw_only=True)
    options.__doc__ = base.__doc__
    return options


def _words(pairs: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{slot}={style}" for slot, style in pairs.items())


def _tokenize(name: str, options: Any) -> Outcome:
    from openlvm.store.tokenize import tokenize

    source, passport = _source_of(name, options)
    with TokenizeProgress() as progress:
        store = tokenize(
            source,
            tokenizer=options.tokenizer,
            at=options.store,
            generated=options.generated,
            annotators=options.annotators,
            styles=_styles(options.styles),
            passport=passport,
            seed=options.seed,
            engine=options.engine,
            workers=options.workers,
            ray_address=options.ray_address,
            workers_per_gpu=options.workers_per_gpu,
            device=options.device,
            precision=options.precision,
            batch_size=options.batch_size,
            shard=_shard(options.shard),
            max_bad_share=options.max_bad_share,
            progress=progress,
        )
    skipped = store.info()["skipped"]
    values = {
        "store": options.store, "records": store.num_records, "images": store.num_images, "skipped": skipped,
    }  # fmt: skip
    text = f"{options.store}: {store.num_records} records, {store.num_images} images, {skipped} unreadable skipped"
    return Outcome(values, f"{text} (why: {options.store}/parts/*/bad.jsonl)" if skipped else text)


def _source_of(name: str, options: Any) -> tuple[Any, Any]:
    """The source that the options mean, and the passport of its data."""
    from openlvm.store.format import Passport

    if isinstance(options, TokenizeDataset):
        row: Row = CATALOG[name]
        source = row.source(options.at, options.split)
        split = options.split or next(iter(row.splits))
        passport = Passport(dataset=row.dataset, split=split, licence=row.licence, home=row.home)
    else:
        source = options.layout
        passport = Passport(dataset=options.dataset, licence=options.licence, home=options.home)
    if options.variants == 1:
        return source, passport
    from openlvm.sources.augmented import Augmented

    return Augmented(source=source, variants=options.variants, seed=options.seed), passport


def _styles(words: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if not all(slot and style for slot, _, style in pairs):
        raise ValueError(f"--styles {' '.join(words)}: write slot=style each, as in pose=openpose")
    return {slot: style for slot, _, style in pairs}


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise ValueError(f"--shard {text}: write i/n with i from 0 to n - 1, as in 0/16")
    return int(number), int(count)
