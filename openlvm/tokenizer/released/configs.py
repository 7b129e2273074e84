"""From what a released tokenizer says of itself, its config.json or the shapes of its tensors, to a config here."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from openlvm.tokenizer.released.maskgit import MaskGITConfig
from openlvm.tokenizer.released.table import Layout, Release
from openlvm.tokenizer.vqgan import VQGANConfig

NetworkConfig = VQGANConfig | MaskGITConfig

LIMITS = {  # of any tokenizer's config: a file may ask for anything, and memory is taken by it
    "image_size": 4096, "stem": 64, "width": 4096, "num_res_blocks": 16, "latent_channels": 4096, "code_channels": 4096,
    "codebook_size": 2**20, "norm_groups": 4096,
}  # fmt: skip
MAX_LEVELS, MAX_MULTIPLIER = 8, 64


def check_limits(settings: Mapping[str, Any], at: Path) -> None:
    """Refuse settings of `NetworkConfig` that are no whole numbers or absurdly large, before anything is built."""
    for name, limit in LIMITS.items():
        value = settings.get(name, 1)
        if type(value) is not int or not 1 <= value <= limit:
            raise ValueError(f"{at} says {name}={value!r}; expected a whole number from 1 to {limit:,}")
    multipliers = settings.get("multipliers", ())
    if not 1 <= len(multipliers) <= MAX_LEVELS or any(
        type(m) is not int or not 1 <= m <= MAX_MULTIPLIER for m in multipliers
    ):
        raise ValueError(
            f"{at} says multipliers {str(multipliers)[:80]}; expected 1 to {MAX_LEVELS} whole numbers from 1 to "
            f"{MAX_MULTIPLIER}"
        )


def config_for(
    layout: Layout, stored: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], release: Release, at: Path
) -> NetworkConfig:
    """The config of a released network.

    Args:
        layout: how its tensors are named.
        stored: its config.json, or what is known of it, `resolution` at least; the layouts without one need no more.
        tensors: of its file; only their shapes are read, and only where no config.json tells.
        release: what neither tells.
        at: the file, for messages.
    """
    read: Mapping[Layout, Callable[..., dict[str, Any]]] = {
        "muse": _muse, "maskgit": _maskgit, "diffusers": _diffusers,
        "taming": _taming, "llamagen": _llamagen, "vqvae": _vqvae,
    }  # fmt: skip
    try:
        settings = read[layout](stored, tensors, at) | {"fit": release.fit, "filter": release.filter}
    except KeyError as missing:
        raise ValueError(f"{at} is no whole {layout} tokenizer: {missing} is missing") from None
    except (TypeError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f"{at} does not tell the shape of a {layout} tokenizer: {error}") from None
    check_limits(settings, at)
    return (MaskGITConfig if layout in ("maskgit", "vqvae") else VQGANConfig)(**settings)


def _insist(stored: Mapping[str, Any], at: Path, **expected: Any) -> None:
    """Refuse a config.json that asks for something the networks here do not do."""
    for name, value in expected.items():
        if stored.get(name, value) != value:
            raise ValueError(f"{at} has {name}={stored[name]!r}, which is not supported; only {value!r} is")


def _open_muse(stored: Mapping[str, Any], at: Path) -> dict[str, Any]:
    _insist(stored, at, num_channels=3, resample_with_conv=True)
    return {
        "image_size": stored["resolution"],
        "width": stored["hidden_channels"],
        "multipliers": tuple(stored["channel_mult"]),
        "num_res_blocks": stored["num_res_blocks"],
        "code_channels": stored["quantized_embed_dim"],
        "codebook_size": stored["num_embeddings"],
    }


def _muse(stored: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], at: Path) -> dict[str, Any]:
    settings = _open_muse(stored, at) | {"latent_channels": stored["z_channels"]}
    attention = tuple(stored["attn_resolutions"])
    if attention and stored["num_res_blocks"] == 1:  # its code builds a lone attention and then skips it
        raise ValueError(f"{at} has attn_resolutions={list(attention)} with num_res_blocks=1, which is not supported")
    return settings | {"attention_at": attention, "mid_attention": not stored["no_attn_mid_block"]}


def _maskgit(stored: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], at: Path) -> dict[str, Any]:
    _insist(stored, at, z_channels=stored["quantized_embed_dim"])
    return _open_muse(stored, at)


def _diffusers(stored: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], at: Path) -> dict[str, Any]:
    _insist(stored, at, in_channels=3, out_channels=3, act_fn="silu", norm_type="group")
    widths = list(stored["block_out_channels"])
    plain, attending = "DownEncoderBlock2D", "AttnDownEncoderBlock2D"
    kinds = list(stored["down_block_types"])
    ups = [kind.replace("DownEncoder", "UpDecoder") for kind in reversed(kinds)]
    if not set(kinds) <= {plain, attending} or len(kinds) != len(widths):
        raise ValueError(f"{at} has down_block_types {kinds}; expected {plain} or {attending} for each width {widths}")
    _insist(stored, at, up_block_types=ups)
    if any(type(width) is not int or width < 1 or width % widths[0] for width in widths):
        raise ValueError(f"{at} has block_out_channels {widths}; expected whole multiples of the first")
    size = stored["resolution"]
    return {
        "image_size": size,
        "width": widths[0],
        "multipliers": tuple(width // widths[0] for width in widths),
        "num_res_blocks": stored["layers_per_block"],
        "latent_channels": stored["latent_channels"],
        "code_channels": stored.get("vq_embed_dim") or stored["latent_channels"],
        "codebook_size": stored["num_vq_embeddings"],
        "norm_groups": stored["norm_num_groups"],
        "attention_at": tuple(size >> level for level, kind in enumerate(kinds) if kind == attending),
        "mid_attention": stored.get("mid_block_add_attention", True),
        # the field came with aMUSEd, whose pixels are 0..1; the older ones are of latent diffusion, -1..1
        "pixel_range": "0..1" if stored.get("lookup_from_codebook") else "-1..1",
    }


def _taming(stored: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], at: Path) -> dict[str, Any]:
    return _from_shapes(stored, tensors, r"encoder\.down\.(\d+)\.{}\.(\d+)\.", "block", "encoder.mid.attn_1.q.weight")


def _llamagen(stored: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], at: Path) -> dict[str, Any]:
    settings = _from_shapes(
        stored, tensors, r"encoder\.conv_blocks\.(\d+)\.{}\.(\d+)\.", "res", "encoder.mid.1.q.weight"
    )
    return settings | {"normalize_codes": True}


def _from_shapes(
    stored: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], place: str, block: str, mid_attention: str
) -> dict[str, Any]:
    """Of a VQGAN with pixels -1..1: `place` with {} filled by the name of a block, or attn, finds (level, number)."""
    blocks = _places(tensors, place.format(block) + r"conv2\.weight")
    attention = _places(tensors, place.format("attn") + r"q\.weight")
    size, width = stored["resolution"], len(tensors["encoder.conv_in.weight"])
    codebook = tensors["quantize.embedding.weight"]
    return {
        "image_size": size,
        "width": width,
        "multipliers": _multipliers(blocks, width),
        "num_res_blocks": sum(level == 0 for level, _ in blocks),
        "latent_channels": len(tensors["encoder.conv_out.weight"]),
        "code_channels": codebook.shape[-1],
        "codebook_size": len(codebook),
        "attention_at": tuple(size >> level for level in sorted({level for level, _ in attention})),
        "mid_attention": mid_attention in tensors,
        "pixel_range": "-1..1",
    }


def _vqvae(stored: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], at: Path) -> dict[str, Any]:
    """Two blocks a level, as its code fixes them; the middle is two more."""
    blocks = _places(tensors, r"encoder\.blocks\.(\d+)()\.conv2\.weight")
    width, codebook = len(tensors["encoder.conv1.weight"]), tensors["quantizer.embedding.weight"]
    levels = {(number // 2, number % 2): out for (number, _), out in blocks.items() if number < len(blocks) - 2}
    return {
        "image_size": stored["resolution"],
        "width": width,
        "multipliers": _multipliers(levels, width),
        "num_res_blocks": 2,
        "code_channels": codebook.shape[-1],
        "codebook_size": len(codebook),
        "shortcut": "input",
        "upsampling": "depth",
    }


def _places(tensors: Mapping[str, torch.Tensor], pattern: str) -> dict[tuple[int, int], int]:
    """(level, number) -> output channels of the tensors whose names match."""
    found = ((re.fullmatch(pattern, name), tensor) for name, tensor in tensors.items())
    return {(int(match[1]), int(match[2] or 0)): len(tensor) for match, tensor in found if match}


def _multipliers(blocks: Mapping[tuple[int, int], int], width: int) -> tuple[int, ...]:
    """Widths of the levels 0, 1, ... in units of `width`; a gap ends them, and then the names do not fit."""
    widths = [blocks[level, 0] for level in range(MAX_LEVELS + 1) if (level, 0) in blocks]
    return tuple(out // width for out in widths)
