"""Training a decoder: the next code of the sentences of a plan, as a task of the loop (loop.py).

A position of the plan holds n sentences of one component. `dense` runs positions of one length together as plain causal
rows (CPU, and any plan whose sentences are all of one length); `packed` makes each position one row of fixed length
with a document mask (CUDA; as many forwards on every rank); `stream` cuts the endless text of LVM's training.
Letters: N codes per image, S images in a sentence, M targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from openlvm.bundle import SpecialIds
from openlvm.model.decoder import Decoder
from openlvm.sentences.grammar import MAX_IMAGES, ROLES
from openlvm.store.plan import Sentences
from openlvm.training.config import OptimConfig
from openlvm.training.decoder.loss import document_mask, next_code_loss
from openlvm.training.decoder.rows import (
    LossConfig,
    Rows,
    dense_rows,
    num_tokens,
    packed_rows,
    stack_rows,
    stream_row,
)
from openlvm.training.task import MicroBatch, Review, TaskLoss

Layout = Literal["dense", "packed", "stream"]
Item = TypeVar("Item")


class SentencePlan(Protocol):
    """What the task asks of a plan; `store.plan.Plan` is one."""

    names: list[str]
    """Of the components."""
    images: list[int]
    """S of each component."""
    codes_per_image: int
    """N."""
    num_positions: int
    """How many positions there are."""

    def batch(self, indices: range) -> list[Sentences]:
        """What stands at these positions, floor(16 / S) sentences of one component each; a pure function."""
        ...


@dataclass(frozen=True)
class _Forward:
    """What a micro-batch holds."""

    tensors: dict[str, Tensor]
    """inputs [B, T]; targets, weights, components, roles [M]; counted [M] places in B * T if not all; of packed rows
    documents, positions [B, T]."""
    part_weights: dict[int, float]
    """Number of a part -> sum of its weights, of the parts that occur."""


class DecoderTask:
    """Next-code objective (a `Task`).

    Args:
        decoder: trained in place.
        plan: the sentences, by position.
        special: ids of BOS, EOS and padding.
        layout: see the top of the file.
        loss: weights by role.
        positions_per_forward: positions (dense: of one length) of one forward.
        compile: run the decoder through torch.compile; FlexAttention (packed on CUDA) needs it.
    """

    unit = "tokens"
    own_optim: Mapping[str, OptimConfig] = {}

    def __init__(
        self,
        decoder: Decoder,
        plan: SentencePlan,
        special: SpecialIds,
        *,
        layout: Layout,
        loss: LossConfig,
        positions_per_forward: int,
        compile: bool = False,
    ):
        self.modules: Mapping[str, torch.nn.Module] = {"decoder": decoder}
        self.part_names = (*plan.names, *(f"role:{role}" for role in ROLES))
        self.decoder, self.plan, self.special = decoder, plan, special
        self.layout, self.loss_weights, self.positions_per_forward = layout, loss, positions_per_forward
        self.hidden = torch.compile(decoder.hidden, dynamic=False) if compile else decoder.hidden
        lengths = [num_tokens(size, plan.codes_per_image, special) - 1 for size in plan.images]
        self.packed_length = max(MAX_IMAGES // size * length for size, length in zip(plan.images, lengths, strict=True))
        context = decoder.config.context
        if layout != "stream" and max(lengths) > context:
            raise ValueError(f"sentences of {max(lengths)} tokens are longer than the decoder's context={context}")
        if layout == "stream" and len(set(plan.images)) > 1:
            raise ValueError(f"layout=stream needs sentences of one length, given components of {plan.images} images")

    @property
    def num_positions(self) -> int:
        """Positions there are to train on: those of the plan, or rows of the stream."""
        if self.layout != "stream":
            return self.plan.num_positions
        return (self.plan.num_positions * self._stream_tokens - 1) // self.decoder.config.context

    @property
    def _stream_tokens(self) -> int:
        """Tokens that one position of the plan adds to the stream."""
        size = self.plan.images[0]
        return MAX_IMAGES // size * num_tokens(size, self.plan.codes_per_image, self.special)

    def micro_batches(self, step: int, positions: range) -> list[MicroBatch]:
        """Forwards of at most `positions_per_forward` positions each."""
        if positions.stop > self.num_positions:
            raise ValueError(f"position {positions.stop - 1} was asked for, the plan has {self.num_positions}")
        if self.layout == "stream":
            rows = [self._stream_row(position) for position in positions]
            return [self._batch(stack_rows(group)) for group in _groups(rows, self.positions_per_forward)]
        read = self.plan.batch(positions)
        special, loss = self.special, self.loss_weights
        if self.layout == "packed":
            groups = _groups(read, self.positions_per_forward)
            return [self._batch(packed_rows(group, special, loss, length=self.packed_length)) for group in groups]
        by_length: dict[tuple[int, ...], list[Sentences]] = {}
        for sentences in read:
            by_length.setdefault(sentences.codes.shape, []).append(sentences)
        groups = [group for same in by_length.values() for group in _groups(same, self.positions_per_forward)]
        return [self._batch(dense_rows(group, special, loss)) for group in groups]

    def _stream_row(self, position: int) -> Rows:
        length, tokens = self.decoder.config.context, self._stream_tokens
        first, start = divmod(position * length, tokens)
        last = (position * length + length) // tokens
        pieces = self.plan.batch(range(first, last + 1))
        return stream_row(pieces, self.special, self.loss_weights, start=start, length=length)

    def _batch(self, rows: Rows) -> MicroBatch:
        """Tensors of a forward; targets that do not count are left out before the head."""
        counted = np.flatnonzero(rows.weights.ravel() > 0)  # [M]
        flat = {name: getattr(rows, name).ravel()[counted] for name in ("targets", "weights", "components", "roles")}
        arrays = {"inputs": rows.inputs, **flat}
        if len(counted) < rows.weights.size:
            arrays["counted"] = counted
        if rows.documents is not None and rows.positions is not None:
            arrays |= {"documents": rows.documents, "positions": rows.positions}
        num_components = len(self.plan.names)
        by_component = np.bincount(flat["components"], flat["weights"], minlength=num_components)
        by_role = np.bincount(flat["roles"], minlength=len(ROLES))
        weights = np.concatenate([by_component, by_role]).tolist()
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        if self.device.type == "cuda":
            tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
        num_real = rows.inputs.size if rows.documents is None else int((rows.documents >= 0).sum())
        data = _Forward(tensors, {index: weight for index, weight in enumerate(weights) if weight > 0})
        return MicroBatch(data=data, weight=float(flat["weights"].sum(dtype=np.float64)), units=num_real)

    @property
    def device(self) -> torch.device:
        """Where the decoder is."""
        return _head_weight(self.decoder).device

    def loss(self, batch: MicroBatch) -> TaskLoss:
        """Sum of weight * cross entropy; parts: that of each component, and the plain cross entropy of each role."""
        table = _head_weight(self.decoder)
        data = {name: tensor.to(table.device, non_blocking=True) for name, tensor in batch.data.tensors.items()}
        mask = document_mask(data["documents"]) if "documents" in data else None
        hidden = self.hidden(data["inputs"], mask=mask, positions=data.get("positions"))  # [B, T, D]
        hidden = hidden.flatten(0, 1)  # [B * T, D]
        if "counted" in data:
            hidden = hidden.index_select(0, data["counted"])  # [M, D]
        total, losses = next_code_loss(hidden, table, data["targets"], data["weights"])
        sums = torch.zeros(len(self.part_names), dtype=torch.float64, device=table.device)
        sums.index_add_(0, data["components"], (losses * data["weights"]).double())
        sums.index_add_(0, data["roles"] + len(self.plan.names), losses.double())
        return TaskLoss(total, {self.part_names[i]: (sums[i], weight) for i, weight in batch.data.part_weights.items()})

    def after_step(self, step: int) -> None:
        """Nothing: a decoder has no state outside its gradient."""

    def review(self, lines: Sequence[Mapping[str, Any]]) -> Review:
        """Nothing to add to what the loop itself refuses."""
        return Review()


def _groups(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _head_weight(decoder: Decoder) -> Tensor:
    """The table [V, D] that makes logits of what stands before the head."""
    return decoder.model.embed_tokens.weight if decoder.config.tie_embeddings else decoder.lm_head.weight
