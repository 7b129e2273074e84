"""From lines to tables: values with bootstrap intervals, by column, predictor and metric; from the lines alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.files import read_json, write_json
from openlvm.evaluation.harness.questions import Column, Metric, value_of
from openlvm.evaluation.harness.run import REQUEST, lines_of
from openlvm.evaluation.intervals import LEVEL, Interval, resamples


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A row of published numbers, printed beside the measured ones and never mixed with them."""

    name: str
    values: Mapping[str, float]
    """Column -> the value of its first metric."""
    source: str
    """Where they are published, and what differs from the protocol here."""


def score(metric: Metric, lines: Sequence[Mapping[str, Any]], *seed: str | int) -> Interval:
    """A metric over lines with its 95 % bootstrap interval over clusters; NaN ends where there is but one cluster.

    Args:
        lines: as `ask` wrote them, at least one.
        seed: parts of the resamples' chance: equal parts give equal resamples, so that rows may be compared.
    """
    names = sorted({name for line in lines for name in line["sums"] if name.startswith(f"{metric.name}/")})
    table = np.array([[line["sums"].get(name, 0.0) for name in names] for line in lines])  # [n, sums]
    whole = value_of(metric, dict(zip(names, table.sum(0)[:, None], strict=True)))
    clusters = [line["cluster"] for line in lines]
    if len(set(clusters)) < 2:
        return Interval(float(whole[0]), float("nan"), float("nan"))
    with np.errstate(invalid="ignore"):  # 0 times infinity, where an answer is perfect
        drawn = resamples(clusters, *seed) @ table  # [R, sums]
    samples = value_of(metric, dict(zip(names, drawn.T, strict=True)))
    tail = (1 - LEVEL) / 2
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(samples, [tail, 1 - tail]) if np.isfinite(samples).any() else (np.nan, np.nan)
    return Interval(float(whole[0]), float(low), float(high))


def write_scores(columns: Sequence[Column], out: Path, references: Sequence[Reference] = ()) -> dict[str, Any]:
    """Read the lines of a run, write OUT/report.json, and return what it says.

    Raises:
        ValueError: episodes are missing: the run is not finished.
    """
    request = read_json(out / REQUEST, "request of an evaluation")
    report: dict[str, Any] = {
        "suite": request["suite"], "seed": request["seed"], "predictors": request["predictors"], "columns": {},
        "references": [{"name": one.name, "values": dict(one.values), "source": one.source} for one in references],
    }  # fmt: skip
    for column in columns:
        told = request["columns"][column.name]
        rows = {}
        for predictor in request["predictors"]:
            lines = lines_of(out, column.name, predictor)
            if not lines:
                continue
            if len(lines) != told["episodes"]:
                raise ValueError(
                    f"{column.name} by {predictor}: {len(lines)} of {told['episodes']} episodes are done; run it again"
                )
            rows[predictor] = _row(column, lines, report["seed"])
        report["columns"][column.name] = {
            **told, "data": column.data, "protocol": column.protocol,
            "metrics": [{"name": metric.name, "better": metric.better} for metric in column.metrics],
            "rows": rows,
        }  # fmt: skip
    write_json(out / "report.json", report)
    return report


def _row(column: Column, lines: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    labels = sorted({line["label"] for line in lines} - {""})
    found = {
        metric.name: {
            **_json(score(metric, lines, seed, column.name)),
            "by_label": {
                label: _json(
                    score(metric, [line for line in lines if line["label"] == label], seed, column.name, label)
                )
                for label in labels
            },
        }
        for metric in column.metrics
    }
    return {"values": found, "seconds_an_answer": round(float(np.mean([line["seconds"] for line in lines])), 4)}


def _json(interval: Interval) -> dict[str, float | str | None]:
    """JSON knows neither NaN, which becomes None, nor infinity, which becomes a word."""
    spelled = {name: "inf" if value > 0 else "-inf" for name, value in interval._asdict().items() if np.isinf(value)}
    return {name: None if np.isnan(value) else value for name, value in interval._asdict().items()} | spelled
