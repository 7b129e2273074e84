"""What a tokenizer training is told: the network, its pictures, how codes begin, the parts of the loss."""

from dataclasses import dataclass, field
from typing import Literal

from openlvm.tokenizer.losses import ReconstructionWeights
from openlvm.tokenizer.quantizers.interface import QuantizerTraining
from openlvm.tokenizer.vqgan import VQGANConfig
from openlvm.training.config import TrainConfig
from openlvm.training.tokenizer.adversarial import AdversarialConfig
from openlvm.training.tokenizer.pictures import PictureSet


@dataclass(frozen=True, kw_only=True)
class PatchStart:
    """k-means over patches before the first step (tokenizer/patches.py); the model needs `patch_shortcut`."""

    num_patches: int = 200_000
    """Patches drawn for k-means."""
    iterations: int = 30
    """Of Lloyd's algorithm."""
    frozen_codes_steps: int = 0
    """Steps at the beginning during which only the decoder learns."""


@dataclass(frozen=True, kw_only=True)
class LatentStart:
    """Steps without quantization, then k-means over the latents: codes begin where the encoder already speaks."""

    unquantized_steps: int
    """Steps before there are codes; 0 is a plain start, quantized from the first step with random codes."""
    num_latents: int = 100_000
    """Latents drawn for k-means."""
    iterations: int = 20
    """Of Lloyd's algorithm."""


@dataclass(frozen=True, kw_only=True)
class TokenizerStart:
    """Start from a tokenizer that exists: fine-tuning."""

    tokenizer: str
    """Folder, embedded name or released name (tokenizer/folder.py)."""
    part: Literal["whole", "decoder"] = "decoder"
    """`decoder` leaves encoder and codebook as they are, so that codes, stores and decoders trained on them stay valid
    (`codes_fingerprint` does not change); `whole` trains everything, and makes another tokenizer."""


@dataclass(frozen=True, kw_only=True)
class PerceptualConfig:
    """A distance between feature maps as a part of the loss (perceptual/distance.py)."""

    weight: float
    """Of the mean distance; added to the reconstruction loss."""
    backbone: str = ""
    """File of VGG16 (torchvision's names) for LPIPS; empty takes the embedded network."""
    heads: str = ""
    """File of the linear heads of LPIPS, with `backbone`."""

    def __post_init__(self) -> None:
        if bool(self.backbone) != bool(self.heads):
            raise ValueError(f"LPIPS needs two files: given backbone={self.backbone!r} and heads={self.heads!r}")


@dataclass(frozen=True, kw_only=True)
class TokenizerTrainConfig:
    """A whole tokenizer training."""

    model: VQGANConfig
    """Shape of the tokenizer."""
    train: TrainConfig
    """Steps, batch, optimizer; a position is a picture."""
    mixture: tuple[PictureSet, ...]
    """Training pictures: photographs and drawn annotations."""
    heldout: tuple[PictureSet, ...]
    """Pictures of the evaluation, disjoint from the mixture; one score for each set."""
    margin: int = 8
    """Pixels by which kept pictures are larger than the square, so that cuts move."""
    start: PatchStart | LatentStart | TokenizerStart | None = None
    """How codes begin; None is random weights."""
    loss: ReconstructionWeights = field(default_factory=ReconstructionWeights)
    """Weights of the reconstruction loss."""
    perceptual: PerceptualConfig | None = None
    """Distance of features; None leaves it out."""
    adversarial: AdversarialConfig | None = None
    """Discriminator; None trains without."""
    quantizer: QuantizerTraining = field(default_factory=QuantizerTraining)
    """How the quantizer learns."""
    revive_every: int = 100
    """Steps between revivals of dead codes; 0 never."""
    revive_until: float = 0.8
    """Share of the steps after which codes are left where they are."""
    average_decay: float = 0.0
    """Of the moving average of the weights, which is what is evaluated and kept; 0 keeps the last weights."""
    keep: Literal["float32", "bfloat16"] = "float32"
    """How the finished weights are stored."""

    def __post_init__(self) -> None:
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay={self.average_decay} must lie in 0..1, 1 excluded")
        if self.revive_every < 0 or not 0 <= self.revive_until <= 1:
            given = f"revive_every={self.revive_every} and revive_until={self.revive_until}"
            raise ValueError(f"{given}: the first must be at least 0, the second in 0..1")
        if isinstance(self.start, LatentStart) and not 0 <= self.start.unquantized_steps < self.train.steps:
            given = f"unquantized_steps={self.start.unquantized_steps}"
            raise ValueError(f"{given} must lie in 0..steps={self.train.steps}, which it is part of")

    @property
    def frozen_codes_steps(self) -> int:
        """Steps at the beginning during which encoder and codebook stay as they are."""
        if isinstance(self.start, TokenizerStart) and self.start.part == "decoder":
            return self.train.steps
        return self.start.frozen_codes_steps if isinstance(self.start, PatchStart) else 0

    @property
    def unquantized_steps(self) -> int:
        """Steps at the beginning without quantization."""
        return self.start.unquantized_steps if isinstance(self.start, LatentStart) else 0
