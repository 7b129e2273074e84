"""A suite from beginning to end: who is in its tables, that it goes on where it stopped, seeds, processes, FID."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_suite import COUNT, LONG, SUITE, flat

from openlvm.core.files import read_json
from openlvm.core.images import write_image
from openlvm.core.ranks import Ranks
from openlvm.evaluation.harness.suite import Data
from openlvm.jobs.evaluation import suite as job
from openlvm.jobs.evaluation.suite import SuiteConfig, run_suite
from openlvm.perceptual.frechet import FeatureStatistics, frechet_distance
from openlvm.reports.evaluations.read import read_evaluation

COLUMN = ("inversion",)


def untimed(report):
    """A report without what no two runs share."""
    return json.loads(json.dumps(report), object_hook=lambda one: one.pop("seconds_an_answer", 0) and one or one)


def test_every_kind_of_row_stands_in_the_report(toy_run):
    at, report = toy_run
    rows = report["columns"]["inversion"]["rows"]
    expected = ["random", "random none", "random wrong", "copy", "mean", "nearest", "inverted", "ceiling"]
    assert report["row_order"] == list(rows) == expected
    assert list(report["columns"]["1 frames"]["rows"]) == ["random", "random none", "random wrong"]
    assert rows["inverted"]["values"]["MSE"]["value"] == 0
    queries = np.array([7 * number % 100 for number in range(COUNT)])
    copied = ((255 - 2 * queries) / 255) ** 2
    assert rows["copy"]["values"]["MSE"]["value"] == pytest.approx(copied.mean())
    mean = ((queries - (queries + 30)) / 255) ** 2  # the mean of answers 255 - q - 20 and 255 - q - 40
    assert rows["mean"]["values"]["MSE"]["value"] == pytest.approx(mean.mean())
    assert report["columns"]["puzzles"]["rows"]["random"]["values"]["right choices"]["value"] <= 1
    assert read_json(at / "report.json", "report") == json.loads(json.dumps(report))
    assert (at / "sheets/colors/random.png").exists() and report["sheets"] == [["colors", "Inverted?"]]
    assert report["told"]["is_packaged"] and report["told"]["left_out"] == []


def test_a_run_again_asks_nothing_and_a_killed_one_ends_the_same(toy_run, random_lvm, tmp_path, monkeypatch):
    at, report = toy_run

    def kept_files():
        return {
            path: path.stat().st_mtime_ns for ending in ("jsonl", "webp", "png") for path in at.rglob(f"*.{ending}")
        }

    before = kept_files()
    run_suite(SUITE, {"random": random_lvm}, at, SuiteConfig())
    assert before == kept_files()

    calls, ask_chunk = [], job.ask.__globals__["_ask_chunk"]

    def dies(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        ask_chunk(*args)

    monkeypatch.setitem(job.ask.__globals__, "_ask_chunk", dies)
    with pytest.raises(KeyboardInterrupt):
        run_suite(SUITE, {"random": random_lvm}, tmp_path, SuiteConfig())
    assert not (tmp_path / "report.json").exists()
    again = run_suite(SUITE, {"random": random_lvm}, tmp_path, SuiteConfig())
    assert untimed(again) == untimed(report)
    kept = [path.relative_to(at) for path in sorted(at.rglob("*.webp"))]
    assert kept == [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*.webp"))] and kept


def test_processes_share_the_work(toy_run, random_lvm, tmp_path, monkeypatch):
    """The second process begins when the first one waits."""
    _, report = toy_run
    lvms = {"random": random_lvm}
    asked = []

    def other(at):
        if job.num_missing(at):
            asked.append(run_suite(SUITE, lvms, tmp_path, SuiteConfig(), Ranks(rank=1, world_size=2)))

    waiting = job._wait_for_others
    monkeypatch.setattr(job, "_wait_for_others", lambda at: (other(at), waiting(at)))
    found = run_suite(SUITE, lvms, tmp_path, SuiteConfig(), Ranks(rank=0, world_size=2))
    assert asked == [{}] and untimed(found) == untimed(report)


def test_seeds_have_runs_of_their_own(random_lvm, tmp_path):
    config = SuiteConfig(columns=COLUMN, seeds=(0, 1), conditions=(), data=Data(episodes=4))
    report = run_suite(SUITE, {"random": random_lvm}, tmp_path, config)
    one, other = (read_json(tmp_path / f"seed-{seed}/report.json", "report") for seed in (0, 1))
    values = [told["columns"]["inversion"]["rows"]["copy"]["values"]["MSE"]["value"] for told in (one, other)]
    both = report["columns"]["inversion"]["rows"]["copy"]["values"]["MSE"]
    assert values[0] != values[1] and both["value"] == pytest.approx(np.mean(values))
    assert both["spread"] == pytest.approx(np.std(values, ddof=1)) and report["seeds"] == [0, 1]
    assert report["sheets"] == []  # of the whole suite alone
    assert read_evaluation(tmp_path / "seed-1").seeds == (1,) and read_evaluation(tmp_path).seeds == (0, 1)
    with pytest.raises(ValueError, match="seeds must be there and differ"):
        SuiteConfig(seeds=(1, 1))
    with pytest.raises(ValueError, match="of one seed; give one"):
        SuiteConfig(seeds=(0, 1), predictions={"a": tmp_path})


def test_what_does_not_fit_is_left_out_and_told(random_lvm, tmp_path):
    report = run_suite(LONG, {"random": random_lvm}, tmp_path, SuiteConfig())
    assert report["columns"]["long"]["rows"] == {}
    assert report["told"]["left_out"] == ["random in long: 41 pictures, 16 fit into its context"]
    assert "Nobody was asked" in (tmp_path / "report.html").read_text()


def test_other_systems_pictures_are_scored(tmp_path):
    for number in range(4):
        write_image(tmp_path / f"theirs/inversion/{number}.png", flat(255 - 7 * number % 100))
    config = SuiteConfig(columns=COLUMN, predictions={"painter": tmp_path / "theirs"}, data=Data(episodes=4))
    rows = run_suite(SUITE, {}, tmp_path / "run", config)["columns"]["inversion"]["rows"]
    assert list(rows) == ["painter", "copy", "mean", "nearest", "inverted"]
    assert rows["painter"]["values"]["MSE"]["value"] == 0 and rows["painter"]["values"]["PSNR (dB)"]["value"] == "inf"


def test_fid_is_that_of_all_answers_together(tmp_path, monkeypatch):
    """Over three chunks, by the features themselves: mean and deviation of the colors."""

    class Colors(torch.nn.Module):
        def forward(self, pixels):
            one = pixels.float().mean((1, 2)) / 255
            return torch.cat([one, one.square()], dim=1)

    monkeypatch.setattr(job, "load_inception", lambda at: Colors())
    (tmp_path / "w").write_bytes(b"weights")
    config = SuiteConfig(columns=COLUMN, fid_at=tmp_path / "w", data=Data(episodes=40))
    report = run_suite(SUITE, {}, tmp_path / "run", config)
    assert [metric["name"] for metric in report["columns"]["inversion"]["metrics"]] == ["MSE", "PSNR (dB)", "FID"]
    values = {name: row["values"]["FID"]["value"] for name, row in report["columns"]["inversion"]["rows"].items()}
    assert values["inverted"] == pytest.approx(0, abs=1e-9)
    queries = torch.tensor([7 * number % 100 for number in range(40)], dtype=torch.uint8)
    one, other = FeatureStatistics(6), FeatureStatistics(6)
    for statistics, colors in ((one, queries), (other, 255 - queries)):
        statistics.add(Colors()(colors[:, None, None, None].expand(-1, 2, 2, 3)))
    assert values["copy"] == pytest.approx(frechet_distance(one, other), rel=1e-4)
    assert read_json(tmp_path / "run/report.json", "report") == json.loads(json.dumps(report))
    with pytest.raises(ValueError, match=r"holds another evaluation \(its told differ\)"):
        run_suite(SUITE, {}, tmp_path / "run", replace(config, fid_at=None))


def test_lpips_is_a_metric_of_every_picture(tmp_path, monkeypatch):
    class Absolute(torch.nn.Module):
        name = "LPIPS (test)"

        def forward(self, one, other):
            return (one - other).abs().mean((1, 2, 3))

    monkeypatch.setattr(job, "load_lpips", lambda *at: Absolute())
    (tmp_path / "w").write_bytes(b"weights")
    config = SuiteConfig(columns=COLUMN, lpips_at=(tmp_path / "w", tmp_path / "w"), data=Data(episodes=4))
    rows = run_suite(SUITE, {}, tmp_path / "run", config)["columns"]["inversion"]["rows"]
    copied = [abs(255 - 14 * number) / 255 for number in range(4)]
    assert rows["copy"]["values"]["LPIPS (test)"]["value"] == pytest.approx(np.mean(copied))
