"""What several ranks do together: start, share positions, sum numbers and gradients; what they say when one ends."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from openlvm.core.ranks import Ranks

_LOST = (  # what gloo, NCCL and the store say when a process at the other end is gone
    "closed by peer",
    "reset by peer",
    "Broken pipe",
    "Connection refused",
    "imed out",
    "NCCL communicator was aborted",
    "remote process exited",
    "failed to recv",
    "failed to send",
)


@contextmanager
def process_group(ranks: Ranks, device: torch.device) -> Iterator[None]:
    """torch.distributed for the length of the block: NCCL on CUDA, gloo elsewhere; nothing for a single rank.

    Raises:
        ValueError: another rank ended or does not answer; the error of the library that noticed says less.
    """
    if ranks.world_size == 1 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in _LOST):
            raise
        first_line = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"rank {ranks.rank} of {ranks.world_size} stops: another rank ended or does not answer ({first_line}). "
            "Its own output says why; start all ranks again with the same command and --resume, they go on from the "
            "last checkpoint"
        ) from None
    finally:
        dist.destroy_process_group()


def device_of(ranks: Ranks, name: str) -> torch.device:
    """The device of this rank: "cuda" means the GPU of its local rank, any other name means itself."""
    if name != "cuda":
        return torch.device(name)
    if not torch.cuda.is_available():
        raise ValueError("device=cuda, but torch sees no CUDA device here; use device=cpu")
    return torch.device("cuda", ranks.local_rank)


def positions_of(first: int, count: int, ranks: Ranks) -> range:
    """This rank's even share of the positions [first, first + count); the shares of all ranks, in order, make it up."""
    if count % ranks.world_size:
        raise ValueError(
            f"positions_per_step={count} cannot be split evenly among {ranks.world_size} ranks; "
            f"use a multiple of {ranks.world_size}, or fewer ranks"
        )
    share = count // ranks.world_size
    return range(first + ranks.rank * share, first + (ranks.rank + 1) * share)


def barrier() -> None:
    """Wait for all ranks."""
    if dist.is_initialized():
        dist.barrier()


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of every rank's `tensor`, in place; itself on a single rank."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def max_over_ranks(number: int, device: torch.device) -> int:
    """The largest of every rank's `number`; itself on a single rank."""
    if not dist.is_initialized():
        return number
    held = torch.tensor(number, device=device)
    dist.all_reduce(held, op=dist.ReduceOp.MAX)
    return int(held)


def gathered(values: list[Any], group: dist.ProcessGroup | None = None) -> list[Any]:
    """Every rank's list, joined in the order of the ranks; the list itself on a single rank.

    Args:
        values: of anything that can be pickled; any length.
        group: ranks that call this; None is all of them.
    """
    if not dist.is_initialized():
        return values
    lists: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(lists, values, group)
    return [value for one in lists for value in one]


def sum_gradients(params: Iterable[Tensor]) -> None:
    """Every rank's gradients become the sum over ranks, in one message per dtype; a missing gradient counts as zero."""
    if not dist.is_initialized():
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for param in params:
        if param.grad is None:
            param.grad = torch.zeros_like(param)
        by_dtype.setdefault(param.grad.dtype, []).append(param.grad)
    for grads in by_dtype.values():
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        for grad, summed in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(summed.view_as(grad))


def broadcast_modules(modules: Iterable[nn.Module]) -> None:
    """Every rank takes rank 0's parameters and buffers, so that all start from the same weights."""
    if not dist.is_initialized():
        return
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            dist.broadcast(tensor.data, src=0)
