"""An LVM with its weights in bfloat16, the decoder's in shards of a bounded size: what comes back from a GPU machine.

    PYTHONPATH=. python tools/export_bundle.py --from runs/gpu-mini/bundle --to OUT/mini-128 --run runs/gpu-mini

The folder is a bundle as it stands (`LVM.load(folder)`), for a decoder may come as an index and shards, as transformers
writes them. To make one file of them, export the folder again with --shard-mib 64.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from openlvm.bundle import CARD, load_bundle, save_bundle
from openlvm.core.files import atomic_write, write_json
from openlvm.core.runs import read_metrics
from openlvm.model.folder import INDEX, WEIGHTS

MIB = 2**20
CURVE_LINES = 40  # that a card's table of losses has, at most


def split_weights(decoder_at: Path, *, most: int) -> list[Path]:
    """Replace the one file of weights of a decoder folder by shards of at most `most` bytes and their index.

    Returns:
        The files of weights; the one file as it was, if it is small enough.
    """
    whole = decoder_at / WEIGHTS
    if whole.stat().st_size <= most:
        return [whole]
    shards: list[dict[str, torch.Tensor]] = [{}]
    room = most - MIB // 4  # a shard's own header
    for name, value in load_file(whole).items():
        if value.nbytes > room:
            raise ValueError(f"{name} alone has {value.nbytes / MIB:.1f} MiB; give more --shard-mib")
        if sum(one.nbytes for one in shards[-1].values()) + value.nbytes > room:
            shards.append({})
        shards[-1][name] = value
    names = [f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors" for number in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        with atomic_write(decoder_at / name) as file:
            file.write(save(shard, metadata={"format": "pt"}))
    size = sum(value.nbytes for shard in shards for value in shard.values())
    places = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    write_json(decoder_at / INDEX, {"metadata": {"total_size": size}, "weight_map": places})
    whole.unlink()
    return [decoder_at / name for name in names]


def curve_of(run: Path) -> str:
    """Losses of a run as a table for the card: means of neighboring lines, and the seconds of training up to there."""
    lines = read_metrics(run)
    together = max(1, -(-len(lines) // CURVE_LINES))
    seconds, rows = 0.0, ["", "| step | loss | seconds |", "| --- | --- | --- |"]
    for start in range(0, len(lines), together):
        some = lines[start : start + together]
        seconds += sum(line.get("timing", {}).get("seconds", 0.0) for line in some)
        rows.append(f"| {some[-1]['step']} | {sum(line['loss'] for line in some) / len(some):.4f} | {seconds:.0f} |")
    return "\n".join([*rows, ""])


def export(at: Path, to: Path, *, shard_bytes: int, run: Path | None = None) -> list[Path]:
    """Write the bundle `at` into the folder `to`; returns its files.

    Args:
        shard_bytes: of a file of the decoder's weights, at most.
        run: the run folder whose losses the card shows.

    Raises:
        ValueError: the codes of the tokenizer would change in bfloat16.
    """
    bundle = load_bundle(at)
    card = (at / CARD).read_text() + ("" if run is None else curve_of(run))
    save_bundle(
        to, tokenizer=bundle.tokenizer, decoder=bundle.decoder, special=bundle.special, card=card,
        context=bundle.context, meta=bundle.meta, tokenizer_dtype=torch.bfloat16, decoder_dtype=torch.bfloat16,
    )  # fmt: skip
    split_weights(to / "decoder", most=shard_bytes)
    stored = load_bundle(to)
    if stored.tokenizer.codes_fingerprint != bundle.tokenizer.codes_fingerprint:
        raise ValueError(f"bfloat16 changes the codes of {at}/tokenizer; train it with keep='bfloat16'")
    return sorted(file for file in to.rglob("*") if file.is_file())


def main() -> None:
    """Parse the command line, export, say what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="at", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--to", type=Path, required=True, help="folder of the export; what is there is replaced")
    parser.add_argument("--run", type=Path, help="run folder whose losses the card shows")
    parser.add_argument("--shard-mib", type=float, default=15.0, help="of a file of the decoder's weights, at most")
    options = parser.parse_args()
    files = export(options.at, options.to, shard_bytes=int(options.shard_mib * MIB), run=options.run)
    print(json.dumps({str(file.relative_to(options.to)): file.stat().st_size for file in files}, indent=2))


if __name__ == "__main__":
    main()
