"""A training step beside transformers, same weights and data: tokens per second, and MFU where the peak is known.

    python benchmarks/training.py --size nano --precision bf16
    python benchmarks/training.py --size 300m --rows 8 --device cuda --precision bf16 --compile

MFU = (6 N + 6 V D + 6 L D T) x tokens/s / peak, N the parameters outside the embeddings, causal attention counted once.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from measure import alternate, emit, emit_rates, in_own_process, peak_mb, resident_mb
from peers import llama

from openlvm.core.picking import pick
from openlvm.model.decoder import Decoder
from openlvm.model.sizes import SIZES, flops_per_token
from openlvm.sentences.grammar import MAX_IMAGES
from openlvm.training.config import OptimConfig
from openlvm.training.decoder.rows import LossConfig, Sentences, SpecialIds
from openlvm.training.decoder.task import DecoderTask
from openlvm.training.guards.rates import peak_flops
from openlvm.training.optim import make_optimizer

NUM_CODES = 8192


@dataclasses.dataclass(frozen=True)
class RandomPlan:
    """Sentences of 16 images of random codes, one a position: the data costs nothing."""

    codes_per_image: int
    num_positions: int = 1_000_000
    names: tuple[str, ...] = ("random",)
    images: tuple[int, ...] = (MAX_IMAGES,)

    def codes(self, position: int) -> np.ndarray:
        """int64 [1, 16 * N]."""
        return np.random.default_rng(position).integers(0, NUM_CODES, (1, MAX_IMAGES * self.codes_per_image))

    def batch(self, positions: Iterable[int]) -> list[Sentences]:
        roles = np.zeros((1, MAX_IMAGES), dtype=np.int64)
        return [Sentences(0, self.codes(position), roles) for position in positions]


def options() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--size", default="nano", help="of openlvm.model.sizes.SIZES")
    ask.add_argument("--rows", type=int, default=1, help="sentences of 16 images in a step")
    ask.add_argument("--codes-per-image", type=int, default=256)
    ask.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--layout", choices=["dense", "packed"], default="dense", help="of ours")
    ask.add_argument("--compile", action="store_true", help="both sides")
    ask.add_argument("--only", choices=["both", "ours", "transformers"], default="both")
    ask.add_argument("--runs", type=int, default=5)
    ask.add_argument("--warmup", type=int, default=2)
    ask.add_argument("--memory", action="store_true", help="of a CPU: of two steps of each side, in own processes")
    ask.add_argument("--side", choices=["ours", "transformers"], help=argparse.SUPPRESS)
    ask.add_argument("--tiny", action="store_true", help="a rehearsal of seconds")
    given = ask.parse_args()
    if given.tiny:
        given.size, given.codes_per_image, given.runs, given.warmup = "debug", 16, 2, 1
    return given


def main() -> None:
    given = options()
    if given.memory and not given.side:
        found = {side: in_own_process("--side", side)["memory_mb"] for side in ("ours", "transformers")}
        facts = {"size": given.size, "rows": given.rows, "precision": given.precision, **found}
        emit("training memory ours/transformers", round(found["ours"] / found["transformers"], 3), "ratio", **facts)
        return
    if given.device == "cuda":
        torch.set_float32_matmul_precision("high")
    shape = dataclasses.replace(
        pick(SIZES, given.size, "decoder size"),
        vocab_size=NUM_CODES + 100,
        context=MAX_IMAGES * given.codes_per_image + 1,
    )
    plan = RandomPlan(given.codes_per_image)
    decoder = Decoder(shape).to(given.device)
    if given.side:
        print(json.dumps({"memory_mb": working_memory(given.side, decoder, plan, given)}))
        return
    sides: dict[str, Callable[[], float]] = {}
    if given.only != "ours":
        sides["transformers"] = their_step(decoder, plan, given)
    if given.only != "transformers":
        sides = {"ours": our_step(decoder, plan, given), **sides}
    tokens = given.rows * (shape.context)
    losses = {name: side() for name, side in sides.items()}  # the first step: same weights, same rows
    emit("training first-loss", round(losses.get("ours", float("nan")), 5), "nats", **losses)
    clocks = alternate(sides, given.runs, given.warmup)
    facts = {"size": given.size, "rows": given.rows, "context": shape.context, "precision": given.precision}
    flops = flops_per_token(shape, length=shape.context)
    facts |= {"compile": given.compile, "layout": given.layout, "flops_per_token": flops}
    emit_rates("training", clocks, tokens, "tokens/s", **facts, **peak_memory())
    peak = peak_flops(torch.device(given.device), given.precision)
    for name, runs in clocks.items():
        rate = tokens / sorted(clock.wall for clock in runs)[len(runs) // 2]
        if peak:
            emit(f"training mfu {name}", round(flops * rate / peak, 4), "share", peak=peak, **facts)


def working_memory(side: str, decoder: Decoder, plan: RandomPlan, given: argparse.Namespace) -> float:
    """MB that two steps take above the model: gradients, optimizer and activations."""
    step = (our_step if side == "ours" else their_step)(decoder, plan, given)
    loaded = resident_mb()
    step()
    step()
    return round(peak_mb() - loaded, 1)


def peak_memory() -> dict[str, float]:
    """Of both sides together, if both run."""
    if not torch.cuda.is_available():
        return {}
    return {"peak_memory_gb": round(torch.cuda.max_memory_allocated() / 2**30, 2)}


def our_step(decoder: Decoder, plan: RandomPlan, given: argparse.Namespace) -> Callable[[], float]:
    """What training/loop.py does in a step of one micro-batch on one rank."""
    special = SpecialIds(bos=NUM_CODES, eos=NUM_CODES + 1, pad=NUM_CODES + 2)
    task = DecoderTask(
        decoder,
        plan,
        special,
        layout=given.layout,
        loss=LossConfig(),
        positions_per_forward=given.rows,
        compile=given.compile,
    )
    optimizers = make_optimizer(task.modules, OptimConfig(lr=1.5e-4, decay_all=True))
    [batch] = task.micro_batches(0, range(given.rows))

    def run() -> float:
        with torch.autocast(given.device, torch.bfloat16, enabled=given.precision == "bf16"):
            loss = task.loss(batch).total / batch.weight
        loss.backward()
        torch.nn.utils.clip_grad_norm_(optimizers.parameters(), 1.0)
        optimizers.step()
        optimizers.zero_grad()
        return loss.item()

    return run


def their_step(decoder: Decoder, plan: RandomPlan, given: argparse.Namespace) -> Callable[[], float]:
    """The same rows with BOS and EOS, the same weights (a copy)."""
    rows = np.concatenate([plan.codes(position) for position in range(given.rows)])
    ends = [np.full((len(rows), 1), NUM_CODES + number) for number in (0, 1)]
    codes = torch.from_numpy(np.concatenate([ends[0], rows, ends[1]], axis=1)).to(given.device)  # [B, T + 1]
    return llama.training_step(llama.same_model(decoder), codes, given.precision, given.compile)


if __name__ == "__main__":
    main()
