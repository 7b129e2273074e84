"""Fitting: from a folder of pairs and an LVM to an LVM that knows the task, with what it gained and what it forgot.

out/
  fit.json        what was asked for; the same command goes on where it was, another one is refused
  before.json     codes of the answers of the LVM as it was
  stores/         codes of the training pairs and their variants, and of what is replayed
  training/       config.json, metrics.jsonl, checkpoints/, decoder/
  after.json      codes of the answers of the fitted LVM
  bundle/         the fitted LVM
  report.json, report.md, gallery.png
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openlvm.bundle import Bundle, SpecialIds, load_bundle, save_bundle
from openlvm.core.files import read_json, write_json
from openlvm.core.images import write_image
from openlvm.core.records import IMAGE
from openlvm.core.runs import as_json, differences
from openlvm.jobs.fit.config import FitConfig
from openlvm.jobs.fit.folder import ANSWER, Checked, PairFiles, Split, checked, find_pairs, split
from openlvm.jobs.fit.forecast import Forecast, forecast
from openlvm.jobs.fit.questions import Question, answered, old_questions, pair_questions, scored
from openlvm.jobs.fit.replay import replayed
from openlvm.jobs.fit.report import card, gallery, page, table
from openlvm.jobs.laps import Laps
from openlvm.model.folder import load_decoder
from openlvm.prompting.lvm import LVM
from openlvm.sentences.grammar import MAX_IMAGES, Pairs
from openlvm.sources.augmented import Augmented
from openlvm.store.plan import Component
from openlvm.store.tokenize import tokenize
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.decoder.rows import LossConfig
from openlvm.training.decoder.train import DecoderTrainConfig, train_decoder
from openlvm.training.progress import say, spell_seconds

LENGTHS = (4, 8)  # pairs of a sentence, as in mini's recipe; what does not fit is left out

FEWEST_PASSES = 800  # so that the plan is long enough for every component, however few of its positions are trained on
FEW = 200  # training pairs; 30 are known by heart after 100 steps of two positions (docs/fit.md)


@dataclass(frozen=True, eq=False)
class _Begun:
    """What is known before anything is drawn or trained."""

    bundle: Bundle
    files: PairFiles
    found: Checked
    split: Split


def run_fit(pairs: Path, config: FitConfig, *, out: Path, dry_run: bool = False) -> dict[str, Any]:
    """Fit, evaluate and write everything into the folder `out`; started again, it goes on. Returns the report.

    Args:
        pairs: folder of the pairs, or a table (layouts: jobs/fit/folder.py).
        dry_run: say what would be done and how long it would take, and write nothing.
    """
    begun = _begin(pairs, config)
    if not dry_run:
        _claim(config, begun, out)
    expected = forecast(begun.bundle, begun.split, config)
    for line in _opening(config, begun, expected):
        say(line)
    if dry_run:
        return {"training_pairs": len(begun.split.training), "heldout_pairs": len(begun.split.heldout),
                "left_out": dict(begun.found.bad), "expected_seconds": expected.seconds}  # fmt: skip
    laps = Laps()
    preparation = begun.bundle.tokenizer.preparation
    questions = pair_questions(begun.files, begun.split, preparation, seed=config.seed)
    questions += old_questions(preparation, queries=config.queries, seed=config.seed)
    before = answered(out / "before.json", LVM(begun.bundle), questions, seed=config.seed)
    _tell(laps, "asking before")
    components = _components(config, begun, out / "stores")
    _tell(laps, "tokenizing")
    fitted = _trained(config, begun.bundle, components, out / "training")
    _tell(laps, "training")
    after = answered(out / "after.json", LVM(fitted), questions, seed=config.seed)
    _tell(laps, "asking after")
    return _finish(config, begun, fitted, questions, {"before": before, "after": after}, laps, expected, out)


def _begin(pairs: Path, config: FitConfig) -> _Begun:
    bundle = load_bundle(config.lvm, device=config.device)
    if bundle.special != SpecialIds.after(bundle.tokenizer.codebook_size):
        raise ValueError(
            f"the LVM {config.lvm} has the special ids {bundle.special}; a fit trains sentences between BOS and EOS "
            f"behind the codes, {SpecialIds.after(bundle.tokenizer.codebook_size)}. Train such a decoder on a store "
            "with `openlvm train own`"
        )
    if bundle.images_in_context < 2 * min(LENGTHS):
        raise ValueError(
            f"{bundle.images_in_context} pictures fit into the context of {config.lvm}; a fit needs {2 * min(LENGTHS)}"
        )
    files = find_pairs(pairs, given=config.given, asked=config.asked)
    found = checked(files, bundle.tokenizer.preparation)
    return _Begun(bundle, files, found, split(found, share=config.heldout, seed=config.seed))


def _opening(config: FitConfig, begun: _Begun, expected: Forecast) -> list[str]:
    first = begun.found.pairs[0]
    lines = [
        f"{len(begun.found.pairs)} pairs in {begun.files.at}, the first {first.given} -> {first.asked}; "
        f"{len(begun.split.training)} to learn from, {len(begun.split.heldout)} held out",
        f"{config.steps} steps of {config.positions} positions on {config.lvm}, "
        f"{begun.bundle.decoder.config.num_parameters:,} parameters; this will take about {expected.spelled}",
    ]
    if config.variants == 1 and len(begun.split.training) < FEW:
        lines.append(
            "few pairs are soon learned by heart; if a crop of both pictures is still the task, add --variants 8"
        )
    bad = begun.found.bad
    if bad:
        lines.insert(1, f"left out {len(bad)} pairs, the first: {bad[0][0]}: {bad[0][1]}")
    return lines


def _claim(config: FitConfig, begun: _Begun, out: Path) -> None:
    """Begin a fit in `out`, or go on with the same one."""
    asked = {
        "config": as_json(config),  # without the place of the pairs: a folder may be moved
        "pairs": begun.found.digest,
        "tokenizer": begun.bundle.tokenizer.fingerprint,
    }
    at = out / "fit.json"
    if not at.exists():
        if out.exists() and any(out.iterdir()):
            raise ValueError(f"{out} is not empty and holds no fit; choose another folder with --out")
        write_json(at, asked)
    changed = [f"{name}: {old!r} -> {new!r}" for name, old, new in differences(read_json(at, "fit request"), asked)]
    if changed:
        raise ValueError(
            f"{out} holds another fit ({'; '.join(changed[:4])}); choose another folder with --out, or delete it"
        )


def _tell(laps: Laps, name: str) -> None:
    say(f"{name}: {spell_seconds(laps.lap(name))}")


# ------------------------------------------------------------------------------------------------------------ training


def _components(config: FitConfig, begun: _Begun, stores_at: Path) -> tuple[Component, ...]:
    """Sentences of the pairs, in every length that fits, and what is replayed."""
    source: Any = PairFiles(begun.files.at, begun.split.training)
    if config.variants > 1:
        source = Augmented(source=source, variants=config.variants, seed=config.seed)
    store = tokenize(source, tokenizer=begun.bundle.tokenizer, at=stores_at / "pairs", max_bad_share=0.0)
    most = min(begun.bundle.images_in_context, MAX_IMAGES) // 2
    lengths = [length for length in LENGTHS if length <= min(most, store.num_records)]
    share = (1 - config.replay) / len(lengths)
    pairs = [
        Component(store.at, Pairs(source=IMAGE, target=ANSWER, pairs=length), share, f"{length} pairs of the folder")
        for length in lengths
    ]
    return (*pairs, *replayed(begun.bundle, stores_at, share=config.replay))


def _trained(config: FitConfig, bundle: Bundle, components: Sequence[Component], at: Path) -> Bundle:
    """The LVM after training; what stands in `at` is gone on with."""
    decoder = load_bundle(config.lvm).decoder.train().requires_grad_(True)  # the other one is laid out for drawing
    training = DecoderTrainConfig(
        model=decoder.config,
        train=TrainConfig(
            steps=config.steps,
            positions_per_step=config.positions,
            positions_per_forward=config.positions,
            optim=OptimConfig(
                lr=config.lr, weight_decay=0.01, warmup_steps=min(10, config.steps // 4), final_share=0.1
            ),
            precision="bf16",  # as mini; a third less time than float32 on a core that knows it
            log_every=max(1, config.steps // 10),
            checkpoint_every=max(1, min(50, config.steps // 2)),
            seed=config.seed,
        ),
        components=tuple(components),
        max_passes=max(FEWEST_PASSES, 2 * config.steps * config.positions),  # two sentences a position, a pass each
        loss=LossConfig(answer=1.0, query=0.1, context=0.3),
    )
    decoder_at = train_decoder(training, at, decoder=decoder, resume=True, device=config.device)
    return replace(bundle, decoder=load_decoder(decoder_at).to(config.device).eval())


# ------------------------------------------------------------------------------------------------------------- writing


def _finish(
    config: FitConfig,
    begun: _Begun,
    fitted: Bundle,
    questions: Sequence[Question],
    codes: dict[str, torch.Tensor],
    laps: Laps,
    expected: Forecast,
    out: Path,
) -> dict[str, Any]:
    """Scores, report, pictures and the bundle."""
    tokenizer = fitted.tokenizer
    truths = torch.from_numpy(np.stack([question.truth for question in questions]))
    pictures = {name: _decoded(tokenizer.decode, some) for name, some in codes.items()}
    pictures["ceiling"] = _decoded(lambda some: tokenizer.decode(tokenizer.encode(some)), truths)
    scores = scored(questions, pictures, seed=config.seed)
    report = {
        "lvm": config.lvm,
        "training_pairs": len(begun.split.training),
        "heldout_pairs": [pair.key for pair in begun.split.heldout],
        "left_out": dict(begun.found.bad),
        "pairs": begun.files.at.resolve().name,
        "config": as_json(config),
        "tasks": {score.task: score.report() for score in scores},
        "expected_seconds": expected.seconds,
        "seconds": laps.seconds,
        "threads": torch.get_num_threads(),
        "bundle": str(out / "bundle"),
    }
    meta = {**begun.bundle.meta, "fitted": {"from": config.lvm, "config": report["config"]}}
    save_bundle(
        out / "bundle",
        tokenizer=tokenizer,
        decoder=fitted.decoder,
        special=fitted.special,
        context=fitted.context,
        card=card(report, scores),
        meta=meta,
    )
    write_image(out / "gallery.png", gallery(questions, pictures))
    page(out / "report.md", report, scores)
    write_json(out / "report.json", report)
    say(table(scores))
    return report


def _decoded(draw: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, at_once: int = 64) -> list[np.ndarray]:
    """A picture uint8 [size, size, 3] of each row, some at a time."""
    return [*torch.cat([draw(some).cpu() for some in rows.split(at_once)]).numpy()]
