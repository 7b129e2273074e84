"""From sentences of codes to the rows a decoder trains on: inputs, targets, loss weights; dense, packed or a stream.

Two sentences a b c and d e f, with B = BOS and E = EOS:

    dense    inputs    B a b c | B d e f       rows of one length, plain causal attention, no padding
             targets   a b c E | d e f E
    packed   inputs    B a b c B d e f P P     one row, padded to a fixed length; a document mask keeps sentences apart
             documents 0 0 0 0 1 1 1 1 - -     and positions start anew
    stream   inputs    B a b c E B d | e f E …  the endless text of LVM's training, cut anywhere, attention crossing

Knows nothing of devices. Letters beside the project's own: M sentences, L tokens of one (BOS, EOS too).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from openlvm.bundle import SpecialIds
from openlvm.sentences.grammar import ROLES
from openlvm.store.plan import Sentences


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """How much each image's codes count, by the image's role in its sentence. LVM: 1 everywhere."""

    context: float = 1.0
    """Images that are neither a task's input nor its answer: frames, views, single images."""
    query: float = 1.0
    """Inputs of a task."""
    answer: float = 1.0
    """Answers of a task."""

    def __post_init__(self) -> None:
        weights = (self.context, self.query, self.answer)
        if min(weights) < 0 or max(weights) <= 0:
            raise ValueError(f"loss weights must be at least 0 and one above: {self}")

    def by_role(self) -> np.ndarray:
        """float32 [roles], in the order of `grammar.ROLES`."""
        return np.array([getattr(self, role) for role in ROLES], dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What one forward takes; arrays [B, T]."""

    inputs: np.ndarray
    """int64."""
    targets: np.ndarray
    """int64, the code after each input."""
    weights: np.ndarray
    """float32, of the loss at each target; 0 leaves it out."""
    components: np.ndarray
    """int64, the component each target belongs to."""
    roles: np.ndarray
    """int64, the role of the image each target belongs to; EOS belongs to the last."""
    documents: np.ndarray | None = None
    """int32, packed rows only: which sentence of its row, -1 for padding."""
    positions: np.ndarray | None = None
    """int64, packed rows only: place in its sentence."""


def stack_rows(rows: Sequence[Rows]) -> Rows:
    """All rows, of one kind and length, as one."""
    names = [field.name for field in fields(Rows) if getattr(rows[0], field.name) is not None]
    return Rows(**{name: np.concatenate([getattr(row, name) for row in rows]) for name in names})


def num_tokens(num_images: int, codes_per_image: int, special: SpecialIds) -> int:
    """L: codes of a sentence, and BOS and EOS where there are any."""
    return num_images * codes_per_image + (special.bos is not None) + (special.eos is not None)


@dataclass(frozen=True)
class _Tokens:
    """Whole sentences with BOS and EOS, before they are shifted; arrays [M, L]."""

    ids: np.ndarray
    weights: np.ndarray
    components: np.ndarray
    roles: np.ndarray

    def shifted(self) -> dict[str, np.ndarray]:
        return {
            "inputs": self.ids[:, :-1],
            "targets": self.ids[:, 1:],
            "weights": self.weights[:, 1:],
            "components": self.components[:, 1:],
            "roles": self.roles[:, 1:],
        }


def _tokens(sentences: Sentences, special: SpecialIds, loss: LossConfig) -> _Tokens:
    num_sentences, num_codes = sentences.codes.shape
    per_image = num_codes // sentences.roles.shape[1]
    sides = ((0, 0), (int(special.bos is not None), int(special.eos is not None)))
    ids = np.pad(sentences.codes.astype(np.int64), sides)  # [M, L]
    if special.bos is not None:
        ids[:, 0] = special.bos
    if special.eos is not None:
        ids[:, -1] = special.eos
    roles = np.pad(np.repeat(sentences.roles.astype(np.int64), per_image, axis=1), sides, mode="edge")  # [M, L]
    return _Tokens(ids, loss.by_role()[roles], np.full_like(ids, sentences.component), roles)


def dense_rows(positions: Sequence[Sentences], special: SpecialIds, loss: LossConfig) -> Rows:
    """One row a sentence, T = L - 1; all sentences of one length."""
    return stack_rows([Rows(**_tokens(sentences, special, loss).shifted()) for sentences in positions])


def packed_rows(positions: Sequence[Sentences], special: SpecialIds, loss: LossConfig, *, length: int) -> Rows:
    """One row a position, its sentences one after the other, padded to T = `length`."""
    return stack_rows([_packed_row(sentences, special, loss, length) for sentences in positions])


def _packed_row(sentences: Sentences, special: SpecialIds, loss: LossConfig, length: int) -> Rows:
    shifted = _tokens(sentences, special, loss).shifted()
    num_sentences, size = shifted["inputs"].shape
    missing = length - num_sentences * size
    if missing < 0:
        raise ValueError(f"{num_sentences} sentences of {size} tokens do not fit into a packed row of {length}")
    documents = np.repeat(np.arange(num_sentences, dtype=np.int32), size)
    places = np.tile(np.arange(size), num_sentences)
    pad = 0 if special.pad is None else special.pad  # any id will do: nothing sees it, its weight is 0
    fill = {"inputs": pad, "targets": pad, "documents": -1}
    flat = {**{name: array.ravel() for name, array in shifted.items()}, "documents": documents, "positions": places}
    padded = {name: np.pad(array, (0, missing), constant_values=fill.get(name, 0)) for name, array in flat.items()}
    return Rows(**{name: array[None] for name, array in padded.items()})


def stream_row(pieces: Sequence[Sentences], special: SpecialIds, loss: LossConfig, *, start: int, length: int) -> Rows:
    """One row [1, length] of the stream: targets are tokens start + 1 … start + length of the sentences in `pieces`."""
    parts = [_tokens(sentences, special, loss) for sentences in pieces]
    window = slice(start, start + length + 1)
    names = ("ids", "weights", "components", "roles")
    cut = [np.concatenate([getattr(part, name).ravel() for part in parts])[None, window] for name in names]
    return Rows(**_Tokens(*cut).shifted())
