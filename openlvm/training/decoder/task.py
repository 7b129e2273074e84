"""Training a decoder: the next code of the sentences of a plan, as a task of the loop (loop.py).

A position of the plan holds n sentences of one component. `dense` runs positions of one length together as plain causal
rows (CPU, and any plan whose sentences are all of one length); `packed` makes each position one row of fixed length
with a document mask (CUDA; as many forwards on every rank); `stream` cuts the endless text of LVM's training.
Letters: N codes per image, S images in a sentence, M targets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from openlvm.bundle import SpecialIds
from openlvm.model.decoder import Decoder
from openlvm.model.sizes import flops_per_token
from openlvm.sentences.grammar import MAX_IMAGES, ROLES
from openlvm.store.plan import Sentences
from openlvm.training.config import OptimConfig
from openlvm.training.decoder.distill import Teacher
from openlvm.training.decoder.loss import (
    CHUNK_ROWS,
    LossTerm,
    document_mask,
    next_code_loss,
    next_code_loss_and_term,
)
from openlvm.training.decoder.rows import (
    LossConfig,
    Rows,
    dense_rows,
    num_tokens,
    packed_rows,
    stack_rows,
    stream_row,
)
from openlvm.training.parallel.sharding import is_split
from openlvm.training.task import MicroBatch, Review, TaskLoss

NEXT_CODE, DISTILL = "next_code", "distill"
"""Parts of a student's loss: cross entropy, and T^2 times the divergence from its teacher; nats a target."""

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
    positions: Sequence[int]
    """Of the plan, or rows of the stream, each with equally many targets, in order."""
    places: np.ndarray
    """int64 [M]: position * `DecoderTask.targets_per_position` + the target's number in it."""


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
        teacher: the decoder is its student too; None learns the codes alone.
    """

    unit = "tokens"
    own_optim: Mapping[str, OptimConfig] = {}
    entries: Mapping[str, str] = {"decoder": "hidden"}

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
        teacher: Teacher | None = None,
    ):
        self.modules: Mapping[str, torch.nn.Module] = {"decoder": decoder}
        self.part_names = (*plan.names, *(f"role:{role}" for role in ROLES))
        if teacher is not None:
            self.part_names += (NEXT_CODE, DISTILL)
        self.teacher = teacher
        self.decoder, self.plan, self.special = decoder, plan, special
        self.layout, self.loss_weights, self.positions_per_forward = layout, loss, positions_per_forward
        self.compile = compile
        lengths = [num_tokens(size, plan.codes_per_image, special) - 1 for size in plan.images]
        self.packed_length = max(MAX_IMAGES // size * length for size, length in zip(plan.images, lengths, strict=True))
        context = decoder.config.context
        if layout != "stream" and max(lengths) > context:
            raise ValueError(f"sentences of {max(lengths)} tokens are longer than the decoder's context={context}")
        if layout == "stream" and len(set(plan.images)) > 1:
            raise ValueError(f"layout=stream needs sentences of one length, given components of {plan.images} images")
        if teacher is not None:
            teacher.open_cache(num_positions=self.num_positions, per_position=self.targets_per_position)

    @property
    def blocks(self) -> list[torch.nn.Module]:
        """Those of the decoder."""
        return list(self.decoder.model.layers)

    @cached_property
    def hidden(self) -> Callable[..., Tensor]:
        """`Decoder.hidden`, compiled if asked for; made when first used, after the decoder may have been split."""
        split = is_split(self.decoder)  # its blocks are compiled one by one (parallel/sharding.py)
        return torch.compile(self.decoder.hidden, dynamic=False) if self.compile and not split else self.decoder.hidden

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
            return [
                self._batch(stack_rows([self._stream_row(position) for position in group]), group)
                for group in _groups(positions, self.positions_per_forward)
            ]
        read = list(zip(positions, self.plan.batch(positions), strict=True))
        if self.layout == "packed":
            return [self._forward(group) for group in _groups(read, self.positions_per_forward)]
        by_length: dict[tuple[int, ...], list[tuple[int, Sentences]]] = {}
        for position, sentences in read:
            by_length.setdefault(sentences.codes.shape, []).append((position, sentences))
        groups = [group for same in by_length.values() for group in _groups(same, self.positions_per_forward)]
        return [self._forward(group) for group in groups]

    def _forward(self, group: Sequence[tuple[int, Sentences]]) -> MicroBatch:
        """A forward of whole positions, given with their sentences."""
        positions, sentences = zip(*group, strict=True)
        if self.layout == "packed":
            rows = packed_rows(sentences, self.special, self.loss_weights, length=self.packed_length)
        else:
            rows = dense_rows(sentences, self.special, self.loss_weights)
        return self._batch(rows, positions)

    def _stream_row(self, position: int) -> Rows:
        length, tokens = self.decoder.config.context, self._stream_tokens
        first, start = divmod(position * length, tokens)
        last = (position * length + length) // tokens
        pieces = self.plan.batch(range(first, last + 1))
        return stream_row(pieces, self.special, self.loss_weights, start=start, length=length)

    @property
    def targets_per_position(self) -> int:
        """At most; those that do not count among them."""
        return self.decoder.config.context if self.layout == "stream" else self.packed_length

    def _batch(self, rows: Rows, positions: Sequence[int]) -> MicroBatch:
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
        starts = np.array(positions, dtype=np.int64)[:, None] * self.targets_per_position
        places = (starts + np.arange(rows.weights.size // len(positions))).ravel()[counted]  # [M]
        part_weights = {index: weight for index, weight in enumerate(weights) if weight > 0}
        data = _Forward(tensors, part_weights, positions, places)
        length = rows.inputs.shape[1]
        if rows.documents is not None and rows.positions is not None:
            length = 2 * float(rows.positions[rows.documents >= 0].mean()) + 1  # of sentences, weighted by their tokens
        flops = num_real * flops_per_token(self.decoder.config, length)
        weight = float(flat["weights"].sum(dtype=np.float64))
        return MicroBatch(data=data, weight=weight, units=num_real, flops=flops)

    @property
    def device(self) -> torch.device:
        """Where the decoder is."""
        return _head_weight(self.decoder).device

    def loss(self, batch: MicroBatch) -> TaskLoss:
        """Sum of weight * cross entropy; parts: that of each component, and the plain cross entropy of each role.

        A student's divergence from its teacher is added, and both losses are parts of their own.
        """
        device = self.device
        data = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.data.tensors.items()}
        mask = document_mask(data["documents"]) if "documents" in data else None
        learned = None if self.teacher is None else self._learned(self.teacher, batch.data, data, mask)
        hidden = self.hidden(data["inputs"], mask=mask, positions=data.get("positions"))  # [B, T, D]
        table = _head_weight(self.decoder)  # after the forward, which gathers it where ranks hold shares
        hidden = hidden.flatten(0, 1)  # [B * T, D]
        if "counted" in data:
            hidden = hidden.index_select(0, data["counted"])  # [M, D]
        total, losses, parts = self._losses(hidden, table, data, learned)
        sums = torch.zeros(len(self.plan.names) + len(ROLES), dtype=torch.float64, device=table.device)
        sums.index_add_(0, data["components"], (losses * data["weights"]).double())
        sums.index_add_(0, data["roles"] + len(self.plan.names), losses.double())
        parts |= {self.part_names[i]: (sums[i], weight) for i, weight in batch.data.part_weights.items()}
        return TaskLoss(total, parts)

    def _learned(
        self, teacher: Teacher, forward: _Forward, data: dict[str, Tensor], mask: Any
    ) -> tuple[LossTerm, Tensor]:
        """What the teacher says of a micro-batch, as a term of the loss with its weights float32 [M]."""
        answers = teacher.answers(data, mask, positions=forward.positions, places=forward.places, chunk_rows=CHUNK_ROWS)
        return teacher.term(answers), teacher.weights(data["weights"], data["roles"])

    def _losses(
        self, hidden: Tensor, table: Tensor, data: dict[str, Tensor], learned: tuple[LossTerm, Tensor] | None
    ) -> tuple[Tensor, Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """The loss, the cross entropies float32 [M], and a student's two parts."""
        targets, weights = data["targets"], data["weights"]
        if learned is None:
            return *next_code_loss(hidden, table, targets, weights), {}
        term, term_weights = learned
        total, losses, terms = next_code_loss_and_term(
            hidden, table, targets, weights, term=term, term_weights=term_weights
        )
        parts = {NEXT_CODE: (losses, weights), DISTILL: (terms, term_weights)}
        return (
            total,
            losses,
            {
                name: ((values * by).sum(dtype=torch.float64), by.sum(dtype=torch.float64))
                for name, (values, by) in parts.items()
            },
        )

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
