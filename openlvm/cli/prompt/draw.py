"""Sequences, analogies and compositions: read the pictures, have the answer drawn, write it down."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openlvm.cli.command import Outcome, find_pictures
from openlvm.cli.prompt.given import find_one, find_pairs
from openlvm.cli.prompt.options import Analogy, Common, Compose, Continue, Drawing, Showing
from openlvm.cli.prompt.plan import plan
from openlvm.cli.prompt.readings import write_gif, write_readings
from openlvm.core.images import read_image

if TYPE_CHECKING:
    import torch

    from openlvm.prompting.answers import Answer
    from openlvm.prompting.engine.generate import OnRowCodes
    from openlvm.prompting.lvm import LVM
    from openlvm.prompting.sampling import Sampling

Rows = list[list[np.ndarray]]
"""Pictures uint8 [H, W, 3] of any size, in the rows of a contact sheet."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked, before any model is loaded."""

    counts: list[int]
    """Pictures of each prompt."""
    num_frames: int
    """F, pictures drawn after each."""
    rows: list[Rows]
    """The prompt of each answer, as its contact sheet shows it."""
    answers: Callable[..., "Sequence[Answer]"]
    """Called with an LVM and how to draw."""


def load(options: Common) -> "LVM":
    """The LVM that answers."""
    from openlvm.prompting.lvm import LVM

    return LVM.load(options.lvm, device=options.device, dtype=options.dtype)


def sampling_of(options: Drawing, suggested: "Sampling") -> "Sampling":
    """How codes are drawn: what the options say, and for the rest what the LVM suggests."""
    return suggested.but(temperature=options.temperature, top_k=options.top_k, top_p=options.top_p)


def draw(options: Showing) -> Outcome:
    """Answer a sequence, an analogy (of one query or many) or a composition."""
    asked = _asked(options)
    if options.dry_run:
        ensemble = options.ensemble if isinstance(options, Analogy) else 1
        may_drop = ensemble > 1 or (isinstance(options, Continue) and options.slide)
        return plan(options, asked.counts, asked.num_frames, ensemble=ensemble, may_drop=may_drop)
    lvm = load(options)
    how: dict[str, Any] = {
        "num_candidates": options.candidates, "seed": options.seed, "fast": options.fast, "ahead": options.ahead,
    }  # fmt: skip
    num_codes = len(asked.counts) * options.candidates * asked.num_frames * lvm.bundle.tokenizer.codes_per_image
    with _watched(num_codes) as on_codes:
        sampling = sampling_of(options, lvm.sampling)
        answers = asked.answers(lvm, sampling=sampling, exact=options.exact, on_codes=on_codes, **how)
    if len(answers) == 1:
        return _shown(lvm, options, asked.rows[0], answers[0])
    outs = [options.out / f"query-{number}" for number in range(len(answers))]
    shown = [
        _shown(lvm, replace(options, out=out), rows, answer)
        for out, rows, answer in zip(outs, asked.rows, answers, strict=True)
    ]
    return Outcome({"answers": [one.values for one in shown]}, "\n".join(one.text for one in shown))


@contextmanager
def _watched(num_codes: int) -> "Iterator[OnRowCodes | None]":
    """A bar of the codes drawn, on a terminal; None elsewhere, since telling of every code costs a little."""
    if not sys.stderr.isatty():
        yield None
        return
    from openlvm.training.progress import Progress

    with Progress(steps=num_codes, first_step=0, unit="codes", name="codes", is_shown=True) as progress:
        drawn = 0

        def count(numbers: Sequence[tuple[int, int]], places: "torch.Tensor", codes: "torch.Tensor") -> None:
            nonlocal drawn
            drawn += len(numbers) * len(places)
            progress.step(drawn)

        yield count


def _asked(options: Showing) -> Asked:
    match options:
        case Continue():
            return _sequence(options)
        case Analogy():
            return _analogy(options)
        case Compose():
            return _composition(options)
    raise AssertionError(f"no way to draw {type(options).__name__}")


def _sequence(options: Continue) -> Asked:
    images = [read_image(path) for path in find_pictures(options.images)]
    long: dict[str, Any] = {"slide": options.slide, "keep": options.keep, "reuse": options.reuse}

    def answers(lvm: "LVM", **how: Any) -> list["Answer"]:
        return [lvm.complete(images, num_frames=options.frames, **long, **how)]

    return Asked(counts=[len(images)], num_frames=options.frames, rows=[[images]], answers=answers)


