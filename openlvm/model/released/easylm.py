"""Checkpoints of EasyLM, LVM's training code in JAX: a stream of (key, tensor), or one tree; read tensor by tensor.

Format (EasyLM/checkpoint.py, flax/serialization.py): msgpack values one after the other, each an array of a key, which
is an array of strings, and of bytes; these are the msgpack of one array, extension 1: the msgpack of (shape, name of
the dtype, row-major bytes); above 2^30 bytes it is a map of chunks. `streaming_params` holds ("params", "transformer",
"h", "0", "attention", "wq", "kernel") and so on, `streaming_train_state` the same behind one more "params", beside the
optimizer's. A file of flax itself (`flax_params`) is one tree of maps with such arrays as leaves.

Kernels are [in, out], so each is transposed. Rotary pairs are neighbors (2i, 2i + 1) there, halves (i, i + E/2) here:
rows of q and k are reordered within each head. Letters beside the project's own: A heads, E head dim.
"""

import math
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from openlvm.model.decoder import DecoderConfig
from openlvm.model.released.files import stored_as
from openlvm.model.released.msgpack import Extension, unpack
from openlvm.model.released.weights import Weights
from openlvm.model.sizes import SIZES

CONTEXT = 4096  # LVM's max_sequence_length; no file says it
RMS_EPS = 1e-6  # LVM's rms_norm_eps, of all its sizes
PUBLISHED = ("debug", "100m", "300m", "600m", "1b", "3b", "7b", "13b", "20b", "30b")
"""Sizes of LVM's code: a width, depth and MLP of theirs says how many heads there are."""
ARRAY, CHUNKED = 1, "__msgpack_chunked_array__"
DTYPES = {
    "float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16,
}  # fmt: skip

_TOP = {
    "wte.embedding": "model.embed_tokens.weight",
    "ln_f.kernel": "model.norm.weight",
    "lm_head.kernel": "lm_head.weight",
}
_BLOCK = {
    "attention.wq.kernel": "self_attn.q_proj.weight",
    "attention.wk.kernel": "self_attn.k_proj.weight",
    "attention.wv.kernel": "self_attn.v_proj.weight",
    "attention.wo.kernel": "self_attn.o_proj.weight",
    "feed_forward.w1.kernel": "mlp.gate_proj.weight",
    "feed_forward.w2.kernel": "mlp.down_proj.weight",
    "feed_forward.w3.kernel": "mlp.up_proj.weight",
    "attention_norm.kernel": "input_layernorm.weight",
    "ffn_norm.kernel": "post_attention_layernorm.weight",
}


@dataclass(frozen=True)
class Array:
    """An array inside a file, not yet read."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    pieces: tuple[memoryview, ...]

    def read(self) -> torch.Tensor:
        """The array as a tensor of its own memory."""
        raw = bytearray().join(self.pieces)  # copied: inside the file it lies at any address
        return torch.frombuffer(raw, dtype=self.dtype).reshape(self.shape)


def open_stream(at: Path, *, num_heads: int | None = None) -> Weights:
    """The decoder in a file of EasyLM or flax.

    Args:
        num_heads: attention heads, which no file says; by default those of LVM's size with this width and depth.

    Raises:
        ValueError: damaged, not such a file, or a width and depth that are none of LVM's and no num_heads.
    """
    arrays: dict[str, Array] = {}
    for key, array in _leaves(at):
        name = our_name(key)
        if name is not None:
            if name in arrays:
                raise ValueError(f"{at} holds {'/'.join(key)} twice")
            arrays[name] = array
    if "model.embed_tokens.weight" not in arrays or "model.layers.0.mlp.gate_proj.weight" not in arrays:
        raise ValueError(f"{at} holds no transformer of EasyLM: no wte/embedding, or no h/0/feed_forward/w1/kernel")
    config = _config_of(arrays, at, num_heads)
    turned = {name: _turn(name, config) for name in arrays}
    return Weights(
        at=at,
        kind="EasyLM's stream",
        config=config,
        shapes={n: tuple(reversed(a.shape)) if _is_kernel(n) else a.shape for n, a in arrays.items()},
        read=lambda name: turned[name](arrays[name].read()),
        dtype=stored_as([array.dtype for array in arrays.values()], at),
    )


def our_name(key: tuple[str, ...]) -> str | None:
    """Our name of a key; None for what is no weight of the decoder, such as the optimizer's state.

    ("params", "transformer", "h", "3", "attention", "wq", "kernel")   model.layers.3.self_attn.q_proj.weight
    ("opt_state", "1", "0", "mu", "params", "transformer", ...)        None
    """
    rest = list(key)
    while rest and rest[0] == "params":
        rest.pop(0)
    if rest[:1] == ["transformer"]:
        rest.pop(0)
    elif rest[:1] != ["lm_head"]:
        return None
    if len(rest) > 2 and rest[0] == "h" and rest[1].isdecimal():
        inner = _BLOCK.get(".".join(rest[2:]))
        return inner and f"model.layers.{int(rest[1])}.{inner}"
    return _TOP.get(".".join(rest))


def _config_of(arrays: dict[str, Array], at: Path, num_heads: int | None) -> DecoderConfig:
    embedding, gate = arrays["model.embed_tokens.weight"], arrays["model.layers.0.mlp.gate_proj.weight"]
    if len(embedding.shape) != 2 or len(gate.shape) != 2:
        raise ValueError(f"{at} is not of EasyLM: tables of shapes {embedding.shape} and {gate.shape}")
    (vocab_size, width), mlp_size = embedding.shape, gate.shape[1]
    num_layers = sum(name.endswith(".mlp.gate_proj.weight") for name in arrays)
    if num_heads is None:
        known = [SIZES[name] for name in PUBLISHED]
        same = [s for s in known if (s.hidden_size, s.mlp_size, s.num_layers) == (width, mlp_size, num_layers)]
        if not same:
            raise ValueError(
                f"{at} has width {width}, MLP {mlp_size} and {num_layers} layers, none of LVM's sizes; "
                "give the number of attention heads (num_heads, --heads)"
            )
        num_heads = same[0].num_heads
    return DecoderConfig(
        vocab_size=vocab_size, hidden_size=width, num_layers=num_layers, num_heads=num_heads, mlp_size=mlp_size,
        context=CONTEXT, rms_eps=RMS_EPS, tie_embeddings="lm_head.weight" not in arrays,
    )  # fmt: skip


def _is_kernel(name: str) -> bool:
    return "_proj." in name or name == "lm_head.weight"


def _turn(name: str, config: DecoderConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """From the layout of the file to ours."""
    if name.endswith(("q_proj.weight", "k_proj.weight")):
        return lambda kernel: halves_from_neighbors(kernel.T, config.num_heads)
    return (lambda kernel: kernel.T.contiguous()) if _is_kernel(name) else (lambda tensor: tensor)


def halves_from_neighbors(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Rows of a q or k projection [A * E, D] from rotary pairs (2i, 2i + 1) to pairs (i, i + E/2)."""
    return weight.unflatten(0, (num_heads, -1, 2)).transpose(1, 2).flatten(0, 2).contiguous()


