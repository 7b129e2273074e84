"""A tokenizer as a folder: config.json says what it is, model.safetensors holds its weights."""

from dataclasses import asdict, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from openlvm.core.files import atomic_write, read_json, write_json
from openlvm.core.picking import pick
from openlvm.tokenizer.released.assemble import AnyTokenizer, assemble
from openlvm.tokenizer.released.configs import NetworkConfig, check_limits
from openlvm.tokenizer.released.hub import download, release_called
from openlvm.tokenizer.released.load import is_released, load_released
from openlvm.tokenizer.released.maskgit import MaskGIT, MaskGITConfig
from openlvm.tokenizer.released.table import RELEASED
from openlvm.tokenizer.released.weights import read_tensors
from openlvm.tokenizer.vqgan import VQGANConfig

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
EMBEDDED = {"mini": "mini/tokenizer", "demo": "demo-tokenizer", "tokenizer_64_f8": "tokenizer-64-f8"}
"""Tokenizers that ship with the package: name -> folder in openlvm/assets."""
KINDS: dict[str, type[VQGANConfig] | type[MaskGITConfig]] = {"vqgan": VQGANConfig, "maskgit": MaskGITConfig}


def save_tokenizer(tokenizer: AnyTokenizer, at: Path | str, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a tokenizer into the folder `at`.

    Args:
        tokenizer: trained here, or loaded from anywhere: a released one becomes a folder of ours.
        at: the folder; made if need be.
        dtype: of the stored weights; bfloat16 halves the file and rounds: load it back for the codes of what ships.
    """
    state = {name: value.to(dtype).contiguous() for name, value in tokenizer.shipped_state().items()}
    with atomic_write(Path(at) / WEIGHTS) as file:
        file.write(save(state))
    kind = "maskgit" if isinstance(tokenizer, MaskGIT) else "vqgan"
    write_json(Path(at) / CONFIG, {"format": FORMAT, "kind": kind, **asdict(tokenizer.config)})


def load_tokenizer(name: Path | str) -> AnyTokenizer:
    """A tokenizer by its place or name; float32, in evaluation mode, on the CPU.

    Args:
        name: the name of an embedded tokenizer ("./demo" is a folder called so); a folder of ours; a folder or file
            in a released layout (`released.load`); a name of `released.table.RELEASED`; or owner/name on the Hugging
            Face hub.

    Raises:
        FileNotFoundError, ValueError: nothing there, not a tokenizer, or weights that do not fit; the message says.
        ImportError: it is on the hub and huggingface_hub is not installed.
    """
    if name in EMBEDDED:
        return _load_own(Path(str(files("openlvm") / "assets" / EMBEDDED[str(name)])))
    at = Path(name)
    if at.exists():
        return load_released(at) if is_released(at) else _load_own(at)
    found = release_called(str(name))
    if found is not None:
        known, release = found
        weights = download(str(name), release)
        shared = known is None and not is_released(weights.parent)  # a folder of ours that somebody put there
        return _load_own(weights.parent) if shared else load_released(weights, release=known)
    if at.parent != Path("."):
        raise FileNotFoundError(f"no tokenizer folder at {at}")
    pick(dict.fromkeys((*EMBEDDED, *RELEASED)), str(name), "tokenizer (folder, file, or known name)")
    raise AssertionError(f"{name} is known after all")


def _load_own(at: Path) -> AnyTokenizer:
    if not at.is_dir():
        raise ValueError(f"{at} is not a tokenizer: neither a folder nor a file of weights")
    config = _config_from(read_json(at / CONFIG, "tokenizer config"), at / CONFIG)
    return assemble(config, read_tensors(at / WEIGHTS), at / WEIGHTS)


def code_vectors(tokenizer: AnyTokenizer) -> torch.Tensor:
    """The vector of every code, float32 [K, C]."""
    return tokenizer.quantize.vectors(torch.arange(tokenizer.codebook_size))


def _config_from(stored: Any, at: Path) -> NetworkConfig:
    said = (stored.get("format"), stored.get("kind")) if isinstance(stored, dict) else (None, None)
    if said[0] != FORMAT or said[1] not in KINDS:
        raise ValueError(
            f"{at} says format {said[0]!r} and kind {said[1]!r}; expected {FORMAT} and one of {list(KINDS)}"
        )
    settings = {key: value for key, value in stored.items() if key not in ("format", "kind")}
    unknown = sorted(set(settings) - {field.name for field in fields(KINDS[said[1]])})
    if unknown:
        raise ValueError(f"{at} has the unknown settings {unknown}")
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    check_limits(settings, at)
    try:
        return KINDS[said[1]](**settings)
    except TypeError as error:
        raise ValueError(f"{at} is incomplete: {error}") from None
