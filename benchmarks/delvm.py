"""DeLVM's comparisons (arXiv 2402.04841) in miniature: a scarce task among three, and a student with a teacher.

    python benchmarks/delvm.py balance --run runs/delvm --out runs/delvm/balance.json
    python benchmarks/delvm.py distill --run runs/delvm --out runs/delvm/distill.json

Three tasks on ray-cast solids (sources/worlds): normals and depth are plentiful, masks are scarce. `balance` trains one
decoder on the raw mixture, one with the scarce records repeated, one with variants of them, at equal steps. `distill`
compares the last one with students of a teacher of four times its parameters, trained on the same records, at equal
steps of the student. Seeds differ in order and first weights, and in `balance` in the scarce records; held out are
solids of other kinds and colors. A finished training is not repeated. Results: docs/delvm.md.
"""

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

sys.path.insert(0, str(Path(__file__).parent))
from measure import Clock

from openlvm.bundle import SpecialIds
from openlvm.core.files import read_json, write_json
from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.folder import load_decoder
from openlvm.model.grid import grid_scales
from openlvm.sentences.grammar import Pairs
from openlvm.sources.augmented import Augmented
from openlvm.sources.worlds.primitives import PrimitivesWorld
from openlvm.store.plan import Component, Plan
from openlvm.store.tokenize import tokenize
from openlvm.tokenizer.folder import code_vectors, load_tokenizer
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.decoder.distill import DistillConfig
from openlvm.training.decoder.rows import LossConfig
from openlvm.training.decoder.starts import fresh_decoder
from openlvm.training.decoder.task import DecoderTask
from openlvm.training.decoder.train import DecoderTrainConfig, train_decoder

