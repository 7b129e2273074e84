"""Cross entropy of the next code, computed with its gradients chunk by chunk, and the mask of packed rows.

Logits of a whole row would be T x V floats twice over (4096 x 8292 x 4 bytes = 136 MB, and as much for the gradient).
Here they live for one chunk: the gradient of softmax cross entropy is known in the forward, (softmax - one-hot) times
its weight, so the products with it are taken there and the chunk is dropped; nothing is computed twice (the idea of
Liger Kernel, arXiv 2410.10989, section 3.2). Letters beside the project's own: M targets.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CHUNK_ROWS = 2048  # 68 MB of float32 logits at V = 8292

LossTerm = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""Another loss of the same logits: from log-probabilities float32 [m, V] (left as they are) and the rows they belong
to, each row's loss [m] and its gradient with respect to the logits [m, V], which is the caller's."""


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        targets: Tensor,
        weights: Tensor,
        dtype: torch.dtype,
        chunk_rows: int,
        term: LossTerm | None,
        term_weights: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        is_trained = any(ctx.needs_input_grad[:2])
        low_hidden, low_table = hidden.to(dtype), table.to(dtype)
        losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)  # [M]
        terms = torch.zeros_like(losses)  # [M]
        if is_trained:
            grad_hidden = torch.empty_like(low_hidden)
            grad_table = torch.zeros_like(table, dtype=torch.float32)
        for start in range(0, len(targets), chunk_rows):
            rows = slice(start, start + chunk_rows)
            target = targets[rows, None]  # [m, 1]
            logits = (low_hidden[rows] @ low_table.T).float()  # [m, V]
            log_probs = logits.log_softmax(-1)  # [m, V]
            losses[rows] = -log_probs.gather(1, target).squeeze(1)
            if term is not None:
                terms[rows], term_grad = term(log_probs, rows)
            if is_trained:
                grad = log_probs.exp_()
                grad.scatter_add_(1, target, torch.full_like(target, -1, dtype=grad.dtype))
                grad.mul_(weights[rows, None])
                if term_weights is not None:
                    grad += term_grad.mul_(term_weights[rows, None])
                grad = grad.to(dtype)
                grad_hidden[rows] = grad @ low_table
                grad_table += grad.T @ low_hidden[rows]
        if is_trained:
            ctx.save_for_backward(grad_hidden.to(hidden.dtype), grad_table.to(table.dtype))
        ctx.mark_non_differentiable(losses, terms)
        total = (losses * weights).sum()
        return total if term_weights is None else total + (terms * term_weights).sum(), losses, terms

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_table = ctx.saved_tensors
        return grad_hidden * grad_total, grad_table * grad_total, *[None] * 6


def next_code_loss(
    hidden: Tensor, table: Tensor, targets: Tensor, weights: Tensor, *, chunk_rows: int = CHUNK_ROWS
) -> tuple[Tensor, Tensor]:
    """Sum of weight * cross entropy, and the unweighted cross entropies; softmax over the whole vocabulary.

    Args:
        hidden: float [M, D], what stands before the head.
        table: float [V, D], the head's weight.
        targets: int64 [M].
        weights: float32 [M].
        chunk_rows: targets whose logits are in memory at once.

    Returns:
        scalar with gradient for `hidden` and `table`; float32 [M] without. Products in autocast's dtype where it is on.
    """
    total, losses, _ = _chunked(hidden, table, targets, weights, chunk_rows, None, None)
    return total, losses


def next_code_loss_and_term(
    hidden: Tensor,
    table: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    term: LossTerm,
    term_weights: Tensor,
    chunk_rows: int = CHUNK_ROWS,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `next_code_loss`, with another loss of the same logits added, `term_weights` float32 [M] times.

    Returns:
        scalar with gradient; the cross entropies and the term's losses, unweighted, float32 [M] without.
    """
    return _chunked(hidden, table, targets, weights, chunk_rows, term, term_weights)


def _chunked(
    hidden: Tensor,
    table: Tensor,
    targets: Tensor,
    weights: Tensor,
    chunk_rows: int,
    term: LossTerm | None,
    term_weights: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    with torch.autocast(kind, enabled=False):
        return _ChunkedCrossEntropy.apply(hidden, table, targets, weights, dtype, chunk_rows, term, term_weights)


def document_mask(documents: Tensor) -> Any:
    """Who sees whom in packed rows: itself and what stands before it in its own sentence.

    Args:
        documents: int32 [B, T], the sentence of each place; places of the same number form one, padding included.

    Returns:
        On CUDA a FlexAttention BlockMask (blocks that see nothing are skipped), elsewhere bool [B, 1, T, T].
    """
    if documents.device.type == "cuda":
        return block_mask(documents)
    size = documents.shape[1]
    causal = torch.ones(size, size, dtype=torch.bool, device=documents.device).tril()
    return (documents[:, None, :, None] == documents[:, None, None, :]) & causal  # [B, 1, T, T]


def block_mask(documents: Tensor) -> Any:
    """The rule of `document_mask` as a FlexAttention BlockMask for all heads, on the device of `documents`."""
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (documents[row, query] == documents[row, key])

    rows, size = documents.shape
    return create_block_mask(sees, rows, None, size, size, device=documents.device.type)
