"""Stores out: records, or the sentences of a plan, as a token file of LVM or DeLVM."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from openlvm.core.picking import pick
from openlvm.store.format import Store
from openlvm.store.interchange.formats import FORMATS, writing
from openlvm.store.plan import Plan
from openlvm.store.rearrange.parts import codes_of_part, keys_of_part


class Exported(NamedTuple):
    """What was written."""

    lines: int
    tokens: int
    bytes: int
    """Of the lines, without a file of offsets."""


def export_records(store: Store, at: Path | str, form: str, *, described: bool = True) -> Exported:
    """Write every record of a store as one line: its images slot after slot, frame after frame.

    Args:
        store: what is written, in its order.
        at: the file; must not exist.
        form: a name in `FORMATS`.
        described: lines say "key", "label" and "slots" too, which the readers of others pass over, so that importing
            the file gives the same records again.
    """
    with writing(Path(at), pick(FORMATS, form, "token file")) as lines:
        for part in range(len(store.part_names)):
            codes, keys = codes_of_part(store, part), keys_of_part(store, part)
            start = 0
            for record, key in enumerate(keys, int(store.part_records[part])):
                slots = store.slots_of(record)
                end = start + len(slots) * store.num_frames(record)
                told = {"key": key.decode(), "label": store.label(record), "slots": list(slots)} if described else {}
                lines.write(codes[start:end].ravel(), **told)
                start = end
    return Exported(lines.num_lines, lines.num_tokens, lines.num_bytes)


def export_sentences(plan: Plan, at: Path | str, form: str) -> Exported:
    """Write every sentence of a plan as one line, in the plan's order, which is shuffled already.

    Lines hold codes alone, no ids for beginning or end, as those of LVM and DeLVM do.

    Args:
        plan: its positions, all of them; a position of short sentences gives several lines.
        at: the file; must not exist.
        form: a name in `FORMATS`.
    """
    with writing(Path(at), pick(FORMATS, form, "token file")) as lines:
        for position in plan.read(range(plan.num_positions)):
            for sentence in position.codes:
                lines.write(np.ascontiguousarray(sentence))
    return Exported(lines.num_lines, lines.num_tokens, lines.num_bytes)
