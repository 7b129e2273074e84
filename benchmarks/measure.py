"""What the benchmarks share: alternating runs of two sides, and one JSON line for each thing measured.

Absolute numbers move with the machine and its neighbours; the ratio of two sides that take turns in one process, in
the same minutes, moves little. So every harness runs both alternately (A B B A ...) and prints both and the ratio.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Clock:
    """Wall and CPU seconds of a block; on CUDA the device is waited for at both ends."""

    def __enter__(self) -> "Clock":
        _wait_for_device()
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: Any) -> None:
        _wait_for_device()
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu


def _wait_for_device() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()


def alternate(sides: Mapping[str, Callable[[], Any]], runs: int, warmup: int = 1) -> dict[str, list[Clock]]:
    """Time every side `runs` times after `warmup` calls of each; the order turns around from run to run."""
    for _ in range(warmup):
        for side in sides.values():
            side()
    clocks: dict[str, list[Clock]] = {name: [] for name in sides}
    for run in range(runs):
        names = list(sides) if run % 2 == 0 else list(reversed(sides))
        for name in names:
            with Clock() as clock:
                sides[name]()
            clocks[name].append(clock)
    return clocks


def in_own_process(*options: str) -> dict[str, Any]:
    """This very command with more options, as a process whose memory is its own: the JSON object it prints last."""
    command = [sys.executable, *sys.argv, *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def resident_mb() -> float:
    """Resident size of this process now (Linux); the peak is reset to it, so that loading does not count."""
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, which is what ru_maxrss reports
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak_mb() -> float:
    """Largest resident size of this process since `resident_mb` was called."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def emit(name: str, value: float, unit: str, **facts: Any) -> None:
    """Print one JSON line: what was measured, on what, by which command and commit. Also appended to $BENCH_OUT."""
    line = json.dumps({"name": name, "value": value, "unit": unit, **facts, **_setting()})
    print(line, flush=True)
    if os.environ.get("BENCH_OUT"):
        with open(os.environ["BENCH_OUT"], "a") as file:
            file.write(line + "\n")


def emit_rates(name: str, clocks: Mapping[str, list[Clock]], work: float, unit: str, **facts: Any) -> None:
    """One line for each side (median rate, best, spread, CPU seconds), then the median of the pairwise ratios."""
    for side, runs in clocks.items():
        walls = [clock.wall for clock in runs]
        median = statistics.median(walls)
        emit(
            f"{name} {side}",
            round(work / median, 4),
            unit,
            best=round(work / min(walls), 4),
            runs=len(walls),
            spread=round((max(walls) - min(walls)) / median, 3),
            cpu_seconds=round(statistics.median(clock.cpu for clock in runs), 4),
            **facts,
        )
    emit_ratios(name, clocks)


def emit_ratios(name: str, clocks: Mapping[str, list[Clock]]) -> None:
    """How many times faster ours is than each other side: median, smallest and largest of the pairwise ratios."""
    if "ours" not in clocks:
        return
    for side, runs in clocks.items():
        if side != "ours":
            ratios = [peer.wall / our.wall for our, peer in zip(clocks["ours"], runs, strict=True)]
            low, high = round(min(ratios), 3), round(max(ratios), 3)
            emit(f"{name} ours/{side}", round(statistics.median(ratios), 3), "ratio", low=low, high=high)


def _setting() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    on_cuda = torch is not None and torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if on_cuda else f"{os.cpu_count()} x {_processor()}",
        "threads": torch.get_num_threads() if torch is not None else 1,
        "load": round(os.getloadavg()[0], 2),
        "torch": torch.__version__ if torch is not None else None,
        "commit": _commit(),
        "command": " ".join(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]]),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else None
