"""A suite: columns over datasets of the catalogue or over packaged data, and the published rows printed beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openlvm.core.picking import pick
from openlvm.evaluation.harness.predictors import Predictor
from openlvm.evaluation.harness.questions import Column
from openlvm.evaluation.harness.scores import Reference
from openlvm.sources.catalog.table import CATALOG


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the datasets of a suite lie, and how much of them is asked."""

    root: Path | None = None
    """Folder that holds each dataset in a folder named as its row of the catalogue; None is the packaged data."""
    episodes: int | None = None
    """Of each column; None is the protocol's own number (of packaged data: a column's default)."""
    seed: int = 0
    """Of episodes that the protocol does not fix."""
    support: str = "val"
    """Where examples come from, in protocols that have several pools: "val" or "train"."""

    @property
    def is_packaged(self) -> bool:
        """The same tasks on pictures that come with OpenLVM; its numbers compare with no published one."""
        return self.root is None

    def at(self, dataset: str) -> Path:
        """Folder of a dataset."""
        assert self.root is not None
        return self.root / dataset


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """One column of a suite, before its data is looked at."""

    name: str
    datasets: tuple[str, ...] = ()
    """Rows of the catalogue that it reads when it is not packaged."""
    make: Callable[[Data], Column]
    """Its column; with `data.is_packaged` on packaged data."""
    classical: Callable[[], Sequence[Predictor]] = tuple
    """Methods without learning that answer this column alone: Sobel for edges, Otsu for masks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """Prompts whose answers are looked at, not scored."""

    name: str
    """Also a file's name: the run saves OUT/sheets/<name>/<predictor>.png."""
    about: str
    """What to look for, in a line or two."""
    draw: Callable[[Predictor, Data, int], np.ndarray]
    """A contact sheet (core/sheets.py) of prompts and a model's answers, uint8 [H, W, 3]: of the model (its `answers`),
    the data and a seed."""
    datasets: tuple[str, ...] = ()
    """Rows of the catalogue that it reads when it is not packaged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Suite:
    """A published set of evaluations."""

    name: str
    about: str
    """What it is, and whose protocol, in a line or two."""
    plans: tuple[Plan, ...]
    references: tuple[Reference, ...] = ()
    sheets: tuple[Sheet, ...] = ()

    def chosen(self, names: Sequence[str] = ()) -> list[Plan]:
        """The plans named, in the suite's order; all by default."""
        table: Mapping[str, Plan] = {plan.name: plan for plan in self.plans}
        wanted = {pick(table, name, f"column of {self.name}").name for name in names} or set(table)
        return [plan for plan in self.plans if plan.name in wanted]


def require_data(plans: Sequence[Plan | Sheet], data: Data) -> None:
    """Refuse to begin without the data: one message with every folder that lacks and what belongs into it.

    Raises:
        FileNotFoundError: folders are missing.
    """
    if data.is_packaged:
        return
    needed = dict.fromkeys(dataset for plan in plans for dataset in plan.datasets)
    lacking = [dataset for dataset in needed if not data.at(dataset).is_dir()]
    if lacking:
        told = "; ".join(
            f"{data.at(name)}: {CATALOG[name].dataset} ({CATALOG[name].home}), as {_one_line(CATALOG[name].layout)}"
            for name in lacking
        )
        raise FileNotFoundError(
            f"{len(lacking)} of {len(needed)} datasets are not there: {told}. Put or link them there, choose other "
            "columns (--columns), or leave --data out for packaged pictures"
        )


def _one_line(layout: str) -> str:
    return ", ".join(" ".join(line.split()) for line in layout.strip().splitlines())
