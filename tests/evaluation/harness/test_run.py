"""A run asks every episode once, goes on where it was killed, is the same on two processes, refuses another request."""

import json
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from openlvm.core.files import read_json
from openlvm.core.ranks import Ranks
from openlvm.evaluation.harness import run
from openlvm.evaluation.harness.baselines import SIMPLE, PredictedFolder, Spoiled
from openlvm.evaluation.harness.questions import Column, Episode, Likelihood, Question, digest
from openlvm.evaluation.harness.run import CHUNK, ask, lines_of
from openlvm.evaluation.harness.scores import Reference, write_scores
from openlvm.evaluation.measures.codes import PERPLEXITY
from openlvm.evaluation.measures.pictures import MSE, PSNR

COUNT = 2 * CHUNK + 5


def picture(value):
    return np.full((8, 8, 3), value, np.uint8)


def episodes(count=COUNT):
    return [Episode(number=n, query=str(n % 40), label="odd" if n % 2 else "even") for n in range(count)]


def question(episode):
    return Question(
        examples=[(picture(1), picture(200)), (picture(90), picture(100))],
        query=picture(int(episode.query)),
        truth=picture(250 - int(episode.query)),
    )


@dataclass
class Counting:
    """Answers with noise from the seed, and counts how often it is asked."""

    name: str = "counting"
    asked: int = 0
    stops_at: int = 10**9

    def describe(self):
        return {"predictor": "counting"}

    def answers(self, questions, *, seed):
        if self.asked >= self.stops_at:
            raise KeyboardInterrupt
        self.asked += len(questions)
        chance = np.random.default_rng(seed)
        return [chance.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in questions]


def column(name="inversion", count=COUNT):
    return Column(name=name, metrics=(MSE, PSNR), episodes=partial(episodes, count), question=question)


def test_every_episode_is_asked_once_and_scored(tmp_path):
    model = Counting()
    ask([column()], [model, *SIMPLE], tmp_path, suite="s")
    assert model.asked == COUNT
    lines = lines_of(tmp_path, "inversion", "copy")
    assert [line["number"] for line in lines] == list(range(COUNT))
    expected = [((250 - 2 * (n % 40)) / 255) ** 2 for n in range(COUNT)]
    assert [line["sums"]["MSE/sum"] for line in lines] == pytest.approx(expected)
    report = write_scores([column()], tmp_path, [Reference(name="theirs", values={"inversion": 1.0}, source="a paper")])
    value = report["columns"]["inversion"]["rows"]["copy"]["values"]["MSE"]
    assert value["value"] == pytest.approx(np.mean(expected)) and value["low"] < value["value"] < value["high"]
    assert value["by_label"]["odd"]["value"] == pytest.approx(np.mean(expected[1::2]))
    assert report["references"][0]["name"] == "theirs"
    nearest = report["columns"]["inversion"]["rows"]["nearest"]["values"]["MSE"]["value"]
    near = [200 if abs(n % 40 - 1) < abs(n % 40 - 90) else 100 for n in range(COUNT)]
    assert nearest == pytest.approx(np.mean([((a - 250 + n % 40) / 255) ** 2 for n, a in enumerate(near)]))


def test_a_stopped_run_goes_on_and_ends_the_same(tmp_path):
    ask([column()], [Counting()], tmp_path / "whole", suite="s")
    stopped = Counting(stops_at=CHUNK)
    with pytest.raises(KeyboardInterrupt):
        ask([column()], [stopped], tmp_path / "twice", suite="s")
    again = Counting()
    ask([column()], [again], tmp_path / "twice", suite="s")
    assert stopped.asked + again.asked == COUNT and again.asked == COUNT - CHUNK
    untimed = [
        [{**line, "seconds": 0} for line in lines_of(tmp_path / name, "inversion", "counting")]
        for name in ("whole", "twice")
    ]
    assert untimed[0] == untimed[1]
    for name in ("whole", "twice"):
        write_scores([column()], tmp_path / name)
    reports = [read_json(tmp_path / name / "report.json", "report") for name in ("whole", "twice")]
    for report in reports:
        report["columns"]["inversion"]["rows"]["counting"].pop("seconds_an_answer")
    assert reports[0] == reports[1]


def test_two_processes_give_the_lines_of_one(tmp_path):
    ask([column()], [Counting()], tmp_path / "one", suite="s")
    for rank in (0, 1):
        ask([column()], [Counting()], tmp_path / "two", suite="s", ranks=Ranks(rank=rank, world_size=2))
    one, two = (
        [{**line, "seconds": 0} for line in lines_of(tmp_path / name, "inversion", "counting")]
        for name in ("one", "two")
    )
    assert one == two