def neighbors_from_halves(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """The way back of `halves_from_neighbors`."""
    return weight.unflatten(0, (num_heads, 2, -1)).transpose(1, 2).flatten(0, 2).contiguous()


def _leaves(at: Path) -> Iterator[tuple[tuple[str, ...], Array]]:
    """(key, array) of everything in the file that is an array; nothing of an array is read yet."""
    with open(at, "rb") as file:
        if not at.stat().st_size:
            raise ValueError(f"{at} is empty")
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # lives as long as its views
    end = 0
    try:
        while end < len(data):
            value, end = unpack(data, end)
            if isinstance(value, dict) and end == len(data):  # one tree
                yield from _walk((), value)
                continue
            if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], list)):
                raise ValueError(f"the value before byte {end} is no pair of key and tensor")
            key, raw = tuple(map(str, value[0])), value[1]
            if not isinstance(raw, memoryview):
                raise ValueError(f"{'/'.join(key)} is no bytes")
            yield from _walk(key, unpack(raw)[0])
    except ValueError as error:
        raise ValueError(f"{at} is damaged, or no stream of EasyLM: {error}") from None


def _walk(key: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Array]]:
    if isinstance(value, Extension) and value.code == ARRAY:
        yield key, _array_in(key, value)
    elif isinstance(value, dict) and CHUNKED in value:
        chunks = [_array_in(key, piece) for piece in value["chunks"].values()]
        shape = tuple(value["shape"].values())
        if not chunks or sum(math.prod(chunk.shape) for chunk in chunks) != math.prod(shape):
            raise ValueError(f"{'/'.join(key)} has chunks that do not make its shape {shape}")
        yield key, Array(shape, chunks[0].dtype, tuple(piece for chunk in chunks for piece in chunk.pieces))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk((*key, str(name)), inner)


def _array_in(key: tuple[str, ...], value: Any) -> Array:
    stored = unpack(value.data)[0] if isinstance(value, Extension) and value.code == ARRAY else None
    if not (isinstance(stored, list) and len(stored) == 3 and isinstance(stored[0], list)):
        raise ValueError(f"{'/'.join(key)} is no array")
    shape, dtype, raw = tuple(stored[0]), stored[1], stored[2]
    if not isinstance(raw, memoryview) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"{'/'.join(key)} is no array of numbers")
    if dtype not in DTYPES:
        return Array(shape, torch.uint8, (raw,))  # the optimizer's counters; refused if it is a weight
    if math.prod(shape) * DTYPES[dtype].itemsize != len(raw):
        raise ValueError(f"{'/'.join(key)} has {len(raw)} bytes for the shape {shape} of {dtype}")
    return Array(shape, DTYPES[dtype], (raw,))
