"""Trials drawn from scenes: who is shown beside whom, and that nothing of the query leaks into its examples."""

import numpy as np
import pytest

from openlvm.core.images import ImagePreparation
from openlvm.core.records import Record
from openlvm.evaluation.scenes import Scene
from openlvm.evaluation.suites.prompts import analogy_trial, draw_clips, draw_shown, examples_of, sequence_trial
from openlvm.evaluation.tasks import PromptTask

FLIP = PromptTask(name="flip", target="flipped")
MEAN = np.zeros((8, 8, 3), np.uint8)


def scene(subject: int, *, frames: int = 1, group: str = "") -> Scene:
    """Frame f is of one gray level, 10 subject + f, so that a picture tells who it is."""
    images = [np.full((8, 8, 3), 10 * subject + frame, np.uint8) for frame in range(frames)]
    record = Record(key=f"{subject}/{group}", slots={"image": images})
    return Scene(record, ImagePreparation(size=8), str(subject), group)


def draw(scenes, **options):
    return draw_shown(scenes, **{"name": "t", "queries": 12, "pairs": 3, "seed": 0, **options})


def test_no_two_pictures_of_a_prompt_show_one_subject():
    scenes = [scene(number // 3, frames=4) for number in range(15)]  # five subjects, three scenes each
    for shown in draw(scenes):
        subjects = [shown.query.subject, *(other.subject for other, _ in shown.examples)]
        assert len(set(subjects)) == 4


def test_examples_are_of_the_query_s_task_instance():
    scenes = [scene(number, group=f"color/{number % 3}") for number in range(12)]
    drawn = draw(scenes)
    assert all(other.group == shown.query.group for shown in drawn for other, _ in shown.examples)
    assert {shown.query.group for shown in drawn} == {"color/0", "color/1", "color/2"}


def test_every_scene_is_asked_in_turn_and_draws_repeat():
    scenes = [scene(number, frames=9) for number in range(6)]

    def spelled(seed, **options):
        drawn = draw(scenes, seed=seed, **options)
        return [(one.query.subject, one.frame, [(s.subject, f) for s, f in one.examples]) for one in drawn]

    assert spelled(1) == spelled(1) != spelled(2)
    assert sorted(query for query, _, _ in spelled(1)) == sorted(list("012345") * 2)
    assert len({frame for _, frame, _ in spelled(1)}) > 3
    more = spelled(1, pairs=5)  # a curve by examples adds to the same prompt
    assert [(query, frame, shown[:3]) for query, frame, shown in more] == spelled(1)


def test_few_subjects_are_shown_twice_but_never_the_query_s():
    scenes = [scene(number // 5) for number in range(15)]  # three clips of five pictures
    for shown in draw(scenes, pairs=7):
        subjects = [other.subject for other, _ in shown.examples]
        assert shown.query.subject not in subjects and len(set(subjects[:2])) == len(set(subjects)) == 2
        assert len({id(other) for other, _ in shown.examples}) == 7


def test_too_few_scenes_are_refused():
    scenes = [scene(number // 2, group="fill/2") for number in range(4)]
    words = "t: needs 3 examples of other subjects than the query's; group 'fill/2' has 2"
    with pytest.raises(ValueError, match=words):
        draw(scenes)


def test_analogy_trial_knows_truth_and_what_misleads():
    shown = draw([scene(number) for number in range(6)])[0]
    trial = analogy_trial(FLIP, shown, wrong=("image", "inverted"), misleading=None, mean=MEAN)
    query = int(trial.query[0, 0, 0])
    assert (trial.truth == query).all() and (trial.misled == 255 - query).all()
    assert trial.cluster == shown.query.subject and query not in [int(p[0, 0, 0]) for p in trial.prompts["wrong"][:-1]]
    first, second = trial.prompts["wrong"][:2]
    assert (first.astype(int) + second == 255).all()
    elsewhere = draw([scene(number + 10, group="g") for number in range(4)])[0]
    other = analogy_trial(FLIP, shown, wrong=("image", "image"), misleading=elsewhere, mean=MEAN)
    expected = [int(picture[0, 0, 0]) for pair in examples_of(elsewhere, "image", "image") for picture in pair]
    assert [int(picture[0, 0, 0]) for picture in other.prompts["wrong"]] == [*expected, query]
    assert other.misled is None and other.prompts["correct"][-1] is other.query


def test_sequence_trial_asks_for_the_frame_after_those_shown():
    task = PromptTask(name="next", style="sequence", region="changed")
    clips = [scene(0, frames=8), scene(5, frames=8)]
    trial = sequence_trial(task, *clips, frames=4, mean=MEAN)

    def levels(condition):
        return [int(picture[0, 0, 0]) for picture in trial.prompts[condition]]

    assert levels("correct") == [0, 1, 2, 3] and (trial.truth == 4).all()
    assert levels("wrong") == [50, 51, 52, 3]
    assert levels("shuffled") == [1, 2, 0, 3] and levels("none") == [3]


def test_clips_mislead_by_another_subject():
    scenes = [scene(number // 4, frames=2) for number in range(8)]
    drawn = draw_clips(scenes, name="t", queries=16, seed=0)
    assert all(one.subject != other.subject for one, other in drawn)
    assert sorted(id(one) for one, _ in drawn) == sorted(id(one) for one in scenes * 2)
    with pytest.raises(ValueError, match="needs scenes of at least two subjects, all 4 show '0'"):
        draw_clips(scenes[:4], name="t", queries=1, seed=0)
