"""Any sentence of a plan, or any record of a store, as a contact sheet: what the decoder is shown."""

from typing import NamedTuple

import numpy as np
import torch

from openlvm.core.sheets import contact_sheet
from openlvm.sentences.grammar import ImageRef, Kind
from openlvm.store.format import Store
from openlvm.store.plan import Component, Plan
from openlvm.tokenizer.interface import Tokenizer

COLUMNS = 8
"""Pictures in a row of the sheet."""
MIN_CELL = 112
"""Smallest side of a picture on the sheet, pixels: captions must fit under it."""
MAX_FRAMES = 16
"""Frames of a record that are shown, evenly spread."""


class Sheet(NamedTuple):
    """A contact sheet uint8 [H, W, 3] and the lines that belong above it."""

    pixels: np.ndarray
    header: str


def look(store: Store, tokenizer: Tokenizer, kind: Kind, index: int, *, seed: int = 0) -> Sheet:
    """Sentence number `index` of one pass of one kind over a store."""
    plan = Plan([Component(store, kind)], seed=seed)
    per_position = plan.sentences_per_position[0]
    num_sentences = plan.num_positions * per_position
    if not 0 <= index < num_sentences:
        raise ValueError(f"no sentence {index}: one pass over {store.at} has {num_sentences} of {kind.name}")
    position, number = divmod(index, per_position)
    return _sheet_of(plan, tokenizer, position, number)


def look_at_position(plan: Plan, tokenizer: Tokenizer, index: int) -> list[Sheet]:
    """All sentences at a position of a plan."""
    place = plan.position(index).component
    return [_sheet_of(plan, tokenizer, index, number) for number in range(plan.sentences_per_position[place])]


def look_at_record(store: Store, tokenizer: Tokenizer, record: int) -> Sheet:
    """A record of a store: a row for each of its slots."""
    num_frames, slots = store.num_frames(record), store.slots_of(record)
    frames = np.unique(np.linspace(0, num_frames - 1, min(num_frames, MAX_FRAMES)).astype(int)).tolist()
    rows = [_decoded(store, tokenizer, [ImageRef(record, slot, frame) for frame in frames]) for slot in slots]
    captions = [[f"{slot} {frame}" for frame in frames] for slot in slots]
    header = f"record {record} {store.key(record)!r} label {store.label(record)!r}, {num_frames} frames of {store.at}"
    return Sheet(contact_sheet(rows, captions=captions, cell=max(MIN_CELL, tokenizer.image_size)), header)


def _sheet_of(plan: Plan, tokenizer: Tokenizer, index: int, number: int) -> Sheet:
    position = plan.position(index)
    refs = position.sentences[number]
    pictures = _decoded(position.store, tokenizer, refs)
    captions = [f"{ref.slot} {ref.record}:{ref.frame} {ref.role}" for ref in refs]
    cuts = range(0, len(refs), COLUMNS)
    sheet = contact_sheet(
        [pictures[cut : cut + COLUMNS] for cut in cuts],
        captions=[captions[cut : cut + COLUMNS] for cut in cuts],
        cell=max(MIN_CELL, tokenizer.image_size),
    )
    records = dict.fromkeys(ref.record for ref in refs)
    named = [f"{record} {position.store.key(record)!r} {position.store.label(record)!r}" for record in records]
    header = f"position {index}, sentence {number} of {len(position.sentences)}: {position.name}, {position.kind}"
    return Sheet(sheet, "\n".join([header, *(f"  record {name}" for name in named)]))


def _decoded(store: Store, tokenizer: Tokenizer, refs: list[ImageRef]) -> list[np.ndarray | None]:
    with torch.inference_mode():
        return list(tokenizer.decode(torch.from_numpy(store.codes(refs))).cpu().numpy())
