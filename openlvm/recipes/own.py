"""A decoder for pictures of one's own: any store, whatever it holds."""

from dataclasses import dataclass
from pathlib import Path

from openlvm.training.config import OptimConfig, TrainConfig


@dataclass(frozen=True, kw_only=True)
class OwnConfig:
    """What `own` trains; the kinds of sentence follow from what the store holds (jobs/own.py)."""

    store: Path
    """Folder of the store (`openlvm tokenize` makes one)."""
    tokenizer: str
    """Folder of the tokenizer the store was made with, or its embedded name."""
    size: str
    """Decoder size, of openlvm/model/sizes.py; its vocabulary and context are set to the tokenizer's."""
    max_passes: int
    """Passes over the store that are allowed. LVM trained one; a folder of one's own is small."""
    train: TrainConfig
    """Steps, batch, optimizer."""


def own(tiny: bool = False) -> OwnConfig:
    """A small decoder on a store of your own, and the LVM of both parts.

    Run:     openlvm train own --store data/store --run runs/own
    Smaller: openlvm train own --store data/store --tiny
    Result:  runs/own/bundle, which `openlvm prompt ... --lvm runs/own/bundle` takes
    """
    steps = 4 if tiny else 600
    return OwnConfig(
        store=Path("data/store"),
        tokenizer="demo",
        size="demo",
        max_passes=1000,
        train=TrainConfig(
            steps=steps,
            positions_per_step=2 if tiny else 8,
            optim=OptimConfig(optimizer="muon", lr=1e-3, warmup_steps=steps // 20),
            log_every=1 if tiny else 10,
            checkpoint_every=2 if tiny else 100,
        ),
    )
