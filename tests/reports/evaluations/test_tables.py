"""Tables: which value stands where, what is best, and that published rows keep to themselves."""

import csv
import io
import math
from dataclasses import replace

import pytest
from written_evaluations import COLUMNS, PREDICTORS, column, row, value, write_evaluation

from openlvm.reports.evaluations.read import Value, is_evaluation, read_evaluation, role_of
from openlvm.reports.evaluations.tables import (
    best_of,
    by_label,
    cell_of,
    html,
    markdown,
    of_column,
    overview,
    scores_csv,
    warnings,
)


@pytest.fixture
def evaluation(tmp_path):
    return read_evaluation(write_evaluation(tmp_path / "e"))


def test_overview_groups_rows_by_what_they_are(evaluation):
    table = overview(evaluation)
    assert list(table.head) == ["", "zebra\nperplexity ↓", "3 frames\nperplexity ↓", "1 frames\nperplexity ↓"]
    assert [(group.title.split(",")[0], [name for name, _ in group.rows]) for group in table.groups] == [
        ("Models", ["small", "large <1>"]),
        ("The same models", ["small none"]),
        ("Without learning", ["copy"]),
        ("The tokenizer's ceiling", ["ceiling"]),
        ("Published", ["Bai & al."]),
    ]
    rows = dict(table.groups[0].rows)
    assert rows["small"][0] == ("20", "[18, 22]", False) and rows["large <1>"][0].is_best
    assert dict(table.groups[2].rows)["copy"][1].text == ""  # not asked
    assert dict(table.groups[-1].rows)["Bai & al."] == [("14", "", False), ("55", "", False), ("62.1", "", False)]


def test_packaged_numbers_are_told_apart_from_published_ones(tmp_path, evaluation):
    packaged = read_evaluation(write_evaluation(tmp_path / "packaged", packaged=True))
    assert overview(packaged).groups[-1].title == "Published, on other pictures or pairs: compares with no row above"
    assert overview(evaluation).groups[-1].title.startswith("Published, not measured here")


def test_perplexities_of_several_tokenizers_are_warned_of(tmp_path):
    others = {**PREDICTORS, "small": {**PREDICTORS["small"], "tokenizer": "u"}}
    pictures = read_evaluation(write_evaluation(tmp_path / "pictures", predictors=others))
    assert warnings(pictures) == []
    likely = {"zebra": {**COLUMNS["zebra"], "asks": "likelihood"}}
    same = read_evaluation(write_evaluation(tmp_path / "same", columns=likely))
    assert warnings(same) == []
    differ = read_evaluation(write_evaluation(tmp_path / "differ", columns=likely, predictors=others, packaged=True))
    packaged, tokenizers = warnings(differ)
    assert "compare with no published one" in packaged and "different tokenizers" in tokenizers


def test_best_follows_the_direction_and_needs_two(evaluation):
    zebra = evaluation.columns["zebra"]
    assert best_of(zebra, ["small", "large <1>"]) == "large <1>"
    assert best_of(replace(zebra, metrics={"perplexity": "higher"}), ["small", "large <1>"]) == "small"
    assert best_of(zebra, ["small"]) == "" == best_of(zebra, ["small", "absent"])


def test_columns_and_labels(evaluation):
    table = of_column(evaluation, evaluation.columns["zebra"])
    assert list(table.head) == ["", "perplexity ↓", "loss ↓"]
    assert [cell.text for cell in dict(table.groups[0].rows)["small"]] == ["20", "3"]
    labels = by_label(evaluation, evaluation.columns["zebra"])
    assert labels and list(labels.head) == ["", "cat", "dog"]
    assert [cell.text for cell in dict(labels.groups[0].rows)["small"]] == ["20", "21"]
    assert by_label(evaluation, evaluation.columns["1 frames"]) is None


def test_cells():
    nan = math.nan
    assert cell_of(None).text == "" and cell_of(Value(nan, nan, nan)) == ("–", "", False)
    assert cell_of(Value(math.inf, math.inf, math.inf)).text == "∞"
    assert cell_of(Value(-0.5, -1, 0.25), 0.125) == ("−0.5", "[−1, 0.25] ± 0.125", False)


def test_markdown_and_html_hold_the_same(evaluation):
    lines = markdown(overview(evaluation))
    assert lines[0] == "|  | zebra<br>perplexity ↓ | 3 frames<br>perplexity ↓ | 1 frames<br>perplexity ↓ |"
    assert "| large <1> | **10** [9, 11] | **6** [5.4, 6.6] | **9** [8.1, 9.9] |" in lines
    assert len({line.count("|") for line in lines}) == 1
    page = html(overview(evaluation), ["#a", "#b", "#c"])
    assert "large &lt;1&gt;" in page and "<1>" not in page and '<a href="#b">3 frames' in page
    assert "<td><b>10</b><small>[9, 11]</small></td>" in page


def test_csv_holds_every_number(evaluation):
    rows = list(csv.DictReader(io.StringIO(scores_csv([evaluation]))))
    found = {(one["column"], one["predictor"], one["metric"], one["label"]): one for one in rows}
    assert found["zebra", "small", "perplexity", "dog"]["value"] == "21.0"
    assert (
        found["zebra", "small", "loss", ""]["low"] == "2.7" and found["zebra", "copy", "loss", ""]["role"] == "baseline"
    )
    published = [one for one in rows if one["role"] == "published"]
    assert [(one["column"], one["value"], one["low"]) for one in published] == [
        ("zebra", "14.0", ""), ("3 frames", "55.0", ""), ("1 frames", "62.1", "")
    ]  # fmt: skip
    assert len(found) == len(rows) == 5 * 2 + 2 * 2 + 2 * 2 + 2 * 2 + 3


def test_what_a_folder_holds(tmp_path, evaluation):
    assert evaluation.rows("model") == ["small", "large <1>"] and list(evaluation.columns) == list(COLUMNS)
    assert role_of({"predictor": "folder"}) == role_of({}) == "model"
    assert is_evaluation(evaluation.at) and not is_evaluation(tmp_path)
    assert evaluation.run_at == evaluation.at
    seeds = read_evaluation(write_evaluation(tmp_path / "seeds", seeds=(3, 4)))
    assert seeds.run_at == tmp_path / "seeds/seed-3"
    spread = column(
        {"small": {"values": {"perplexity": value(1.0, spread=0.5), "loss": value(1.0)}, "seconds_an_answer": 1}}
    )
    several = read_evaluation(write_evaluation(tmp_path / "spread", columns={"c": spread}))
    assert several.columns["c"].rows["small"].spreads["perplexity"] == 0.5
    infinite = column({"small": row(1.0, 2.0)})
    infinite["rows"]["small"]["values"]["loss"] = {"value": "inf", "low": None, "high": "inf", "by_label": {}}
    read = read_evaluation(write_evaluation(tmp_path / "infinite", columns={"c": infinite})).columns["c"]
    assert read.rows["small"].values["loss"].value == math.inf and math.isnan(read.rows["small"].values["loss"].low)


def test_other_reports_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no report of an evaluation at"):
        read_evaluation(tmp_path)
    (tmp_path / "report.json").write_text('{"suite": "mini", "tasks": {}}')
    with pytest.raises(ValueError, match="is not the report of a suite such as talk"):
        read_evaluation(tmp_path)
