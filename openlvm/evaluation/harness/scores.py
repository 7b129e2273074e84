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
        "suite": request["suite"], "seeds": [request["seed"]], "predictors": request["predictors"],
        "row_order": request["row_order"], "column_order": [column.name for column in columns],
        "told": request["told"], "columns": {},
        "references": [{"name": one.name, "values": dict(one.values), "source": one.source} for one in references],
    }  # fmt: skip
    for column in columns:
        asked = request["columns"][column.name]
        rows = {}
        for predictor in asked["predictors"]:
            lines = lines_of(out, column.name, predictor)
            if len(lines) != asked["episodes"]:
                raise ValueError(
                    f"{column.name} by {predictor}: {len(lines)} of {asked['episodes']} episodes are done; run it again"
                )
            rows[predictor] = _row(column, lines, request["seed"])
        report["columns"][column.name] = {
            "episodes": asked["episodes"], "digest": asked["digest"],
            "asks": column.asks, "data": column.data, "protocol": column.protocol,
            "curve": list(column.curve) if column.curve else None,
            "metrics": [{"name": metric.name, "better": metric.better} for metric in column.metrics],
            "rows": rows,
        }  # fmt: skip
    write_json(out / "report.json", report)
    return report


def combined(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Reports of one suite under several seeds as one: means of values and of interval ends, and "spread".

    An interval tells of the choice of queries, spread (the standard deviation over seeds, n - 1) of that of examples
    and draws. Digests are joined.
    """
    first = reports[0]
    if len(reports) == 1:
        return dict(first)
    columns = {}
    for name, column in first["columns"].items():
        same = [report["columns"][name] for report in reports]
        rows = {row: _mean_row([one["rows"][row] for one in same]) for row in column["rows"]}
        columns[name] = {**column, "digest": "+".join(one["digest"] for one in same), "rows": rows}
    return {**first, "seeds": [seed for report in reports for seed in report["seeds"]], "columns": columns}


def _mean_row(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = {}
    for metric, found in rows[0]["values"].items():
        same = [row["values"][metric] for row in rows]
        labels = {label: _mean_value([one["by_label"].get(label) for one in same]) for label in found["by_label"]}
        values[metric] = {**_mean_value(same), "by_label": labels}
    return {"values": values, "seconds_an_answer": round(float(np.mean([row["seconds_an_answer"] for row in rows])), 4)}


def _mean_value(found: Sequence[Mapping[str, Any] | None]) -> dict[str, float | str | None]:
    """Of the seeds that have one: a label may be drawn under one seed and not under another."""
    there = [one for one in found if one is not None]
    means = (float(np.mean([number_of(one[end]) for one in there])) for end in Interval._fields)
    values = [number_of(one["value"]) for one in there]
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        spread = float(np.std(values, ddof=1)) if len(there) > 1 else float("nan")
    return {**_json(Interval(*means)), "spread": None if np.isnan(spread) else spread}


def _row(column: Column, lines: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    labels = sorted({line["label"] for line in lines} - {""})
    drawn = column.curve[0] if column.curve else column.name  # points of a curve share their resamples
    found = {
        metric.name: {
            **_json(score(metric, lines, seed, drawn)),
            "by_label": {
                label: _json(score(metric, [line for line in lines if line["label"] == label], seed, drawn, label))
                for label in labels
            },
        }
        for metric in column.metrics
    }
    return {"values": found, "seconds_an_answer": round(float(np.mean([line["seconds"] for line in lines])), 4)}


def number_of(told: float | str | None) -> float:
    """A number as `_json` spells it: None is NaN, words are infinity."""
    return float("nan") if told is None else float(told)


def _json(interval: Interval) -> dict[str, float | str | None]:
    """JSON knows neither NaN, which becomes None, nor infinity, which becomes a word."""
    spelled = {name: "inf" if value > 0 else "-inf" for name, value in interval._asdict().items() if np.isinf(value)}
    return {name: None if np.isnan(value) else value for name, value in interval._asdict().items()} | spelled
