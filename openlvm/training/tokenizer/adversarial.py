"""The adversarial terms of tokenizer training: losses, their weight, their start, and LeCam regularization.

Nothing here knows a tokenizer. One backward per micro-batch serves both players:

    with frozen(discriminator):                         # the generator's term trains the tokenizer alone
        adversarial = generator_loss(discriminator(painted), kind)
    judged = discriminator_loss(discriminator(pixels), discriminator(painted.detach()), kind)
    (reconstruction + ramp * weight * adaptive * adversarial + judged).backward()

Logits are high for pictures ("real") and low for reconstructions ("fake"). Losses are sums of the term of the pictures
and the term of the reconstructions, without a factor 1/2. Letters: B pictures, h w logits.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from openlvm.training.parallel.collectives import sum_over_ranks

Kind = Literal["hinge", "non-saturating"]

LARGEST_ADAPTIVE = 1e4  # clamp of the adaptive weight in taming-transformers
ADAPTIVE_EPS = 1e-4  # delta of eq. 7: 1e-6 in the paper, 1e-4 in taming's code, with which VQGANs were trained
LECAM_DECAY = 0.99  # of the anchors, google/lecam-gan
NO_INFORMATION = {"hinge": 2.0, "non-saturating": 2 * math.log(2)}  # discriminator loss when all logits are 0


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig:
    """When and how strongly a discriminator takes part."""

    kind: Kind = "hinge"
    """Loss: `hinge` (Lim & Ye, arXiv 1705.02894), or `non-saturating` (Goodfellow et al., arXiv 1406.2661)."""
    weight: float = 0.5
    """Of the generator's term (LlamaGen: 0.5); with `adaptive`, times the ratio of gradient norms."""
    adaptive: bool = True
    """Scale the term so that its gradient at the last layer is as large as that of the reconstruction loss."""
    start_step: int
    """First optimizer step (from 0) at which the discriminator learns; start when the reconstruction has settled."""
    ramp_steps: int = 1000
    """Steps after `start_step` over which the generator's term grows from 0, so that no untrained discriminator speaks
    (taming-transformers issue 44); chosen."""
    lecam: float = 0.05
    """Weight of LeCam regularization (SEED-Voken: 0.05); 0 for none."""
    discriminator_lr: float = 1.0
    """Learning rate of the discriminator, as a share of the tokenizer's."""
    channels: int = 64
    """Of the discriminator's first convolution."""
    layers: int = 3
    """Strided convolutions of the discriminator; one logit judges 34 pixels with 2, 70 with 3."""
    norm: Literal["group", "none"] = "group"
    """Norm of the discriminator."""
    strongest: float = 0.1
    """Discriminator loss below which it is called too strong; chosen."""
    weakest: float = 0.98
    """Share of the loss of a discriminator that knows nothing, above which it is called stuck; chosen."""
    patience: int = 2000
    """Steps after `start_step` before it may be called so; chosen."""

    def __post_init__(self) -> None:
        if self.kind not in NO_INFORMATION:
            raise ValueError(f"adversarial kind={self.kind!r} is unknown; expected one of {', '.join(NO_INFORMATION)}")
        if self.weight <= 0 or self.discriminator_lr <= 0:
            raise ValueError(
                f"adversarial weight={self.weight} and discriminator_lr={self.discriminator_lr} must be above 0; leave "
                "the adversarial settings out to train without a discriminator"
            )
        if min(self.start_step, self.ramp_steps, self.patience, self.lecam) < 0:
            raise ValueError(
                f"adversarial start_step={self.start_step}, ramp_steps={self.ramp_steps}, patience={self.patience} and "
                f"lecam={self.lecam} must be at least 0"
            )
        nothing = NO_INFORMATION[self.kind]
        if not 0 <= self.strongest < self.weakest * nothing:
            raise ValueError(
                f"adversarial strongest={self.strongest} must lie in 0..{self.weakest * nothing:.3g}, which is "
                f"weakest={self.weakest} of {nothing:.3g}, the loss of a discriminator that knows nothing"
            )


