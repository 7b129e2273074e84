"""An LVM on disk: a tokenizer, a decoder, and lvm.json, which says how they belong together.

lvm.json     format, image size, vocabulary, special ids, context, fingerprints of the tokenizer
tokenizer/   config.json, model.safetensors
decoder/     config.json, model.safetensors (a Hugging Face LlamaForCausalLM folder)
README.md    the model card
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from openlvm.core.files import atomic_folder, read_json, write_json
from openlvm.model.decoder import Decoder
from openlvm.model.folder import CONFIG, WEIGHTS, load_decoder, save_decoder
from openlvm.model.released.load import open_weights
from openlvm.model.released.weights import MAX_SHARD_GB, build
from openlvm.tokenizer.folder import EMBEDDED as OWN_TOKENIZERS
from openlvm.tokenizer.folder import load_tokenizer, save_tokenizer
from openlvm.tokenizer.released.assemble import AnyTokenizer

FORMAT = 1
META, CARD = "lvm.json", "README.md"
EMBEDDED = {"mini": "mini"}
"""LVMs that ship with the package: name -> folder in openlvm/assets."""
SPARE_IDS = 100  # vocabulary = K + 100, as in LVM: 8292 for 8192 codes


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """Ids that are no codes; None where the model has none (released LVM and DeLVM have none that are known)."""

    bos: int | None = None
    """Stands before the first image."""
    eos: int | None = None
    """Ends a sentence."""
    pad: int | None = None
    """Fills up."""

    @classmethod
    def after(cls, codebook_size: int) -> "SpecialIds":
        """Ours: the three ids that follow the K codes."""
        return cls(bos=codebook_size, eos=codebook_size + 1, pad=codebook_size + 2)


def vocab_size_for(codebook_size: int) -> int:
    """V of our decoders over K codes: room for the special ids and some to spare."""
    return codebook_size + SPARE_IDS


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An LVM in memory."""

    tokenizer: AnyTokenizer
    decoder: Decoder
    special: SpecialIds
    context: int
    """Positions the decoder was trained with, BOS included."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What lvm.json says besides: recipe, data, scores."""

    def __post_init__(self):
        codes, vocab = self.tokenizer.codebook_size, self.decoder.config.vocab_size
        if vocab < codes:
            raise ValueError(f"the decoder knows {vocab} ids, too few for the tokenizer's {codes} codes")
        if self.context > self.decoder.config.context:
            raise ValueError(
                f"context={self.context} is more than the decoder's {self.decoder.config.context} positions"
            )
        for name, value in asdict(self.special).items():
            if value is not None and not codes <= value < vocab:
                raise ValueError(f"{name}={value} must be null or lie in {codes} .. {vocab - 1}, behind the codes")

    @property
    def images_in_context(self) -> int:
        """S: images that fit into the context, given and drawn ones together."""
        return (self.context - (self.special.bos is not None)) // self.tokenizer.codes_per_image


def save_bundle(
    at: Path | str,
    *,
    tokenizer: AnyTokenizer,
    decoder: Decoder,
    special: SpecialIds,
    card: str,
    context: int | None = None,
    meta: Mapping[str, Any] | None = None,
    tokenizer_dtype: torch.dtype = torch.float32,
    decoder_dtype: torch.dtype = torch.float32,
    max_shard_gb: float = MAX_SHARD_GB,
) -> None:
    """Write an LVM into the folder `at`, whole or not at all; what was there is replaced.

    Args:
        card: text of README.md: data, license, recipe, scores.
        context: positions, BOS included; by default the decoder's.
        meta: JSON-able facts to keep in lvm.json.
        tokenizer_dtype, decoder_dtype: of the stored weights; the fingerprints are those of the tokenizer as stored.
        max_shard_gb: 1e9 bytes in one file of the decoder at most.
    """
    bundle = Bundle(
        tokenizer=tokenizer,
        decoder=decoder,
        special=special,
        context=decoder.config.context if context is None else context,
        meta=meta or {},
    )
    with atomic_folder(at) as folder:
        for part in ("tokenizer", "decoder"):
            (folder / part).mkdir()
        save_tokenizer(tokenizer, folder / "tokenizer", dtype=tokenizer_dtype)
        save_decoder(decoder, folder / "decoder", dtype=decoder_dtype, max_shard_gb=max_shard_gb)
        (folder / CARD).write_text(card)
        stored = load_tokenizer(folder / "tokenizer")
        write_json(folder / META, {"format": FORMAT, **_facts(bundle, stored), "meta": dict(bundle.meta)})


