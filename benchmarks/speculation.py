"""Fewer forwards for one picture: the same codes by guessing (speculative), other codes by diagonals; task by task.

    python benchmarks/speculation.py --threads 1                    # the embedded model on held-out queries
    python benchmarks/speculation.py --tasks depth "next frame" --queries 8

Ratios are seconds of drawing one code after the other over seconds of the other way, prompts being read already: CPU
seconds on a CPU, where neighbours then weigh less, wall seconds on a GPU. `wall` is that ratio in wall seconds.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from measure import Clock, alternate, emit

from openlvm import LVM
from openlvm.core.picking import pick
from openlvm.core.seeds import Words
from openlvm.evaluation.metrics import pixel_error
from openlvm.evaluation.suites.mini import TASKS
from openlvm.evaluation.suites.run import Scenes, trials_of
from openlvm.evaluation.trials import Trial, encode_each_once
from openlvm.model.cache import KVCache
from openlvm.prompting.engine.diagonal import diagonal
from openlvm.prompting.engine.drafts import drafts_for, lags_of
from openlvm.prompting.engine.speculative import WINDOW, speculate
from openlvm.prompting.engine.steps import Drawn, sequential
from openlvm.prompting.prompts import code_row
from openlvm.prompting.sampling import GREEDY, Sampling, row_seeds


class Asked(NamedTuple):
    """One query, its prompt read."""

    trial: Trial
    logits: torch.Tensor
    cache: KVCache
    drafts: torch.Tensor
    seeds: Words


def options() -> argparse.Namespace:
    known = {task.name: task for task in TASKS}
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--lvm", default="mini", help="name or bundle folder")
    ask.add_argument("--tasks", nargs="+", default=list(known), help="of openlvm.evaluation.suites.mini.TASKS")
    ask.add_argument("--queries", type=int, default=6, help="of each task")
    ask.add_argument("--window", type=int, default=WINDOW, help="most codes in one forward")
    ask.add_argument("--ahead", type=int, nargs="*", default=[2, 4], help="of diagonals")
    ask.add_argument("--runs", type=int, default=1, help="turns of each query")
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--threads", type=int, default=1, help="0 leaves torch's default")
    ask.add_argument("--tiny", action="store_true", help="a rehearsal of seconds")
    given = ask.parse_args()
    if given.tiny:
        given.tasks, given.queries, given.ahead = ["shapes: color"], 1, [2]
    given.tasks = [pick(known, name, "task") for name in given.tasks]
    return given


def main() -> None:
    given = options()
    if given.threads:
        torch.set_num_threads(given.threads)
    lvm = LVM.load(given.lvm, device=given.device)
    scenes, ratios = Scenes(lvm.bundle.tokenizer.preparation), {"greedy": [], "sampled": []}
    for task in given.tasks:
        trials = trials_of(task, scenes, queries=given.queries, seed=0)
        asked = read(lvm, trials, "sequence" if task.is_sequence else "analogy")
        for how, sampling in (("greedy", GREEDY), ("sampled", lvm.sampling)):
            ways = {"sequential": sequential, "ours": partial(with_drafts, window=given.window)}
            if how == "sampled":
                ways |= {f"ahead {ahead}": partial(along, ahead=ahead) for ahead in given.ahead}
            found = drawn_and_timed(lvm, asked, sampling, ways, given.runs)
            ratios[how].append(tell_speculation(f"speculation {task.name}: {how}", found, given))
            for way in list(ways)[2:]:
                tell_diagonals(f"diagonal {task.name}: {way}", lvm, asked, found["sequential"], found[way], given)
    for how, values in ratios.items():
        emit(f"speculation all tasks: {how}", round(statistics.geometric_mean(values), 3), "ratio", tasks=len(values))


@torch.inference_mode()
def read(lvm: LVM, trials: Sequence[Trial], style: str) -> list[Asked]:
    bundle = lvm.bundle
    num_codes, num_new = bundle.tokenizer.codebook_size, bundle.tokenizer.codes_per_image
    asked = []
    prompts = encode_each_once(bundle.tokenizer, [trial.prompts["correct"] for trial in trials])
    for number, (trial, images) in enumerate(zip(trials, prompts, strict=True)):
        row = code_row(images, bundle.special.bos)[None].to(bundle.decoder.model.embed_tokens.weight.device)
        cache = bundle.decoder.new_cache(rows=1, room=row.shape[1] + num_new)
        logits = bundle.decoder.head(bundle.decoder.hidden(row, cache=cache)[:, -1], num_codes=num_codes)
        asked.append(Asked(trial, logits, cache, drafts_for(images, style=style), row_seeds(0, [number], 1)))
    return asked


class Found(NamedTuple):
    """What one way drew for every query."""

    drawn: list[Drawn]
    fed: list[int]
    """Codes that went through the decoder."""
    clocks: list[Clock]


def with_drafts(decoder, logits, cache, num_new, sampling, seeds, drafts, *, window: int) -> Drawn:
    return speculate(decoder, logits, cache, num_new, sampling, seeds, drafts, lags=lags_of(num_new), window=window)


def along(decoder, logits, cache, num_new, sampling, seeds, *, ahead: int) -> Drawn:
    return diagonal(decoder, logits, cache, num_new, sampling, seeds, row_length=round(num_new**0.5), ahead=ahead)


def drawn_and_timed(
    lvm: LVM, asked: list[Asked], sampling: Sampling, ways: Mapping[str, Callable[..., Drawn]], runs: int
) -> dict[str, Found]:
    """Draw a picture for each query in each way, in turns."""
    decoder, num_new = lvm.bundle.decoder, lvm.bundle.tokenizer.codes_per_image
    found, fed = {way: Found([], [], []) for way in ways}, []
    hook = decoder.model.embed_tokens.register_forward_hook(lambda module, args, out: fed.append(args[0].numel()))
    for one in asked:
        length, last = one.cache.filled, {}

        def draw(way: str, one: Asked = one, length: int = length, last: dict = last) -> None:
            one.cache.rewind(length)
            fed.clear()
            drafts = (one.drafts,) if way == "ours" else ()
            drawn = ways[way](decoder, one.logits, one.cache, num_new, sampling, one.seeds, *drafts)
            last[way] = drawn, sum(fed)

        for way, clocks in alternate({way: partial(draw, way) for way in ways}, runs, warmup=0).items():
            found[way].clocks.extend(clocks)
            found[way].drawn.append(last[way][0])
            found[way].fed.append(last[way][1])
        one.cache.rewind(length)
    hook.remove()
    return found


def tell_speculation(name: str, found: Mapping[str, Found], given: argparse.Namespace) -> float:
    """Emit one line; the ratio of the times."""
    one_by_one, ours = found["sequential"], found["ours"]
    steps = sum(drawn.steps for drawn in ours.drawn)
    possible = sum(drawn.steps for drawn in one_by_one.drawn)
    equal = [(a.codes == b.codes).float().mean() for a, b in zip(one_by_one.drawn, ours.drawn, strict=True)]
    facts = {
        "equal_codes": round(float(np.mean(equal)), 4),
        "steps_sequential": one_by_one.drawn[0].steps,
        "steps": round(steps / len(ours.drawn), 2),
        "accepted": round((possible - steps) / max(1, sum(ours.fed) - steps), 3),  # of the guesses
        "window": given.window,
    }
    return emit_ratio(name, one_by_one, ours, given, **facts)


def tell_diagonals(
    name: str, lvm: LVM, asked: list[Asked], one_by_one: Found, ours: Found, given: argparse.Namespace
) -> None:
    """Emit one line: the ratio of the times, and the mean pixel errors of both ways against the truth."""
    before, after = (errors_of(lvm, asked, found.drawn) for found in (one_by_one, ours))
    facts = {
        "steps_sequential": one_by_one.drawn[0].steps,
        "steps": ours.drawn[0].steps,
        "pixel_error_sequential": before.round(5).tolist(),
        "pixel_error": after.round(5).tolist(),
        "mean_difference": round(float((after - before).mean()), 5),
    }
    emit_ratio(name, one_by_one, ours, given, **facts)


def errors_of(lvm: LVM, asked: list[Asked], drawn: list[Drawn]) -> np.ndarray:
    """Pixel error of each query's picture, float64 [queries]."""
    pictures = lvm.bundle.tokenizer.decode(torch.cat([one.codes for one in drawn])).cpu().numpy()
    return np.array(
        [pixel_error(made, one.trial.truth, one.trial.region) for made, one in zip(pictures, asked, strict=True)]
    )


def emit_ratio(name: str, one_by_one: Found, ours: Found, given: argparse.Namespace, **facts) -> float:
    """One line: seconds of sequential drawing over ours, all queries together."""
    ratio = {}
    for kind in ("cpu", "wall"):
        spent = [sum(getattr(clock, kind) for clock in found.clocks) for found in (one_by_one, ours)]
        ratio[kind] = round(spent[0] / spent[1], 3)
    value = ratio["wall" if given.device.startswith("cuda") else "cpu"]
    emit(name, value, "ratio", wall=ratio["wall"], queries=len(ours.drawn), **facts)
    return value


if __name__ == "__main__":
    main()