def discriminator_loss(real_logits: torch.Tensor, fake_logits: torch.Tensor, kind: Kind) -> torch.Tensor:
    """What the discriminator lowers; 0 for pictures far above and reconstructions far below 0.

    Args:
        real_logits: float [B, 1, h, w], of pictures.
        fake_logits: float [B, 1, h, w], of reconstructions cut from the graph.
        kind: `AdversarialConfig.kind`.
    """
    real, fake = real_logits.float(), fake_logits.float()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake_logits: torch.Tensor, kind: Kind) -> torch.Tensor:
    """What the tokenizer lowers to pass for a picture; logits float [B, 1, h, w] of reconstructions."""
    fake = fake_logits.float()
    return -fake.mean() if kind == "hinge" else F.softplus(-fake).mean()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradient for the module's parameters in what is computed inside; for its inputs there is."""
    learned = [param for param in module.parameters() if param.requires_grad]
    for param in learned:
        param.requires_grad_(False)
    try:
        yield
    finally:
        for param in learned:
            param.requires_grad_(True)


def adaptive_weight(
    reconstruction_loss: torch.Tensor, adversarial_loss: torch.Tensor, last_layer_weight: torch.Tensor
) -> torch.Tensor:
    """Ratio of gradient norms of two scalar losses at the last layer, 0..1e4, detached: a scalar float32.

    Esser et al., arXiv 2012.09841, eq. 7. It costs a second backward through the discriminator. It is computed on each
    micro-batch by itself, so with it, alone of all terms, the gradient depends on how a batch is split.
    """
    norms = [
        torch.autograd.grad(loss, last_layer_weight, retain_graph=True)[0].float().norm()
        for loss in (reconstruction_loss, adversarial_loss)
    ]
    return (norms[0] / (norms[1] + ADAPTIVE_EPS)).clamp(0, LARGEST_ADAPTIVE).detach()


def ramp(step: int, config: AdversarialConfig) -> float:
    """Share of the generator's term at optimizer step `step` (from 0): 0 until the start, then linearly to 1."""
    if step < config.start_step:
        return 0.0
    return min(1.0, (step - config.start_step) / config.ramp_steps) if config.ramp_steps else 1.0


def _forget_pending(lecam: nn.Module, _: Any) -> None:
    """After a roll-back, what a step that was cut short had counted is gone."""
    assert isinstance(lecam, LeCam)
    lecam.pending.zero_()


class LeCam(nn.Module):
    """Keeps the discriminator's logits near what they have been, which holds it back when data are few.

    Tseng et al., "Regularizing Generative Adversarial Networks under Limited Data" (arXiv 2104.03310), R_LC: logits
    of pictures are drawn to the anchor of reconstructions and the other way round. As in google/lecam-gan, the anchors
    are moving averages corrected for their start at 0, and a logit on the far side of its anchor costs nothing. Unlike
    there, they are those of the steps before, so that the loss does not depend on how a batch is split.
    """

    def __init__(self, decay: float = LECAM_DECAY):
        super().__init__()
        self.decay = decay
        self.register_buffer("averages", torch.zeros(3))  # of real logits, of fake logits, of 1 (to correct the start)
        self.register_buffer("pending", torch.zeros(3, dtype=torch.float64), persistent=False)  # sums of this step
        self.averages: torch.Tensor
        self.pending: torch.Tensor
        self.register_load_state_dict_post_hook(_forget_pending)

    @property
    def anchors(self) -> torch.Tensor:
        """Average logits of pictures and of reconstructions, float32 [2]; zeros before the first step."""
        return self.averages[:2] / self.averages[2].clamp(min=1e-12)

    def forward(self, real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
        """The penalty on logits float [B, 1, h, w], a scalar; in training mode they are counted for `update`."""
        real, fake = real_logits.float(), fake_logits.float()
        if self.training:
            sums = torch.stack([real.detach().sum(), fake.detach().sum()])
            self.pending[:2] += sums
            self.pending[2] += real.numel()
        real_anchor, fake_anchor = self.anchors
        penalty = F.relu(real - fake_anchor).square().mean() + F.relu(real_anchor - fake).square().mean()
        return penalty * (self.averages[2] > 0)

    @torch.no_grad()
    def update(self) -> None:
        """Move the anchors by the logits of all micro-batches (and ranks) since the last call; after each step."""
        sums = sum_over_ranks(self.pending.clone())
        self.pending.zero_()
        if sums[2] > 0:
            self.averages.lerp_((sums / sums[2]).to(self.averages), 1 - self.decay)
