"""A decoder as a folder that Hugging Face's LlamaForCausalLM reads and writes: config.json and model.safetensors."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from openlvm.core.files import atomic_write, read_json, write_json
from openlvm.core.seeds import nothing_drawn
from openlvm.model.decoder import INIT_STD, Decoder, DecoderConfig

LONGROPE = "longrope"
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

_REQUIRED = {  # theirs -> ours
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "mlp_size",
    "max_position_embeddings": "context",
}
_OPTIONAL = {"rms_norm_eps": "rms_eps", "attention_bias": "attention_bias", "tie_word_embeddings": "tie_embeddings"}


def save_decoder(decoder: Decoder, at: Path | str, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a decoder into the folder `at`, as one safetensors file.

    Args:
        dtype: of the stored weights.
    """
    if any(not value.is_floating_point() for value in decoder.state_dict().values()):
        raise ValueError("weights rounded to int8 cannot be written; save the decoder before it is rounded")
    state = {name: value.detach().to("cpu", dtype).contiguous() for name, value in decoder.state_dict().items()}
    with atomic_write(Path(at) / WEIGHTS) as file:
        file.write(save(state, metadata={"format": "pt"}))
    write_json(Path(at) / CONFIG, _their_config(decoder.config, dtype))


def load_decoder(at: Path | str, *, dtype: torch.dtype = torch.float32) -> Decoder:
    """The decoder in a folder, in evaluation mode, on the CPU.

    Args:
        at: config.json and model.safetensors, or an index of safetensors shards, as transformers writes them.
        dtype: of the weights in memory.

    Raises:
        FileNotFoundError, ValueError: no such folder, another kind of model, or weights that do not fit.
    """
    at = Path(at)
    if not at.is_dir():
        raise FileNotFoundError(f"no decoder folder at {at}")
    if not (at / CONFIG).is_file() and (at / "decoder" / CONFIG).is_file():
        raise FileNotFoundError(f"{at} is a whole LVM; its decoder is the folder {at / 'decoder'}")
    config = config_of(read_json(at / CONFIG, "decoder config"), at / CONFIG)
    with nothing_drawn(), torch.device("meta"):
        decoder = Decoder(config)
    # Copied, because tensors inside a file lie at any address: kernels are slower there and round differently.
    state = {name: value.to(dtype, copy=True) for name, value in _weights_for(decoder, at).items()}
    decoder.load_state_dict(state, assign=True)
    decoder.model.build_rope("cpu")
    return decoder.eval()


def _their_config(config: DecoderConfig, dtype: torch.dtype) -> dict[str, Any]:
    """config.json of LlamaForCausalLM; bos and eos are null, for their defaults, 1 and 2, are codes like any other."""
    return {
        **{theirs: getattr(config, ours) for theirs, ours in (_REQUIRED | _OPTIONAL).items()},
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_key_value_heads": config.num_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": INIT_STD,
        **_their_rope(config),
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "use_cache": True,
        "dtype": str(dtype).removeprefix("torch."),
    }


def _their_rope(config: DecoderConfig) -> dict[str, Any]:
    """Rotary settings under the names of transformers 5 and of those before it.

    Scales of our own choice are their "longrope" over base 1, its factors for short and long rows being the same.
    """
    if not config.rope_scales:
        theta = {"rope_theta": config.rope_theta}
        return {**theta, "rope_parameters": {"rope_type": "default", **theta}}
    scales = list(config.rope_scales)
    rope = {
        "rope_type": LONGROPE, "rope_theta": 1.0, "short_factor": scales, "long_factor": scales,
        "factor": 1.0, "attention_factor": 1.0, "original_max_position_embeddings": config.context,
    }  # fmt: skip
    return {"rope_theta": 1.0, "rope_scaling": rope, "rope_parameters": rope}


def _our_rope(theirs: dict[str, Any], at: Path) -> dict[str, Any]:
    """Our rotary settings from theirs; longrope only as `_their_rope` writes it."""
    rope = theirs.get("rope_parameters") or theirs.get("rope_scaling") or {}
    kind, theta = rope.get("rope_type", "default"), float(rope.get("rope_theta", theirs.get("rope_theta", 10_000.0)))
    if kind == "default":
        return {"rope_theta": theta}
    short, long = rope.get("short_factor"), rope.get("long_factor")
    if kind == LONGROPE and theta == 1.0 and rope.get("attention_factor") == 1.0 and short and short == long:
        return {"rope_scales": tuple(map(float, short))}
    raise ValueError(
        f"{at} says rope_type={kind!r} with base {theta:g}; this decoder can only do 'default', and 'longrope' over "
        "base 1 with attention_factor 1 and equal factors for short and long rows"
    )


def config_of(theirs: dict[str, Any], at: Path) -> DecoderConfig:
    """Our shape from a LlamaConfig; anything this decoder does not do is refused by name."""
    missing = sorted(set(_REQUIRED) - set(theirs))
    if missing:
        raise ValueError(f"{at} lacks {missing}; expected the config of a LlamaForCausalLM")
    heads = theirs["num_attention_heads"]
    given_and_able = {
        "model_type": (theirs.get("model_type"), "llama"),
        "num_key_value_heads": (theirs.get("num_key_value_heads") or heads, heads),
        "head_dim": (theirs.get("head_dim") or theirs["hidden_size"] // heads, theirs["hidden_size"] // heads),
        "hidden_act": (theirs.get("hidden_act", "silu"), "silu"),
        "mlp_bias": (theirs.get("mlp_bias", False), False),
    }
    for name, (given, able) in given_and_able.items():
        if given != able:
            raise ValueError(f"{at} says {name}={given!r}; this decoder can only do {able!r}")
    settings = {ours: theirs[name] for name, ours in (_REQUIRED | _OPTIONAL).items() if name in theirs}
    return DecoderConfig(**settings, **_our_rope(theirs, at))


def _weights_for(decoder: Decoder, at: Path) -> dict[str, torch.Tensor]:
    """All tensors of the folder, after checking names and shapes against the decoder's."""
    state: dict[str, torch.Tensor] = {}
    for path in _weight_files(at):
        try:
            state |= load_file(path)
        except FileNotFoundError:
            raise FileNotFoundError(f"{at} lacks {path.name}, which its {INDEX} lists") from None
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from None
    tied = {"lm_head.weight"} if decoder.config.tie_embeddings else set()
    state = {name: t for name, t in state.items() if name not in tied and not name.endswith("rotary_emb.inv_freq")}
    wanted = decoder.state_dict()
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    if missing or extra:
        raise ValueError(f"weights in {at} do not fit its config: missing {missing}, unexpected {extra}")
    shapes = {n: (list(state[n].shape), list(wanted[n].shape)) for n in wanted if state[n].shape != wanted[n].shape}
    if shapes:
        first = dict(sorted(shapes.items())[:3])
        raise ValueError(f"{len(shapes)} weights in {at} do not fit its config: shapes (given, expected) {first}")
    return state


def _weight_files(at: Path) -> list[Path]:
    if (at / WEIGHTS).is_file():
        return [at / WEIGHTS]
    if (at / INDEX).is_file():
        return [at / name for name in sorted(set(read_json(at / INDEX, "index of weights")["weight_map"].values()))]
    raise FileNotFoundError(f"no decoder weights in {at}; expected {WEIGHTS} or {INDEX}")
