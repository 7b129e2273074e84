"""The demo with an untrained LVM: all is asked once, on held-out pictures, and what is written is what happened."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openlvm.core.images import ImagePreparation
from openlvm.evaluation.suites.questions import ASKED, COMPOSED, Answered, Chosen, puzzles, questions
from openlvm.jobs.demo.prompted import gallery, run_demo
from openlvm.prompting.lvm import Choice
from openlvm.sources.pack import PackObjects

PREPARATION = ImagePreparation(size=64, filter="box")


@pytest.fixture(scope="module")
def asked():
    return {question.name: question for question in questions(PREPARATION, seed=0)}


@pytest.fixture(scope="module")
def demo(lvm_at, tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("demo")
    return out, run_demo(out=out, lvm=lvm_at)


def test_every_task_is_asked_once(asked):
    assert list(asked) == [*(task.name for task in ASKED), *COMPOSED] and len(asked) > 17


def test_demo_writes_what_it_returns(demo):
    out, report = demo
    assert json.loads((out / "report.json").read_text()) == report
    assert set(report["answers"]) >= {"segmentation", "depth", "next view", "segmentation and flip"}
    for one in report["answers"].values():
        assert 0 < one["pixel_error"] < 1 and 0 < one["ceiling"] < 1
    for name, one in report["choices"].items():
        assert one["chosen"] == int(np.argmin(one["perplexities"])), name
        assert len(one["perplexities"]) == {"color": 3, "shape": 3, "size": 2, "matrix": 5}[name]
    assert sum(report["seconds"].values()) > 0
    assert np.asarray(Image.open(out / "gallery.png")).std() > 30


def test_page_is_whole_and_asks_nobody(demo):
    out, report = demo
    page = (out / "index.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import|<script""", page)
    for name, one in report["answers"].items():
        assert f"<h3>{name}</h3>" in page and f"{one['pixel_error']:.3f} (ceiling {one['ceiling']:.3f})" in page
    drawn = sum({"sequence": 3}.get(one["style"], 1) for one in report["answers"].values())
    assert page.count('class="answer"') == drawn + len(report["choices"])


def test_same_seed_gives_the_same_answers_and_another_other_questions(demo, asked, lvm_at, tmp_path):
    def told(report):
        return [{key: one[key] for key in one if key != "seconds"} for one in report["answers"].values()]

    _, report = demo
    assert told(run_demo(out=tmp_path / "again", lvm=lvm_at)) == told(report)
    first = next(questions(PREPARATION, seed=1))
    assert not np.array_equal(first.given[0], asked[first.name].given[0])


def test_truth_fits_its_query(asked):
    """The query's picture is undone or redone by hand: a wrong frame, slot or scene would show."""
    [query], [truth] = asked["flip"].given, asked["flip"].truths
    assert np.array_equal(truth, query[:, ::-1])
    [query], [truth] = asked["recoloring (seen)"].given, asked["recoloring (seen)"].truths
    assert np.array_equal(truth, query[..., [2, 0, 1]])
    [query], [truth] = asked["recoloring and flip"].given, asked["recoloring and flip"].truths
    assert np.array_equal(truth, query[:, ::-1, [2, 0, 1]])
    hidden = (asked["inpainting"].given[0] != asked["inpainting"].truths[0]).any(-1)
    assert (asked["inpainting"].given[0][hidden] == 0).mean() > 0.9  # the rest is the rim of a hole, averaged


def test_composition_shows_each_task_by_its_own_pairs(asked):
    recolorings, flips = asked["recoloring and flip"].groups
    assert all(np.array_equal(answer, picture[..., [2, 0, 1]]) for picture, answer in recolorings)
    assert all(np.array_equal(answer, picture[:, ::-1]) for picture, answer in flips)
    masks, flips = asked["segmentation and flip"].groups
    assert all(set(np.unique(answer)) == {0, 255} for _, answer in masks) and len(masks) == len(flips) == 2


def test_no_picture_is_shown_twice_and_none_is_the_query(asked):
    for question in asked.values():
        given = [picture.tobytes() for picture in question.prompt]
        assert len(set(given)) == len(given), question.name


def test_pictures_are_of_held_out_objects(asked):
    train = PackObjects(split="train", scenes_per_object=2)
    known = {
        PREPARATION(picture).tobytes()
        for part in train.parts()[:2]
        for record in train.read(part)
        for picture in record.slots["image"]
    }
    assert not any(picture.tobytes() in known for question in asked.values() for picture in question.prompt)


def test_error_counts_only_what_changes(asked):
    question = asked["next view"]
    copies = [question.given[-1]] * len(question.truths)
    everywhere = np.mean([np.abs(copies[0] - truth.astype(float)).mean() / 255 for truth in question.truths])
    assert question.error(question.truths) == 0 and question.error(copies) > 1.5 * everywhere


def test_gallery_frames_the_choice_and_captions_say_what_is_right():
    puzzle = next(iter(puzzles(PREPARATION, seed=0)))
    picked = (puzzle.answer + 1) % len(puzzle.options)
    perplexities = tuple(1.5 if number == picked else 2.5 for number in range(len(puzzle.options)))
    chosen = Chosen(puzzle, Choice(picked, perplexities), 0.1)
    assert [caption.endswith("right") for caption in chosen.captions].index(True) == puzzle.answer
    sheet = gallery([], [chosen])
    green = (sheet == (0, 160, 80)).all(-1).any(0)
    columns = np.flatnonzero(green)
    width = (sheet.shape[1] - columns.min()) / (len(puzzle.options) - picked)
    assert 80 < width < 95  # a cell: so many of them stand from the frame to the right edge


def test_answered_keeps_order(asked):
    question = asked["next frame"]
    one = Answered(question, question.truths, question.truths, 0.0)
    sheet = gallery([one], [])
    assert (sheet == (0, 160, 80)).all(-1).any(0).sum() > 3 * 80
