"""The released tokenizers: their names here, where their files are, and how each wants its pictures.

What a file says itself (config.json, the shapes of its tensors) is read from it; this table holds what no file says.
"""

from dataclasses import dataclass
from typing import Literal

Layout = Literal["muse", "diffusers", "vqvae", "maskgit", "taming", "llamagen"]
"""How a file names its tensors: open-muse `VQGANModel` (LVM, DeLVM), diffusers `VQModel`, LVM's legacy `VQVAE`,
open-muse `MaskGitVQGAN`, taming-transformers `VQModel`, LlamaGen `VQModel`."""

PICKLES, SAFE = (".bin", ".pt", ".pth", ".ckpt"), ".safetensors"
USUAL_FILES = ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin")
"""Weights beside a config.json, the first that is there."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """What must be known of a released tokenizer besides its files."""

    layout: Layout
    """How its tensors are named."""
    hub: str | None = None
    """owner/name on the Hugging Face hub."""
    folder: str = ""
    """Folder inside the hub repository."""
    files: tuple[str, ...] = USUAL_FILES
    """Names its weights may have on the hub, the first that is there."""
    has_config: bool = True
    """A config.json lies beside the weights."""
    elsewhere: str = ""
    """Where to get it when it is not on the hub."""
    image_size: int = 256
    """Side of the square pictures, pixels, when no config.json says it."""
    fit: Literal["squash", "crop"] = "crop"
    """How its own code brings pictures to a square."""
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    """The resampling filter of its own code."""


TAMING = "the table 'pretrained models' in the README of github.com/CompVis/taming-transformers"

RELEASED: dict[str, Release] = {
    # PIL's resize to 256 x 256, bicubic by default (LVM evaluation/vqlm_demo/utils.py)
    "lvm": Release(layout="muse", hub="Emma02/vqvae_ckpts", fit="squash", filter="bicubic"),
    # its file stands beside torch_vqvae_model.py in none of the public places; preparation as above
    "lvm-vqvae": Release(
        layout="vqvae", elsewhere="the authors of LVM (xh_ckpt.pth)", has_config=False, fit="squash", filter="bicubic"
    ),
    # short side 256 by bilinear filtering, center crop (DeLVM; open-muse training/data.py, muse/pipeline_muse.py)
    "delvm": Release(layout="muse", hub="openMUSE/vqgan-f16-8192-laion"),
    "maskgit": Release(layout="maskgit", hub="openMUSE/maskgit-vqgan-imagenet-f16-256"),
    "amused": Release(layout="diffusers", hub="amused/amused-256", folder="vqvae"),
    # short side and center crop by OpenCV's bilinear filter, which does not antialias as Pillow's does (taming/data)
    "taming-f16-1024": Release(layout="taming", elsewhere=TAMING, has_config=False),
    "taming-f16-16384": Release(layout="taming", elsewhere=TAMING, has_config=False),
    # halvings by box filter, then bicubic to the short side, center crop (LlamaGen dataset/augmentation.py); one
    # bicubic step here: equal up to twice the size, close above
    "llamagen-vq16": Release(
        layout="llamagen",
        hub="FoundationVision/LlamaGen",
        files=("vq_ds16_c2i.pt",),
        has_config=False,
        filter="bicubic",
    ),
    "llamagen-vq8": Release(
        layout="llamagen", hub="FoundationVision/LlamaGen", files=("vq_ds8_c2i.pt",), has_config=False, filter="bicubic"
    ),
    "llamagen-vq16-t2i": Release(
        layout="llamagen", hub="peizesun/llamagen_t2i", files=("vq_ds16_t2i.pt",), has_config=False, filter="bicubic"
    ),
}

DEFAULTS: dict[Layout, str] = {
    "muse": "lvm",
    "diffusers": "amused",
    "vqvae": "lvm-vqvae",
    "maskgit": "maskgit",
    "taming": "taming-f16-1024",
    "llamagen": "llamagen-vq16",
}
"""The release whose preparation a local file gets when nobody names one."""
