"""`open_weights`: a decoder in any form that is known here, told by what lies there, or by its name on the hub."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from openlvm.model.released.easylm import open_stream
from openlvm.model.released.files import BIN, BIN_INDEX, named_by, open_folder
from openlvm.model.released.internlm import is_checkpoint, open_checkpoint
from openlvm.model.released.llama import CONFIG
from openlvm.model.released.weights import INDEX, WEIGHTS, Weights, checked

STREAMS = ("streaming_params", "streaming_train_state")
"""Names that EasyLM gives its files."""
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, kw_only=True)
class Release:
    """A released decoder."""

    hub: str
    """owner/name on the Hugging Face hub."""
    tokenizer: str
    """Name of the tokenizer whose codes it knows (openlvm/tokenizer/released/table.py)."""


RELEASED = {"lvm_7b": Release(hub="Emma02/LVM_ckpts", tokenizer="lvm")}
"""Decoders by name. DeLVM's are archives on GitHub and OneDrive (README of github.com/ggjy/DeLVM): unpack them."""


def open_weights(
    at: Path, *, rms_eps: float | None = None, num_heads: int | None = None, context: int | None = None
) -> Weights:
    """The weights of a decoder, names and shapes checked, no tensor read yet.

    Args:
        at: a folder of LlamaForCausalLM (ours and LVM's release among them) or of DeLVM's InternLM; a folder of
            DeLVM's training code; a file of EasyLM or flax, or its folder; a name in `RELEASED`, or owner/name on the
            Hugging Face hub.
        rms_eps: of the norms, in place of what the files say; DeLVM's exported 1e-6 is read as its training's 1e-5.
        num_heads: attention heads, where no file says it (EasyLM, DeLVM's training) and the size is none of theirs.
        context: positions, in place of what the files say.

    Raises:
        FileNotFoundError, ValueError: nothing there, damaged, another kind of model, or weights that do not fit.
    """
    weights = _opened(_downloaded(at), num_heads)
    config = weights.config
    if rms_eps is not None:
        config = replace(config, rms_eps=rms_eps)
    if context is not None:
        config = replace(config, context=context)
    return checked(replace(weights, config=config))


def _opened(at: Path, num_heads: int | None) -> Weights:
    if at.is_file() and at.suffix not in (".safetensors", ".bin", ".pt", ".json"):
        return open_stream(at, num_heads=num_heads)
    if at.is_file():
        raise ValueError(f"{at} is one file of a decoder; give its folder, {at.parent}")
    if not at.is_dir():
        raise FileNotFoundError(f"no decoder folder at {at}")
    streams = [at / name for name in STREAMS if (at / name).is_file()]
    if is_checkpoint(at):
        return open_checkpoint(at, num_heads=num_heads)
    if streams:
        return open_stream(streams[0], num_heads=num_heads)
    if not (at / CONFIG).is_file() and (at / "decoder" / CONFIG).is_file():
        raise FileNotFoundError(f"{at} is a whole LVM; its decoder is the folder {at / 'decoder'}")
    weights = open_folder(at)
    if num_heads not in (None, weights.config.num_heads):
        raise ValueError(f"num_heads={num_heads}, but {at / CONFIG} says {weights.config.num_heads}; leave it out")
    return weights


def _downloaded(at: Path) -> Path:
    """The place itself, or where the hub's cache has a decoder of this name; weights and config alone are fetched.

    HF_HUB_OFFLINE and the other settings of huggingface_hub hold.
    """
    name = str(at)
    if at.exists() or not (name in RELEASED or HUB_NAME.fullmatch(name)):
        return at
    hub = RELEASED[name].hub if name in RELEASED else name
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError:
        raise FileNotFoundError(f"no decoder folder at {at}; were it on the hub: pip install huggingface_hub") from None

    def get(file: str) -> Path | None:
        try:
            return Path(hf_hub_download(hub, file))
        except EntryNotFoundError:  # not there; or, with the hub out of reach, not in the cache
            return None
        except Exception as error:  # no such repository, no network, no leave: each with its own exception
            reason = str(error).strip().splitlines()[0]
            raise FileNotFoundError(f"no decoder folder {name}, and not got from the hub: {reason}") from None

    config = get(CONFIG)
    found = next(filter(None, map(get, (WEIGHTS, INDEX, BIN, BIN_INDEX))), None) if config else None
    if config is None or found is None:
        lacks = CONFIG if config is None else f"{WEIGHTS}, {BIN} and an index of several"
        raise FileNotFoundError(f"{hub} on the hub has no {lacks}, or it is not in the cache")
    for shard in named_by(found) if found.suffix == ".json" else ():
        get(shard)
    return config.parent
