"""The weights of a decoder by our names, read one at a time, and written as a folder of LlamaForCausalLM.

Whoever converts holds one tensor in memory, not the model: 7B takes as little as 300M.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from openlvm.core.files import atomic_write, write_json
from openlvm.core.seeds import nothing_drawn
from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.released.llama import CONFIG, their_config

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = "model-{:05d}-of-{:05d}.safetensors"
MAX_SHARD_GB = 5.0  # as transformers cut until version 5

NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
"""What weights may be stored as -> its name in a safetensors file."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A decoder on disk, or in memory, whose tensors are read when they are asked for."""

    at: Path
    """Where they lie, for messages."""
    kind: str
    """What it is, in words."""
    config: DecoderConfig
    """The shape."""
    shapes: Mapping[str, tuple[int, ...]]
    """Our name -> shape, of what there is."""
    read: Callable[[str], torch.Tensor]
    """A tensor by our name; of any floating dtype, on the CPU, possibly a view of the file."""
    dtype: torch.dtype
    """As which they are stored."""


def shapes_of(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of a decoder, in the order of its state dict; takes no memory for them."""
    return {name: tuple(value.shape) for name, value in empty(config).state_dict().items()}


def empty(config: DecoderConfig) -> Decoder:
    """A decoder on the device "meta"."""
    with nothing_drawn(), torch.device("meta"):
        return Decoder(config)


def checked(weights: Weights) -> Weights:
    """The weights, after making sure that names and shapes are those of their config.

    Raises:
        ValueError: what is missing, unexpected or of another shape.
    """
    wanted, given, at = shapes_of(weights.config), weights.shapes, weights.at
    missing, extra = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or extra:
        raise ValueError(f"weights in {at} do not fit its config: missing {_some(missing)}, unexpected {_some(extra)}")
    shapes = {n: (list(given[n]), list(wanted[n])) for n in wanted if tuple(given[n]) != wanted[n]}
    if shapes:
        first = dict(sorted(shapes.items())[:3])
        raise ValueError(f"{len(shapes)} weights in {at} do not fit its config: shapes (given, expected) {first}")
    return weights


def _some(names: list[str]) -> str:
    return f"{names[:6]}{f' and {len(names) - 6} more' if len(names) > 6 else ''}"


def build(weights: Weights, dtype: torch.dtype) -> Decoder:
    """The decoder of checked weights, in evaluation mode, on the CPU."""
    decoder = empty(weights.config)
    decoder = empty(weights.config)
    # Copied, because tensors inside a file lie at any address: kernels are slower there and round differently.
    state = {
        name: weights.read(name).to(dtype, copy=True, memory_format=torch.contiguous_format)
        for name in decoder.state_dict()
    }
    decoder.load_state_dict(state, assign=True)
    decoder.model.build_rope("cpu")
    return decoder.eval()


def write_weights(weights: Weights, at: Path, *, dtype: torch.dtype, max_shard_gb: float = MAX_SHARD_GB) -> None:
    """Write checked weights as a folder that transformers' LlamaForCausalLM loads; weights that lay there go.

    Args:
        dtype: of what is stored: float32, float16 or bfloat16.
        max_shard_gb: 1e9 bytes of weights in one file at most; more become several files and an index. A tensor is
            never cut.
    """
    if dtype not in NAMES:
        raise ValueError(f"weights are stored as {', '.join(map(str, NAMES))}, not as {dtype}")
    if not max_shard_gb > 0:
        raise ValueError(f"max_shard_gb={max_shard_gb} must be above 0")
    names = [name for name in shapes_of(weights.config) if name in weights.shapes]
    sizes = {name: dtype.itemsize * torch.Size(weights.shapes[name]).numel() for name in names}
    shards: list[list[str]] = [[]]
    for name in names:
        if shards[-1] and sum(sizes[one] for one in shards[-1]) + sizes[name] > max_shard_gb * 1e9:
            shards.append([])
        shards[-1].append(name)
    files = [WEIGHTS] if len(shards) == 1 else [SHARD.format(n + 1, len(shards)) for n in range(len(shards))]
    for file, shard in zip(files, shards, strict=True):
        with atomic_write(at / file) as opened:
            _write_safetensors(opened, sorted(shard), weights, dtype)
    if len(shards) > 1:
        where = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
        write_json(at / INDEX, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": where})
    for old in [*at.glob("model-*-of-*.safetensors"), at / WEIGHTS, *([at / INDEX] if len(shards) == 1 else [])]:
        if old.name not in files:
            old.unlink(missing_ok=True)
    write_json(at / CONFIG, their_config(weights.config, dtype))


def _write_safetensors(file: IO[bytes], names: list[str], weights: Weights, dtype: torch.dtype) -> None:
    """A safetensors file, tensor by tensor: the bytes that safetensors.torch.save makes of all of them at once.

    Layout: length of the header, uint64 little-endian; the header, JSON padded by spaces to 8 bytes; the tensors.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        begin, end = end, end + dtype.itemsize * torch.Size(weights.shapes[name]).numel()
        header[name] = {"dtype": NAMES[dtype], "shape": list(weights.shapes[name]), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        given = weights.read(name)
        stored = given.to(dtype).contiguous()
        if dtype == torch.float16 and given.dtype != dtype and not stored.isfinite().all():
            raise ValueError(f"{name} of {weights.at} has numbers that float16 cannot hold; store bfloat16 or float32")
        file.write(stored.reshape(-1).view(torch.uint8).numpy().data)
