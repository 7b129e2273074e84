"""A batch of prompts: lines as the official tools write them, answered as one by one, stopped and gone on with."""

import json
from dataclasses import replace
from math import log

import numpy as np
import pytest
from opinions import with_opinions

from openlvm.core.images import read_image, write_image
from openlvm.core.seeds import rng, seed_of
from openlvm.jobs import prompt as job
from openlvm.jobs.prompt import BatchConfig, answer_lines, units
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import GREEDY, Sampling

PLAIN = BatchConfig(sampling=Sampling())


@pytest.fixture(scope="module")
def lvm_at(lvm_at, tmp_path_factory):
    return with_opinions(lvm_at, tmp_path_factory.mktemp("opinions") / "lvm")


@pytest.fixture(scope="module")
def lvm(lvm_at):
    return LVM.load(lvm_at)


@pytest.fixture
def at(tmp_path):
    """A folder of eight pictures, 0.png to 7.png."""
    for number in range(8):
        pixels = rng("picture", number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        write_image(tmp_path / f"{number}.png", pixels)
    return tmp_path


def names(*numbers):
    return [f"{number}.png" for number in numbers]


def file_of(at, *lines):
    (at / "lines.jsonl").write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
    return at / "lines.jsonl"


def results(at):
    return [json.loads(line) for line in (at / "out" / "results.jsonl").read_text().splitlines()]


def test_lines_of_all_lengths_equal_the_facade_one_by_one(lvm, at):
    inputs = [names(*range(count)) for count in (3, 1, 4, 5, 2)] + [names(0, 1, 7), names(0, 1, 6)]
    lines = [{"input": given, "output": f"{number}/answer.png"} for number, given in enumerate(inputs)]
    found = answer_lines(lvm, file_of(at, *lines), at / "out", replace(PLAIN, sampling=GREEDY))
    assert (found["lines"], found["answered"], found["bad"]) == (7, 7, {})
    for number, given in enumerate(inputs):
        expected = lvm.complete([at / name for name in given], sampling=GREEDY)
        assert (read_image(at / "out" / f"{number}/answer.png") == expected.images[0, 0]).all()


def test_chance_of_a_line_is_its_own(lvm, at):
    lines = [{"input": names(0, 1), "output": "a.png"}, {"input": names(2, 3), "output": "b"}]
    answer_lines(lvm, file_of(at, *lines), at / "out", replace(PLAIN, seed=5, at_once=1, candidates=2))
    for number, (given, output) in enumerate([((0, 1), "a.png"), ((2, 3), "b.png")], start=1):
        seed = seed_of("batch", 5, number)
        expected = lvm.complete([at / name for name in names(*given)], num_candidates=2, seed=seed)
        drawn = read_image(at / "out" / output)
        assert (drawn == expected.images[:, 0].reshape(32, 16, 3)).all()  # candidates down
        [result] = [one for one in results(at) if one["line"] == number]
        assert np.allclose(result["mean_log_prob"], expected.mean_log_probs, atol=1e-5)


def test_analogies_of_a_unit_know_whether_they_are_understood(lvm, at):
    lines = [{"input": names(0, 1, 2, 3, query)} for query in (4, 5)]
    answer_lines(lvm, file_of(at, *lines), at / "out", replace(PLAIN, sampling=GREEDY))
    pairs = [(at / "0.png", at / "1.png"), (at / "2.png", at / "3.png")]
    for query, result in zip((4, 5), results(at), strict=True):
        expected = lvm.analogy(pairs, at / f"{query}.png", sampling=GREEDY)
        assert np.allclose(result["gain"], expected.gain, atol=1e-4)


def test_scores_match_the_facade(lvm, at):
    lines = [{"input": names(0, 1), "target": "2.png"}, {"input": names(3), "target": names(4, 5)}]
    found = answer_lines(lvm, file_of(at, *lines), at / "out", replace(PLAIN, score_only=True))
    one = lvm.score([at / "0.png", at / "1.png"], at / "2.png")
    first = lvm.score([at / "3.png"], at / "4.png")
    two = (first * lvm.score([at / "3.png", at / "4.png"], at / "5.png")) ** 0.5
    assert np.allclose([result["perplexity"] for result in results(at)], [one, two])
    assert np.isclose(found["perplexity"], (one + two) / 2)
    assert np.isclose(log(found["perplexity_of_mean"]), (log(one) + log(two)) / 2)
    assert found["pixel_error"] is None and not list((at / "out").glob("*.png"))


def test_errors_of_known_answers(lvm, at):
    line = {"input": names(0, 1), "output": "answer.png"}
    answer_lines(lvm, file_of(at, line), at / "out", replace(PLAIN, sampling=GREEDY))
    truth = read_image(at / "out" / "answer.png").copy()
    write_image(at / "same.png", truth)
    away = np.where(truth < 128, truth + 51, truth - 51).astype(np.uint8)  # by a fifth, in every channel
    write_image(at / "away.png", away)
    lines = [{**line, "output": f"{name}.png", "target": f"{name}.png"} for name in ("same", "away")]
    answer_lines(lvm, file_of(at, *lines), at / "again", replace(PLAIN, sampling=GREEDY))
    same, other = [json.loads(text) for text in (at / "again" / "results.jsonl").read_text().splitlines()]
    assert (same["pixel_error"], same["squared_error"]) == (0, 0)
    assert np.allclose((other["pixel_error"], other["squared_error"]), (0.2, 3 * 0.2**2))


def test_frames_are_as_many_as_targets(lvm, at):
    lines = [{"input": names(0), "target": names(1, 2, 3)}, {"input": names(0)}]
    answer_lines(lvm, file_of(at, *lines), at / "out", replace(PLAIN, frames=2))
    assert [read_image(at / "out" / one["output"]).shape for one in results(at)] == [(16, 48, 3), (16, 32, 3)]


def test_stopped_batch_resumes_to_the_same_bytes(lvm, at, monkeypatch):
    lines = [{"input": names(number, 7), "output": f"{number}.png", "target": names(6)} for number in range(5)]
    lines_at, config = file_of(at, *lines), replace(PLAIN, at_once=2)
    answer_lines(lvm, lines_at, at / "whole", config)
    answer_unit, calls = job._answer_unit, []

    def stops(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answer_unit(*given)

    monkeypatch.setattr(job, "_answer_unit", stops)
    with pytest.raises(KeyboardInterrupt):
        answer_lines(lvm, lines_at, at / "out", config)
    assert len(results(at)) == 2
    with open(at / "out" / "results.jsonl", "a") as file:
        file.write('{"line": 3, "inp')  # a kill in the middle of a line
    found = answer_lines(lvm, lines_at, at / "out", config)
    assert (found["answered"], found["answered_before"], len(calls)) == (3, 2, 4)
    for name in ("results.jsonl", "4.png", "0.png"):
        assert (at / "out" / name).read_bytes() == (at / "whole" / name).read_bytes()
    assert answer_lines(lvm, lines_at, at / "out", config)["answered"] == 0


def test_folder_of_another_request_is_refused(lvm, at):
    lines_at = file_of(at, {"input": names(0)})
    answer_lines(lvm, lines_at, at / "out", PLAIN)
    with pytest.raises(ValueError, match=r"another request \(config.seed\)"):
        answer_lines(lvm, lines_at, at / "out", replace(PLAIN, seed=1))
    again = answer_lines(lvm, lines_at, at / "out", replace(PLAIN, max_bad=0.5))
    assert (again["answered"], again["answered_before"]) == (0, 1)
    with pytest.raises(ValueError, match="line 1 of .* answers another file"):
        answer_lines(lvm, file_of(at, {"input": names(1)}), at / "out", PLAIN)


BAD = {
    "{'input': ['0.png']}": "not JSON",
    "[1]": "expected an object",
    '{"input": "0.png"}': '"input" must be a list of paths',
    '{"input": []}': "at least one picture",
    '{"input": ["none.png"]}': "no picture at",
    '{"input": ["0.png"], "target": 3}': '"target" must be a list',
    '{"input": ["0.png"], "output": "../x.png"}': "below the folder of the answers",
    '{"input": ["0.png"], "output": "ok.png"}': "is that of line 1 too",
    json.dumps({"input": names(*[0] * 16)}): "the context holds 16",
}


def test_bad_lines_are_counted_and_the_others_answered(lvm, at, monkeypatch):
    (at / "7.png").write_bytes(b"no picture")
    lines = [{"input": names(0), "output": "ok.png"}, *BAD, "", {"input": names(7)}]
    found = answer_lines(lvm, file_of(at, *lines), at / "out", replace(PLAIN, max_bad=0.95))
    assert (found["lines"], found["answered"]) == (11, 1)
    assert list(found["bad"]) == [str(number) for number in [*range(2, 11), 12]]
    for words, reason in zip(BAD.values(), found["bad"].values(), strict=False):
        assert words in reason
    assert "7.png" in found["bad"]["12"] and "\n" not in found["bad"]["12"]
    monkeypatch.delattr(job, "_answer_unit")  # nothing is drawn again
    again = answer_lines(lvm, at / "lines.jsonl", at / "out", replace(PLAIN, max_bad=0.95))
    assert (again["answered"], again["answered_before"], again["bad"]) == (0, 1, found["bad"])


def test_too_many_bad_lines_stop_before_anything_is_drawn(lvm, at):
    lines_at = file_of(at, {"input": names(0)}, "{}", {"input": names(1)})
    with pytest.raises(ValueError, match=r"1 of 3 lines are bad.*max_bad=0.001.*line 2"):
        answer_lines(lvm, lines_at, at / "out", PLAIN)
    assert not (at / "out").exists()


def test_answers_stay_below_their_folder(lvm, at):
    answer_lines(lvm, file_of(at, {"input": names(0), "output": "/data/x/answer.webp"}), at / "out", PLAIN)
    assert read_image(at / "out" / "data" / "x" / "answer.webp").shape == (16, 16, 3)


def test_paths_start_from_the_root(lvm, at):
    lines_at = file_of(at / "sub", {"input": names(0)}) if (at / "sub").mkdir() is None else None
    with pytest.raises(ValueError, match="paths start from"):
        answer_lines(lvm, lines_at, at / "out", PLAIN)
    assert answer_lines(lvm, lines_at, at / "out", PLAIN, root=at)["answered"] == 1


def test_units_put_shared_beginnings_together(at, lvm):
    inputs = [names(0, 1, 2), names(5, 6, 7), names(0, 1, 3), names(5, 6, 4), names(5, 6)]
    lines, _ = job.read_lines(
        file_of(at, *[{"input": given} for given in inputs]), PLAIN, root=at, fit=lvm.bundle.images_in_context
    )
    assert [[line.number for line in unit] for unit in units(lines, 2)] == [[1, 3], [4, 2], [5]]


def test_settings_rejected():
    with pytest.raises(ValueError, match="max_bad=1.0"):
        replace(PLAIN, max_bad=1.0)
    with pytest.raises(ValueError, match="candidates=0"):
        replace(PLAIN, candidates=0)
