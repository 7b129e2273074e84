"""Whether a training store shows what an evaluation store asks: every evaluation picture against all of training.

An evaluation picture is looked for as it is, mirrored, and cut at its borders: it is decoded, changed and encoded
again, because codes do not tell how they would look mirrored. Nothing of the training store is kept, and all of it is
compared (looks.py): memory is that of the evaluation pictures, time grows with training times evaluation pictures.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from openlvm.store.format import Store
from openlvm.store.likeness.looks import Looks, code_colors, walk
from openlvm.tokenizer.interface import Tokenizer

MAX_FRAMES = 4
"""Frames of an evaluation record that are looked for, evenly spread; of training records all are compared."""
CUT = 0.1
"""What is cut off a picture's height and width."""
_BOXES = {  # left, top, right, bottom, as shares of the side
    "cut": (CUT / 2, CUT / 2, 1 - CUT / 2, 1 - CUT / 2),
    "cut bottom right": (0, 0, 1 - CUT, 1 - CUT),
    "cut bottom left": (CUT, 0, 1, 1 - CUT),
    "cut top right": (0, CUT, 1 - CUT, 1),
    "cut top left": (CUT, CUT, 1, 1),
}
SEEN = ("as it is", "mirrored", *_BOXES)
"""The ways in which an evaluation picture is looked for."""


@dataclass(frozen=True)
class Found:
    """A training record that shows an evaluation record."""

    train: int
    """Number of the training record."""
    evaluation: int
    """Number of the evaluation record."""
    likeness: float
    """0 .. 1; 1 for equal codes, and for those that look equal to four digits."""
    seen: str
    """One of `SEEN`."""


@dataclass(frozen=True)
class Contamination:
    """What was found, by evaluation record, the likest first."""

    found: list[Found]
    evaluation_records: int
    """Looked for."""
    plain: int
    """Evaluation pictures of one color, which were not looked for."""

    @property
    def num_contaminated(self) -> int:
        """Evaluation records that training shows."""
        return len({one.evaluation for one in self.found})


def find_contamination(
    train: Store, evaluation: Store, *, tokenizer: Tokenizer, similarity: float = 0.9, slot: str = "image"
) -> Contamination:
    """Find the records of a training store that show what records of an evaluation store show, in one slot.

    Args:
        train, evaluation: stores of one tokenizer.
        tokenizer: theirs.
        similarity: likeness from which two pictures show the same, 0 .. 1.
        slot: what is compared.
    """
    if not 0 < similarity <= 1:
        raise ValueError(f"similarity={similarity} must be above 0 and at most 1")
    for store in (train, evaluation):
        if store.codes_fingerprint != tokenizer.codes_fingerprint:
            raise ValueError(f"the store {store.at} was made with another tokenizer than the one given")
    looks = Looks(code_colors(tokenizer))
    asked, records, seen, plain = _asked(evaluation, slot, tokenizer, looks)
    best: dict[tuple[int, int], tuple[float, str]] = {}
    for block in walk(train, slot):
        likeness = looks(block.codes) @ asked.T  # [B, asked]
        for place, query in np.argwhere(likeness >= similarity).tolist():
            pair = (int(records[query]), int(block.records[place]))
            value = min(float(likeness[place, query]), 1.0)
            if value > best.get(pair, (0.0, ""))[0]:
                best[pair] = (value, SEEN[seen[query]])
    found = [Found(of_train, asked_for, round(value, 4), how) for (asked_for, of_train), (value, how) in best.items()]
    found.sort(key=lambda one: (one.evaluation, -one.likeness, one.train))
    return Contamination(found, evaluation.num_records, plain)


def _asked(
    store: Store, slot: str, tokenizer: Tokenizer, looks: Looks
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The evaluation pictures in every way: vectors float32 [A, D], records and ways int64 [A]; how many are plain."""
    vectors, records, seen, plain = [], [], [], 0
    for block in walk(store, slot, MAX_FRAMES):
        for way, codes in enumerate([block.codes, *_changed(block.codes, tokenizer)]):
            looked = looks(codes)
            shown = looked.any(axis=1)
            plain += int((~shown).sum()) if way == 0 else 0
            vectors.append(looked[shown])
            records.append(block.records[shown])
            seen.append(np.full(int(shown.sum()), way))
    if not vectors:
        raise ValueError(f"no record of {store.at} has the slot {slot!r}")
    return np.concatenate(vectors), np.concatenate(records), np.concatenate(seen), plain


def _changed(codes: np.ndarray, tokenizer: Tokenizer, at_once: int = 32) -> Iterator[np.ndarray]:
    """Codes int64 [B, N] of the pictures in all ways but the first, way after way."""
    changed: dict[str, list[np.ndarray]] = defaultdict(list)
    for cut in range(0, len(codes), at_once):
        with torch.inference_mode():
            pixels = tokenizer.decode(torch.from_numpy(codes[cut : cut + at_once])).cpu().numpy()
            for way in SEEN[1:]:
                again = torch.from_numpy(_change(pixels, way))
                changed[way].append(tokenizer.encode(again).cpu().numpy())
    yield from (np.concatenate(changed[way]) for way in SEEN[1:])


def _change(pixels: np.ndarray, way: str) -> np.ndarray:
    """Pictures uint8 [B, H, W, 3] in another way, of the same size."""
    if way == "mirrored":
        return np.ascontiguousarray(pixels[:, :, ::-1])
    side = pixels.shape[1]
    box = [share * side for share in _BOXES[way]]
    cut = [Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC, box=tuple(box)) for one in pixels]
    return np.stack([np.asarray(one) for one in cut])


def told(train: Store, evaluation: Store, found: Contamination) -> Iterator[dict[str, Any]]:
    """The contaminated evaluation records by key, each with the training records that show it; JSON values."""
    by_record: dict[int, list[Found]] = defaultdict(list)
    for one in found.found:
        by_record[one.evaluation].append(one)
    for record, shown in by_record.items():
        like = [{"key": train.key(one.train), "likeness": one.likeness, "seen": one.seen} for one in shown]
        yield {"key": evaluation.key(record), "train": like}
