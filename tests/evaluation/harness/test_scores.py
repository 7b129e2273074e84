"""Scores from lines: intervals that cover, seeds that are averaged, and metrics that are alone together with FID."""

import json
from functools import partial

import numpy as np
import pytest

from openlvm.evaluation.harness.baselines import SIMPLE
from openlvm.evaluation.harness.questions import Column, Episode, Question
from openlvm.evaluation.harness.run import ask
from openlvm.evaluation.harness.scores import combined, number_of, score, write_scores
from openlvm.evaluation.measures.pictures import MAE, MSE, PSNR


def lines_of(values, clusters=None):
    return [
        {"cluster": str(number if clusters is None else clusters[number]), "sums": {"MSE/sum": value, "MSE/answers": 1}}
        for number, value in enumerate(values)
    ]


def test_the_interval_is_that_of_a_mean():
    chance = np.random.default_rng(0)
    values = chance.normal(5, 2, 400)
    found = score(MSE, lines_of(values), 0)
    error = values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)
    assert score(MSE, lines_of(values), 0) == found != score(MSE, lines_of(values), 1)


def test_equal_queries_are_one_draw():
    """Ten copies of each of 40 draws are no more sure than the 40."""
    values = np.random.default_rng(0).normal(5, 2, 40)
    once = score(MSE, lines_of(values), 0)
    copies = score(MSE, lines_of(np.repeat(values, 10), np.repeat(np.arange(40), 10)), 0)
    assert copies.high - copies.low == pytest.approx(once.high - once.low, rel=0.1)
    single = score(MSE, lines_of([1.0, 3.0], [7, 7]), 0)
    assert single.value == 2 and np.isnan(single.low) and np.isnan(single.high)


def report_of(tmp_path, seed, labels=("a", "b")):
    def episodes():
        return [Episode(number=n, query=str(n + 10 * seed), label=labels[n % len(labels)]) for n in range(4)]

    def question(episode):
        value = int(episode.query)
        return Question(query=np.full((4, 4, 3), value, np.uint8), truth=np.full((4, 4, 3), 200, np.uint8))

    column = Column(name="c", metrics=(MAE, PSNR), episodes=episodes, question=question, curve=("frames", 3))
    ask([column], SIMPLE, tmp_path / str(seed), suite="s", seed=seed, told={"about": "x"})
    return write_scores([column], tmp_path / str(seed))


def test_seeds_are_averaged_with_their_spread(tmp_path):
    reports = [report_of(tmp_path, 0), report_of(tmp_path, 1, labels=("a",))]
    both = combined(reports)
    assert both["seeds"] == [0, 1] and both["columns"]["c"]["curve"] == ["frames", 3]
    value = both["columns"]["c"]["rows"]["copy"]["values"]["MAE"]
    means = [(200 - (1.5 + 10 * seed)) / 255 for seed in (0, 1)]
    assert value["value"] == pytest.approx(np.mean(means)) and value["spread"] == pytest.approx(np.std(means, ddof=1))
    ends = [report["columns"]["c"]["rows"]["copy"]["values"]["MAE"]["low"] for report in reports]
    assert value["low"] == pytest.approx(np.mean(ends))
    assert value["by_label"]["b"]["value"] == pytest.approx((200 - 2) / 255)  # drawn under the first seed alone
    digests = [report["columns"]["c"]["digest"] for report in reports]
    assert both["columns"]["c"]["digest"] == "+".join(digests) and digests[0] != digests[1]
    assert combined(reports[:1]) == reports[0]
    json.dumps(both, allow_nan=False)


def test_infinite_values_stay_infinite_over_seeds():
    perfect = {"value": "inf", "low": "inf", "high": "inf", "by_label": {}}
    row = {"values": {"PSNR": perfect}, "seconds_an_answer": 1.0}
    report = {"seeds": [0], "columns": {"c": {"digest": "d", "rows": {"p": row}}}}
    found = combined([report, report])["columns"]["c"]["rows"]["p"]["values"]["PSNR"]
    assert found["value"] == "inf" and found["spread"] is None
    assert np.isnan(number_of(None)) and number_of("-inf") == -np.inf and number_of(0.5) == 0.5


def test_only_those_who_may_are_asked_and_missing_lines_are_told(tmp_path):
    ask_ = partial(ask, predictors=SIMPLE, out=tmp_path, suite="s", may=lambda one, column: one.name == "copy")

    def question(episode):
        return Question(query=np.zeros((4, 4, 3), np.uint8), truth=np.zeros((4, 4, 3), np.uint8))

    column = Column(name="c", metrics=(MSE,), episodes=lambda: [Episode(number=0, query="q")], question=question)
    ask_([column])
    report = write_scores([column], tmp_path)
    assert list(report["columns"]["c"]["rows"]) == ["copy"]
    assert report["row_order"] == ["copy", "mean", "nearest"] and report["column_order"] == ["c"]
    (tmp_path / "lines/c/copy/00000.jsonl").unlink()
    with pytest.raises(ValueError, match="c by copy: 0 of 1 episodes are done; run it again"):
        write_scores([column], tmp_path)
    empty = Column(name="none", metrics=(MSE,), episodes=list, question=question)
    with pytest.raises(ValueError, match="no episode in none"):
        ask_([empty])


def test_points_of_a_curve_share_their_resamples(tmp_path):
    def question(episode):
        return Question(query=np.full((4, 4, 3), int(episode.query), np.uint8), truth=np.zeros((4, 4, 3), np.uint8))

    def column(name, curve):
        episodes = [Episode(number=n, query=str(n * n)) for n in range(10)]
        return Column(name=name, metrics=(MAE,), episodes=lambda: episodes, question=question, curve=curve)

    columns = [column("one", ("frames", 1)), column("two", ("frames", 2)), column("three", None)]
    ask(columns, SIMPLE, tmp_path, suite="s")
    found = write_scores(columns, tmp_path)["columns"]
    lows = [found[name]["rows"]["copy"]["values"]["MAE"]["low"] for name in ("one", "two", "three")]
    assert lows[0] == lows[1] != lows[2]
