"""Peers: the same VQGAN by others: the official LVM code (from a clone of it) and diffusers' VQModel."""

import os
import sys
from collections.abc import Callable

from torch import Tensor

from openlvm.tokenizer.released.keys import their_names
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig

RELEASED = VQGANConfig(
    image_size=256, width=128, multipliers=(1, 2, 2, 4, 6), latent_channels=64, code_channels=64, codebook_size=8192
)
"""Shape of LVM's tokenizer (openMUSE vqgan-f16-8192-laion), as diffusers' converter of aMUSEd states it."""
SMALL = VQGANConfig(
    image_size=64, width=32, multipliers=(1, 1, 2, 2, 2), latent_channels=16, code_channels=16, codebook_size=256
)
"""A rehearsal of it."""

NEEDS = {"official": "LVM_REPO, a clone of ytongbai/LVM", "diffusers": "the package diffusers"}

Side = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""encode float [B, 3, H, W] in 0..1 -> int64 [B, N]; decode int64 [B, N] -> float [B, 3, H, W]."""


def official(ours: VQGAN) -> Side | None:
    """LVM's own class with our weights (its own random ones if ours are meta); None without a clone at $LVM_REPO."""
    if not os.environ.get("LVM_REPO"):
        return None
    sys.path.insert(0, os.path.join(os.environ["LVM_REPO"], "evaluation"))
    from vqlm_demo.vqvae_muse import VQGANModel

    shape = ours.config
    theirs = VQGANModel(
        resolution=shape.image_size,
        num_channels=3,
        hidden_channels=shape.width,
        channel_mult=shape.multipliers,
        num_res_blocks=shape.num_res_blocks,
        attn_resolutions=(),
        no_attn_mid_block=True,
        z_channels=shape.latent_channels,
        num_embeddings=shape.codebook_size,
        quantized_embed_dim=shape.code_channels,
        dropout=0.0,
        resample_with_conv=True,
        commitment_cost=0.25,
    )
    if not ours.quant_conv.weight.is_meta:
        missing, unexpected = theirs.load_state_dict(ours.shipped_state(), strict=False)
        assert not missing and not unexpected, (missing, unexpected)
        theirs = theirs.to(ours.quant_conv.weight)
    theirs = theirs.eval()
    return (lambda pixels: theirs.encode(pixels)[1]), (lambda codes: theirs.decode_code(codes))


def diffusers(ours: VQGAN) -> Side | None:
    """diffusers' VQModel (aMUSEd's) with our weights (its own if ours are meta); None when it is not installed."""
    try:
        from diffusers import VQModel
    except ImportError:
        return None
    shape = ours.config
    levels = len(shape.multipliers)
    theirs = VQModel(
        act_fn="silu",
        block_out_channels=[shape.width * multiplier for multiplier in shape.multipliers],
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        latent_channels=shape.latent_channels,
        layers_per_block=shape.num_res_blocks,
        num_vq_embeddings=shape.codebook_size,
        mid_block_add_attention=False,
        lookup_from_codebook=True,
    )
    if not ours.quant_conv.weight.is_meta:
        state = ours.shipped_state()
        names = their_names(state, "diffusers", levels=levels, num_res_blocks=shape.num_res_blocks)
        theirs.load_state_dict({names[name]: value for name, value in state.items()})
        theirs = theirs.to(ours.quant_conv.weight)
    theirs = theirs.eval()

    def encode(pixels: Tensor) -> Tensor:
        return theirs.quantize(theirs.encode(pixels).latents)[2][2].reshape(len(pixels), -1)

    def decode(codes: Tensor) -> Tensor:
        shape_of_codes = (len(codes), shape.grid, shape.grid, shape.code_channels)
        return theirs.decode(codes, force_not_quantize=True, shape=shape_of_codes).sample

    return encode, decode
