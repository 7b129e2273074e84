"""An LVM whose answers depend on what it is shown, for tests that a wrong prompt must fail."""

from pathlib import Path

import torch

from openlvm.bundle import load_bundle, save_bundle

STRONGER = 15  # weights of deviation 0.3 instead of 0.02: logits apart by units, not by hundredths


def with_opinions(lvm_at: Path, to: Path) -> Path:
    """The bundle at `lvm_at` with stronger weights, written to the folder `to`."""
    bundle = load_bundle(lvm_at)
    with torch.no_grad():
        for weight in bundle.decoder.parameters():
            weight.mul_(STRONGER if weight.ndim == 2 else 1)
    parts = {"tokenizer": bundle.tokenizer, "decoder": bundle.decoder, "special": bundle.special}
    save_bundle(to, context=bundle.context, card="A test.", **parts)
    return to