def test_an_unfinished_run_has_no_scores(tmp_path):
    ask([column()], [Counting()], tmp_path, suite="s", ranks=Ranks(rank=0, world_size=2))
    with pytest.raises(ValueError, match=f"{2 * CHUNK - CHUNK + 5} of {COUNT} episodes are done; run it again"):
        write_scores([column()], tmp_path)


def test_another_request_is_refused(tmp_path):
    ask([column(count=3)], [Counting()], tmp_path, suite="s")
    with pytest.raises(ValueError, match=r"holds another evaluation \(its columns differ\)"):
        ask([column(count=4)], [Counting()], tmp_path, suite="s")
    with pytest.raises(ValueError, match=r"its seed differ"):
        ask([column(count=3)], [Counting()], tmp_path, suite="s", seed=1)


def test_names_must_differ_and_be_fit_for_folders(tmp_path):
    with pytest.raises(ValueError, match="twice"):
        ask([column(), column()], [Counting()], tmp_path, suite="s")
    with pytest.raises(ValueError, match="odd"):
        ask([column("a/b")], [Counting()], tmp_path, suite="s")


def test_equal_lists_have_equal_digests():
    assert digest(episodes()) == digest(episodes()) != digest(episodes(COUNT - 1))


def test_answers_are_resized_to_the_truth(tmp_path):
    class Small(Counting):
        def answers(self, questions, *, seed):
            return [np.full((4, 2, 3), 7, np.uint8) for _ in questions]

    ask([column(count=1)], [Small()], tmp_path, suite="s")
    assert lines_of(tmp_path, "inversion", "counting")[0]["sums"]["MSE/sum"] == pytest.approx((243 / 255) ** 2)


def test_only_models_with_likelihoods_are_asked_for_them(tmp_path):
    class Model(Counting):
        def likelihoods(self, questions):
            return [Likelihood(np.log(np.full(4, 0.5)), np.ones(4, bool)) for _ in questions]

        def perplexities(self, questions):
            raise AssertionError

    likely = Column(
        name="p", asks="likelihood", metrics=(PERPLEXITY,), episodes=partial(episodes, 3), question=question
    )
    ask([likely], [Model(), *SIMPLE], tmp_path, suite="s")
    report = write_scores([likely], tmp_path)
    assert list(report["columns"]["p"]["rows"]) == ["counting"]
    assert report["columns"]["p"]["rows"]["counting"]["values"]["perplexity"]["value"] == pytest.approx(2)


def test_perfect_answers_are_reported_as_infinite_not_lost(tmp_path):
    class Perfect(Counting):
        def answers(self, questions, *, seed):
            return [question.truth for question in questions]

    ask([column(count=3)], [Perfect()], tmp_path, suite="s")
    values = write_scores([column(count=3)], tmp_path)["columns"]["inversion"]["rows"]["counting"]["values"]
    assert values["MSE"]["value"] == 0 and values["PSNR (dB)"]["value"] == "inf"
    json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda word: pytest.fail(word))


def test_predicted_pictures_of_another_system(tmp_path):
    from openlvm.core.images import write_image

    for episode in episodes(3):
        write_image(tmp_path / f"theirs/inversion/{episode.number}.png", question(episode).truth)
    ask([column(count=3)], [PredictedFolder(tmp_path / "theirs")], tmp_path / "run", suite="s")
    assert [line["sums"]["MSE/sum"] for line in lines_of(tmp_path / "run", "inversion", "theirs")] == [0, 0, 0]
    with pytest.raises(FileNotFoundError, match=r"no predicted picture .*inversion/3\.png"):
        ask([column(count=4)], [PredictedFolder(tmp_path / "theirs")], tmp_path / "other", suite="s")


def test_spoiled_prompts():
    seen = []

    class Watching(Counting):
        def answers(self, questions, *, seed):
            seen.extend(questions)
            return [question.query for question in questions]

    asked = question(episodes(1)[0])
    for condition in ("none", "wrong", "shuffled"):
        spoiled = Spoiled(Watching(), condition)
        spoiled.answers([asked], seed=0)
        assert spoiled.name == f"counting {condition}"
    none, wrong, shuffled = seen
    assert not none.examples
    assert all((answer == 255 - shown).all() for shown, answer in wrong.examples)
    assert [answer[0, 0, 0] for _, answer in shuffled.examples] == [100, 200]
    assert all((one.query == asked.query).all() for one in seen)


def test_pictures_of_the_first_episodes_are_kept(tmp_path):
    ask([column()], [Counting()], tmp_path, suite="s")
    kept = sorted(path.name for path in (tmp_path / "pictures/inversion/counting").iterdir())
    assert kept == [f"{n}.webp" for n in range(run.SHOWN)]
    assert len(list((tmp_path / "pictures/inversion/asked/0").iterdir())) == 6  # two pairs, the query, the truth
