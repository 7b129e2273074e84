"""Evaluations side by side: rows of all, one column only for equal lists of episodes, curves by size and frames."""

import csv
import json

import pytest
from written_evaluations import COLUMNS, PREDICTORS, column, row, write_evaluation

from openlvm.reports.evaluations.compare import merged, write_comparison
from openlvm.reports.evaluations.curves import curves, size_curves
from openlvm.reports.evaluations.read import read_evaluation

OTHERS = {"middle": {"predictor": "lvm", "parameters": 10_000_000, "tokenizer": "t"}, "copy": PREDICTORS["copy"]}


@pytest.fixture
def two(tmp_path):
    """The second folder has another model, and another list of episodes in the second column."""
    columns = {
        "zebra": column({"middle": row(15.0, 2.7), "copy": row(5.0, 9.0)}),
        "1 frames": column({"middle": row(11.0, 2.4)}, digest="other", curve=["context frames", 1]),
        "new": column({"middle": row(1.0, 2.0)}),
    }
    return [
        write_evaluation(tmp_path / "one"),
        write_evaluation(tmp_path / "two", columns=columns, predictors=OTHERS),
    ]


def test_rows_of_all_folders_stand_together(two):
    [found] = merged([read_evaluation(at) for at in two])
    assert found.rows("model") == ["small", "large <1>", "middle"] and found.rows("baseline") == ["copy"]
    zebra = found.columns["zebra"].rows
    assert {name: told.values["perplexity"].value for name, told in zebra.items()} == {
        "small": 20, "large <1>": 10, "small none": 40, "copy": 5, "ceiling": 1, "middle": 15
    }  # fmt: skip


def test_other_episodes_are_another_column(two):
    [found] = merged([read_evaluation(at) for at in two])
    assert list(found.columns) == [*COLUMNS, "1 frames (list other)", "new"]
    assert set(found.columns["1 frames"].rows) == {"small", "large <1>"}
    assert set(found.columns["1 frames (list other)"].rows) == {"middle"}


def test_another_model_of_the_same_name_keeps_its_own_row(tmp_path):
    first = write_evaluation(tmp_path / "first")
    told = {"small": {"predictor": "lvm", "parameters": 5, "tokenizer": "t"}}
    columns = {"zebra": column({"small": row(7.0, 1.0)})}
    second = write_evaluation(tmp_path / "second", predictors=told, columns=columns)
    [found] = merged([read_evaluation(at) for at in (first, second)])
    values = {name: one.values["perplexity"].value for name, one in found.columns["zebra"].rows.items()}
    assert values["small"] == 20 and values["small (second)"] == 7


def test_packaged_and_official_numbers_never_share_a_table(tmp_path):
    folders = [write_evaluation(tmp_path / str(packaged), packaged=packaged) for packaged in (True, False)]
    assert [one.is_packaged for one in merged([read_evaluation(at) for at in folders])] == [True, False]


def test_sizes_and_frames_make_curves(two):
    [found] = merged([read_evaluation(at) for at in two])
    by_size = size_curves(found)
    assert list(by_size) == ["zebra", "3 frames", "1 frames"]  # at least two sizes
    assert by_size["zebra"].count("<circle") == 3 and "10M" in by_size["zebra"]
    shown = curves(read_evaluation(two[0]))
    assert list(shown) == ["context frames"]
    assert shown["context frames"].count("<polyline") == 3  # two models and the published one
    assert "Bai &amp; al." in shown["context frames"] and "stroke-dasharray" in shown["context frames"]


def test_files_of_a_comparison(two, tmp_path):
    told = write_comparison(two, tmp_path / "out")
    assert json.loads((tmp_path / "out/report.json").read_text()) == told
    assert told["evaluations"][0]["columns"]["zebra"]["rows"]["middle"] == 15
    page, text = (tmp_path / "out/report.html").read_text(), (tmp_path / "out/report.md").read_text()
    assert "Bai &amp; al.: Fig. 4" in page and "- Bai & al.: Fig. 4" in text
    assert "middle" in page and "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "| middle | 15 [13.5, 16.5] |" in text and "plots/context-frames.svg" in text
    rows = list(csv.DictReader((tmp_path / "out/scores.csv").open()))
    assert [one["value"] for one in rows if one["predictor"] == "middle" and one["column"] == "zebra"] == [
        "15.0",
        "2.7",
    ]
