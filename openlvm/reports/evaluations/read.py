"""What the folder of an evaluation says: its report.json as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from openlvm.core.files import read_json

ROLES = {
    "model": "Models",
    "spoiled": "The same models, prompts spoiled",
    "baseline": "Without learning",
    "ceiling": "The tokenizer's ceiling",
}
"""Role of a row -> the heading above such rows."""


class Value(NamedTuple):
    """A number with its interval; NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One predictor in one column: everything by metric."""

    values: Mapping[str, Value]
    spreads: Mapping[str, float]
    """Standard deviation over seeds; NaN of one seed."""
    by_label: Mapping[str, Mapping[str, Value]]
    """Label -> value; empty without labels."""
    seconds: float
    """For an answer."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A column of an evaluation."""

    name: str
    data: str
    protocol: str
    episodes: int
    digest: str
    asks: str
    curve: tuple[str, float] | None
    """Name of an axis, and the column's place on it."""
    metrics: Mapping[str, str]
    """Name -> "higher" or "lower", whichever is better; the first is the one printed first."""
    rows: Mapping[str, Row]
    """Predictor -> its values; those who were not asked have none."""

    @property
    def first(self) -> str:
        """The metric printed first."""
        return next(iter(self.metrics))

    @property
    def is_better_higher(self) -> bool:
        """Of the first metric."""
        return self.metrics[self.first] == "higher"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A suite that was asked."""

    at: Path
    suite: str
    about: str
    is_packaged: bool
    seeds: tuple[int, ...]
    predictors: Mapping[str, Mapping[str, Any]]
    """Name -> what it said of itself."""
    columns: Mapping[str, Scores]
    references: tuple[Mapping[str, Any], ...]
    """Published rows: name, values by column, source."""
    left_out: tuple[str, ...]
    sheets: Mapping[str, str]
    """Name -> what to look for."""

    @property
    def run_at(self) -> Path:
        """Folder of the lines and pictures: of the first seed, where there are several."""
        return self.at if len(self.seeds) == 1 else self.at / f"seed-{self.seeds[0]}"

    def rows(self, role: str) -> list[str]:
        """Names of the predictors of a role of `ROLES`."""
        return [name for name, told in self.predictors.items() if role_of(told) == role]


def role_of(told: Mapping[str, Any]) -> str:
    """What a predictor is in a table, by what it says of itself."""
    if "condition" in told:
        return "spoiled"
    return told["predictor"] if told.get("predictor") in ("baseline", "ceiling") else "model"


def is_evaluation(at: Path) -> bool:
    """Whether a folder holds the report of a suite, rather than a training run."""
    return (at / "report.json").is_file() and not (at / "config.json").exists()


def read_evaluation(at: Path) -> Evaluation:
    """The evaluation in a folder.

    Raises:
        FileNotFoundError, ValueError: no report there, or one of something else.
    """
    report = read_json(at / "report.json", "report of an evaluation")
    if not isinstance(report, dict) or not {"suite", "seeds", "columns", "column_order"} <= report.keys():
        raise ValueError(f"{at} is not the report of a suite such as talk or bar2022; `openlvm evaluate` writes those")
    told = report["told"]
    return Evaluation(
        at=at,
        suite=report["suite"],
        about=told.get("about", ""),
        is_packaged=told.get("is_packaged", False),
        seeds=tuple(report["seeds"]),
        predictors={name: report["predictors"][name] for name in report["row_order"]},
        columns={name: _scores(name, report["columns"][name]) for name in report["column_order"]},
        references=tuple(report["references"]),
        left_out=tuple(told.get("left_out", ())),
        sheets=dict(report.get("sheets", [])),
    )


def _scores(name: str, column: Mapping[str, Any]) -> Scores:
    return Scores(
        name=name,
        data=column["data"],
        protocol=column["protocol"],
        episodes=column["episodes"],
        digest=column["digest"],
        asks=column["asks"],
        curve=tuple(column["curve"]) if column["curve"] else None,
        metrics={metric["name"]: metric["better"] for metric in column["metrics"]},
        rows={row: _row(told) for row, told in column["rows"].items()},
    )


def _row(told: Mapping[str, Any]) -> Row:
    values = told["values"]
    return Row(
        values={metric: _value(one) for metric, one in values.items()},
        spreads={metric: _number(one.get("spread")) for metric, one in values.items()},
        by_label={
            metric: {label: _value(of_label) for label, of_label in one["by_label"].items()}
            for metric, one in values.items()
        },
        seconds=told["seconds_an_answer"],
    )


def _value(told: Mapping[str, Any]) -> Value:
    return Value(*(_number(told[end]) for end in Value._fields))


def _number(told: float | str | None) -> float:
    """None is NaN; "inf" is infinity."""
    return float("nan") if told is None else float(told)
