"""From stores to the sentences a paper would make of them: which kinds each store gives, and in which shares.

    images, no annotations    single; with labels, category as well
    annotated images          pairs of each annotation; free_form of several
    clips                     sequence; of annotated ones, clip_pairs of each annotation too

Views of an object cannot be told from frames of a clip and become sequences.
"""

from collections.abc import Sequence as Many
from typing import Literal

import numpy as np

from openlvm.core.records import IMAGE
from openlvm.sentences.grammar import Category, ClipPairs, FreeForm, Kind, Pairs, Sequence, Single
from openlvm.sentences.sentence import records_per_sentence
from openlvm.store.format import Store
from openlvm.store.plan import Component

Mix = Literal["size", "lvm"]
"""`size`: every store in once, as both papers did. `lvm`: families of data in LVM's shares, within a family by size."""

LVM_SHARES = {"images": 380_690.0, "annotated images": 12_995.8, "videos": 18_538.4, "annotated videos": 246.2}
"""Million codes of each family, sums of the table in LVM's appendix (3-D turns, 217.9, come as videos here)."""
_FAMILY = {
    "single": "images",
    "category": "annotated images",
    "pairs": "annotated images",
    "free_form": "annotated images",
    "sequence": "videos",
    "clip_pairs": "annotated videos",
}
_FREE_SLOTS = 5  # of one record in a free-form sentence: LVM's tokenize_multi_datasets_muse.py keeps groups of five


def kinds_of(store: Store, *, max_images: int, strides: tuple[int, ...]) -> list[Kind]:
    """The kinds of sentence that a store can fill with at most `max_images` images.

    Clips give sentences as long as their median allows, so that half of them or more are long enough.
    """
    if not store.num_records:
        raise ValueError(f"the store {store.at} holds no records")
    annotations = [slot for slot in store.slots if slot != IMAGE]
    frames = int(np.median(store.records["num_frames"]))
    if frames > 1:
        return _of_clips(frames, annotations, max_images, strides)
    if annotations:
        return _of_annotated(store, annotations, max_images)
    return [Single(), *_categories(store, max_images)]


def _of_clips(frames: int, annotations: list[str], max_images: int, strides: tuple[int, ...]) -> list[Kind]:
    kinds: list[Kind] = [Sequence(num_images=min(frames, max_images), strides=strides)]
    half = min(frames, max_images // 2)
    for slot in annotations if half else []:
        for arrangement in ("interleaved", "separate"):
            kinds.append(ClipPairs(target=slot, frames=half, arrangement=arrangement, strides=strides))
    return kinds


def _of_annotated(store: Store, annotations: list[str], max_images: int) -> list[Kind]:
    pairs = min(max_images // 2, store.num_records)
    kinds: list[Kind] = [Pairs(target=slot, pairs=pairs) for slot in annotations] if pairs else []
    slots = min(_FREE_SLOTS, 1 + len(annotations), max_images)
    records = min(max_images // slots, store.num_records)
    if len(annotations) > 1 and records:
        kinds.append(FreeForm(candidates=(IMAGE, *annotations), slots_per_record=slots, records=records))
    return kinds or [Single()]


def _categories(store: Store, max_images: int) -> list[Kind]:
    """LVM's 1 x 16, 2 x 8 and 4 x 4, of those that enough labels have enough pictures for."""
    counts = np.bincount(store.records["label"], minlength=len(store.labels))
    counts[[number for number, label in enumerate(store.labels) if label == ""]] = 0
    return [
        Category(classes=classes, per_class=max_images // classes)
        for classes in (1, 2, 4)
        if max_images >= classes and (counts >= max_images // classes).sum() >= classes
    ]


def components_of(stores: Many[Store], *, mix: Mix, max_images: int, strides: tuple[int, ...]) -> tuple[Component, ...]:
    """The components of a plan over these stores.

    Args:
        stores: open, of one tokenizer.
        mix: see `Mix`.
        max_images, strides: as in `kinds_of`.
    """
    names = [store.at.name for store in stores]
    found = [
        (store, kind, f"{store.at.name if names.count(store.at.name) == 1 else store.at}: {_spell(kind)}")
        for store in stores
        for kind in kinds_of(store, max_images=max_images, strides=strides)
    ]
    if mix == "size":
        return tuple(Component(store.at, kind, name=name) for store, kind, name in found)
    sizes = [store.num_records * kind.num_images / records_per_sentence(kind) for store, kind, _ in found]
    families = [_FAMILY[kind.name] for _, kind, _ in found]
    totals = {family: sum(size for size, other in zip(sizes, families, strict=True) if other == family)
              for family in families}  # fmt: skip
    return tuple(
        Component(store.at, kind, LVM_SHARES[family] * size / totals[family], name)
        for (store, kind, name), family, size in zip(found, families, sizes, strict=True)
    )


def _spell(kind: Kind) -> str:
    """What tells a kind from the others of its store: "pairs mask", "clip_pairs depth separate", "category 2"."""
    slots = [slot for slot in kind.slots if slot != IMAGE]
    told = {"category": [str(kind.chunks)], "clip_pairs": [*slots, getattr(kind, "arrangement", "")], "pairs": slots}
    return " ".join([kind.name, *told.get(kind.name, [])])
