"""Record what the code of others makes of random weights: run by hand, once, with their checkouts at hand.

    python tests/tokenizer/released/record_golden.py muse LVM_CHECKOUT
    python tests/tokenizer/released/record_golden.py vqvae LVM_CHECKOUT
    python tests/tokenizer/released/record_golden.py maskgit OPEN_MUSE_CHECKOUT
    python tests/tokenizer/released/record_golden.py taming TAMING_TRANSFORMERS_CHECKOUT
    python tests/tokenizer/released/record_golden.py llamagen LLAMAGEN_CHECKOUT
    python tests/tokenizer/released/record_golden.py diffusers INSTALLED

Writes golden_LAYOUT.json here: the config.json their class writes, the names and shapes of its state_dict, the codes
and pixels of two pictures; and the names and shapes at the released size. Needs the packages they import (einops,
accelerate, tqdm, requests; diffusers for itself). Their classes run as they are, but for the widths that are fixed in
the code of LVM's VQVAE, which are set smaller.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

SIZE, STEP = 32, 7  # side of the pictures; every 7th pixel of the reconstructions is recorded
SIZES = {"vqvae": 64}  # whose code fixes five resolutions


def numbered(shapes: dict) -> dict:
    """Weights from NumPy in the order of their names, of a scale that keeps signals near one."""
    chance, filled = np.random.default_rng(11), {}
    for name, shape in sorted(shapes.items()):
        values = chance.normal(0, 1, shape)
        if "embedding" in name:
            values *= 0.7
        elif len(shape) > 1:
            values /= np.sqrt(np.prod(shape[1:]))
        else:
            values = values * 0.2 + (1 if name.endswith("weight") else 0)
        filled[name] = torch.from_numpy(values.astype(np.float32))
    return filled


def pictures(size: int) -> torch.Tensor:
    """Two pictures with areas and noise, uint8 [2, size, size, 3]."""
    chance = np.random.default_rng(5)
    coarse = chance.integers(0, 200, (2, 8, 8, 3)).repeat(size // 8, 1).repeat(size // 8, 2)
    return torch.from_numpy((coarse + chance.integers(0, 56, coarse.shape)).astype(np.uint8))


def module_at(path: Path, name: str, change=lambda text: text):
    """A Python file as a module; `name` places it in a package of which only its own imports are loaded."""
    spec = importlib.util.spec_from_loader(name, loader=None)
    module = importlib.util.module_from_spec(spec)
    module.__file__, module.__package__ = str(path), name.rpartition(".")[0]
    sys.modules[name] = module
    exec(compile(change(path.read_text()), str(path), "exec"), module.__dict__)
    return module


def package_at(path: Path, name: str) -> None:
    """A folder as a package whose __init__ does not run."""
    package = types.ModuleType(name)
    package.__path__, package.__version__ = [str(path)], "0"
    sys.modules[name] = package


def muse(repo: Path):
    at = repo / "evaluation" / "vqlm_demo"
    package_at(at, "vqlm_demo")
    package_at(at / "vqvae", "vqlm_demo.vqvae")
    model = module_at(at / "vqvae_muse.py", "vqlm_demo.vqvae_muse").VQGANModel
    small = model(
        resolution=SIZE, hidden_channels=32, channel_mult=(1, 2), num_res_blocks=2, attn_resolutions=(16,),
        no_attn_mid_block=False, z_channels=12, num_embeddings=48, quantized_embed_dim=6,
    )  # fmt: skip
    with torch.device("meta"):
        full = model(channel_mult=(1, 2, 2, 4, 6), attn_resolutions=(), no_attn_mid_block=True, z_channels=64,
                     num_embeddings=8192, quantized_embed_dim=64)  # fmt: skip
    return small, full, open_muse_codes


def open_muse_codes(model, pixels):
    codes = model.get_code(pixels)
    return codes, model.decode_code(codes)


def maskgit(repo: Path):
    package_at(repo / "muse", "muse")
    model = module_at(repo / "muse" / "modeling_maskgit_vqgan.py", "muse.modeling_maskgit_vqgan").MaskGitVQGAN
    small = model(
        resolution=SIZE, hidden_channels=32, channel_mult=(1, 1, 2), num_res_blocks=2, z_channels=6, num_embeddings=48,
        quantized_embed_dim=6,
    )  # fmt: skip
    with torch.device("meta"):
        full = model()
    return small, full, open_muse_codes


def vqvae(repo: Path):
    at = repo / "evaluation" / "vqlm_demo" / "torch_vqvae_model.py"

    def smaller(text: str) -> str:
        for old, new in (("128", "32"), ("512", "128"), ("8192", "48")):
            text = text.replace(old, new)
        return text

    small = module_at(at, "vqvae_small", smaller).VQVAE()
    with torch.device("meta"):
        full = module_at(at, "vqvae_full").VQVAE()

    def codes(model, pixels):
        latents, tokens, *_ = model.quantizer(model.encoder(pixels))
        return tokens.flatten(1), model.decoder(latents)

    return small, full, codes


def taming(repo: Path):
    lightning, main = types.ModuleType("pytorch_lightning"), types.ModuleType("main")
    lightning.LightningModule, main.instantiate_from_config = torch.nn.Module, lambda config: torch.nn.Identity()
    sys.modules |= {"pytorch_lightning": lightning, "main": main}
    package_at(repo / "taming", "taming")
    model = module_at(repo / "taming" / "models" / "vqgan.py", "taming.models.vqgan").VQModel
    shape = dict(double_z=False, in_channels=3, out_ch=3, dropout=0.0)
    small = model(
        dict(shape, z_channels=12, resolution=SIZE, ch=32, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=[16]),
        None, 48, 6,
    )  # fmt: skip
    with torch.device("meta"):
        full = model(
            dict(shape, z_channels=256, resolution=256, ch=128, ch_mult=(1, 1, 2, 2, 4), num_res_blocks=2,
                 attn_resolutions=[16]), None, 1024, 256,
        )  # fmt: skip
    return small, full, signed_codes


def signed_codes(model, pixels):
    quantized, _, (_, _, codes) = model.encode(pixels * 2 - 1)
    return codes.view(len(pixels), -1), (model.decode(quantized) + 1) / 2


def llamagen(repo: Path):
    module = module_at(repo / "tokenizer" / "tokenizer_image" / "vq_model.py", "vq_model")
    small = module.VQModel(module.ModelArgs(48, 6, encoder_ch_mult=[1, 2], decoder_ch_mult=[1, 2], z_channels=12))
    narrow = dict(ch=32, ch_mult=(1, 2), num_res_blocks=2, z_channels=12)
    small.encoder, small.decoder = module.Encoder(**narrow), module.Decoder(**narrow)
    with torch.device("meta"):
        full = module.VQ_16()
    return small, full, signed_codes


def diffusers(_: Path):
    from diffusers import VQModel

    def make(widths, attends, middle, size, **settings):
        ends = ["Attn" if attention else "" for attention in attends]
        return VQModel(
            block_out_channels=widths, layers_per_block=2, norm_num_groups=32, sample_size=size,
            down_block_types=tuple(f"{end}DownEncoderBlock2D" for end in ends),
            up_block_types=tuple(f"{end}UpDecoderBlock2D" for end in reversed(ends)),
            mid_block_add_attention=middle, lookup_from_codebook=True, force_upcast=True, **settings,
        )  # fmt: skip

    small = make((32, 32, 64), (False, False, True), True, SIZE, latent_channels=12, num_vq_embeddings=48,
                 vq_embed_dim=6)  # fmt: skip
    with torch.device("meta"):
        full = make((128, 256, 256, 512, 768), (False,) * 5, False, 256, latent_channels=64, num_vq_embeddings=8192)

    def codes(model, pixels):
        latents = model.encode(pixels).latents
        rows, (_, _, found) = latents.shape, model.quantize(latents)[2]
        codes = found.view(len(pixels), -1)
        shape = (rows[0], rows[2], rows[3], rows[1])
        return codes, model.decode(codes, force_not_quantize=True, shape=shape).sample

    return small, full, codes


def shapes(model) -> dict:
    return {name: list(value.shape) for name, value in model.state_dict().items()}


def config_of(model) -> dict | None:
    """What its class writes into config.json, if it does."""
    return json.loads(model.to_json_string()) if hasattr(model, "to_json_string") else None


@torch.inference_mode()
def record(layout: str, repo: Path) -> dict:
    """What golden_LAYOUT.json holds."""
    size = SIZES.get(layout, SIZE)
    small, full, codes_and_pixels = globals()[layout](repo)
    small.load_state_dict(numbered(shapes(small)))
    codes, pixels = codes_and_pixels(small.eval(), pictures(size).permute(0, 3, 1, 2).float() / 255)
    sample = pixels[:, :, ::STEP, ::STEP].flatten()
    return {
        "config": config_of(small),
        "full_config": config_of(full),
        "image_size": size,
        "shapes": shapes(small),
        "full_shapes": shapes(full),
        "full_parameters": sum(value.numel() for value in full.parameters()),
        "codes": codes.tolist(),
        "pixels": [round(value, 6) for value in sample.tolist()],
    }


if __name__ == "__main__":
    golden = record(sys.argv[1], Path(sys.argv[2]))
    at = Path(__file__).with_name(f"golden_{sys.argv[1]}.json")
    at.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    distinct = len({code for row in golden["codes"] for code in row})
    print(f"{at}: {at.stat().st_size:,} bytes, {distinct} codes used, pixels {golden['pixels'][:4]}")