def load_bundle(
    name: Path | str, *, device: torch.device | str = "cpu", decoder_dtype: torch.dtype = torch.float32
) -> Bundle:
    """An LVM by its place or name, in evaluation mode.

    Args:
        name: the name of an embedded LVM ("./mini" is a folder called so), or a bundle folder.
        device: where its weights lie.
        decoder_dtype: of the decoder's weights in memory.

    Raises:
        FileNotFoundError, ValueError: no bundle there, or parts that do not belong together; the message says which.
    """
    at = folder_of(name)
    if not (at / META).is_file() and (at / CONFIG).is_file():
        raise FileNotFoundError(
            f"no LVM description at {at / META}: this is a decoder alone. Give its tokenizer too, LVM.load(decoder, "
            "tokenizer=...), or join the two with openlvm convert bundle"
        )
    stored = _description(at)
    tokenizer, decoder = load_tokenizer(at / "tokenizer"), load_decoder(at / "decoder", dtype=decoder_dtype)
    try:
        bundle = Bundle(
            tokenizer=tokenizer,
            decoder=decoder,
            special=SpecialIds(**{name: stored[name] for name in ("bos", "eos", "pad")}),
            context=stored["context"],
            meta=stored.get("meta", {}),
        )
        for name, found in _facts(bundle, tokenizer).items():
            if stored[name] != found:
                raise ValueError(f"its parts have {name} {found!r}, its {META} says {stored[name]!r}")
    except KeyError as missing:
        raise ValueError(f"{at / META} lacks {missing}; it is not a whole LVM description") from None
    except ValueError as error:
        raise ValueError(f"the LVM at {at} does not fit together: {error}. Save it again with save_bundle") from None
    tokenizer.to(device), decoder.to(device)
    return bundle


def _description(at: Path) -> dict[str, Any]:
    """What the lvm.json in a folder says."""
    stored = read_json(at / META, "LVM description")
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        given = stored.get("format") if isinstance(stored, dict) else None
        raise ValueError(f"{at / META} has format {given!r}; this openlvm reads format {FORMAT}")
    return stored


def bundle_of_parts(
    tokenizer: Path | str,
    decoder: Path | str,
    *,
    special: SpecialIds | None = None,
    device: torch.device | str = "cpu",
    decoder_dtype: torch.dtype | None = torch.float32,
    rms_eps: float | None = None,
    num_heads: int | None = None,
    context: int | None = None,
) -> Bundle:
    """An LVM from a tokenizer and a decoder that lie apart: released ones, or an exported decoder of ours.

    Args:
        tokenizer: whatever `load_tokenizer` takes.
        decoder: whatever `load_decoder` takes; if an lvm.json lies beside its weights (`openlvm convert decoder` puts
            it there), that says the special ids, the context, how to draw, and which codes it was trained on.
        special: in place of those; without either there are none, as for LVM's and DeLVM's released decoders.
        device: where the weights lie.
        decoder_dtype: of the decoder's weights in memory; None leaves them as they are stored.
        rms_eps, num_heads, context: see `load_decoder`.

    Raises:
        FileNotFoundError, ValueError: a part is missing or damaged, or they do not belong together.
    """
    weights = open_weights(Path(decoder), rms_eps=rms_eps, num_heads=num_heads, context=context)
    told = _description(Path(decoder)) if (Path(decoder) / META).is_file() else {}
    given = load_tokenizer(tokenizer)
    if told and told["tokenizer_codes_fingerprint"] != given.codes_fingerprint:
        wanted, made = told["tokenizer_codes_fingerprint"], given.codes_fingerprint
        raise ValueError(
            f"the decoder {decoder} was trained on the codes of another tokenizer than {tokenizer}: its {META} says "
            f"{wanted[:12]}…, this one makes {made[:12]}…; give that one"
        )
    bundle = Bundle(
        tokenizer=given,
        decoder=build(weights, decoder_dtype or weights.dtype),
        special=special or SpecialIds(**{name: told.get(name) for name in ("bos", "eos", "pad")}),
        context=context or told.get("context", weights.config.context),
        meta=told.get("meta", {}),
    )
    bundle.tokenizer.to(device), bundle.decoder.to(device)
    return bundle


def stored_dtype(tokenizer: Path | str) -> torch.dtype:
    """As which the folder of a tokenizer of ours stores its weights; float32 for whatever else is a tokenizer."""
    home = OWN_TOKENIZERS.get(str(tokenizer))
    at = (Path(str(files("openlvm") / "assets" / home)) if home else Path(tokenizer)) / WEIGHTS
    if not at.is_file():
        return torch.float32
    with safe_open(at, framework="pt") as opened:
        dtypes = {opened.get_tensor(name).dtype for name in opened.keys()}  # noqa: SIM118  (no dictionary)
    return dtypes.pop() if len(dtypes) == 1 else torch.float32


def folder_of(name: Path | str) -> Path:
    """The folder of a bundle, after making sure that it is one."""
    if name in EMBEDDED:
        at = Path(str(files("openlvm") / "assets" / EMBEDDED[str(name)]))
        if not at.is_dir():
            raise FileNotFoundError(
                f"the embedded LVM {name!r} is not in this installation: there is no {at}. Install OpenLVM anew, or "
                "give a bundle folder, such as the one that `openlvm demo --train` writes"
            )
        return at
    if not Path(name).is_dir():
        known = ", ".join(map(repr, EMBEDDED))
        raise FileNotFoundError(f"no LVM bundle at {name}: there is no such folder; embedded LVMs: {known}")
    return Path(name)


def _facts(bundle: Bundle, tokenizer: AnyTokenizer) -> dict[str, Any]:
    """What lvm.json says and what can be checked against the parts."""
    return {
        "image_size": tokenizer.image_size,
        "image_preparation": asdict(tokenizer.preparation),
        "codes_per_image": tokenizer.codes_per_image,
        "codebook_size": tokenizer.codebook_size,
        "vocab_size": bundle.decoder.config.vocab_size,
        "context": bundle.context,
        **asdict(bundle.special),
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "tokenizer_codes_fingerprint": tokenizer.codes_fingerprint,
    }
