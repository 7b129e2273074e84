"""`load_released`: a tokenizer in a layout of others becomes one of ours; `save_released` goes the other way."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save

from openlvm.core.files import atomic_write, read_json, write_json
from openlvm.core.picking import pick
from openlvm.tokenizer.released.assemble import AnyTokenizer, assemble, shapes_of
from openlvm.tokenizer.released.configs import NetworkConfig, config_for
from openlvm.tokenizer.released.keys import LEFT_OUT, their_names
from openlvm.tokenizer.released.table import DEFAULTS, PICKLES, RELEASED, SAFE, USUAL_FILES, Layout
from openlvm.tokenizer.released.weights import read_tensors, weights_in
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig

CONFIG = "config.json"
CLASSES: dict[str, Layout] = {"VQGANModel": "muse", "MaskGitVQGAN": "maskgit", "VQModel": "diffusers"}
"""`_class_name` in a config.json -> layout."""
TELLING: tuple[tuple[str, Layout], ...] = (
    ("encoder.conv_blocks.0.res.0.conv1.weight", "llamagen"),
    ("encoder.blocks.0.conv1.weight", "vqvae"),
    ("encoder.down.0.block.0.conv1.bias", "taming"),
)
"""A tensor that only one of the layouts without a config.json has."""


@dataclass(frozen=True)
class _Files:
    weights: Path
    stored: Mapping[str, Any] | None
    """What config.json says, if there is one."""


def is_released(at: Path) -> bool:
    """Whether a path looks like a tokenizer of others: a file of weights, or a folder without our config.json."""
    if at.is_file():
        return at.suffix in (*PICKLES, SAFE)
    if not at.is_dir():
        return False
    if (at / CONFIG).is_file():
        stored = read_json(at / CONFIG, "tokenizer config")
        return isinstance(stored, dict) and "_class_name" in stored
    return any(file.suffix in (*PICKLES, SAFE) for file in at.iterdir()) and not (at / USUAL_FILES[0]).is_file()


def load_released(at: Path | str, *, release: str | None = None, image_size: int | None = None) -> AnyTokenizer:
    """The tokenizer in a file or folder of a released layout; float32, in evaluation mode, on the CPU.

    Args:
        at: a file of weights, with its config.json beside it if it has one, or a folder of the two.
        release: a name of `table.RELEASED`, for what the files do not say: how pictures are brought to a square, which
            differs between projects that share one file. By default the first project of the layout.
        image_size: pixels; by default what config.json says, else the release. These networks take others, too.

    Raises:
        FileNotFoundError, ValueError: nothing there, damaged, code in a pickle, or names and shapes that do not fit.
    """
    files = _files_at(Path(at))
    at, stored = files.weights, files.stored
    layout = _class_of(stored, at) if stored is not None else None
    tensors = read_tensors(at, left_out=sum(LEFT_OUT.values(), ()) if layout is None else ())
    layout = layout or _layout_of(tensors, at, release)
    facts = pick(RELEASED, release or DEFAULTS[layout], "released tokenizer")
    if facts.layout != layout and (facts.layout, layout) not in (("muse", "diffusers"), ("diffusers", "muse")):
        raise ValueError(f"{at} has the layout of {DEFAULTS[layout]!r}, not of {release!r}")
    known = {"resolution": _resolution_beside(at) or facts.image_size} | dict(stored or {})
    config = config_for(layout, known, tensors, facts, at)
    names = their_names(shapes_of(config), layout, levels=len(config.multipliers), num_res_blocks=config.num_res_blocks)
    if image_size is not None:
        config = _resized(config, image_size)
    to = "its config.json" if stored is not None else f"the {layout} layout"
    return assemble(config, tensors, at, names=names, to=to)


def _resized(config: NetworkConfig, image_size: int) -> NetworkConfig:
    """The same network for other pictures: attention stays at its levels."""
    settings = asdict(config) | {"image_size": image_size}
    if settings.get("attention_at"):
        settings["attention_at"] = tuple(side * image_size // config.image_size for side in settings["attention_at"])
    return type(config)(**settings)


def _files_at(at: Path) -> _Files:
    if at.is_file():
        folder, weights = at.parent, at
    elif at.is_dir():
        folder, weights = at, weights_in(at, USUAL_FILES)
    else:
        raise FileNotFoundError(f"no tokenizer at {at}")
    stored = read_json(folder / CONFIG, "tokenizer config") if (folder / CONFIG).is_file() else None
    if stored is not None and not isinstance(stored, dict):
        raise ValueError(f"{folder / CONFIG} is not a readable tokenizer config: no JSON object")
    if stored is not None and "format" in stored:
        raise ValueError(f"{weights} belongs to a tokenizer folder of openlvm; give the folder {folder}")
    # a config.json of something else, a hub repository's language model for one, says nothing of the tokenizer
    return _Files(weights, stored if stored is None or "_class_name" in stored else None)


def _class_of(stored: Mapping[str, Any], at: Path) -> Layout:
    name = stored.get("_class_name")
    if name not in CLASSES:
        raise ValueError(f"{at.with_name(CONFIG)} has _class_name {name!r}; known are {', '.join(CLASSES)}")
    return CLASSES[name]


def _layout_of(tensors: Mapping[str, torch.Tensor], at: Path, release: str | None) -> Layout:
    """The layout that the names of tensors tell.

    Those of taming are also those of open-muse, whose pixels have another range: its files end in .ckpt, or are named.
    """
    layout = next((layout for name, layout in TELLING if name in tensors), None)
    named = release in RELEASED and RELEASED[release].layout == "taming"
    if layout is None or (layout == "taming" and at.suffix != ".ckpt" and not named):
        raise ValueError(
            f"{at} does not tell by its {len(tensors)} tensors what it is; put its {CONFIG} beside it"
            + (f", or give load_released(..., release={DEFAULTS['taming']!r}) if it is that" if layout else "")
        )
    return layout


def _resolution_beside(at: Path) -> int | None:
    """`resolution` in the only .yaml beside a checkpoint of taming; its other settings are in the shapes."""
    found = sorted(at.parent.glob("*.yaml"))
    line = re.search(r"^\s*resolution:\s*(\d{1,6})\s*$", found[0].read_text(), re.M) if len(found) == 1 else None
    return int(line[1]) if line else None


def save_released(vqgan: VQGAN, at: Path | str, *, layout: Literal["muse", "diffusers"]) -> None:
    """Write a VQGAN as a folder that open-muse and LVM ("muse") or diffusers' `VQModel` ("diffusers") load.

    Raises:
        ValueError: the VQGAN has something that the layout has no word for.
    """
    config, at = vqgan.config, Path(at)
    _refuse_untold(config, layout)
    levels = len(config.multipliers)
    state = vqgan.shipped_state()
    names = their_names(state, layout, levels=levels, num_res_blocks=config.num_res_blocks)
    tensors = {names[ours]: value.float().contiguous() for ours, value in state.items()}
    if layout == "muse":
        with atomic_write(at / "pytorch_model.bin") as file:
            torch.save(tensors, file)
        write_json(at / CONFIG, _muse_config(config))
        return
    for name, value in tensors.items():
        if ".attentions." in name and value.ndim == 4:
            tensors[name] = value[..., 0, 0].contiguous()
    with atomic_write(at / "diffusion_pytorch_model.safetensors") as file:
        file.write(save(tensors, {"format": "pt"}))
    write_json(at / CONFIG, _diffusers_config(config))


def _refuse_untold(config: VQGANConfig, layout: str) -> None:
    plain = {"stem": 1, "quantizer": "vq", "normalize_codes": False, "patch_shortcut": False, "pixel_range": "0..1"}
    if layout == "muse":
        plain["norm_groups"] = 32
    untold = {name: getattr(config, name) for name, value in plain.items() if getattr(config, name, value) != value}
    if layout == "muse" and config.attention_at and config.num_res_blocks == 1:
        untold["attention_at"] = config.attention_at
    if untold:
        raise ValueError(f"the layout {layout!r} cannot hold a tokenizer with {untold}; save_tokenizer can")


def _muse_config(config: VQGANConfig) -> dict[str, Any]:
    return {
        "_class_name": "VQGANModel",
        "_version": "0.0.1",
        "attn_resolutions": list(config.attention_at),
        "channel_mult": list(config.multipliers),
        "commitment_cost": 0.25,
        "dropout": 0.0,
        "hidden_channels": config.width,
        "no_attn_mid_block": not config.mid_attention,
        "num_channels": 3,
        "num_embeddings": config.codebook_size,
        "num_res_blocks": config.num_res_blocks,
        "quantized_embed_dim": config.code_channels,
        "resample_with_conv": True,
        "resolution": config.image_size,
        "z_channels": config.latent_channels,
    }


def _diffusers_config(config: VQGANConfig) -> dict[str, Any]:
    attends = [config.image_size >> level in config.attention_at for level in range(len(config.multipliers))]
    return {
        "_class_name": "VQModel",
        "act_fn": "silu",
        "block_out_channels": [config.width * m for m in config.multipliers],
        "down_block_types": [f"{'Attn' if attention else ''}DownEncoderBlock2D" for attention in attends],
        "force_upcast": True,
        "in_channels": 3,
        "latent_channels": config.latent_channels,
        "layers_per_block": config.num_res_blocks,
        "lookup_from_codebook": True,
        "mid_block_add_attention": config.mid_attention,
        "norm_num_groups": config.norm_groups,
        "norm_type": "group",
        "num_vq_embeddings": config.codebook_size,
        "out_channels": 3,
        "sample_size": config.image_size,
        "up_block_types": [f"{'Attn' if attention else ''}UpDecoderBlock2D" for attention in reversed(attends)],
        "vq_embed_dim": config.code_channels,
    }
