"""How fast a run goes: units and floating point operations a second, their share of what the device can do, waiting.

MFU = operations that the products of the model need / seconds / peak (PaLM, arXiv 2204.02311, appendix B), causal
attention counted once; 0.5 is good. Work done twice (activation checkpointing) does not count.
"""

import time

import torch

from openlvm.training.guards.memory import peak_memory_gib

PEAK_FLOPS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "A40": 149.7e12,
    "L40S": 362e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
}
"""Part of a device's name -> dense bfloat16 operations a second with float32 sums (NVIDIA's data sheets); the first
that fits counts."""


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Operations a second of a device in bf16; None for other precisions, CPUs and devices not in the table."""
    if device.type != "cuda" or precision != "bf16":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)


class Clock:
    """Rates of training alone: restarted after evaluations and checkpoints.

    Args:
        unit: what is counted: "tokens", "images".
        peak: operations a second of all ranks' devices together; None where unknown.
    """

    def __init__(self, unit: str, device: torch.device, peak: float | None):
        self.unit, self.device, self.peak = unit, device, peak
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self.units, self.flops, self.waited, self.start = 0, 0.0, 0.0, time.perf_counter()

    def count(self, units: int, flops: float, waited: float) -> None:
        """A step is done: units and operations of all ranks, seconds this rank waited for data."""
        self.units, self.flops, self.waited = self.units + units, self.flops + flops, self.waited + waited

    def read(self) -> dict[str, float | None]:
        """What a line of metrics says about the time since the last reading; mfu None where the peak is unknown."""
        seconds = time.perf_counter() - self.start
        timing: dict[str, float | None] = {
            f"{self.unit}_per_second": self.units / seconds,
            "seconds": seconds,
            "data_wait_seconds": self.waited,
            "mfu": self.flops / seconds / self.peak if self.peak and self.flops else None,
            "peak_memory_gib": peak_memory_gib(self.device),
        }
        self.restart()
        return timing
