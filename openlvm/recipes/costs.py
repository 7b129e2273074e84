"""What a recipe will cost, from its config alone: parameters, codes, arithmetic, time and memory.

Reads no data and asks no device. Arithmetic is exact by DESIGN's formula (model/sizes.py); time stands and falls with
the share of the device's peak that is assumed (MFU); memory is what must be held at once:

    weights, gradients   4 bytes each a parameter, optimizer 8 (Muon: 4), shared among the ranks of fsdp and hsdp
    gathered weights     bf16 copies: of all with ddp; with fsdp of the tables and of two blocks
    activations          what autograd keeps of a block, a code: 20 D + 4 F bytes in bf16, 32 D + 8 F in fp32, and 8
                         and 4 a head; on a CPU 8 D more for norms. Recomputed blocks keep 4 D and one block's.
                         Counted with hooks on saved tensors (tests/recipes/test_costs.py); compiled blocks keep less
    head                 gradient of the head's table, and logits of one chunk (training/decoder/loss.py)

Letters beside the project's own: F width inside a block's SwiGLU.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from openlvm.core.picking import pick
from openlvm.model.decoder import DecoderConfig
from openlvm.model.sizes import SIZES, flops_per_token
from openlvm.recipes.config import LVMConfig, StoresConfig
from openlvm.recipes.own import OwnConfig
from openlvm.sentences.grammar import MAX_IMAGES
from openlvm.training.config import TrainConfig
from openlvm.training.decoder.loss import CHUNK_ROWS
from openlvm.training.guards.rates import PEAK_FLOPS

GPUS_OF_A_NODE = 8
ROOM = 0.9  # share of a device's memory that may be planned with; the rest goes to its context, NCCL and fragments


@dataclass(frozen=True, kw_only=True)
class Device:
    """What is assumed of a device."""

    peak_flops: float
    """Operations a second."""
    memory: float | None
    """Bytes; None asks nothing."""
    mfu: float
    """Share of the peak that training is assumed to reach."""


DEVICES = {
    "h200": Device(peak_flops=PEAK_FLOPS["H200"], memory=141e9, mfu=0.4),
    "h100": Device(peak_flops=PEAK_FLOPS["H100"], memory=80e9, mfu=0.4),
    "a100": Device(peak_flops=PEAK_FLOPS["A100"], memory=80e9, mfu=0.4),
    "rtx4090": Device(peak_flops=PEAK_FLOPS["RTX 4090"], memory=24e9, mfu=0.4),
    # What small decoders reached in bf16 on two cores of a Zen 4, all of it: 70 billion a second on one.
    "cpu": Device(peak_flops=126e9, memory=None, mfu=1.0),
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What of a recipe decides its costs."""

    model: DecoderConfig
    train: TrainConfig
    length: float
    """Tokens of a sentence, BOS included; the mean over tokens."""
    tokens_per_position: float
    """Of floor(16 / S) sentences."""
    teacher: DecoderConfig | None = None
    """Shape of the teacher of a distillation."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one device."""

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    """Low-precision copies of weights, and messages between ranks."""
    activations: float
    head: float
    teacher: float

    @property
    def total(self) -> float:
        """All of them at once."""
        return sum(asdict(self).values())


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a recipe will cost on so many devices."""

    work: Work
    gpu: str
    gpus: int
    mfu: float
    memory: Memory

    @property
    def tokens(self) -> float:
        """Trained on in all."""
        return self.work.train.steps * self.work.train.positions_per_step * self.work.tokens_per_position

    @property
    def flops_per_token(self) -> float:
        """Of training; a teacher's forward is a third of what training it would take."""
        work = self.work
        own = flops_per_token(work.model, work.length)
        return own if work.teacher is None else own + flops_per_token(work.teacher, work.length) / 3

    @property
    def flops(self) -> float:
        """In all."""
        return self.flops_per_token * self.tokens

    @property
    def seconds(self) -> float:
        """Of training alone: no tokenizing, evaluating or starting."""
        return self.flops / (DEVICES[self.gpu].peak_flops * self.mfu * self.gpus)

    @property
    def fits(self) -> bool | None:
        """Whether the memory suffices with some room; None where none is known."""
        limit = DEVICES[self.gpu].memory
        return None if limit is None else self.memory.total <= ROOM * limit

    @property
    def checkpoint_bytes(self) -> float:
        """Of one checkpoint on disk: weights and optimizer."""
        return 4.0 * self.work.model.num_parameters + _optimizer_bytes(self.work)

    @property
    def values(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "parameters": self.work.model.num_parameters,
            "steps": self.work.train.steps,
            "tokens": self.tokens,
            "flops_per_token": self.flops_per_token,
            "flops": self.flops,
            "gpu": self.gpu,
            "gpus": self.gpus,
            "mfu": self.mfu,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens / self.seconds,
            "memory_bytes": {**asdict(self.memory), "total": self.memory.total},
            "fits": self.fits,
            "checkpoint_bytes": self.checkpoint_bytes,
        }


