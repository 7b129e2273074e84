"""Modules split over ranks: FSDP2 (arXiv 2304.11277), block by block; and blocks recomputed in the backward.

Between uses a rank holds an even share of every weight, its gradient and its optimizer state (DTensors, split along
their first dimension). Before a block computes, its weights are gathered; after it, they are dropped; in the backward
they are gathered again, and the gradient is summed into the shares. What stands outside the blocks (embedding, last
norm, head) stays gathered from the forward to the end of the backward, so that a loss may read the head's weight.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from openlvm.core.ranks import Ranks
from openlvm.training.config import TrainConfig
from openlvm.training.parallel.collectives import broadcast_modules
from openlvm.training.task import BlockTask, Task


def is_split(module: nn.Module) -> bool:
    """True for a module whose weights are shared out among ranks (an FSDPModule, whose import takes its time)."""
    return hasattr(module, "set_requires_all_reduce")


def whole(tensor: Tensor) -> Tensor:
    """A shared-out tensor gathered on every rank (all must call this); any other is itself."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def local(tensor: Tensor) -> Tensor:
    """This rank's share of a shared-out tensor, with the same memory; any other is itself."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def place(task: Task, config: TrainConfig, ranks: Ranks, device: torch.device) -> None:
    """Bring a task's modules to the device, equal on all ranks, split as `config.parallel` says.

    Raises:
        ValueError: a task that cannot be split, or ranks that do not divide.
    """
    if config.parallel == "ddp" or ranks.world_size == 1:
        for module in task.modules.values():
            module.to(device)
        broadcast_modules(task.modules.values())
        return
    from torch.distributed.fsdp import register_fsdp_forward_method

    assert isinstance(task, BlockTask)
    split = _splitter(config, ranks, device)
    for block in task.blocks:  # one after the other: the device never holds the whole model
        split(block)
    for name, module in task.modules.items():
        split(module)
        register_fsdp_forward_method(module, task.entries[name])


def refuse_what_has_no_blocks(task: Task, config: TrainConfig) -> None:
    """Raise ValueError for settings that need a task's blocks where there are none."""
    if isinstance(task, BlockTask) and not task.own_optim:
        return
    settings = {f"parallel={config.parallel}": config.parallel != "ddp"}
    settings |= {"activation_checkpointing": config.activation_checkpointing}
    for setting, is_on in settings.items():
        if is_on:
            raise ValueError(f"{setting} is for decoders; what is trained here has no blocks. Leave it out")


def _splitter(config: TrainConfig, ranks: Ranks, device: torch.device) -> Any:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    shape: tuple[int, ...] = (ranks.world_size,)
    if config.parallel == "hsdp":
        per_shard = config.ranks_per_shard or ranks.local_world_size
        if ranks.world_size % per_shard or per_shard == 1:
            raise ValueError(
                f"parallel=hsdp with ranks_per_shard={per_shard}: it must be above 1 and divide the {ranks.world_size} "
                "ranks; set it to the GPUs of a node, or use parallel=fsdp"
            )
        if per_shard < ranks.world_size:
            shape = (ranks.world_size // per_shard, per_shard)
    names = ("replicate", "shard")[-len(shape) :]
    mesh = init_device_mesh(device.type, shape, mesh_dim_names=names)
    # Inputs keep their dtype: the rotary tables must stay float32 when weights are gathered in bfloat16.
    low = torch.bfloat16 if config.precision == "bf16" else None
    policy = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32, cast_forward_inputs=False)

    def split(module: nn.Module) -> None:
        inner = {id(p) for part in module.modules() if part is not module and is_split(part) for p in part.parameters()}
        for tensor in (*module.parameters(), *module.buffers()):
            if id(tensor) not in inner:
                tensor.data = tensor.data.to(device)
                torch.distributed.broadcast(tensor.data, src=0)
        sharded: Any = fully_shard(module, mesh=mesh, mp_policy=policy)
        sharded.set_gradient_divide_factor(1.0)  # a sum: the loop has divided by the weight of the whole step
        sharded.set_force_sum_reduction_for_comms(True)  # gloo knows no other; dividing by 1 is left out

    return split


def sum_at_last(modules: Mapping[str, nn.Module], *, is_last: bool) -> None:
    """With hsdp, let the copies of the model sum gradients only after the last micro-batch of a step."""
    for module in modules.values():
        if is_split(module):
            split: Any = module
            split.set_requires_all_reduce(is_last)


@contextmanager
def blocks_as(task: Task, config: TrainConfig) -> Iterator[None]:
    """Run a task's blocks compiled and recomputed, as asked for; gathering and dropping weights stays outside of both.

    A block that is recomputed keeps only its inputs in the forward and computes the rest again in the backward (arXiv
    1604.06174): memory of activations falls to one block's and an input for each, a step takes about a third longer.
    """
    blocks: Sequence[nn.Module] = ()
    if isinstance(task, BlockTask):
        is_compiled = task.compile and any(map(is_split, task.modules.values()))
        blocks = task.blocks if is_compiled or config.activation_checkpointing else ()
    for block in blocks:
        forward: Any = torch.compile(block.forward, dynamic=False) if is_compiled else block.forward
        if config.activation_checkpointing:
            forward = partial(_recomputed, forward)
        block.forward = forward
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the class's own again


def _recomputed(forward: Any, *inputs: Any) -> Any:
    from torch.utils.checkpoint import checkpoint

    return checkpoint(forward, *inputs, use_reentrant=False) if torch.is_grad_enabled() else forward(*inputs)
