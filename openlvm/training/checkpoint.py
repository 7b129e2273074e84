"""Checkpoints of the training loop: weights in safetensors, optimizer in a torch file of tensors only, state as JSON.

step-00001000/
  <module>.safetensors     one file for each trained module
  optimizer.pt             loaded with weights_only=True
  state.json               step, next position, world size, global batch, config hash, meters
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from openlvm.core.files import atomic_folder, read_json, write_json
from openlvm.core.runs import as_json
from openlvm.training.optim import Optimizers

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Where a run stands after an optimizer step; together with weights and optimizer, all there is."""

    step: int
    """Optimizer steps done."""
    next_position: int
    """First position of the next step."""
    positions_per_step: int
    """Global batch of the run that wrote this."""
    world_size: int
    """Ranks of the run that wrote this; information, not a condition."""
    config_hash: str
    """`hash_config` of the whole config."""
    meters: dict[str, tuple[float, float]]
    """Name -> (sum, weight) since the last line of metrics."""
    roll_backs: int = 0
    """How often the run went back to a checkpoint because it diverged; each halved the learning rate."""


def hash_config(config: Any) -> str:
    """SHA-256 of a config's JSON with sorted keys."""
    return hashlib.sha256(json.dumps(as_json(config), sort_keys=True).encode()).hexdigest()


def save_checkpoint(at: Path, modules: Mapping[str, nn.Module], optimizers: Optimizers, state: TrainState) -> None:
    """Write a checkpoint folder; it appears whole or not at all."""
    with atomic_folder(at) as folder:
        for name, module in modules.items():
            save_model(module, str(folder / f"{name}.safetensors"))
        torch.save(optimizers.state_dict(), folder / "optimizer.pt")
        write_json(folder / "state.json", {"format_version": FORMAT_VERSION, **asdict(state)})


def load_state(at: Path) -> TrainState:
    """The state of the checkpoint folder `at`."""
    fields = read_json(at / "state.json", "training state")
    version = fields.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise ValueError(f"{at} has checkpoint format {version}; this openlvm reads {FORMAT_VERSION}")
    return TrainState(**{**fields, "meters": {name: tuple(pair) for name, pair in fields["meters"].items()}})


def load_weights(at: Path, modules: Mapping[str, nn.Module]) -> None:
    """Fill the modules, in place, with the weights of the checkpoint folder `at`; every name must match."""
    for name, module in modules.items():
        file_at = at / f"{name}.safetensors"
        if not file_at.exists():
            raise FileNotFoundError(f"checkpoint {at} has no weights of {name!r} ({file_at.name})")
        try:
            load_model(module, str(file_at))
        except RuntimeError as error:
            raise ValueError(f"{file_at} does not fit the module {name!r}: {error}") from None


def load_checkpoint(at: Path, modules: Mapping[str, nn.Module], optimizers: Optimizers) -> TrainState:
    """Fill modules and optimizers, in place, from the checkpoint folder `at`."""
    state = load_state(at)
    load_weights(at, modules)
    optimizers.load_state_dict(torch.load(at / "optimizer.pt", weights_only=True, map_location="cpu"))
    return state
