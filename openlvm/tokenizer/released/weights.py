"""Reading a file of weights that others wrote: named tensors or one clear refusal; nothing in it is ever executed."""

import logging
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from openlvm.tokenizer.released.table import PICKLES, SAFE

MAX_BYTES = 4 * 2**30  # the largest released tokenizer here takes 0.6 GiB, the largest checkpoint of one 1 GiB
NESTS = ("ema", "model", "state_dict")  # where training code puts the tensors; averages first, as LlamaGen reads them
TRAINERS = ("pytorch_lightning.", "lightning.")  # their checkpoints name classes of callbacks, also beside tensors

log = logging.getLogger(__name__)


def read_tensors(at: Path, *, left_out: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    """The named tensors of a .safetensors file or of a checkpoint of PyTorch, on the CPU, as they are stored.

    Args:
        at: the file; at most 4 GiB.
        left_out: beginnings of names to leave out; how many there were is logged.

    Raises:
        FileNotFoundError, ValueError: no such file, too large, damaged, or a pickle that asks for code to be run.
    """
    if not at.is_file():
        raise FileNotFoundError(f"no tokenizer weights at {at}")
    if at.stat().st_size > MAX_BYTES:
        raise ValueError(f"{at} has {at.stat().st_size:,} bytes; a tokenizer has at most {MAX_BYTES:,}. Not read")
    if at.suffix == SAFE:
        try:
            tensors = load_file(at)
        except SafetensorError as error:
            raise ValueError(f"{at} is damaged or not a safetensors file: {error}") from None
    else:
        tensors = _tensors_in(_unpickle(at), at)
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(left_out)}
    if len(kept) < len(tensors):
        count = len(tensors) - len(kept)
        log.info("%s: %d tensors of training alone are left out (%s)", at, count, ", ".join(left_out))
    return kept


def _unpickle(at: Path) -> Any:
    """What a checkpoint holds, by the unpickler that knows tensors and plain containers only."""
    packed = zipfile.is_zipfile(at)  # checkpoints of PyTorch before 1.6 are not
    try:
        asked = get_unsafe_globals_in_checkpoint(at) if packed else []
        foreign = [name for name in asked if not name.startswith(TRAINERS)]
        # inert classes of the same names: what a trainer noted beside the tensors is read and dropped
        inert: list[Any] = [(type(name.rpartition(".")[2], (), {}), name) for name in asked if name not in foreign]
        if not foreign:
            with safe_globals(inert), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickle protocols: what cannot be read is refused below
                return torch.load(at, map_location="cpu", weights_only=True, mmap=packed)
    except Exception as error:  # a damaged pickle raises whatever its reader stumbles over
        foreign = re.findall(r"GLOBAL (\S+)", str(error))
        if not foreign:
            raise ValueError(
                f"{at} is damaged, or no file of weights that can be read without running its code "
                f"({type(error).__name__}). Get it again, best as a .safetensors file"
            ) from None
    raise ValueError(
        f"{at} is a pickle that would run code when opened ({', '.join(foreign[:5])}). "
        "It was not opened; ask for a .safetensors file"
    )


def _tensors_in(stored: Any, at: Path) -> dict[str, torch.Tensor]:
    if isinstance(stored, Mapping):
        nest = next((name for name in NESTS if isinstance(stored.get(name), Mapping)), None)
        tensors = stored if nest is None else stored[nest]
        if tensors and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in tensors.items()):
            return dict(tensors)
    what = f"a dictionary of {sorted(map(str, stored))[:5]}" if isinstance(stored, Mapping) else type(stored).__name__
    raise ValueError(f"{at} holds {what}; expected named tensors, by themselves or under one of {', '.join(NESTS)}")


def check_fits(
    given: Mapping[str, torch.Tensor], wanted: Mapping[str, tuple[int, ...]], at: Path, *, to: str = "its config"
) -> None:
    """Refuse tensors whose names or shapes are not those wanted; names both lists, five of each.

    Args:
        given: name -> tensor, of the file `at`.
        wanted: name -> shape.
        to: what they should fit, for the message.
    """
    missing, extra = [name for name in wanted if name not in given], sorted(set(given) - set(wanted))
    if missing or extra:
        raise ValueError(f"{at} does not fit {to}: missing {_some(missing)}, unexpected {_some(extra)}")
    misshapen = [name for name in wanted if tuple(given[name].shape) != tuple(wanted[name])]
    if misshapen:
        shapes = {name: (list(given[name].shape), list(wanted[name])) for name in misshapen[:5]}
        raise ValueError(f"{at} does not fit {to}: {len(misshapen)} shapes (given, expected) {shapes}")


def _some(names: list[str]) -> str:
    return f"{len(names)} {names[:5]}{' ...' if len(names) > 5 else ''}" if names else "none"


def weights_in(folder: Path, usual: tuple[str, ...]) -> Path:
    """The one file of weights in a folder: the first of the `usual` names, or the only file of a known ending."""
    for name in usual:
        if (folder / name).is_file():
            return folder / name
    found = sorted(file for file in folder.iterdir() if file.suffix in (*PICKLES, SAFE))
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found[:5]) or "none"
    raise ValueError(f"{folder} should hold one file of weights ({SAFE}, {', '.join(PICKLES)}); found {names}. Name it")
