"""What the training loop is told, whatever it trains: steps, global batch, optimizer, precision, cadences.

A *position* is the unit of data order (a row of sentences for a decoder, a picture for a tokenizer): the loop hands
positions [p, p + positions_per_step) to each optimizer step, split evenly among the ranks.
"""

from dataclasses import dataclass
from typing import Literal

from openlvm.training.guards.expected import Band, refuse_bands
from openlvm.training.guards.spikes import SpikeConfig


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Optimizer and learning rate schedule."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` takes the hidden matrices (Jordan 2024), AdamW the rest."""
    lr: float
    """Peak learning rate of AdamW. LVM used 1.5e-4 for 7B (README)."""
    muon_lr: float = 0.02
    """Peak learning rate of Muon (Jordan 2024); read only with optimizer=muon."""
    muon_momentum: float = 0.95
    """Nesterov momentum of Muon (Jordan 2024)."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's decay rates of first and second moment (LVM, DeLVM)."""
    eps: float = 1e-8
    """AdamW's epsilon."""
    weight_decay: float = 0.1
    """Decoupled weight decay, times the learning rate (LVM, DeLVM)."""
    decay_all: bool = False
    """Decay norms, biases and embeddings too; they are left out otherwise."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient (LVM, DeLVM)."""
    schedule: Literal["cosine", "wsd"] = "cosine"
    """`cosine` to the end, or `wsd`: warm-up, stable, then a linear decay over the last `decay_steps`."""
    warmup_steps: int = 0
    """Optimizer steps from 0 to the peak."""
    decay_steps: int = 0
    """Optimizer steps of the last decay; wsd only."""
    final_share: float = 0.1
    """Learning rate at the end, as a share of the peak (DeLVM: 0.1; LVM: 0.2)."""

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.muon_lr <= 0 or self.clip_norm <= 0:
            raise ValueError(f"lr={self.lr}, muon_lr={self.muon_lr} and clip_norm={self.clip_norm} must be above 0")
        if not 0 <= self.final_share <= 1:
            raise ValueError(f"final_share={self.final_share} must lie in 0..1")
        if self.warmup_steps < 0 or self.decay_steps < 0:
            raise ValueError(f"warmup_steps={self.warmup_steps} and decay_steps={self.decay_steps} must be at least 0")
        if (self.schedule == "wsd") != (self.decay_steps > 0):
            raise ValueError(
                f"schedule={self.schedule} with decay_steps={self.decay_steps}: wsd needs some, cosine none"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What the loop needs to know beside its task."""

    steps: int
    """Optimizer steps in all."""
    positions_per_step: int
    """Global batch: positions per optimizer step, over all ranks."""
    positions_per_forward: int = 1
    """Positions of one forward on one rank; smaller takes less memory and accumulates more often."""
    optim: OptimConfig
    """Optimizer and schedule."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 is autocast: weights and optimizer state stay float32."""
    seed: int = 0
    """Seed of everything the task draws while training."""
    log_every: int = 10
    """Steps between lines of metrics."""
    evaluate_every: int = 0
    """Steps between evaluations; 0 evaluates after the last step only."""
    checkpoint_every: int = 1000
    """Steps between checkpoints; the last step always leaves one."""
    keep_checkpoints: int = 2
    """Checkpoints kept; older ones are deleted."""
    max_roll_backs: int = 0
    """How often a run that diverges goes back to its last checkpoint, with half the learning rate and the data that
    follows; then, or with 0, it stops."""
    spikes: SpikeConfig = SpikeConfig()
    """What counts as a spike of the loss, and what is done about it."""
    expected_loss: tuple[Band, ...] = ()
    """(step, lowest, highest) of the training loss, steps ascending, straight lines between; a line of metrics outside
    carries an alarm. Steps before the first and after the last are not checked."""
    parallel: Literal["ddp", "fsdp", "hsdp"] = "ddp"
    """What several ranks hold: all of it each (`ddp`), a share of weights, gradients and optimizer each (`fsdp`), or a
    share within groups of ranks that hold the same (`hsdp`). The last two are for decoders and write checkpoints in
    shards."""
    ranks_per_shard: int = 0
    """Ranks that share one copy of the model with hsdp; 0 is those of a node."""
    activation_checkpointing: bool = False
    """Compute blocks again in the backward instead of keeping what they made: less memory, a third more time."""
    async_checkpoints: bool = False
    """Write checkpoints in shards while training goes on, out of a copy in host memory."""
    deterministic: bool = False
    """Only algorithms that repeat to the bit; an operation that has none is an error. Slower on CUDA."""
    tensorboard: bool = False
    """Event files for TensorBoard in the run folder, beside metrics.jsonl (extra `tensorboard`)."""

    def __post_init__(self) -> None:
        positive = ("steps", "positions_per_step", "positions_per_forward")
        for name in (*positive, "log_every", "checkpoint_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.evaluate_every < 0 or self.max_roll_backs < 0:
            given = f"evaluate_every={self.evaluate_every} and max_roll_backs={self.max_roll_backs}"
            raise ValueError(f"{given} must be at least 0")
        refuse_bands(self.expected_loss)
        if self.ranks_per_shard < 0 or (self.ranks_per_shard and self.parallel != "hsdp"):
            raise ValueError(f"ranks_per_shard={self.ranks_per_shard} is for parallel=hsdp, given {self.parallel}")
        if self.async_checkpoints and self.parallel == "ddp":
            raise ValueError("async_checkpoints is for parallel=fsdp and hsdp; whole checkpoints are written at once")
        ramp = self.optim.warmup_steps + self.optim.decay_steps
        if ramp > self.steps:
            raise ValueError(
                f"warmup_steps={self.optim.warmup_steps} and decay_steps={self.optim.decay_steps} "
                f"do not fit into steps={self.steps}"
            )
