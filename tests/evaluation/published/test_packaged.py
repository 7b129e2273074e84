"""Packaged columns ask of held-out pictures, and show nothing of what they ask."""

from functools import partial

import numpy as np
import pytest

from openlvm.core.records import BadRecord, Record
from openlvm.evaluation.harness.questions import digest
from openlvm.evaluation.harness.records import Changed, FramesOf, items_of, record_of
from openlvm.evaluation.harness.suite import Data
from openlvm.evaluation.published import packaged
from openlvm.sources.interface import Part

SOURCES = {
    "views": (packaged.views, packaged.object_of),
    "turns": (packaged.turns, packaged.object_of),
    "photos": (packaged.photos, packaged.photograph_of),
    "poses": (packaged.poses, packaged.motion_of),
    "clips": (packaged.clips, packaged.mover_of),
}
PAIRS = {
    "mask": (partial(packaged.view_pairs, asked="mask"), packaged.object_of),
    "depth": (partial(packaged.view_pairs, asked="depth"), packaged.object_of),
    "normals": (partial(packaged.view_pairs, asked="normals"), packaged.object_of),
    "next view": (partial(packaged.view_pairs, asked="next_view"), packaged.object_of),
    "holes": (partial(packaged.photo_pairs, given="holes"), packaged.photograph_of),
    "pose": (packaged.pose_pairs, packaged.motion_of),
}


@pytest.mark.parametrize("name", SOURCES)
def test_no_subject_is_in_both_splits(name):
    source, subject_of = SOURCES[name]
    subjects = [{subject_of(item) for item in items_of(source(split))} for split in ("train", "heldout")]
    assert subjects[0] and subjects[1] and not subjects[0] & subjects[1]
    assert len(subjects[1]) < len(items_of(source()))  # the name of the whole item is no subject


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("support", ["val", "train"])
def test_pairs_show_other_subjects(name, support):
    make, subject_of = PAIRS[name]
    of = make(Data(episodes=24, support=support))
    episodes, held_out = of.episodes(), set(items_of(of.source()))
    assert len(episodes) == 24 and digest(episodes) == digest(of.episodes())
    for episode in episodes:
        assert episode.query in held_out and (set(episode.examples) <= held_out) == (support == "val")
        assert episode.cluster == subject_of(episode.query) not in {subject_of(item) for item in episode.examples}
    question = of.question(episodes[0])
    assert {picture.shape for picture in (*question.context, question.truth)} == {(128, 128, 3)}
    assert len(question.examples) == 3


def test_generated_pictures_are_the_querys():
    of = packaged.photo_pairs(Data(episodes=1), "holes")
    question = of.question(of.episodes()[0])
    kept = question.query.any(-1)
    assert (question.query[kept] == question.truth[kept]).all() and not kept.all()


@pytest.mark.parametrize(("frames", "shown"), [(packaged.turn_frames, 7), (packaged.clip_frames, 15)])
def test_frames_end_before_the_one_asked_for(frames, shown):
    of = frames(Data(episodes=2), shown=shown)
    for episode in of.episodes():
        clip = record_of(of.source(), episode.query).slots["image"]
        question = of.question(episode)
        assert len(clip) == of.frames_each == shown + 1
        assert all(np.array_equal(*pair) for pair in zip([*question.frames, question.truth], clip, strict=True))
    with pytest.raises(ValueError, match=rf"0 clips of {shown + 2} frames are there"):
        frames(Data(episodes=2), shown=shown + 1).episodes()
    assert len(frames(Data(episodes=150), shown=shown).episodes()) == 150


def test_shorter_prompts_end_at_the_same_frame():
    short, long = (packaged.clip_frames(Data(episodes=2), shown=shown, longest=15) for shown in (3, 15))
    assert digest(short.episodes()) == digest(long.episodes())
    episode = short.episodes()[0]
    assert np.array_equal(short.question(episode).truth, long.question(episode).truth)
    assert np.array_equal(short.question(episode).frames[0], long.question(episode).frames[12])


def test_the_number_of_episodes_is_small_unless_asked():
    assert packaged.episodes_of(Data()) == packaged.EPISODES == 32
    assert len(packaged.view_pairs(Data(), "mask").episodes()) == 32
    assert packaged.episodes_of(Data(episodes=5)) == 5
    assert "compare with no published number" in packaged.about("masks")


class Unread:
    """Records of 4 frames, which must not be read to be listed; the second is bad."""

    slots = ("image",)

    def describe(self):
        return {"layout": "unread"}

    def parts(self):
        return [Part("00000", ("a", "b"))]

    def read(self, part):
        for item in part.items:
            frames = [np.full((8, 8, 3), n, np.uint8) for n in range(4)]
            yield BadRecord(item, "damaged") if item == "b" else Record(key=item, slots={"image": frames})


def test_records_of_known_length_are_not_read_to_be_listed():
    def source():
        found = Unread()
        found.read = lambda part: pytest.fail("read")
        return found

    of = FramesOf(source=source, shown=3, frames_each=4, preparation=packaged.PREPARATION)
    assert [episode.query for episode in of.episodes()] == ["a", "b"]


def test_a_change_leaves_bad_records_alone():
    def doubled(record):
        return Record(key=record.key, slots={"image": record.slots["image"], "again": record.slots["image"]})

    source = Changed(source=Unread(), slots=("image", "again"), change=doubled)
    assert source.describe() == {"layout": "unread", "changed": ["image", "again"]}
    good, bad = source.read(source.parts()[0])
    assert set(good.slots) == {"image", "again"} and bad == BadRecord("b", "damaged")