def estimate(config: Any, *, gpu: str, gpus: int = 1, mfu: float | None = None) -> Costs:
    """The costs of a recipe's config.

    Args:
        config: an LVMConfig, StoresConfig or OwnConfig.
        gpu: a name of DEVICES.
        gpus: how many; a rank on each.
        mfu: share of the device's peak, 0..1; None takes what is usual for it.
    """
    device = pick(DEVICES, gpu, "device")
    mfu = device.mfu if mfu is None else mfu
    if gpus < 1 or not 0 < mfu <= 1:
        raise ValueError(f"gpus={gpus} must be at least 1, and mfu={mfu} lie in 0..1, such as 0.4")
    work = work_of(config)
    if work.train.positions_per_step % gpus:
        raise ValueError(
            f"positions_per_step={work.train.positions_per_step} cannot be split evenly among {gpus} devices"
        )
    return Costs(work=work, gpu=gpu, gpus=gpus, mfu=mfu, memory=memory_of(work, gpus=gpus, is_cpu=gpu == "cpu"))


def work_of(config: Any) -> Work:
    """What a recipe will do, as far as its config alone tells: stores of one's own give sentences of full length."""
    if isinstance(config, OwnConfig):
        model = pick(SIZES, config.size, "decoder size")
        return Work(model=model, train=config.train, length=model.context, tokens_per_position=model.context)
    if isinstance(config, StoresConfig):
        context, count = config.model.context, MAX_IMAGES // config.max_images
        teacher = None
        if config.decoder.distill is not None and config.teacher_size:
            teacher = pick(SIZES, config.teacher_size, "decoder size")
            teacher = replace(teacher, vocab_size=config.model.vocab_size, context=context)
        return Work(model=config.model, train=config.decoder.train, length=context,
                    tokens_per_position=count * context, teacher=teacher)  # fmt: skip
    if not isinstance(config, LVMConfig):
        raise ValueError("only the costs of decoders can be told beforehand; this recipe trains a tokenizer")
    codes = (config.model.context - 1) // MAX_IMAGES
    lengths = [part.kind.num_images * codes + 1 for part in config.decoder.components]
    counts = [MAX_IMAGES // part.kind.num_images for part in config.decoder.components]
    # Shares by size are known only when the stores are there; all the same until then.
    shares = [1.0 if part.weight == "size" else float(part.weight) for part in config.decoder.components]
    tokens = [share * count * length for share, count, length in zip(shares, counts, lengths, strict=True)]
    return Work(
        model=config.model,
        train=config.decoder.train,
        length=sum(length * some for length, some in zip(lengths, tokens, strict=True)) / sum(tokens),
        tokens_per_position=sum(tokens) / sum(shares),
    )


def _hidden_matrices(model: DecoderConfig) -> int:
    """Numbers in the matrices of the blocks."""
    return model.num_layers * (4 * model.hidden_size**2 + 3 * model.hidden_size * model.mlp_size)


def _optimizer_bytes(work: Work) -> float:
    spared = _hidden_matrices(work.model) if work.train.optim.optimizer == "muon" else 0
    return 8.0 * work.model.num_parameters - 4.0 * spared


def activation_bytes(model: DecoderConfig, *, precision: str, is_cpu: bool) -> int:
    """What autograd keeps of one block for one token, in bytes: see the top of the file."""
    width, inside, heads = model.hidden_size, model.mlp_size, model.num_heads
    kept = 20 * width + 4 * inside if precision == "bf16" else 32 * width + 8 * inside
    return kept + (8 * width if is_cpu else 0) + 8 + 4 * heads


def memory_of(work: Work, *, gpus: int, is_cpu: bool = False) -> Memory:
    """Bytes that one of `gpus` devices needs, as `train.parallel` splits the model."""
    model, train = work.model, work.train
    size = model.num_parameters
    tables = model.vocab_size * model.hidden_size
    low = 2 if train.precision == "bf16" else 0
    shards = {"ddp": 1, "fsdp": gpus, "hsdp": min(gpus, train.ranks_per_shard or GPUS_OF_A_NODE)}[train.parallel]
    if shards == 1:
        gathered = low * float(_hidden_matrices(model)) + (4.0 * size if gpus > 1 else 0.0)
    else:
        block = _hidden_matrices(model) / model.num_layers
        copies = 1 if model.tie_embeddings else 2
        gathered = (low or 4) * (copies * tables + 2 * block) + 4.0 * (copies * tables + 2 * block)
    forward = min(train.positions_per_forward, train.positions_per_step // gpus) * work.tokens_per_position
    block_bytes = activation_bytes(model, precision=train.precision, is_cpu=is_cpu)
    kept = 4 * model.hidden_size if train.activation_checkpointing else block_bytes
    outside = (8 + low) * model.hidden_size  # the stream and its norm, before the head
    return Memory(
        weights=4.0 * size / shards,
        gradients=4.0 * size / shards,
        optimizer=_optimizer_bytes(work) / shards,
        gathered=gathered,
        activations=forward * (model.num_layers * kept + block_bytes + outside),
        head=(4.0 + 2 * low) * tables + CHUNK_ROWS * model.vocab_size * (8.0 + low),
        teacher=0.0 if work.teacher is None else 2.0 * work.teacher.num_parameters,
    )


def spell(name: str, found: Costs) -> str:
    """The estimate for a person, a fact a line."""
    work, model, memory = found.work, found.work.model, found.memory
    limit = DEVICES[found.gpu].memory
    parts = {what: value for what, value in asdict(memory).items() if value}
    lines = [
        f"{name} on {found.gpus} x {found.gpu}, if training reaches {found.mfu:.0%} of its peak",
        f"  decoder     {model.num_parameters:,} parameters: {model.num_layers} layers of {model.hidden_size}, "
        f"{model.num_heads} heads, vocabulary {model.vocab_size}, context {model.context}",
        f"  training    {work.train.steps:,} steps of {work.train.positions_per_step} positions: "
        f"{_short(found.tokens)} codes, {_ratio(found.tokens / model.num_parameters)} a parameter",
        f"  arithmetic  {_short(found.flops_per_token)} operations a code, {found.flops:.3g} in all",
        f"  time        {_spell_time(found.seconds)}, at {_short(found.tokens / found.seconds)} codes a second",
        f"  memory      {_gigabytes(memory.total)} GB"
        + (f" of {_gigabytes(limit)} on each: " if limit else ": ")
        + ", ".join(f"{what} {_gigabytes(value)}" for what, value in parts.items()),
        f"  checkpoint  {_gigabytes(found.checkpoint_bytes)} GB on disk",
    ]
    if found.fits is False:
        lines.append(f"  too large: {_remedies(found)}")
    return "\n".join(lines)


def _remedies(found: Costs) -> str:
    """Settings that would lower the memory, the best first."""
    train, memory = found.work.train, found.memory
    remedies = []
    if train.positions_per_forward > 1:
        remedies.append("lower --decoder.train.positions-per-forward")
    if not train.activation_checkpointing and memory.activations > memory.total / 4:
        remedies.append("set --decoder.train.activation-checkpointing")
    if train.parallel == "ddp" and found.gpus > 1:
        remedies.append("share the model with --decoder.train.parallel fsdp")
    elif memory.weights + memory.gradients + memory.optimizer > memory.total / 3:
        remedies.append("take more devices with --decoder.train.parallel fsdp")
    return ", ".join(remedies) or "take a smaller decoder"


def _ratio(value: float) -> str:
    """Such as 0.22, 39 and 1,443."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _gigabytes(value: float) -> str:
    return f"{value / 1e9:.3g}"


def _short(value: float) -> str:
    """1234567 -> "1.23 M"."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def _spell_time(seconds: float) -> str:
    for size, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"
