"""Weights that the user has as a file: read without running code in it, and fitted to a module by name and shape."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

SHOWN = 5  # names of a list that a message shows
COUNTER = "num_batches_tracked"  # of batch normalization; needed by nobody here and missing in old files


def read_tensors(at: Path | str, what: str) -> dict[str, torch.Tensor]:
    """The named tensors of a .safetensors file, or of a .pth, .pt or .bin file by `weights_only`, on the CPU.

    Args:
        what: what the file should hold, for messages ("VGG16 weights").

    Raises:
        FileNotFoundError, ValueError: no such file; damaged, not a dictionary of tensors, or a pickle with code in it.
    """
    path = Path(at)
    if not path.is_file():
        raise FileNotFoundError(f"no file with {what} at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from None
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path} is not a plain file of weights (damaged, or a pickle that could run code); give a state dict"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0] or "it ends too early"
        raise ValueError(f"{path} cannot be read as {what}: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no dictionary of tensors, as {what} should be; save a state dict")
    return state


def fit(module: nn.Module, tensors: Mapping[str, torch.Tensor], at: Path | str, what: str) -> None:
    """Copy tensors into a module as float32, after checking that names and shapes are exactly the module's.

    Args:
        at, what: for messages: the file, and what it should hold.
    """
    wanted = {name: value for name, value in module.state_dict().items() if not name.endswith(COUNTER)}
    tensors = {name: value for name, value in tensors.items() if not name.endswith(COUNTER)}
    missing = sorted(set(wanted) - set(tensors))
    extra = sorted(set(tensors) - set(wanted))
    if missing or extra:
        raise ValueError(f"{at} does not hold {what}: {_listed('missing', missing)}, {_listed('not expected', extra)}")
    for name, value in tensors.items():
        if value.shape != wanted[name].shape:
            given, expected = list(value.shape), list(wanted[name].shape)
            raise ValueError(f"{at} does not hold {what}: {name} has shape {given}, expected {expected}")
    module.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)


def _listed(title: str, names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f"{len(names)} {title}" + (f" ({shown})" if names else "")
