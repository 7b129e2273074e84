"""The report's folder: what stands in its files."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from written_runs import write_run

from openlvm.reports.page import markdown_table, write_report
from openlvm.reports.plots import running_mean, spell_count
from openlvm.reports.runs import read_runs

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """Three sizes of two seeds."""
    at = tmp_path_factory.mktemp("ladder")
    runs = [
        write_run(at / f"{size}-{seed}", size=size, seed=seed, loss=loss + seed / 10)
        for size, loss in (("demo", 6.0), ("mini", 5.5), ("mini_128", 5.0))
        for seed in (0, 1)
    ]
    told = write_report(read_runs(runs), at / "report")
    return at / "report", told


def test_report_holds_every_run_and_every_size(ladder):
    at, told = ladder
    assert told["loss"] == "held-out" and len(told["runs"]) == 6
    assert [(point["runs"], point["loss"], point["spread"]) for point in told["points"]] == [
        (2, 5.55, 0.0707), (2, 5.05, 0.0707), (2, 4.55, 0.0707)
    ]  # fmt: skip
    assert json.loads((at / "report.json").read_text()) == told
    rows = list(csv.DictReader((at / "runs.csv").open()))
    assert [row["run"] for row in rows] == [run["run"] for run in told["runs"]]
    assert float(rows[0]["heldout_loss"]) == told["runs"][0]["heldout_loss"] == 5.5
    assert len(told["power_laws"]) == 2 and told["power_laws"][0].startswith("loss = ")


def test_pages_hold_the_tables_and_the_plots(ladder):
    at, told = ladder
    markdown, page = (at / "report.md").read_text(), (at / "report.html").read_text()
    for text in (markdown, page):
        assert "demo-0" in text and "5.05" in text and told["power_laws"][1].split("  ")[0] in text
    assert page.count("data:image/png;base64,") == 2 and "http" not in page
    for name in ("curves.png", "scaling.png"):
        pixels = np.asarray(Image.open(at / name).convert("RGB"))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50  # not an empty panel


def test_reports_repeat(ladder, tmp_path):
    at, _ = ladder
    runs = read_runs(sorted(at.parent.glob("*-[01]")))
    write_report(runs, tmp_path / "once")
    write_report(runs, tmp_path / "again")
    for file in (tmp_path / "once").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_one_run_is_a_report_without_a_law(tmp_path):
    told = write_report(read_runs([write_run(tmp_path / "one", heldout=False)]), tmp_path / "report")
    assert told["power_laws"] == [] and told["points"][0]["spread"] is None and told["loss"] == "training"
    assert "No power law: three sizes are needed" in (tmp_path / "report" / "report.md").read_text()


def test_running_mean_and_spelling():
    assert running_mean([(1, 4.0), (2, 2.0), (3, 0.0)], width=2) == [(1, 4.0), (2, 3.0), (3, 1.0)]
    assert [spell_count(value) for value in (329_568, 947_840, 30.6e6, 290_968_576, 6.5e9)] == [
        "0.33M", "0.95M", "31M", "291M", "6.5B"
    ]  # fmt: skip
    assert markdown_table([{"run": "a", "heldout_loss": None, "codes": 1234567}]) == [
        "| run | heldout loss | codes |", "| --- | ---: | ---: |", "| a | – | 1,234,567 |"
    ]  # fmt: skip