TOKENIZER = "mini"
TASKS = ("normals", "depth", "mask")
SCARCE = "mask"
Mixture = Literal["raw", "duplication", "augmentation"]
MIXTURES: tuple[Mixture, ...] = ("raw", "duplication", "augmentation")


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large everything is."""

    plentiful: int = 1200
    """Records of each plentiful task."""
    scarce: int = 24
    """Records of the scarce one."""
    variants: int = 32
    """Made of each scarce record, itself included."""
    heldout: int = 160
    """Records of the evaluation."""
    steps: int = 100
    """Of every training."""
    seeds: int = 3


TINY = Scale(plentiful=16, scarce=8, variants=2, heldout=8, steps=2, seeds=1)


def shape_of(width: int, mlp: int, layers: int, codes_per_image: int, codebook_size: int) -> DecoderConfig:
    """A decoder of three heads with the rotary scales of square images (model/grid.py)."""
    return DecoderConfig(
        vocab_size=codebook_size + 100, hidden_size=width, mlp_size=mlp, num_layers=layers, num_heads=3,
        context=4 * codes_per_image + 1, rope_scales=grid_scales(codes_per_image, width // 3), attention_bias=True,
        tie_embeddings=True,
    )  # fmt: skip


class Bench:
    """Stores, trainings and measurements in one folder."""

    def __init__(self, at: Path, scale: Scale):
        self.at, self.scale = at, scale
        self.tokenizer = load_tokenizer(TOKENIZER)
        codes = self.tokenizer.codes_per_image, self.tokenizer.codebook_size
        self.student = shape_of(72, 192, 3, *codes)
        self.teacher = shape_of(144, 384, 4, *codes)

    def store(self, name: str, source: Any) -> Path:
        """A source's store, made unless it is there."""
        at = self.at / "stores" / name
        tokenize(source, tokenizer=self.tokenizer, at=at)
        return at

    def components(self, mixture: Mixture, data: int) -> tuple[Component, ...]:
        """The three tasks: raw by size, the others in equal shares."""
        scale = self.scale
        few = PrimitivesWorld(count=scale.scarce, size=64, seed=1000 + data)
        if mixture == "augmentation":
            more = Augmented(source=few, variants=scale.variants, least_side=0.6, recolored=("image",), seed=data)
            scarce = self.store(f"scarce-{data}-augmented", more)
        else:
            scarce = self.store(f"scarce-{data}", few)
        stores = [
            self.store(f"plentiful-{number}", PrimitivesWorld(count=scale.plentiful, size=64, seed=number))
            for number in range(2)
        ]
        weight: Any = "size" if mixture == "raw" else 1.0
        return tuple(
            Component(store, Pairs(target=task, pairs=2), weight, task)
            for store, task in zip([*stores, scarce], TASKS, strict=True)
        )

    def train(
        self,
        name: str,
        shape: DecoderConfig,
        mixture: Mixture,
        *,
        seed: int,
        data: int,
        distill: DistillConfig | None = None,
    ) -> dict[str, float]:
        """Train unless done; held-out loss and accuracy of the answers of each task, and the CPU seconds.

        Args:
            seed: of the order and of the first weights.
            data: seed of the scarce records.
        """
        run = self.run_at(name, mixture, seed=seed, data=data)
        if (run / "result.json").exists():
            return read_json(run / "result.json", "result")
        steps = self.scale.steps
        config = DecoderTrainConfig(
            model=shape,
            train=TrainConfig(
                steps=steps, positions_per_step=8, positions_per_forward=8, seed=seed, precision="bf16",
                optim=OptimConfig(
                    optimizer="muon", lr=2e-3, muon_lr=0.02, weight_decay=0.01, schedule="wsd",
                    warmup_steps=min(steps // 2, 10), decay_steps=-(-steps // 3), final_share=0.03,
                ),
            ),
            components=self.components(mixture, data),
            max_passes=10_000,
            loss=LossConfig(query=0.1),
            distill=distill,
        )  # fmt: skip
        decoder = fresh_decoder(
            shape,
            seed=seed,
            vectors=code_vectors(self.tokenizer),
            codes_per_image=self.tokenizer.codes_per_image,
        )
        with Clock() as clock:
            folder = train_decoder(config, run, decoder=decoder, resume=True)
        found = {**self.measured(load_decoder(folder)), "cpu_seconds": round(clock.cpu, 1)}
        write_json(run / "result.json", found)
        print(run.name, found, flush=True)
        return found

    @torch.inference_mode()
    def measured(self, decoder: Decoder) -> dict[str, float]:
        """Cross entropy (nats) and share of right codes of held-out answers, teacher forced, for each task."""
        store = self.store("heldout", PrimitivesWorld(split="heldout", count=self.scale.heldout, size=64))
        found: dict[str, float] = {}
        for task in TASKS:
            plan = Plan([Component(store, Pairs(target=task, pairs=2), name=task)], tokenizer=self.tokenizer)
            rows = DecoderTask(
                decoder, plan, SpecialIds.after(plan.codebook_size), layout="dense",
                loss=LossConfig(context=0, query=0, answer=1), positions_per_forward=8,
            )  # fmt: skip
            loss = weight = right = count = 0.0
            for batch in rows.micro_batches(0, range(rows.num_positions)):
                data = batch.data.tensors
                hidden = decoder.hidden(data["inputs"]).flatten(0, 1)[data["counted"]]
                loss += rows.loss(batch).total.item()
                weight += batch.weight
                is_code = data["targets"] < plan.codebook_size
                right += (decoder.head(hidden).argmax(-1) == data["targets"])[is_code].sum().item()
                count += is_code.sum().item()
            found |= {f"{task} loss": round(loss / weight, 4), f"{task} accuracy": round(right / count, 4)}
        return found

    def run_at(self, name: str, mixture: Mixture, *, seed: int, data: int) -> Path:
        """Where a training lies."""
        return self.at / f"{name}-{mixture}-{data}-{seed}"

    def balance(self) -> dict[str, list[dict[str, float]]]:
        """The student on each mixture; every seed has scarce records of its own."""
        found: dict[str, list[dict[str, float]]] = {mixture: [] for mixture in MIXTURES}
        for seed in range(self.scale.seeds):
            for mixture in MIXTURES:
                found[mixture].append(self.train("student", self.student, mixture, seed=seed, data=seed))
        return found

    def distill(self) -> dict[str, list[dict[str, float]]]:
        """The student from scratch and with a teacher, both on the sentences of one augmented mixture."""
        of_data: dict[str, Any] = {"mixture": "augmentation", "data": 0}
        found: dict[str, list[dict[str, float]]] = {"scratch": [], "distilled": []}
        found["teacher"] = [self.train("teacher", self.teacher, seed=0, **of_data)]
        teacher = DistillConfig(teacher=str(self.run_at("teacher", seed=0, **of_data) / "decoder"))
        for seed in range(self.scale.seeds):
            taught = self.train("distilled", self.student, seed=seed, distill=teacher, **of_data)
            found["distilled"].append(taught)
            found["scratch"].append(self.train("student", self.student, seed=seed, **of_data))
        return found


def table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Mean of the seeds, and the smallest and largest, as Markdown."""
    names = [f"{task} {what}" for task in TASKS for what in ("loss", "accuracy")]
    lines = [f"| | {' | '.join(names)} |", f"| --- {'| --- ' * len(names)}|"]
    for side, runs in found.items():
        cells = []
        for name in names:
            values = [run[name] for run in runs]
            cells.append(f"{statistics.fmean(values):.3f} ({min(values):.3f}-{max(values):.3f})")
        lines.append(f"| {side} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, train what is missing, write and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("what", choices=["balance", "distill"])
    ask.add_argument("--run", type=Path, required=True, help="folder of the stores and trainings")
    ask.add_argument("--out", type=Path, required=True, help="JSON file")
    ask.add_argument("--steps", type=int, default=Scale.steps, help="of every training")
    ask.add_argument("--tiny", action="store_true", help="a rehearsal of seconds")
    given = ask.parse_args()
    torch.set_num_threads(1)
    bench = Bench(given.run, TINY if given.tiny else dataclasses.replace(Scale(), steps=given.steps))
    experiments: dict[str, Callable[[], dict[str, list[dict[str, float]]]]] = {
        "balance": bench.balance,
        "distill": bench.distill,
    }
    found = experiments[given.what]()
    sizes = {"student": bench.student.num_parameters, "teacher": bench.teacher.num_parameters}
    write_json(given.out, {"scale": dataclasses.asdict(bench.scale), "parameters": sizes, "results": found})
    print(f"{sizes}\n{table(found)}")


if __name__ == "__main__":
    main()
