"""A checkpoint of DeLVM's training code, InternLM: model_tp0_pp0.pt and further pipeline stages in a folder.

Names and folding as its exporter has them (InternLM/tools/convert2hf.py): q, k and v are one product, w2 is the upward
and w3 the downward one; an input code is a row of the tokenizer's frozen codebook times a learned projection, which is
folded into one table here. Rotary pairs are halves, as ours.
"""

import re
from pathlib import Path

import torch

from openlvm.model.decoder import DecoderConfig
from openlvm.model.released.files import Tensors, stored_as, tensors_in
from openlvm.model.released.llama import DELVM_EPS
from openlvm.model.released.weights import Weights
from openlvm.model.sizes import SIZES

STAGE = re.compile(r"model_tp(\d+)_pp(\d+)\.pt")
CONTEXT = 2048  # DeLVM's seq_len; no file of tensors says it
PUBLISHED = ("delvm_300m", "delvm_1b")

_CODEBOOK, _PROJECTION = "embedding.vq_model.quantize.embedding.weight", "embedding.embed_proj.weight"
_QKV = ("q_proj", "k_proj", "v_proj")
_PLAIN = {  # ours -> theirs, of a block
    "self_attn.o_proj.weight": "mixer.out_proj.weight",
    "self_attn.o_proj.bias": "mixer.out_proj.bias",
    "mlp.gate_proj.weight": "mlp.w1.weight",
    "mlp.up_proj.weight": "mlp.w2.weight",
    "mlp.down_proj.weight": "mlp.w3.weight",
    "input_layernorm.weight": "norm1.weight",
    "post_attention_layernorm.weight": "norm2.weight",
}


def is_checkpoint(at: Path) -> bool:
    """Whether a folder holds a checkpoint of InternLM."""
    return (at / "model_tp0_pp0.pt").is_file()


def open_checkpoint(at: Path, *, num_heads: int | None = None) -> Weights:
    """The decoder in a folder of InternLM's training code.

    Args:
        num_heads: attention heads, which no tensor says; by default those of DeLVM's size with this width and depth.

    Raises:
        FileNotFoundError, ValueError: a stage is missing, damaged or a pickle with code; cut for tensor parallelism;
            not DeLVM's; or of no known size and no num_heads.
    """
    tensors = _stages(at)
    lost = [name for name in (_CODEBOOK, _PROJECTION, "blocks.0.mlp.w1.weight") if name not in tensors.shapes]
    if lost:
        raise ValueError(f"{at} is no decoder of DeLVM: it lacks {', '.join(lost)}")
    (mlp_size, width), vocab_size = tensors.shapes["blocks.0.mlp.w1.weight"], tensors.shapes[_CODEBOOK][0]
    num_layers = sum(name.endswith(".mlp.w1.weight") for name in tensors.shapes)
    if num_heads is None:
        known = [SIZES[name] for name in PUBLISHED]
        same = [s for s in known if (s.hidden_size, s.mlp_size, s.num_layers) == (width, mlp_size, num_layers)]
        if not same:
            raise ValueError(
                f"{at} has width {width}, MLP {mlp_size} and {num_layers} layers, none of DeLVM's sizes; "
                "give the number of attention heads (num_heads, --heads)"
            )
        num_heads = same[0].num_heads
    config = DecoderConfig(
        vocab_size=vocab_size, hidden_size=width, num_layers=num_layers, num_heads=num_heads, mlp_size=mlp_size,
        context=CONTEXT, rms_eps=DELVM_EPS, attention_bias=True,
    )  # fmt: skip
    return Weights(
        at=at,
        kind="DeLVM's checkpoint of training",
        config=config,
        shapes=_our_shapes(tensors, num_layers),
        read=lambda name: _read(tensors, name),
        dtype=stored_as([tensors.dtypes[_PROJECTION], tensors.dtypes["blocks.0.mlp.w1.weight"]], at),
    )


def _stages(at: Path) -> Tensors:
    """All pipeline stages as one, their blocks counted on."""
    found = {tuple(map(int, match.groups())) for file in at.iterdir() if (match := STAGE.fullmatch(file.name))}
    if any(tensor_rank for tensor_rank, _ in found):
        raise ValueError(f"{at} is cut for tensor parallelism (model_tp1_...); save it with one tensor rank")
    last = max(stage for _, stage in found)
    missing = [stage for stage in range(last) if (0, stage) not in found]
    if missing:
        raise FileNotFoundError(f"{at} lacks model_tp0_pp{missing[0]}.pt, a stage before model_tp0_pp{last}.pt")
    tensors, before = Tensors([]), 0
    for stage in range(last + 1):
        named = {name.removeprefix("model."): t for name, t in tensors_in(at / f"model_tp0_pp{stage}.pt").items()}
        numbers = [int(match[1]) for name in named if (match := re.match(r"blocks\.(\d+)\.", name))]
        tensors.add({_counted_on(name, before): tensor for name, tensor in named.items()})
        before += max(numbers, default=-1) + 1
    return tensors


def _counted_on(name: str, before: int) -> str:
    return re.sub(r"^blocks\.(\d+)\.", lambda match: f"blocks.{int(match[1]) + before}.", name)


def _our_shapes(tensors: Tensors, num_layers: int) -> dict[str, tuple[int, ...]]:
    """Our name -> shape, of what the files can give."""
    theirs, shapes = tensors.shapes, dict[str, tuple[int, ...]]()
    vocab_size, width = theirs[_CODEBOOK][0], theirs[_PROJECTION][0]
    shapes["model.embed_tokens.weight"] = (vocab_size, width)
    for ours, name in (("lm_head.weight", "head.weight"), ("model.norm.weight", "norm.weight")):
        if name in theirs:
            shapes[ours] = theirs[name]
    for number in range(num_layers):
        here, block = f"model.layers.{number}.", f"blocks.{number}."
        shapes |= {here + ours: theirs[block + name] for ours, name in _PLAIN.items() if block + name in theirs}
        for what in ("weight", "bias"):
            if block + f"mixer.Wqkv.{what}" in theirs:
                rows, *rest = theirs[block + f"mixer.Wqkv.{what}"]
                shapes |= {here + f"self_attn.{part}.{what}": (rows // 3, *rest) for part in _QKV}
    return shapes


def _read(tensors: Tensors, name: str) -> torch.Tensor:
    """A tensor by our name."""
    if name == "model.embed_tokens.weight":
        codebook, projection = tensors.read(_CODEBOOK), tensors.read(_PROJECTION)  # [V, C], [D, C]
        return (codebook.float() @ projection.float().T).to(projection.dtype)
    if name in ("lm_head.weight", "model.norm.weight"):
        return tensors.read({"lm_head.weight": "head.weight", "model.norm.weight": "norm.weight"}[name])
    match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name)
    assert match, name
    block, inner = f"blocks.{match[1]}.", match[2]
    if inner in _PLAIN:
        return tensors.read(block + _PLAIN[inner])
    _, part, what = inner.split(".")
    return tensors.read(block + f"mixer.Wqkv.{what}").chunk(3)[_QKV.index(part)]
