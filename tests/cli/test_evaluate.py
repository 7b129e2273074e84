"""`openlvm evaluate` of a published suite, and `openlvm report` of evaluations; mistakes are one line."""

import json
from pathlib import Path

import pytest

from openlvm.cli.main import main
from openlvm.core.images import read_image, write_image
from openlvm.evaluation.published.table import SUITES

SMALL = ("--columns", "inversion", "--episodes", 3, "--conditions")


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The toy suite stands in the table."""
    monkeypatch.setitem(SUITES, "toy", "toy_suite")


def test_evaluate_writes_a_report_and_reports_compare(lvm_at, tmp_path, openlvm_json, capsys):
    told = openlvm_json("evaluate", "toy", "--lvm", lvm_at, "--out", tmp_path / "one", *SMALL, "none")
    assert told["columns"]["inversion"]["rows"].keys() == {
        "lvm", "lvm none", "copy", "mean", "nearest", "inverted", "ceiling"
    }  # fmt: skip
    for name in ("report.html", "report.md", "scores.csv", "report.json", "request.json"):
        assert (tmp_path / "one" / name).exists(), name
    words = ["evaluate", "toy", "--lvm", f"again={lvm_at}", f"other={lvm_at}", "--out", str(tmp_path / "two")]
    assert main([*words, *map(str, SMALL)]) == 0
    printed = capsys.readouterr().out
    assert "| again |" in printed and "| inverted | 0 [0, 0] |" in printed and "two/report.html" in printed
    compared = openlvm_json("report", tmp_path / "one", tmp_path / "two", "--out", tmp_path / "both")
    [found] = compared["evaluations"]
    assert {"lvm", "again", "other"} <= found["columns"]["inversion"]["rows"].keys()
    assert "again" in (tmp_path / "both/report.html").read_text()


def test_questions_are_answered_by_another_system(tmp_path, openlvm_json):
    told = openlvm_json("evaluate", "toy", "--questions", tmp_path / "asked", "--episodes", 2)
    assert told["questions"] == 2
    for line in map(json.loads, Path(told["index"]).read_text().splitlines()):
        write_image(tmp_path / "answers" / line["answer"], 255 - read_image(tmp_path / "asked" / line["query"]))
    words = ("--lvm", "--predictions", f"theirs={tmp_path / 'answers'}", "--columns", "inversion", "--episodes", 2)
    told = openlvm_json("evaluate", "toy", *words, "--out", tmp_path / "run")
    assert told["columns"]["inversion"]["rows"]["theirs"]["values"]["MSE"]["value"] == 0


def test_mistakes_are_one_line(lvm_at, tmp_path, openlvm_error):
    def wrong(*words):
        return openlvm_error("evaluate", *words, "--out", tmp_path / "run")

    assert "no suite called 'tlak'; did you mean talk?" in wrong("tlak")
    assert "no column of toy called 'inverison'; did you mean inversion?" in wrong("toy", "--columns", "inverison")
    assert f"no folder of datasets at {tmp_path / 'none'}" in wrong("toy", "--data", tmp_path / "none")
    absent = wrong("toy", "--data", tmp_path, "--lvm", lvm_at)
    assert f"{tmp_path / 'nyuv2'}: " in absent and "Put or link them there" in absent
    assert "no folder of predicted pictures" in wrong("toy", "--lvm", "--predictions", tmp_path / "none")
    assert "both called 'a'" in wrong("toy", "--lvm", f"a={lvm_at}", f"a={tmp_path}")
    assert "seeds must be there and differ" in wrong("toy", "--seeds", 1, 1)
    assert "questions are written of one seed" in wrong("toy", "--questions", tmp_path / "q", "--seeds", 1, 2)
    assert "--queries" in wrong("toy", "--queries", 3)  # a flag of mini alone
    assert not (tmp_path / "run").exists()


def test_mini_comes_first(lvm_at, openlvm_error):
    assert "the suite comes first: openlvm evaluate mini" in openlvm_error("evaluate", "--lvm", lvm_at, "--", "mini")
    assert "--columns" in openlvm_error("evaluate", "mini", "--columns", "x")


def test_folders_of_one_kind_are_compared(lvm_at, tmp_path, openlvm_json, openlvm_error):
    openlvm_json("evaluate", "toy", "--lvm", "--out", tmp_path / "one", *SMALL)
    (tmp_path / "run").mkdir()
    assert "run holds no evaluation, but" in openlvm_error("report", tmp_path / "one", tmp_path / "run")
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini/report.json").write_text('{"suite": "mini", "tasks": {}}')
    assert "is not the report of a suite" in openlvm_error("report", tmp_path / "mini")


@pytest.mark.slow
def test_torchrun_shares_a_suite_of_the_package(lvm_at, tmp_path, openlvm_json, by_torchrun):
    """Two processes give the report of one."""
    words = ["evaluate", "reasoning", "--lvm", lvm_at, "--episodes", 20, "--conditions"]
    openlvm_json(*words, "--out", tmp_path / "one")
    ended = by_torchrun(*words, "--out", tmp_path / "two")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("two/report.html") == 1  # one of them prints
    one, two = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two"))
    for report in (one, two):
        for column in report["columns"].values():
            for row in column["rows"].values():
                row.pop("seconds_an_answer")
    assert one == two
