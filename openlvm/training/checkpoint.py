"""Checkpoints of the training loop: weights in safetensors, optimizer in a torch file of tensors only, state as JSON.

step-00001000/
  <module>.safetensors     one file for each trained module
  optimizer.pt             loaded with weights_only=True
  shards/                  in place of both, of a run that is split over ranks (parallel/shards.py)
  state.json               step, next position, world size, global batch, config hash, meters
  files.json               bytes and SHA-256 of every other file, and of this list (guards/damage.py)

A folder bears its name only when all of it is on disk; whatever kills a run leaves the checkpoint before.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from openlvm.core.files import atomic_folder, read_json, write_json
from openlvm.core.runs import as_json
from openlvm.training.guards.damage import GO_BACK, refuse_changed, refuse_damage, write_list
from openlvm.training.optim import Optimizers
from openlvm.training.parallel.shards import SHARDS, load_shards

FORMAT_VERSION = 2
STATE = "state.json"


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
    recent_losses: tuple[float, ...] = ()
    """Of the last steps that were no spikes (guards/spikes.py), oldest first."""
    skipped_in_a_row: int = 0
    """Steps skipped as spikes since the last that was not."""


def hash_config(config: Any) -> str:
    """SHA-256 of a config's JSON with sorted keys."""
    return hashlib.sha256(json.dumps(as_json(config), sort_keys=True).encode()).hexdigest()


def save_checkpoint(at: Path, modules: Mapping[str, nn.Module], optimizers: Optimizers, state: TrainState) -> None:
    """Write a checkpoint folder; it appears whole or not at all."""
    with atomic_folder(at) as folder:
        for name, module in modules.items():
            save_model(module, str(folder / f"{name}.safetensors"))
        torch.save(optimizers.state_dict(), folder / "optimizer.pt")
        write_state(folder, state)
        write_list(folder, {})


def write_state(folder: Path, state: TrainState) -> None:
    """Write state.json into a checkpoint folder."""
    write_json(folder / STATE, {"format_version": FORMAT_VERSION, **asdict(state)})


def load_state(at: Path) -> TrainState:
    """The state of the checkpoint folder `at`."""
    try:
        fields = read_json(at / STATE, "training state")
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"{error}; {GO_BACK}") from None
    version = fields.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{at} has checkpoint format {version}; this openlvm reads {FORMAT_VERSION}. "
            "Go on with the openlvm that wrote it, or start a run anew"
        )
    refuse_changed(at, STATE)
    meters = {name: tuple(pair) for name, pair in fields["meters"].items()}
    return TrainState(**{**fields, "meters": meters, "recent_losses": tuple(fields.get("recent_losses", ()))})


def load_weights(at: Path, modules: Mapping[str, nn.Module]) -> None:
    """Fill the modules, in place, with the weights of the checkpoint folder `at`; all ranks call this.

    Every name and shape must match, and every file be as it was written.
    """
    load_state(at)  # refuses another format in its own words
    _fill(at, modules, None)


def load_checkpoint(at: Path, modules: Mapping[str, nn.Module], optimizers: Optimizers) -> TrainState:
    """Fill modules and optimizers, in place, from the checkpoint folder `at`, whichever ranks wrote it."""
    state = load_state(at)
    _fill(at, modules, optimizers)
    return state


def _fill(at: Path, modules: Mapping[str, nn.Module], optimizers: Optimizers | None) -> None:
    if (at / SHARDS).is_dir():
        load_shards(at, modules, optimizers)
        return
    refuse_damage(at)
    for name, module in modules.items():
        file_at = at / f"{name}.safetensors"
        if not file_at.exists():
            raise FileNotFoundError(f"checkpoint {at} has no weights of {name!r} ({file_at.name})")
        try:
            load_model(module, str(file_at))
        except SafetensorError as error:
            raise ValueError(f"{file_at} is damaged ({error}); {GO_BACK}") from None
        except RuntimeError as error:
            raise ValueError(f"{file_at} does not fit the module {name!r}: {error}") from None
    if optimizers is None:
        return
    optimizer_at = at / "optimizer.pt"
    try:
        saved = torch.load(optimizer_at, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, UnpicklingError) as error:
        first_line = str(error).splitlines()[0]
        raise ValueError(f"{optimizer_at} is damaged ({first_line}); {GO_BACK}") from None
    optimizers.load_state_dict(saved)
