"""A decoder in a Hugging Face folder: config.json and one file of weights, or several and an index.

Files are .safetensors, or .bin as PyTorch writes them, of which only tensors and plain containers are ever unpickled.
"""

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from openlvm.core.files import read_json
from openlvm.model.released.llama import CONFIG, config_of
from openlvm.model.released.weights import INDEX, WEIGHTS, Weights

BIN, BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
NOT_LEARNED = "rotary_emb.inv_freq"  # older files have it; it follows from the config


class Tensors:
    """The tensors of several files by name, mapped into memory: read from the disk when they are used."""

    def __init__(self, files: list[Path]):
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, torch.dtype] = {}
        self._home: dict[str, Mapping[str, torch.Tensor] | Any] = {}
        for file in files:
            if file.suffix == ".safetensors":
                self._add_safe(file)
            else:
                self.add(tensors_in(file))

    def _add_safe(self, file: Path) -> None:
        try:
            opened = safe_open(file, framework="pt")
            for name in opened.keys():  # noqa: SIM118  (no dictionary)
                part = opened.get_slice(name)
                self._home[name], self.shapes[name] = opened, tuple(part.get_shape())
                self.dtypes[name] = _SAFE.get(part.get_dtype(), torch.uint8)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} is damaged or not a safetensors file: {error}") from None

    def add(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take tensors in."""
        for name, tensor in tensors.items():
            self._home[name], self.shapes[name], self.dtypes[name] = tensors, tuple(tensor.shape), tensor.dtype

    def read(self, name: str) -> torch.Tensor:
        """A tensor by its name in the files, as it is stored."""
        home = self._home[name]
        return home[name] if isinstance(home, Mapping) else home.get_tensor(name)


_SAFE = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def open_folder(at: Path) -> Weights:
    """The decoder in a folder with a config.json.

    Raises:
        FileNotFoundError, ValueError: no weights, a missing or damaged file, another kind of model.
    """
    theirs = read_json(at / CONFIG, "decoder config")
    config = config_of(theirs, at / CONFIG)
    tensors = Tensors(weight_files(at))
    tied = {"lm_head.weight"} if config.tie_embeddings else set()
    shapes = {n: shape for n, shape in tensors.shapes.items() if n not in tied and not n.endswith(NOT_LEARNED)}
    return Weights(
        at=at,
        kind="DeLVM's InternLM" if theirs["model_type"] == "internlm" else "LlamaForCausalLM",
        config=config,
        shapes=shapes,
        read=tensors.read,
        dtype=stored_as([tensors.dtypes[name] for name in shapes], at),
    )


def stored_as(dtypes: list[torch.dtype], at: Path) -> torch.dtype:
    """The dtype of a decoder's tensors, float32 if they have several; refuses numbers that are no floats."""
    if strange := sorted({str(dtype) for dtype in dtypes if not dtype.is_floating_point or dtype.itemsize < 2}):
        raise ValueError(f"weights in {at} are {', '.join(strange)}; expected float32, float16 or bfloat16")
    several = set(dtypes)
    return several.pop() if len(several) == 1 and torch.float64 not in several else torch.float32


def weight_files(at: Path) -> list[Path]:
    """The files of weights of a folder, all of them there."""
    for whole, index in ((WEIGHTS, INDEX), (BIN, BIN_INDEX)):
        if (at / whole).is_file():
            return [at / whole]
        if (at / index).is_file():
            names = named_by(at / index)
            if lost := [name for name in names if not (at / name).is_file()]:
                raise FileNotFoundError(f"{at} lacks {lost[0]}, which its {index} lists; get it again")
            return [at / name for name in names]
    raise FileNotFoundError(f"no decoder weights in {at}; expected {WEIGHTS} or {BIN}, or an index of several")


def named_by(index: Path) -> list[str]:
    """The files that an index of weights lists; only such as can lie beside it."""
    stored = read_json(index, "index of weights")
    files = stored.get("weight_map") if isinstance(stored, dict) else None
    names = sorted(set(map(str, files.values()))) if isinstance(files, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise ValueError(f"{index} is no index of weights: its weight_map must name files beside it")
    return names


def tensors_in(file: Path) -> dict[str, torch.Tensor]:
    """The named tensors of a checkpoint of PyTorch, on the CPU, as they are stored; its code is never run.

    Raises:
        ValueError: damaged, a pickle that asks for code to be run, or something else than named tensors.
    """
    packed = zipfile.is_zipfile(file)  # checkpoints of PyTorch before 1.6 are not, and cannot be mapped
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: what cannot be read is refused below
            stored = torch.load(file, map_location="cpu", weights_only=True, mmap=packed)
    except Exception as error:  # a damaged pickle raises whatever its reader stumbles over
        foreign = re.findall(r"GLOBAL (\S+)", str(error))
        raise ValueError(
            f"{file} is a pickle that would run code when opened ({', '.join(foreign[:5])}). "
            "It was not opened; ask for a .safetensors file"
            if foreign
            else f"{file} is damaged, or no file of weights that can be read without running its code "
            f"({type(error).__name__}). Get it again, best as .safetensors"
        ) from None
    if not isinstance(stored, dict) or not all(isinstance(value, torch.Tensor) for value in stored.values()):
        raise ValueError(f"{file} holds {type(stored).__name__}, expected tensors by name")
    return stored
