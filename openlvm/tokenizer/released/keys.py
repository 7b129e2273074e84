"""The names of one parameter here and in each released layout.

Names here are those of open-muse and taming-transformers (`blocks.py`, `maskgit.py`), so three layouts need no map.
A map is made for one network, from here to there; reading a file and writing one both use it.
"""

import re
from collections.abc import Callable, Iterable

from openlvm.tokenizer.released.table import Layout

LEFT_OUT: dict[Layout, tuple[str, ...]] = {"taming": ("loss.",), "llamagen": ("quantize.codebook_used",)}
"""Beginnings of names that only training needed: discriminator and perceptual network, the record of used codes."""


def their_names(ours: Iterable[str], layout: Layout, *, levels: int, num_res_blocks: int) -> dict[str, str]:
    """Our name -> theirs.

    Args:
        ours: names of a network here.
        layout: whose names are wanted.
        levels: resolutions of the network; some count the decoder's from the lowest.
        num_res_blocks: residual blocks per resolution in the encoder; some number all blocks in one list.
    """
    if layout in ("muse", "maskgit", "taming"):
        return {name: name for name in ours}
    if layout == "vqvae":
        return {name: _vqvae(name, levels, num_res_blocks) for name in ours}
    rename = _diffusers if layout == "diffusers" else _llamagen
    return {name: rename(_flip(name, levels)) for name in ours}


def _flip(name: str, levels: int) -> str:
    """Count the levels of the decoder from the lowest resolution."""
    return re.sub(r"^decoder\.up\.(\d+)", lambda found: f"decoder.up.{levels - 1 - int(found[1])}", name)


def _replace(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in pairs:
        name = re.sub(pattern, replacement, name)
    return name


_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_DIFFUSERS: tuple[tuple[str, str], ...] = (
    (r"mid\.attn_1\.", "mid.attn.0."),
    (r"mid\.block_1\.", "mid.block.0."),
    (r"mid\.block_2\.", "mid.block.1."),
    (r"\.mid\.", ".mid_block."),
    (r"^encoder\.down\.", "encoder.down_blocks."),
    (r"^decoder\.up\.", "decoder.up_blocks."),
    (r"\.block\.(\d+)\.", r".resnets.\1."),
    (r"\.(down|up)sample\.conv\.", r".\1samplers.0.conv."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"coder\.norm_out\.", "coder.conv_norm_out."),
)
_LLAMAGEN: tuple[tuple[str, str], ...] = (
    (r"mid\.block_1\.", "mid.0."),
    (r"mid\.attn_1\.", "mid.1."),
    (r"mid\.block_2\.", "mid.2."),
    (r"^(en|de)coder\.(down|up)\.", r"\1coder.conv_blocks."),
    (r"\.block\.(\d+)\.", r".res.\1."),
)


def _diffusers(name: str) -> str:
    name = _replace(name, _DIFFUSERS)
    found = re.fullmatch(r"(.*)\.attn\.(\d+)\.(\w+)\.(\w+)", name)
    return f"{found[1]}.attentions.{found[2]}.{_ATTENTION[found[3]]}.{found[4]}" if found else name


def _llamagen(name: str) -> str:
    return _replace(name, _LLAMAGEN)


_VQVAE: tuple[tuple[str, str], ...] = (
    (r"\.nin_shortcut\.", ".conv_out."),
    (r"^quantize\.", "quantizer."),
    (r"coder\.conv_in\.", "coder.conv1."),
    (r"coder\.norm_out\.", "coder.norm1."),
    (r"^encoder\.conv_out\.", "encoder.conv2."),
    (r"^decoder\.conv_out\.", "decoder.conv6."),
)


def _vqvae(name: str, levels: int, num_res_blocks: int) -> str:
    """All blocks of a side in one list: the encoder's middle comes last, the decoder's first, the lowest level next."""

    def number(pattern: str, place: Callable[[int, int], int]) -> Callable[[str], str]:
        return lambda text: re.sub(
            pattern, lambda found: f"{found[1]}.blocks.{place(int(found[2]), int(found[3] or 0))}.", text
        )

    name = _replace(name, _VQVAE)
    name = re.sub(r"\.up\.(\d+)\.upsample_conv\.", lambda found: f".up_convs.{levels - 1 - int(found[1])}.", name)
    for renumber in (
        number(r"^(encoder)\.down\.(\d+)\.block\.(\d+)\.", lambda level, block: level * num_res_blocks + block),
        number(r"^(encoder)\.mid\.(\d+)()\.", lambda block, _: levels * num_res_blocks + block),
        number(r"^(decoder)\.mid\.(\d+)()\.", lambda block, _: block),
        number(r"^(decoder)\.up\.(\d+)\.block\.(\d+)\.", lambda lv, block: (levels - lv) * num_res_blocks + block),
    ):
        name = renumber(name)
    return name
