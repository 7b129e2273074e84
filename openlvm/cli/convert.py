"""`openlvm convert decoder|bundle|inspect`: weights of others in, ours out, and what a checkpoint tells of its ids."""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from openlvm.cli.command import Outcome, parse, report
from openlvm.core.picking import pick

if TYPE_CHECKING:
    from openlvm.model.released.spare import Trained
    from openlvm.model.released.weights import Weights

Stored = Literal["stored", "float32", "float16", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the files of a decoder do not say, or should not."""

    heads: int | None = None
    """Attention heads, where no file says it: EasyLM's and DeLVM's training, at widths that are not theirs."""
    rms_eps: float | None = None
    """Of the norms, in place of what the files say. DeLVM's export says 1e-6, its training used 1e-5: that is taken."""
    context: int | None = None
    """Positions, in place of what the files say (4096 for EasyLM, 2048 for DeLVM's training)."""


@dataclass(frozen=True, kw_only=True)
class Decoder(Reading):
    """Write a decoder, ours or others', as a plain LlamaForCausalLM folder: for transformers, vLLM, and for us."""

    source: tyro.conf.Positional[str]
    """A folder of LlamaForCausalLM or DeLVM's InternLM (.safetensors or .bin), a folder of DeLVM's training, a file of
    EasyLM (streaming_params), or an LVM: a bundle or the name of an embedded one."""
    out: Path
    """Folder to write; new or empty."""
    dtype: Stored = "stored"
    """Of the weights in it; as they are stored by default."""
    max_shard_gb: float = 5.0
    """1e9 bytes of weights in one file at most; more become several and an index."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Bundle(Reading):
    """Join a tokenizer and a decoder to an LVM that `LVM.load` reads."""

    tokenizer: str
    """A folder, an embedded name, or a released one ("lvm", "delvm")."""
    decoder: str
    """Whatever `openlvm convert decoder` takes but an LVM."""
    out: Path
    """Folder to write; new or empty."""
    bos: int | None = None
    """Id before the first image. All three: as an lvm.json beside the decoder says, else none, as for released ones."""
    eos: int | None = None
    """Id that ends a sentence."""
    pad: int | None = None
    """Id that fills up."""
    dtype: Stored = "stored"
    """Of the decoder's weights; as they are stored by default."""
    max_shard_gb: float = 5.0
    """1e9 bytes of the decoder's weights in one file at most."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Inspect(Reading):
    """Print what a decoder is, and tell from its tables which ids behind the codes were ever trained."""

    source: tyro.conf.Positional[str]
    """Whatever `openlvm convert decoder` takes."""
    codes: int | None = None
    """K: ids from here on are no codes. By default as lvm.json says, else the vocabulary less 100 (LVM's way), or all
    of it if it is a power of two."""
    json: bool = False
    """Print one JSON object on stdout."""


Verbs = (
    Annotated[Decoder, tyro.conf.subcommand("decoder")]
    | Annotated[Bundle, tyro.conf.subcommand("bundle")]
    | Annotated[Inspect, tyro.conf.subcommand("inspect")]
)


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    options = parse(Verbs, argv, "convert")
    actions: dict[type, Callable[[Any], Outcome]] = {Decoder: _decoder, Bundle: _bundle, Inspect: _inspect}
    report(lambda: actions[type(options)](options), as_json=options.json)


def _decoder(options: Decoder) -> Outcome:
    from openlvm.bundle import META
    from openlvm.core.files import atomic_folder
    from openlvm.model.released.weights import write_weights

    _refuse_full(options.out)
    weights, told_at = _opened(options.source, options)
    with atomic_folder(options.out) as folder:
        write_weights(weights, folder, dtype=_dtype(options.dtype, weights), max_shard_gb=options.max_shard_gb)
        if told_at is not None:
            shutil.copyfile(told_at, folder / META)
    values = _facts(weights) | {"out": options.out, "written": _sizes(options.out)}
    return Outcome(
        values, f"{options.source} ({weights.kind}) is now the LlamaForCausalLM {options.out}: {_said(values)}"
    )


def _bundle(options: Bundle) -> Outcome:
    from openlvm.bundle import SpecialIds, bundle_of_parts, save_bundle, stored_dtype

    _refuse_full(options.out)
    given = {name: getattr(options, name) for name in ("bos", "eos", "pad")}
    bundle = bundle_of_parts(
        options.tokenizer, options.decoder,
        special=SpecialIds(**given) if any(value is not None for value in given.values()) else None,
        decoder_dtype=_torch_dtype(options.dtype),
        rms_eps=options.rms_eps, num_heads=options.heads, context=options.context,
    )  # fmt: skip
    save_bundle(
        options.out, tokenizer=bundle.tokenizer, decoder=bundle.decoder, special=bundle.special, meta=bundle.meta,
        context=bundle.context,
        card=f"# {options.out.name}\n\nJoined by `openlvm convert bundle` from the tokenizer `{options.tokenizer}` and "
        f"the decoder `{options.decoder}`. The licenses and model cards of both hold.\n",
        tokenizer_dtype=stored_dtype(options.tokenizer),
        decoder_dtype=bundle.decoder.model.norm.weight.dtype,
        max_shard_gb=options.max_shard_gb,
    )  # fmt: skip
    special = {name: getattr(bundle.special, name) for name in given}
    values = {"out": options.out, "images_in_context": bundle.images_in_context, **special}
    ids = ", ".join(f"{name} {value}" for name, value in special.items() if value is not None) or "no special ids"
    return Outcome(values, f"{options.out}: {ids}, room for {bundle.images_in_context} images; LVM.load reads it")


def _inspect(options: Inspect) -> Outcome:
    from openlvm.core.files import read_json
    from openlvm.model.released.spare import trained_ids

    weights, told_at = _opened(options.source, options)
    told: dict[str, Any] = read_json(told_at, "LVM description") if told_at else {}
    vocab = weights.config.vocab_size
    by_size = vocab if math.log2(vocab).is_integer() or vocab <= 100 else vocab - 100
    num_codes = told.get("codebook_size", by_size) if options.codes is None else options.codes
    found = trained_ids(weights, num_codes)
    claimed = _claimed(weights.at, told)
    values = _facts(weights) | {
        "codes": num_codes,
        "claimed": claimed,
        "trained": {name: {"ids": one.ids, "spreads": one.spreads, "doubt": one.doubt} for name, one in found.items()},
    }
    lines = [
        f"{options.source}: {weights.kind}, {_said(values)}",
        f"vocabulary {vocab}: codes 0 .. {num_codes - 1}, {vocab - num_codes} ids behind them",
    ]
    if claimed:
        lines.append(_claims(claimed, num_codes))
    return Outcome(
        values, "\n".join([*lines, *(_told(name, one) for name, one in found.items()), _roles(found)]).rstrip()
    )


def _claimed(at: Path, told: dict[str, Any]) -> dict[str, Any]:
    """Special ids that lvm.json, or else config.json and generation_config.json, name."""
    from openlvm.core.files import read_json

    if told:
        return {name: told[name] for name in ("bos", "eos", "pad") if told.get(name) is not None}
    stored: dict[str, Any] = {}
    for file in ("config.json", "generation_config.json"):
        if (at / file).is_file() and isinstance(read := read_json(at / file, "config"), dict):
            stored |= read
    return {
        name: stored[f"{name}_token_id"] for name in ("bos", "eos", "pad") if stored.get(f"{name}_token_id") is not None
    }


def _claims(claimed: dict[str, Any], num_codes: int) -> str:
    said = ", ".join(f"{name} {value}" for name, value in claimed.items())
    codes = [name for name, value in claimed.items() if isinstance(value, int) and value < num_codes]
    return f"its files name {said}" + (f"; {', '.join(codes)} being codes of pictures: ignored" if codes else "")


def _told(name: str, found: "Trained") -> str:
    if found.doubt:
        return f"{name}: cannot tell; {found.doubt}"
    named = ", ".join(f"{one} ({far:g})" for one, far in zip(found.ids, found.spreads, strict=True)) or "none"
    return f"{name}: trained ids behind the codes, and how many spreads they stand out: {named}"


def _roles(found: "dict[str, Trained]") -> str:
    """What the two tables together say of an id."""
    if set(found) != {"embedding", "head"} or any(one.doubt for one in found.values()):
        return ""
    comes_in, asked_for = set(found["embedding"].ids), set(found["head"].ids)
    roles = {
        "comes in and is never asked for, as a BOS": comes_in - asked_for,
        "is asked for and never comes in, as an EOS": asked_for - comes_in,
        "does both, as ids in a stream of sentences": comes_in & asked_for,
    }
    return "\n".join(f"{', '.join(map(str, sorted(ids)))} {role}" for role, ids in roles.items() if ids)


def _opened(source: str, reading: Reading) -> "tuple[Weights, Path | None]":
    """The weights of a decoder or of an LVM's, and where the lvm.json is that tells of it."""
    from openlvm.bundle import EMBEDDED, META, folder_of
    from openlvm.model.released.load import open_weights

    at = Path(source)
    whole = source in EMBEDDED or ((at / META).is_file() and (at / "decoder").is_dir())
    told_at = (folder_of(source) if whole else at) / META
    weights = open_weights(
        folder_of(source) / "decoder" if whole else at,
        rms_eps=reading.rms_eps, num_heads=reading.heads, context=reading.context,
    )  # fmt: skip
    return weights, told_at if told_at.is_file() else None


def _refuse_full(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; name a new folder with --out")


def _torch_dtype(name: Stored) -> Any:
    import torch

    dtypes = {"stored": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    return pick(dtypes, name, "dtype")


def _dtype(name: Stored, weights: "Weights") -> Any:
    return _torch_dtype(name) or weights.dtype


def _facts(weights: "Weights") -> dict[str, Any]:
    config = weights.config
    return {
        "kind": weights.kind,
        "parameters": config.num_parameters,
        "hidden_size": config.hidden_size,
        "layers": config.num_layers,
        "heads": config.num_heads,
        "mlp_size": config.mlp_size,
        "vocab_size": config.vocab_size,
        "context": config.context,
        "rms_eps": config.rms_eps,
        "biases": config.attention_bias,
        "tied": config.tie_embeddings,
        "dtype": str(weights.dtype).removeprefix("torch."),
    }


def _said(values: dict[str, Any]) -> str:
    traits = "".join(f", {name}" for name in ("biases", "tied") if values[name])
    return (
        f"{values['parameters'] / 1e6:,.1f} M parameters, {values['layers']} layers of width {values['hidden_size']} "
        f"with {values['heads']} heads and an MLP of {values['mlp_size']}{traits}, {values['vocab_size']} ids, context "
        f"{values['context']}, rms_eps {values['rms_eps']:g}, stored as {values['dtype']}"
    )


def _sizes(out: Path) -> dict[str, int]:
    """File -> bytes of what was written."""
    return {file.name: file.stat().st_size for file in sorted(out.iterdir())}
