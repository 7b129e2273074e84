"""Every suite of the table, from its questions to its page, on packaged data."""

import math

import pytest
from asked import MINIATURES

from openlvm.evaluation.harness.suite import Data
from openlvm.evaluation.published.table import SUITES, load_suite
from openlvm.jobs.evaluation.suite import SuiteConfig, run_suite

pytestmark = pytest.mark.slow


def check(suite, report, at):
    """Every column has every row that can answer it, and the page is written."""
    assert report["column_order"] == [plan.name for plan in suite.plans]
    for name, column in report["columns"].items():
        assert "random" in column["rows"], name
        if column["asks"] == "picture":
            assert {"copy", "mean", "nearest", "ceiling"} <= column["rows"].keys()
        first = column["metrics"][0]["name"]
        assert all(row["values"][first]["value"] is not None for row in column["rows"].values()), name
        assert not any(math.isnan(float(row["seconds_an_answer"])) for row in column["rows"].values())
    assert all((at / "sheets" / sheet.name / "random.png").exists() for sheet in suite.sheets)
    assert all(name in (at / "report.html").read_text() for name in report["columns"])


@pytest.mark.parametrize("name", list(SUITES))
def test_packaged(name, random_lvm, tmp_path):
    config = SuiteConfig(data=Data(episodes=4), conditions=("none",))
    check(load_suite(name), run_suite(load_suite(name), {"random": random_lvm}, tmp_path, config), tmp_path)


def test_official_files(random_lvm, tmp_path):
    """Of the other suites, whose examples need more than a miniature holds, see the tests of each."""
    suite = load_suite("reasoning")
    for dataset in {dataset for plan in suite.plans for dataset in plan.datasets}:
        MINIATURES[dataset](tmp_path / "data" / dataset)
    config = SuiteConfig(data=Data(root=tmp_path / "data", episodes=2), conditions=())
    report = run_suite(suite, {"random": random_lvm}, tmp_path / "run", config)
    check(suite, report, tmp_path / "run")
    assert not report["told"]["is_packaged"]
