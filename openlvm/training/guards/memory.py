"""Memory a run has used, and what to say when it was too much."""

import resource
import sys
from typing import Any

import torch

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss


def peak_memory_gib(device: torch.device) -> float:
    """Most memory at once so far, in GiB: allocated by torch on a CUDA device, else resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 2**30


def is_out_of_memory(error: BaseException) -> bool:
    """True for torch's error on a device, its error on a CPU, and Python's own."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def spell_out_of_memory(config: Any, device: torch.device, step: int) -> str:
    """One line: where memory ran out, and the settings of a `TrainConfig` to lower, best first."""
    remedies = []
    if config.positions_per_forward > 1:
        half = config.positions_per_forward // 2
        remedies.append(
            f"lower positions_per_forward={config.positions_per_forward} to {half} (same results up to rounding)"
        )
    if config.precision == "fp32" and device.type == "cuda":
        remedies.append("set precision=bf16")
    if not config.activation_checkpointing:
        remedies.append("set activation_checkpointing")
    if config.parallel == "ddp":
        remedies.append("share the model among several GPUs with parallel=fsdp")
    remedies.append("take a smaller model")
    peak = f"{peak_memory_gib(device):.1f} GiB at most"
    return f"out of memory on {device} in step {step}, {peak}: {'; or '.join(remedies)}"
