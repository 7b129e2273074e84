"""config.json of Hugging Face's LlamaForCausalLM, written and read; that of DeLVM's InternLM is read too.

InternLM is a Llama with biases on q, k, v and o. DeLVM trained with rms_eps 1e-5 (InternLM/configs/pretrain_300m.py),
its exporter writes the constant 1e-6 (InternLM/tools/convert2hf.py): `config_of` takes what was trained.
"""

from pathlib import Path
from typing import Any

import torch

from openlvm.model.decoder import INIT_STD, DecoderConfig

LONGROPE = "longrope"
CONFIG = "config.json"
DELVM_EPS = 1e-5

_REQUIRED = {  # theirs -> ours
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "mlp_size",
    "max_position_embeddings": "context",
}
_OPTIONAL = {"rms_norm_eps": "rms_eps", "attention_bias": "attention_bias", "tie_word_embeddings": "tie_embeddings"}


def their_config(config: DecoderConfig, dtype: torch.dtype) -> dict[str, Any]:
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


def config_of(theirs: Any, at: Path) -> DecoderConfig:
    """Our shape from a config.json; anything this decoder does not do is refused by name.

    Token ids in it are not read: those that transformers writes by default, bos 1 and eos 2, are codes of pictures.
    """
    if not isinstance(theirs, dict) or (missing := sorted(set(_REQUIRED) - set(theirs))):
        lacks = f"lacks {missing}" if isinstance(theirs, dict) else "is no JSON object"
        raise ValueError(f"{at} {lacks}; expected the config of a LlamaForCausalLM")
    if theirs.get("model_type") == "internlm":
        theirs = theirs | {
            "model_type": "llama",
            "attention_bias": theirs.get("bias", True),  # its class has them unless told otherwise
            "rms_norm_eps": DELVM_EPS,
        }
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
