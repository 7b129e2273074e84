"""A whole decoder training: from stores and a config to a decoder folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from openlvm.bundle import SpecialIds, vocab_size_for
from openlvm.core.files import sha256_of
from openlvm.core.ranks import ranks_from_environment
from openlvm.core.runs import as_json
from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.folder import save_decoder
from openlvm.store.plan import Component, Plan
from openlvm.training.config import TrainConfig
from openlvm.training.decoder.codebook import Embedding, folded, has_codebook
from openlvm.training.decoder.distill import DistillConfig, Teacher, load_teacher
from openlvm.training.decoder.rows import LossConfig
from openlvm.training.decoder.task import DecoderTask, Layout
from openlvm.training.loop import train
from openlvm.training.parallel.shards import filled, without_weights
from openlvm.training.task import Evaluator


@dataclass(frozen=True, kw_only=True)
class DecoderTrainConfig:
    """A whole decoder training."""

    model: DecoderConfig
    """Shape of the decoder."""
    train: TrainConfig
    """Steps, batch, optimizer, seed; a position holds floor(16 / S) sentences of S images."""
    components: tuple[Component, ...]
    """What is learned: folders of stores, sentence kinds, weights."""
    heldout: tuple[Component, ...] = ()
    """Sentences of the evaluation, of records that no component of the training holds."""
    heldout_positions: int = 64
    """Positions of the held-out plan that are evaluated, at most."""
    max_passes: int = 1
    """Passes over a component that are allowed; LVM: one."""
    window_parts: int | None = None
    """Parts of the stores that are shuffled together; None is all."""
    loss: LossConfig = LossConfig()
    """Weights of the loss by role."""
    layout: Layout = "dense"
    """How sentences lie in a forward (decoder/task.py)."""
    compile: bool = False
    """torch.compile; slow to start, and needs a C++ compiler on a CPU."""
    embedding: Embedding = "table"
    """`table` learns a row for each code; `codebook` keeps the tokenizer's code vectors behind a learned matrix, as
    DeLVM does, and writes down the table they make together."""
    distill: DistillConfig | None = None
    """A larger decoder to learn from besides; None learns the codes alone."""


def heldout_evaluator(task: DecoderTask, *, num_positions: int, precision: str) -> Evaluator:
    """An evaluator of the loop: loss and parts over the first positions of a task's own (held-out) plan.

    Args:
        task: never trained; its decoder is the one that is.
        num_positions: how many, at most all.
        precision: "fp32" or "bf16", as in training.
    """
    positions = range(min(num_positions, task.num_positions))

    def evaluate(step: int) -> Iterator[tuple[str, float]]:
        total = weight = 0.0
        parts = {name: [0.0, 0.0] for name in task.part_names}
        for batch in task.micro_batches(0, positions):
            with torch.autocast(task.device.type, torch.bfloat16, enabled=precision == "bf16"):
                loss = task.loss(batch)
            total, weight = total + loss.total.item(), weight + batch.weight
            for name, (part_total, part_weight) in loss.parts.items():
                parts[name][0] += float(part_total)
                parts[name][1] += float(part_weight)
        yield "heldout/loss", total / weight
        yield from ((f"heldout/{name}", value / counted) for name, (value, counted) in parts.items() if counted)

    return evaluate


def train_decoder(
    config: DecoderTrainConfig,
    at: Path | str,
    *,
    device: str = "cpu",
    decoder: Decoder | None = None,
    evaluators: Sequence[Evaluator] = (),
    resume: bool = False,
    rebatch: bool = False,
) -> Path:
    """Train a decoder in a run folder.

    Args:
        config: everything.
        at: the run folder (core/runs.py).
        device: "cpu", or "cuda" for the GPU of this rank.
        decoder: goes on from these weights, of the shape config.model (starts.fresh_decoder makes them, with the
            codebook if config.embedding asks for it); None starts from random ones.
        evaluators: called beside the held-out loss.
        resume: go on from the last checkpoint of the run in `at`, to the bit; with none there, start.
        rebatch: a resumed run may have another global batch.

    Returns:
        The decoder folder (`load_decoder` reads it), at/decoder.
    """
    decoder = Decoder(config.model, seed=config.train.seed) if decoder is None else decoder
    if decoder.config != config.model:
        raise ValueError(f"the decoder given has the shape {decoder.config}, config.model says {config.model}")
    if has_codebook(decoder) != (config.embedding == "codebook"):
        raise ValueError(
            f"embedding={config.embedding}, but the decoder given has another; make it with "
            f"fresh_decoder(..., embedding={config.embedding!r})"
        )
    if config.layout == "packed" and device.startswith("cuda") and not config.compile:
        raise ValueError("layout=packed on CUDA (FlexAttention) needs compile=True; set it, or use layout=dense")
    seed = config.train.seed
    plan = Plan(config.components, seed=seed, window_parts=config.window_parts, max_passes=config.max_passes)
    teacher = _teacher_of(config, plan)
    task = _task_of(config, plan, decoder, teacher=teacher)
    _refuse_too_many_steps(config, task)
    whole = {**as_json(config), "stores": _store_hashes(plan)}
    if teacher is not None:
        whole["teacher"] = teacher.digest  # a resumed run must find the same one
    if config.heldout:
        heldout_plan = Plan(config.heldout, seed=seed, tokenizer=plan.codes_fingerprint)
        heldout = _task_of(config, heldout_plan, decoder)
        count, precision = config.heldout_positions, config.train.precision
        evaluators = (heldout_evaluator(heldout, num_positions=count, precision=precision), *evaluators)
    is_whole = config.train.parallel == "ddp"
    trained = decoder if is_whole else without_weights(decoder)  # of a split one no rank will hold all
    last = train(
        config.train, task, at, device=device, evaluators=evaluators, whole_config=whole, resume=resume,
        rebatch=rebatch, name="decoder",
    )  # fmt: skip
    if ranks_from_environment().is_main:
        trained = trained if is_whole else filled(trained, last, "decoder")
        save_decoder(folded(trained), Path(at) / "decoder")
    return Path(at) / "decoder"


def _store_hashes(plan: Plan) -> dict[str, str]:
    """Component -> SHA-256 of its store.json, which holds those of all files: a resumed run must find the same data."""
    return {name: sha256_of(store.at / "store.json") for name, store in zip(plan.names, plan.stores, strict=True)}


def _teacher_of(config: DecoderTrainConfig, plan: Plan) -> Teacher | None:
    if config.distill is None:
        return None
    special = SpecialIds.after(plan.codebook_size)
    decoder = load_teacher(
        config.distill, student=config.model, special=special, codes_fingerprint=plan.codes_fingerprint,
        dtype=torch.bfloat16 if config.train.precision == "bf16" else torch.float32,
    )  # fmt: skip
    sentences = {
        "plan": [plan.names, [repr(kind) for kind in plan.kinds], plan.counts, plan.seed, plan.max_passes],
        "window_parts": config.window_parts,
        "stores": _store_hashes(plan),
        "layout": config.layout,
        "special": as_json(special),
        "counted": (config.loss.by_role() > 0).tolist(),
    }
    return Teacher(decoder, config.distill, sentences=sentences, compile=config.compile)


def _task_of(
    config: DecoderTrainConfig, plan: Plan, decoder: Decoder, *, teacher: Teacher | None = None
) -> DecoderTask:
    vocab_size, codebook_size = config.model.vocab_size, plan.codebook_size
    if vocab_size < codebook_size + 3:
        raise ValueError(
            f"model.vocab_size={vocab_size} has no room for the {codebook_size} codes of the stores and BOS, EOS, PAD; "
            f"use {vocab_size_for(codebook_size)}"
        )
    return DecoderTask(
        decoder, plan, SpecialIds.after(codebook_size), layout=config.layout, loss=config.loss,
        positions_per_forward=config.train.positions_per_forward, compile=config.compile, teacher=teacher,
    )  # fmt: skip


def _refuse_too_many_steps(config: DecoderTrainConfig, task: DecoderTask) -> None:
    needed = config.train.steps * config.train.positions_per_step
    if needed > task.num_positions:
        most = task.num_positions // config.train.positions_per_step
        raise ValueError(
            f"train.steps={config.train.steps} of train.positions_per_step={config.train.positions_per_step} need "
            f"{needed} positions, the plan has {task.num_positions} with max_passes={config.max_passes}; "
            f"use at most {most} steps, more data or more passes"
        )
