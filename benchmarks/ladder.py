"""Decoders of several sizes on the same sentences: compares runs that are there, or trains the toy ladder on a CPU.

    python benchmarks/ladder.py --out runs/gpu/ladder.json runs/gpu-mini-ladder-3m runs/gpu-mini-ladder-9m
    python benchmarks/ladder.py --toy runs/toy-ladder --seeds 0 1 2      # 0.3M, 1M, 3M parameters: 20 core-minutes

`--toy` trains the recipes toy_300k, toy_1m and toy_3m for one epoch each, once for every seed, on stores made once, and
writes `openlvm report` of them into the folder's report/. The same command goes on after an interruption.

Runs that are compared see the same sentences in the same order (one plan, one seed) at a rate that is warmed up and
then stays: a decay would have to know the end. Seconds are those of training itself; the first line, which holds the
compilation, is left out of them. Losses are means over lines, each of one batch, of training sentences.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from openlvm.core.files import read_json, write_json
from openlvm.core.runs import read_metrics
from openlvm.jobs.train import make_stores, run_recipe
from openlvm.recipes import RECIPES
from openlvm.reports.page import markdown_table, write_report
from openlvm.reports.runs import read_runs, shape_of

TOYS = ("toy_300k", "toy_1m", "toy_3m")
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
    found: dict[str, Any] = {
        "parameters": {name: shape_of(config["model"]).num_parameters for name, config in configs.items()}
    }
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


def climb(at: Path, seeds: Sequence[int], *, tiny: bool = False) -> dict[str, Any]:
    """Train the toy ladder in the folder `at`, every size with every seed; returns what its report says."""
    make_stores(RECIPES[TOYS[0]](tiny=tiny), at / "stores")
    runs = []
    for seed in seeds:
        for name in TOYS:
            config = RECIPES[name](tiny=tiny)
            train = replace(config.decoder.train, seed=seed)
            run = at / f"{name}-{seed}"
            run.mkdir(parents=True, exist_ok=True)
            if not (run / "stores").exists():
                (run / "stores").symlink_to(Path("..") / "stores")
            run_recipe(replace(config, decoder=replace(config.decoder, train=train)), at=run, resume=True)
            runs.append(run)
    return write_report(read_runs(runs), at / "report")


def main() -> None:
    """Parse the command line, compare, write and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("runs", type=Path, nargs="*", help="run folders to compare")
    ask.add_argument("--out", type=Path, help="JSON file of the comparison")
    ask.add_argument("--toy", type=Path, help="folder in which the toy ladder is trained")
    ask.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of --toy")
    ask.add_argument("--tiny", action="store_true", help="a rehearsal of --toy")
    given = ask.parse_args()
    if given.toy:
        told = climb(given.toy, given.seeds, tiny=given.tiny)
        print("\n".join([*markdown_table(told["points"]), *told["power_laws"]]))
        return
    if not given.runs or not given.out:
        ask.error("give run folders and --out, or --toy DIR")
    found = ladder(given.runs)
    write_json(given.out, found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
