"""What a fit is told. Imports nothing heavy: the command line is made of it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Which LVM learns, from how much of the pairs, and how long."""

    lvm: str = "mini"
    """The LVM that learns: a bundle folder, or "mini", which comes with OpenLVM."""
    given: str = ""
    """Name of the folder, tail or column of the pictures given, where it is not a usual one (input, image, ...)."""
    asked: str = ""
    """The same of the pictures asked for (target, answer, mask, ...)."""
    heldout: float = 0.25
    """Share of the pairs that are not learned from, but asked."""
    variants: int = 1
    """Learn each pair in so many forms: itself, and mirrored or cropped ones, both pictures alike. More help where a
    pixel's answer depends on what lies around it, as in colors, masks, depth; not where things move."""
    replay: float = 0.3
    """Share of the training that repeats what mini learned, from pictures in the package, against forgetting."""
    steps: int = 200
    """Optimizer steps."""
    positions: int = 2
    """Rows of up to 16 pictures in a step."""
    lr: float = 5e-4
    """Peak learning rate of AdamW."""
    queries: int = 16
    """Questions of each old task, before and after; 0 asks none."""
    seed: int = 0
    """Of what is held out, drawn and shown."""
    device: str = "cpu"
    """Where the model runs, such as cuda."""

    def __post_init__(self) -> None:
        if not 0 < self.heldout < 1 or not 0 <= self.replay < 1:
            raise ValueError(
                f"heldout={self.heldout} must lie between 0 and 1, replay={self.replay} in 0 .. 1, without 1"
            )
        if min(self.variants, self.steps, self.positions) < 1 or self.queries < 0 or self.lr <= 0:
            raise ValueError(
                f"variants={self.variants}, steps={self.steps}, positions={self.positions} must be at least 1, "
                f"queries={self.queries} at least 0, lr={self.lr} above 0"
            )
