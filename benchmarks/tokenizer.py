"""The tokenizer beside the official LVM code and diffusers: images encoded and decoded per second, same VQGAN.

    LVM_REPO=.../LVM python benchmarks/tokenizer.py --batch 1
    LVM_REPO=.../LVM python benchmarks/tokenizer.py --batch 32 --device cuda

Weights are random and, with the official code, the same on both sides: the share of equal codes and the difference of
the pictures are printed. diffusers' model has the same shape and its own random weights: for speed only.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from measure import alternate, emit, emit_rates
from peers import vqgan

from openlvm.tokenizer.vqgan import VQGAN, to_unit_range


def options() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--batch", type=int, default=1)
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--peers", nargs="*", choices=["official", "diffusers"], default=["official", "diffusers"])
    ask.add_argument("--runs", type=int, default=5)
    ask.add_argument("--tiny", action="store_true", help="a small model: a rehearsal of seconds")
    return ask.parse_args()


@torch.inference_mode()
def main() -> None:
    given = options()
    torch.manual_seed(0)
    shape = vqgan.SMALL if given.tiny else vqgan.RELEASED
    ours = VQGAN(shape).eval().to(given.device)
    pixels = torch.randint(0, 256, (given.batch, shape.image_size, shape.image_size, 3), dtype=torch.uint8)
    floats = to_unit_range(pixels).contiguous().to(given.device)
    codes = ours.encode(pixels)
    encoders = {"ours": lambda: ours.encode(pixels)}
    decoders = {"ours": lambda: ours.decode(codes)}
    for name in given.peers:
        side = getattr(vqgan, name)(ours)
        if side is None:
            print(f"{name} is left out: it needs {vqgan.NEEDS[name]}", file=sys.stderr)
            continue
        encoders[name] = lambda encode=side[0]: encode(floats)
        decoders[name] = lambda decode=side[1]: decode(codes).clamp(0, 1)
    facts = {"image_size": shape.image_size, "batch": given.batch, "codes": ours.codes_per_image, "dtype": "float32"}
    if "official" in encoders:
        equal = (encoders["official"]().view_as(codes) == codes).float().mean().item()
        painted = decoders["official"]().permute(0, 2, 3, 1)
        worst = (painted.float() * 255 - ours.decode(codes).to(painted.device)).abs().max().item()
        emit(
            "tokenizer equal-codes official",
            round(equal, 5),
            "share",
            largest_difference=round(worst, 3),
            **facts,
        )
    emit_rates("tokenizer encode", alternate(encoders, given.runs), given.batch, "images/s", **facts)
    emit_rates("tokenizer decode", alternate(decoders, given.runs), given.batch, "images/s", **facts)


if __name__ == "__main__":
    main()
