"""Decoders of several sizes after equal seconds on the same sentences: reads their run folders, writes down the losses.

    python benchmarks/ladder.py --out runs/gpu/ladder.json runs/gpu-mini-ladder-3m runs/gpu-mini-ladder-9m

The runs see the same sentences in the same order (one plan, one seed) at a rate that is warmed up and then stays: a
decay would have to know the end. Seconds are those of training itself; the first line of metrics, which holds the
compilation, is left out of them. Losses are means over lines, each of one batch, of training sentences.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openlvm.core.files import read_json, write_json
from openlvm.core.runs import read_metrics
from openlvm.model.decoder import DecoderConfig

AVERAGED = 8  # last lines of metrics over which a loss is averaged, at most

Line = dict[str, Any]


def timed_lines(run: Path) -> list[Line]:
    """Metrics after the first line, each with the seconds and tokens that training has taken since then."""
    lines, seconds, tokens = [], 0.0, 0.0
    for line in read_metrics(run)[1:]:
        seconds += line["timing"]["seconds"]
        tokens += line["timing"]["seconds"] * line["timing"]["tokens_per_second"]
        lines.append({**line, "seconds": seconds, "tokens": tokens})
    if not lines:
        raise ValueError(f"{run} has fewer than two lines of metrics; give it more seconds")
    return lines


def reached(lines: Sequence[Line], positions_per_step: int) -> dict[str, Any]:
    """What a run had reached at the last of these lines."""
    last = lines[-AVERAGED:]
    return {
        "step": last[-1]["step"],
        "positions": last[-1]["step"] * positions_per_step,
        "seconds": round(last[-1]["seconds"], 2),
        "tokens_per_second": round(last[-1]["tokens"] / last[-1]["seconds"]),
        "loss": round(sum(line["loss"] for line in last) / len(last), 5),
        "averaged_lines": len(last),
    }


def ladder(runs: Sequence[Path]) -> dict[str, Any]:
    """Every run's size, and where it was after the seconds, and after the steps, that all of them have reached."""
    lines = {run.name: timed_lines(run) for run in runs}
    configs = {run.name: read_json(run / "config.json", "config of a run") for run in runs}
    found: dict[str, Any] = {"parameters": {name: parameters_of(config["model"]) for name, config in configs.items()}}
    for unit in ("seconds", "step"):
        common = min(some[-1][unit] for some in lines.values())
        found[f"after_equal_{unit}"] = {
            name: reached(
                [line for line in some if line[unit] <= common] or some[:1],
                configs[name]["train"]["positions_per_step"],
            )
            for name, some in lines.items()
        }
    return found


def parameters_of(model: dict[str, Any]) -> int:
    """Of a decoder, from the shape that its run's config.json keeps."""
    shape = {name: value for name, value in model.items() if name != "type"}
    return DecoderConfig(**{**shape, "rope_scales": tuple(shape["rope_scales"])}).num_parameters


def main() -> None:
    """Parse the command line, compare, write and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("runs", type=Path, nargs="+", help="run folders")
    ask.add_argument("--out", type=Path, required=True, help="JSON file")
    given = ask.parse_args()
    found = ladder(given.runs)
    write_json(given.out, found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
