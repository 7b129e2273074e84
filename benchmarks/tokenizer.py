"""The tokenizer beside the official LVM code and diffusers: images encoded and decoded per second, same VQGAN.

    OMP_NUM_THREADS=2 LVM_REPO=.../LVM python benchmarks/tokenizer.py
    LVM_REPO=.../LVM python benchmarks/tokenizer.py --batch 32 --device cuda

Weights are random and the same on all sides; the share of codes equal to the official ones and the difference of the
pictures are printed. Sides: `ours` is a VQGAN prepared for inference in float32, `ours-bf16` the same in bfloat16,
`ours-plain` the VQGAN as it is trained. Ratios are of wall seconds and, for a machine with neighbours (then with one
thread), of CPU seconds. Peak memory is that of a process of its own for each side, from the start of Python to the last
picture. What bfloat16 changes of codes and pictures is measured with the tokenizer that ships, on held-out photographs.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from measure import Clock, alternate, emit, emit_rates, emit_ratios
from peers import vqgan

from openlvm.sources.pack import PackPhotos
from openlvm.tokenizer.folder import load_tokenizer
from openlvm.tokenizer.speed.prepare import compare_precisions, prepare_for_inference
from openlvm.tokenizer.vqgan import VQGAN, to_unit_range

OURS = {"ours": "fp32", "ours-bf16": "bf16", "ours-plain": None}


def options() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--ours", nargs="+", choices=OURS, default=["ours", "ours-bf16"])
    ask.add_argument("--peers", nargs="*", choices=["official", "diffusers"], default=["official", "diffusers"])
    ask.add_argument("--runs", type=int, default=5, help="at batch 1; as many fewer as the batch is larger, at least 1")
    ask.add_argument("--no-memory", action="store_true", help="leave the processes that measure memory out")
    ask.add_argument("--tiny", action="store_true", help="a small model: a rehearsal of seconds")
    ask.add_argument("--memory-of", help=argparse.SUPPRESS)
    return ask.parse_args()


def side_of(name: str, plain: VQGAN) -> vqgan.Side | None:
    """Encode and decode of one side; None, and a line that says why, when it cannot run here."""
    if name not in OURS:
        side = getattr(vqgan, name)(plain)
        if side is None:
            print(f"{name} is left out: it needs {vqgan.NEEDS[name]}", file=sys.stderr)
        return side
    precision = OURS[name]
    ours = plain if precision is None else prepare_for_inference(plain, precision)
    return ours.encode, ours.decode


def model_of(given: argparse.Namespace) -> VQGAN:
    torch.manual_seed(0)
    plain = VQGAN(vqgan.SMALL if given.tiny else vqgan.RELEASED)
    # as spread as the latents of random weights, or a handful of codes would be used and all would agree
    torch.nn.init.normal_(plain.quantize.embedding.weight, std=0.1)
    return plain.eval().requires_grad_(False).to(given.device)


def pictures(batch: int, size: int) -> torch.Tensor:
    chance = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, generator=chance)


@torch.inference_mode()
def main() -> None:
    given = options()
    if given.memory_of:
        print(json.dumps(peak_of(given.memory_of, given)))
        return
    plain = model_of(given)
    found = {name: side_of(name, plain) for name in [*given.ours, *given.peers]}
    sides = {name: side for name, side in found.items() if side is not None}
    for batch in given.batch:
        facts = {"image_size": plain.image_size, "batch": batch, "codes": plain.codes_per_image}
        rates(sides, plain, batch, given, facts)
        if given.device == "cpu" and not given.no_memory:
            for name in sides:
                emit(f"tokenizer peak-memory {name}", in_own_process(name, batch), "MB", **facts)
    precisions(given)


def rates(
    sides: Mapping[str, vqgan.Side], plain: VQGAN, batch: int, given: argparse.Namespace, facts: dict[str, int]
) -> None:
    pixels = pictures(batch, plain.image_size).to(given.device)
    floats = to_unit_range(pixels).contiguous()
    inputs = {name: pixels if name in OURS else floats for name in sides}
    codes = {name: side[0](inputs[name]).view(batch, -1) for name, side in sides.items()}
    reference = codes.get("official", next(iter(codes.values())))
    painted = {name: as_bytes(side[1](reference)) for name, side in sides.items()}
    if "official" in sides:
        for name in sides:
            difference = (painted[name] - painted["official"]).abs().max().item()
            equal = (codes[name] == reference).double().mean().item()
            used = reference.unique().numel()
            facts_of = {"largest_difference": round(difference, 3), "codes_used": used, **facts}
            emit(f"tokenizer equal-codes {name}/official", round(equal, 5), "share", **facts_of)
    runs = max(1, given.runs // batch)
    steps = {
        "encode": {name: lambda do=side[0], x=inputs[name]: do(x) for name, side in sides.items()},
        "decode": {name: lambda do=side[1]: do(reference) for name, side in sides.items()},
    }
    for step, calls in steps.items():  # what was compared above has warmed both up
        clocks = alternate(calls, runs, warmup=0)
        emit_rates(f"tokenizer {step}", clocks, batch, "images/s", **facts)
        cpu_ratios(f"tokenizer {step}", clocks)
        if "ours-bf16" in clocks:
            peers = {name: clocks[name] for name in clocks if name not in OURS}
            emit_ratios(f"tokenizer {step} bf16", {"ours": clocks["ours-bf16"], **peers})


def as_bytes(painted: torch.Tensor) -> torch.Tensor:
    """uint8 [B, H, W, 3] of ours or float [B, 3, H, W] of a peer -> float [B, H, W, 3] in 0..255, not rounded."""
    return painted.float() if painted.dtype == torch.uint8 else painted.float().clamp(0, 1).permute(0, 2, 3, 1) * 255


def cpu_ratios(name: str, clocks: Mapping[str, list[Clock]]) -> None:
    """How many times fewer CPU seconds each of ours takes than each peer: ratio of the medians."""
    cpu = {side: statistics.median(clock.cpu for clock in runs) for side, runs in clocks.items()}
    for ours in OURS:
        for peer in cpu:
            if ours in cpu and peer not in OURS:
                emit(f"{name} {ours}/{peer} CPU", round(cpu[peer] / cpu[ours], 3), "ratio", runs=len(clocks[peer]))


def peak_of(name: str, given: argparse.Namespace) -> float:
    """Peak resident MB of this process, which does nothing but load one side and take a batch there and back."""
    shape = vqgan.SMALL if given.tiny else vqgan.RELEASED
    if name in OURS:
        plain = model_of(given)
    else:
        with torch.device("meta"):  # a peer makes its own weights, and only those are in memory
            plain = VQGAN(shape)
    side = side_of(name, plain)
    assert side is not None, name
    pixels = pictures(given.batch[0], shape.image_size)
    del plain
    codes = side[0](pixels if name in OURS else to_unit_range(pixels).contiguous())
    side[1](codes.view(len(pixels), -1))
    status = Path("/proc/self/status").read_text()  # not getrusage, which begins with the parent's peak
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)


def in_own_process(name: str, batch: int) -> float:
    flags = [flag for flag in ("--tiny",) if flag in sys.argv]
    command = [sys.executable, __file__, "--memory-of", name, "--batch", str(batch), *flags]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(printed.splitlines()[-1])


def precisions(given: argparse.Namespace) -> None:
    """What bfloat16 changes with trained weights."""
    demo = load_tokenizer("demo").to(given.device)
    source = PackPhotos(split="heldout")
    records = (record for part in source.parts() for record in source.read(part))
    photos = [demo.preparation(record.slots["image"][0]) for record in records][: 8 if given.tiny else None]
    change = compare_precisions(demo, torch.from_numpy(np.stack(photos)).to(given.device))
    facts = {"tokenizer": "demo", "pictures": len(photos), "psnr_change_db": round(change.psnr_change, 4)}
    emit("tokenizer equal-codes bf16/fp32", round(change.share_equal, 5), "share", **facts)


if __name__ == "__main__":
    main()
