"""Scoring beside the official computation: perplexity of the last of 11 images; seconds, and memory above the model's.

    python benchmarks/scoring.py --size nano

Each side runs in a process of its own, so that its memory is its own: peak resident size minus the size after loading.
"""

import argparse
import dataclasses
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from measure import Clock, emit, in_own_process, peak_mb, resident_mb

SIDES = ("ours", "official")
NUM_CODES = 8192


def options() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--size", default="nano", help="of openlvm.model.sizes.SIZES")
    ask.add_argument("--images", type=int, default=11, help="10 of context and the target")
    ask.add_argument("--codes-per-image", type=int, default=256)
    ask.add_argument("--runs", type=int, default=5, help="in one process")
    ask.add_argument("--turns", type=int, default=3, help="processes of each side, one after the other in turns")
    ask.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    ask.add_argument("--tiny", action="store_true", help="a rehearsal of seconds")
    given = ask.parse_args()
    if given.tiny:
        given.size, given.codes_per_image, given.runs, given.turns = "debug", 16, 1, 1
    return given


def main() -> None:
    given = options()
    if given.side:
        print(json.dumps(one_side(given)))
        return
    turns = [{side: in_own_process("--side", side) for side in SIDES} for _ in range(given.turns)]
    for side in SIDES:
        found = [turn[side] for turn in turns]
        middle = {name: statistics.median(facts[name] for facts in found) for name in found[0]}
        emit(f"scoring {side}", middle.pop("seconds"), "seconds", size=given.size, images=given.images, **middle)
    for name, what in (("memory_mb", "memory ours/official"), ("seconds", "seconds official/ours")):
        upper, lower = SIDES if name == "memory_mb" else SIDES[::-1]
        ratios = [turn[upper][name] / turn[lower][name] for turn in turns if turn[lower][name]]
        if ratios:  # a rehearsal may need no memory at all
            spread = {"low": round(min(ratios), 3), "high": round(max(ratios), 3), "turns": len(ratios)}
            emit(f"scoring {what}", round(statistics.median(ratios), 3), "ratio", **spread)


def one_side(given: argparse.Namespace) -> dict:
    """Load, take the resident size, score, and see how far the peak rose."""
    import torch
    from peers import llama

    from openlvm.model.decoder import Decoder
    from openlvm.model.sizes import SIZES
    from openlvm.prompting.scoring import perplexity, target_log_probs

    decoder = Decoder(dataclasses.replace(SIZES[given.size], vocab_size=NUM_CODES + 100)).eval()
    count = given.codes_per_image
    row = torch.randint(0, NUM_CODES, (given.images * count,), generator=torch.Generator().manual_seed(0))
    if given.side == "official":
        model = llama.same_model(decoder).eval()
        del decoder

        def score() -> float:
            return llama.official_perplexity(model, row, count)

    else:

        def score() -> float:
            return perplexity(target_log_probs(decoder, row[None], count))

    loaded = resident_mb()
    walls = []
    for _ in range(given.runs + 1):
        with Clock() as clock:
            value = score()
        walls.append(clock.wall)
    seconds = round(sorted(walls[1:])[given.runs // 2], 5)
    memory = round(peak_mb() - loaded, 1)
    return {"seconds": seconds, "memory_mb": memory, "perplexity": round(value, 4), "runs": given.runs}


if __name__ == "__main__":
    main()
