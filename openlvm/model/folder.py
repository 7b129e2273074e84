"""A decoder as a folder that Hugging Face's LlamaForCausalLM reads and writes: config.json and its weights."""

from pathlib import Path

import torch

from openlvm.model.decoder import Decoder
from openlvm.model.released.llama import CONFIG, config_of
from openlvm.model.released.load import open_weights
from openlvm.model.released.weights import INDEX, MAX_SHARD_GB, WEIGHTS, Weights, build, write_weights

__all__ = ["CONFIG", "INDEX", "WEIGHTS", "config_of", "load_decoder", "save_decoder"]


def save_decoder(
    decoder: Decoder,
    at: Path | str,
    *,
    dtype: torch.dtype = torch.float32,
    max_shard_gb: float = MAX_SHARD_GB,
) -> None:
    """Write a decoder into the folder `at`; tensor by tensor, so that it takes no second decoder of memory.

    Args:
        dtype: of the stored weights.
        max_shard_gb: 1e9 bytes in one safetensors file at most; more become several and an index.
    """
    state = decoder.state_dict()
    if any(not value.is_floating_point() for value in state.values()):
        raise ValueError("weights rounded to int8 cannot be written; save the decoder before it is rounded")
    weights = Weights(
        at=Path(at),
        kind="LlamaForCausalLM",
        config=decoder.config,
        shapes={name: tuple(value.shape) for name, value in state.items()},
        read=lambda name: state[name].detach().cpu(),
        dtype=dtype,
    )
    write_weights(weights, Path(at), dtype=dtype, max_shard_gb=max_shard_gb)


def load_decoder(
    at: Path | str,
    *,
    dtype: torch.dtype = torch.float32,
    rms_eps: float | None = None,
    num_heads: int | None = None,
    context: int | None = None,
) -> Decoder:
    """A decoder, ours or others', in evaluation mode, on the CPU; nothing that was downloaded is executed.

    Args:
        at: a folder as transformers writes them, in one file or in shards, .safetensors or .bin (LVM's release);
            DeLVM's InternLM, exported or as its training left it; a file of EasyLM (LVM's training), or its folder;
            "lvm_7b", or owner/name on the Hugging Face hub.
        dtype: of the weights in memory.
        rms_eps, num_heads, context: in place of what the files say, or where they say nothing; see `open_weights`.

    Raises:
        FileNotFoundError, ValueError: nothing there, damaged, another kind of model, or weights that do not fit.
    """
    return build(open_weights(Path(at), rms_eps=rms_eps, num_heads=num_heads, context=context), dtype)