def _analogy(options: Analogy) -> Asked:
    queries = [read_image(path) for path in find_pictures(options.query)]
    if options.examples_from is not None:
        return _from_store(options, options.examples_from, queries)
    pairs = _read_pairs(options.pairs, "--pairs")

    def answers(lvm: "LVM", **how: Any) -> list["Answer"]:
        if options.ensemble == 1:
            return lvm.analogies(pairs, queries, **how)
        return [lvm.analogy(pairs, query, ensemble=options.ensemble, **how) for query in queries]

    return Asked(
        counts=[2 * len(pairs) + 1] * len(queries),
        num_frames=1,
        rows=[[[*_flat(pairs), query]] for query in queries],
        answers=answers,
    )


def _from_store(options: Analogy, store: Path, queries: Sequence[np.ndarray]) -> Asked:
    given = {"source": options.source, "target": options.target, "count": options.num_examples, "by": options.by}
    said: dict[str, Any] = {name: value for name, value in given.items() if value is not None}

    def answers(lvm: "LVM", **how: Any) -> list["Answer"]:
        return [lvm.analogy_from(store, query, ensemble=options.ensemble, **said, **how) for query in queries]

    count = 2 * (options.num_examples or 3) + 1
    return Asked(counts=[count] * len(queries), num_frames=1, rows=[[[query]] for query in queries], answers=answers)


def _composition(options: Compose) -> Asked:
    query = read_image(find_one(options.query, "--query"))
    groups = [_read_pairs(group, "--group") for group in options.group]

    def answers(lvm: "LVM", **how: Any) -> list["Answer"]:
        return [lvm.compose(groups, query=query, **how)]

    rows = [*map(_flat, groups), [query]]
    return Asked(counts=[sum(map(len, rows))], num_frames=1, rows=[rows], answers=answers)


def _read_pairs(words: Sequence[str], option: str) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(read_image(picture), read_image(answer)) for picture, answer in find_pairs(words, option)]


def _flat(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """a, A, b, B, ... of (a, A), (b, B), ..."""
    return [picture for pair in pairs for picture in pair]


def _shown(lvm: "LVM", options: Showing, rows: Rows, answer: "Answer") -> Outcome:
    """Write an answer; the prompt stands above it on the sheet as the model saw it, examples from a store with it."""
    above = [[lvm.bundle.tokenizer.preparation(picture) for picture in row] for row in rows]
    above = [*_examples_shown(lvm, answer), *above]
    sheet, *images = answer.save(options.out, prompt=above, ending=options.format)
    readings = write_readings(answer, options)
    values: dict[str, Any] = {
        "sheet": sheet,
        "images": images,
        "mean_log_prob": [float(value) for value in answer.mean_log_probs],
        "numbers": answer.numbers.tolist(),
        **readings,
    }
    if isinstance(options, Continue) and options.gif:
        values["gif"] = [options.out / f"candidate-{rank}.gif" for rank in range(len(answer.images))]
        for at, frames in zip(values["gif"], answer.images, strict=True):
            write_gif(at, [*above[0], *frames])
    lines = [*map(str, [sheet, *images, *values.get("gif", []), *(at for paths in readings.values() for at in paths)])]
    if answer.gain is not None and answer.understood is not None:
        values |= {"gain": [float(gain) for gain in answer.gain], "understood": answer.understood.tolist()}
        lines += [_misunderstood(rank, gain) for rank, gain in enumerate(values["gain"]) if gain <= 0]
    if answer.examples:
        values["examples"] = [{"record": one.record, "frame": one.frame} for one in answer.examples]
        lines.append(f"examples: records {', '.join(str(one.record) for one in answer.examples)}")
    if answer.reuse_error is not None:
        values["reuse_error"] = list(answer.reuse_error)
        worst = max(answer.reuse_error, default=0.0)
        lines.append(
            f"reuse: log-probabilities off by up to {worst:.3g} nats ({len(answer.reuse_error)} slides compared)"
        )
    return Outcome(values, "\n".join(lines))


def _misunderstood(rank: int, gain: float) -> str:
    told = f"answer {rank} is no likelier with the examples than without (gain {gain:+.3f} nats a code)"
    return f"task not understood: {told}"


def _examples_shown(lvm: "LVM", answer: "Answer") -> Rows:
    """The examples that came from a store, as their codes decode: a row a, A, b, B, ... if there are any."""
    if not answer.examples:
        return []
    import torch

    codes = [torch.as_tensor(row) for one in answer.examples for row in (one.source, one.target)]
    return [list(lvm.bundle.tokenizer.decode(torch.stack(codes)).cpu().numpy())]
