"""`openlvm store VERB`: what a store holds; stores made of stores; token files of others; duplicates."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro

from openlvm.cli.command import Outcome, parse, report
from openlvm.cli.store.about import Info, Verify, info, verify
from openlvm.cli.store.interchange import Export, Import, export, export_sentences, import_, with_kind
from openlvm.cli.store.likeness import Contamination, Duplicates, contamination, duplicates
from openlvm.cli.store.rearrange import Merge, Sample, Split, merge, sample, split

Verbs = (
    Annotated[Info, tyro.conf.subcommand("info")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Merge, tyro.conf.subcommand("merge")]
    | Annotated[Split, tyro.conf.subcommand("split")]
    | Annotated[Sample, tyro.conf.subcommand("sample")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Import, tyro.conf.subcommand("import")]
    | Annotated[Duplicates, tyro.conf.subcommand("duplicates")]
    | Annotated[Contamination, tyro.conf.subcommand("contamination")]
)

ACTIONS: dict[type, Callable[[Any], Outcome]] = {
    Info: info,
    Verify: verify,
    Merge: merge,
    Split: split,
    Sample: sample,
    Export: export,
    Import: import_,
    Duplicates: duplicates,
    Contamination: contamination,
}
"""What each verb does."""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    if list(argv[:1]) == ["export"] and len(argv) > 2 and not argv[1].startswith("-") and not argv[2].startswith("-"):
        options = parse(with_kind(argv[2]), [argv[1], *argv[3:]], f"store export {argv[1]} {argv[2]}")
        report(lambda: export_sentences(options), as_json=options.json)
        return
    options = parse(Verbs, argv, "store")
    report(lambda: ACTIONS[type(options)](options), as_json=options.json)
