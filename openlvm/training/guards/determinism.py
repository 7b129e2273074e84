"""The switch to algorithms that repeat to the bit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def algorithms(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """With `deterministic`, only algorithms that repeat to the bit for the length of the block; others are an error."""
    if not deterministic:
        yield
        return
    if device.type == "cuda":  # cuBLAS reads it when it is first used; 8 buffers of 4 MiB, as its manual asks for
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
