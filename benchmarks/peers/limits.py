"""What this machine can do at best, as torch sees it: matmul, convolution, attention, memory; the ceiling of all rates.

OMP_NUM_THREADS=2 python benchmarks/peers/limits.py
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))
from measure import alternate, emit

Case = tuple[str, Callable[[], Any], float, str]
"""Name, what is run, its work, the unit of the work per second."""


def products(dtype: torch.dtype, shrink: int) -> Iterator[Case]:
    """Matrix products: square, of a training step (100M), and of decoding (weights out of cache: bound by memory)."""
    size = 2048 // shrink
    square = torch.randn(size, size, dtype=dtype)
    yield f"matmul {size}", lambda: square @ square, 2 * size**3 / 1e9, "GFLOP/s"
    rows, weight = torch.randn(4096 // shrink, 640, dtype=dtype), torch.randn(1664, 640, dtype=dtype)
    yield "linear of training", lambda: F.linear(rows, weight), 2 * len(rows) * weight.numel() / 1e9, "GFLOP/s"
    weights = [torch.randn(2688, 1024, dtype=dtype) for _ in range(40 // shrink)]
    gigabytes = sum(one.nbytes for one in weights) / 1e9
    for count in (1, 4):
        few = torch.randn(count, 1024, dtype=dtype)
        yield f"linear of decoding, {count} rows", lambda x=few: [F.linear(x, w) for w in weights], gigabytes, "GB/s"


def layers(dtype: torch.dtype, shrink: int) -> Iterator[Case]:
    """The convolution of a VQGAN at full resolution, in both memory formats; causal attention over 4096 positions."""
    side = 256 // shrink
    image, kernel = torch.randn(1, 128, side, side, dtype=dtype), torch.randn(128, 128, 3, 3, dtype=dtype)
    work = 2 * side**2 * 128 * 128 * 9 / 1e9
    yield "convolution", lambda: F.conv2d(image, kernel, padding=1), work, "GFLOP/s"
    last = [tensor.to(memory_format=torch.channels_last) for tensor in (image, kernel)]
    yield "convolution, channels last", lambda: F.conv2d(*last, padding=1), work, "GFLOP/s"
    length = 4096 // shrink
    q = torch.randn(1, 10, length, 64, dtype=dtype)
    attend = 2 * 2 * 10 * 64 * length**2 / 2 / 1e9
    yield "causal attention", lambda: F.scaled_dot_product_attention(q, q, q, is_causal=True), attend, "GFLOP/s"


def memory(shrink: int) -> Iterator[Case]:
    """Copying and reading 1 GiB."""
    source = torch.ones(2**28 // shrink**2)
    target = torch.empty_like(source)
    yield "copy, read and write", lambda: target.copy_(source), 2 * source.nbytes / 1e9, "GB/s"
    yield "read", lambda: source.sum(), source.nbytes / 1e9, "GB/s"


@torch.inference_mode()
def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--runs", type=int, default=7)
    ask.add_argument("--tiny", action="store_true", help="a rehearsal of seconds")
    given = ask.parse_args()
    shrink, runs = (8, 1) if given.tiny else (1, given.runs)
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        for make in (products, layers):
            for case in make(dtype, shrink):
                measure(f"limit {name} {case[0]}", case, runs)
    for case in memory(shrink):
        measure(f"limit {case[0]}", case, runs)


def measure(name: str, case: Case, runs: int) -> None:
    walls = sorted(clock.wall for clock in alternate({"": case[1]}, runs)[""])
    emit(name, round(case[2] / walls[len(walls) // 2], 2), case[3], best=round(case[2] / walls[0], 2), runs=runs)


if __name__ == "__main__":
    main()
