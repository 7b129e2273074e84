"""A tokenizer as a folder: config.json says what it is, model.safetensors holds its weights."""

from dataclasses import asdict, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from openlvm.core.files import atomic_write, read_json, write_json
from openlvm.core.picking import pick
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
EMBEDDED = {"demo": "demo-tokenizer"}
"""Tokenizers that ship with the package: name -> folder in openlvm/assets."""


def save_tokenizer(vqgan: VQGAN, at: Path | str, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a tokenizer into the folder `at`.

    Args:
        dtype: of the stored weights; bfloat16 halves the file and rounds: load it back for the codes of what ships.
    """
    state = {name: value.to(dtype).contiguous() for name, value in vqgan.shipped_state().items()}
    with atomic_write(Path(at) / WEIGHTS) as file:
        file.write(save(state))
    write_json(Path(at) / CONFIG, {"format": FORMAT, "kind": "vqgan", **asdict(vqgan.config)})


def load_tokenizer(name: Path | str) -> VQGAN:
    """The tokenizer in a folder, or an embedded one by name; float32, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError, ValueError: no such folder, not a tokenizer's, or weights that do not fit; the message says.
    """
    at = Path(name)
    if not at.is_dir():
        if at.parent != Path("."):
            raise FileNotFoundError(f"no tokenizer folder at {at}")
        at = Path(str(files("openlvm") / "assets" / pick(EMBEDDED, str(name), "tokenizer (folder or embedded name)")))
    vqgan = VQGAN(_config_from(read_json(at / CONFIG, "tokenizer config"), at / CONFIG))
    vqgan.load_state_dict(_weights_for(vqgan, at / WEIGHTS), strict=False)
    return vqgan.eval().requires_grad_(False)


def code_vectors(vqgan: VQGAN) -> torch.Tensor:
    """The vector of every code, float32 [K, C]."""
    return vqgan.quantize.vectors(torch.arange(vqgan.codebook_size))


def _config_from(stored: dict[str, Any], at: Path) -> VQGANConfig:
    if (stored.get("format"), stored.get("kind")) != (FORMAT, "vqgan"):
        raise ValueError(
            f"{at} says format {stored.get('format')!r} and kind {stored.get('kind')!r}; expected 1 and 'vqgan'"
        )
    settings = {key: value for key, value in stored.items() if key not in ("format", "kind")}
    unknown = sorted(set(settings) - {field.name for field in fields(VQGANConfig)})
    if unknown:
        raise ValueError(f"{at} has the unknown settings {unknown}")
    for name in ("multipliers", "fsq_levels", "attention_at"):
        settings[name] = tuple(settings.get(name, ()))
    try:
        return VQGANConfig(**settings)
    except TypeError as error:
        raise ValueError(f"{at} is incomplete: {error}") from None


def _weights_for(vqgan: VQGAN, at: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file, after checking names and shapes against the module's."""
    if not at.is_file():
        raise FileNotFoundError(f"no tokenizer weights at {at}")
    try:
        state = load_file(at)
    except SafetensorError as error:
        raise ValueError(f"{at} is damaged or not a safetensors file: {error}") from None
    wanted = vqgan.shipped_state()
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    if missing or extra:
        raise ValueError(f"{at} does not fit its config: missing {missing}, unexpected {extra}")
    misshapen = [n for n in wanted if wanted[n].shape != state[n].shape]
    if misshapen:
        shapes = {n: (list(state[n].shape), list(wanted[n].shape)) for n in misshapen[:5]}
        raise ValueError(f"{at} does not fit its config: shapes (given, expected) {shapes}")
    return state
