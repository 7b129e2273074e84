"""Folders of evaluations written by hand: what tests of their reports share."""

import json

import numpy as np

from openlvm.core.images import write_image

PREDICTORS = {
    "small": {"predictor": "lvm", "parameters": 1_000_000, "tokenizer": "t"},
    "large <1>": {"predictor": "lvm", "parameters": 100_000_000, "tokenizer": "t"},
    "small none": {"predictor": "lvm", "parameters": 1_000_000, "tokenizer": "t", "condition": "none"},
    "copy": {"predictor": "baseline", "method": "copy"},
    "ceiling": {"predictor": "ceiling"},
}


def value(number, **more):
    return {"value": number, "low": number * 0.9, "high": number * 1.1, "by_label": {}, **more}


def row(*numbers, labels=()):
    names = ("perplexity", "loss")
    values = {name: value(number) for name, number in zip(names, numbers, strict=False)}
    values["perplexity"]["by_label"] = {label: value(numbers[0] + place) for place, label in enumerate(labels)}
    return {"values": values, "seconds_an_answer": 0.5}


def column(rows, *, digest="abc", curve=None, better="lower"):
    metrics = [{"name": "perplexity", "better": better}, {"name": "loss", "better": "lower"}]
    return {"episodes": 7, "digest": digest, "asks": "picture", "data": "made-up", "protocol": "As written & read.",
            "curve": curve, "metrics": metrics, "rows": rows}  # fmt: skip


COLUMNS = {
    "zebra": column({
        "small": row(20.0, 3.0, labels=("cat", "dog")), "large <1>": row(10.0, 2.3, labels=("cat", "dog")),
        "small none": row(40.0, 3.7), "copy": row(5.0, 9.0), "ceiling": row(1.0, 0.5),
    }),
    "3 frames": column({"small": row(8.0, 2.0), "large <1>": row(6.0, 1.8)}, curve=["context frames", 3]),
    "1 frames": column({"small": row(12.0, 2.5), "large <1>": row(9.0, 2.2)}, curve=["context frames", 1]),
}  # fmt: skip
REFERENCES = [
    {"name": "Bai & al.", "values": {"zebra": 14.0, "1 frames": 62.1, "3 frames": 55.0}, "source": "Fig. 4"},
    {"name": "elsewhere", "values": {"other": 1.0}, "source": "Fig. 5"},
]


def write_evaluation(at, *, columns=None, predictors=None, seeds=(0,), packaged=False, sheets=None):
    """A report.json as `openlvm evaluate` leaves it, and pictures of one episode."""
    columns, predictors = columns or COLUMNS, predictors or PREDICTORS
    report = {"suite": "made-up", "seeds": list(seeds), "predictors": predictors, "columns": columns,
              "row_order": list(predictors), "column_order": list(columns), "references": REFERENCES,
              "told": {"about": "By hand.", "is_packaged": packaged, "left_out": ["small in x: too long"]},
              "sheets": sheets or []}  # fmt: skip
    run_at = at if len(seeds) == 1 else at / f"seed-{seeds[0]}"
    shown = run_at / "pictures/zebra"
    for name in ("asked/0/00 example", "asked/0/01 answer", "asked/0/02 query", "asked/0/truth", "small/0", "copy/0"):
        write_image(shown / f"{name}.webp", np.full((200, 100, 3), len(name), np.uint8))
    at.mkdir(parents=True, exist_ok=True)
    (at / "report.json").write_text(json.dumps(report, sort_keys=True))
    return at
