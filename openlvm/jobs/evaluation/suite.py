"""A suite from beginning to end: models, methods without learning and other systems' pictures, in one report.

    OUT/            a run as in evaluation/harness/run.py, or
    OUT/seed-N/     one such run for each of several seeds
    OUT/sheets/     prompts and answers that are looked at, not scored
    OUT/report.json, report.html, report.md, scores.csv

May run as several processes (torchrun) that share OUT; the first one waits for the others and writes the report.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openlvm.core.files import sha256_of, write_json
from openlvm.core.images import write_image
from openlvm.core.ranks import Ranks
from openlvm.evaluation.harness.predictors import LVMPredictor
from openlvm.evaluation.harness.questions import Column, Metric
from openlvm.evaluation.harness.run import ask, num_missing, unwatched
from openlvm.evaluation.harness.scores import combined, write_scores
from openlvm.evaluation.harness.suite import Data, Plan, Suite, require_data
from openlvm.evaluation.measures.features import FID, fid_of, keeping_features
from openlvm.evaluation.measures.pictures import distance_metric
from openlvm.jobs.evaluation.predictors import whom_to_ask
from openlvm.perceptual.distance import load_lpips
from openlvm.perceptual.inception import InceptionFeatures, load_inception
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import Sampling
from openlvm.reports.evaluations.page import write_pages
from openlvm.training.progress import say

PATIENCE = 60.0  # seconds between lines that say what is waited for


@dataclass(frozen=True, kw_only=True)
class SuiteConfig:
    """What is asked of whom."""

    data: Data = field(default_factory=Data)
    columns: tuple[str, ...] = ()
    """Names; none means all, and the sheets as well."""
    seeds: tuple[int, ...] = (0,)
    """Of episodes that the protocol does not fix, and of answers drawn."""
    predictions: Mapping[str, Path] = field(default_factory=dict)
    """Name -> folder of another system's pictures."""
    conditions: tuple[str, ...] = ("none", "wrong")
    """By which prompts are spoiled besides."""
    temperature: float | None = None
    """Of answers; None is each LVM's own."""
    fid_at: Path | None = None
    """Weights of FID's InceptionV3."""
    lpips_at: tuple[Path, Path] | None = None
    """VGG16 and the heads of LPIPS."""
    device: str = "cpu"
    """Where the networks of FID and LPIPS run."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be there and differ, given {list(self.seeds)}")
        if self.predictions and len(self.seeds) > 1:
            raise ValueError("predicted pictures answer the questions of one seed; give one")

    @property
    def sampling(self) -> Sampling | None:
        """How LVMs draw; None is each one's own way."""
        return None if self.temperature is None else Sampling(temperature=self.temperature)


def run_suite(
    suite: Suite, lvms: Mapping[str, LVM], out: Path, config: SuiteConfig, ranks: Ranks | None = None
) -> dict[str, Any]:
    """Ask, score and write the report; what report.json holds, or nothing on processes that do not write it.

    Raises:
        FileNotFoundError: datasets or predicted pictures are not there.
        ValueError: an unknown column or condition; the folder of another run.
    """
    ranks = ranks or Ranks()
    plans = suite.chosen(config.columns)
    sheets = () if config.columns else suite.sheets
    require_data([*plans, *sheets], config.data)
    metrics = [_lpips_metric(config)] if config.lpips_at else []
    inception = load_inception(config.fid_at).to(config.device) if config.fid_at else None
    several = len(config.seeds) > 1
    asked = []
    for seed in config.seeds:
        at = out / f"seed-{seed}" if several else out
        columns = [_column(plan, replace(config.data, seed=seed), metrics) for plan in plans]
        _ask(suite, lvms, plans, columns, at, config, seed, inception, ranks)
        asked.append((at, columns))
    if not ranks.is_main:
        return {}
    for sheet in sheets:
        for name, lvm in lvms.items():
            sheet_at = out / "sheets" / sheet.name / f"{name}.png"
            if not sheet_at.exists():
                model = LVMPredictor(lvm, name, sampling=config.sampling)
                write_image(sheet_at, sheet.draw(model, config.data, config.seeds[0]))
    for at, _ in asked:
        _wait_for_others(at)
    reports = []
    for at, columns in asked:
        reports.append(write_scores(columns, at, suite.references))
        if inception:
            reports[-1] = _with_fid(reports[-1], at)
    report = combined(reports)
    report["sheets"] = [[sheet.name, sheet.about] for sheet in sheets]
    write_json(out / "report.json", report)
    write_pages(out)
    return report


def _column(plan: Plan, data: Data, metrics: Sequence[Metric]) -> Column:
    """A plan's column; its list of episodes is made once, since making it may read every clip."""
    column = plan.make(data)
    episodes = list(column.episodes())
    more = tuple(metrics) if column.asks == "picture" else ()
    return replace(column, name=plan.name, episodes=lambda: episodes, metrics=(*column.metrics, *more))


def _ask(
    suite: Suite,
    lvms: Mapping[str, LVM],
    plans: Sequence[Plan],
    columns: Sequence[Column],
    at: Path,
    config: SuiteConfig,
    seed: int,
    inception: InceptionFeatures | None,
    ranks: Ranks,
) -> None:
    whom = whom_to_ask(
        lvms, plans, {column.name: column for column in columns},
        predictions=config.predictions, conditions=config.conditions, sampling=config.sampling,
    )  # fmt: skip
    for line in whom.left_out if ranks.is_main else ():
        say(f"left out: {line}")
    told = {
        "about": suite.about,
        "is_packaged": config.data.is_packaged,
        "support": config.data.support,
        "left_out": whom.left_out,
        "weights": {Path(weights).name: sha256_of(weights) for weights in (config.fid_at, *(config.lpips_at or ()))
                    if weights},
    }  # fmt: skip
    watch = keeping_features(at, inception) if inception else unwatched
    ask(columns, whom.predictors, at, suite=suite.name, seed=seed, ranks=ranks, may=whom.may, watch=watch, told=told)


def _wait_for_others(at: Path) -> None:
    """Until every chunk is there; a process that died is for torchrun to notice."""
    waited = 0.0
    while missing := num_missing(at):
        if waited % PATIENCE == 0:
            say(f"waiting for {missing} chunks of other processes")
        time.sleep(1)
        waited += 1


def _lpips_metric(config: SuiteConfig) -> Metric:
    assert config.lpips_at
    network = load_lpips(*config.lpips_at).to(config.device)

    def distance(answer: np.ndarray, truth: np.ndarray) -> float:
        one, other = (torch.from_numpy(np.array(picture)).to(config.device).permute(2, 0, 1)[None] / 255
                      for picture in (answer, truth))  # fmt: skip
        with torch.inference_mode():
            return float(network(one, other))

    return distance_metric(network.name, distance)


def _with_fid(report: dict[str, Any], at: Path) -> dict[str, Any]:
    """The report of a run with FID in every column of pictures; it has no interval."""
    for name, column in report["columns"].items():
        if column["asks"] != "picture":
            continue
        column["metrics"].append({"name": FID, "better": "lower"})
        for predictor, row in column["rows"].items():
            row["values"][FID] = {"value": fid_of(at, name, predictor), "low": None, "high": None, "by_label": {}}
    write_json(at / "report.json", report)
    return report
