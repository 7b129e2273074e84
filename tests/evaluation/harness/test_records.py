"""Episodes out of sources: frozen, without the query among its examples, and drawn as the records say."""

from dataclasses import dataclass

import numpy as np
import pytest

from openlvm.core.images import ImagePreparation
from openlvm.core.records import BadRecord, Record, Segmentation
from openlvm.evaluation.harness.records import Changed, FramesOf, PairsOf, items_of, record_of
from openlvm.sources.interface import split_into_parts

SMALL = ImagePreparation(size=8, fit="squash", filter="nearest")


@dataclass(frozen=True)
class Toys:
    """Items "<object>/<number>": gray pictures of the number, the left half is the object, `frames` frames each."""

    objects: int = 4
    each: int = 3
    frames: int = 1
    slots = ("image", "mask")
    bad = ""

    def describe(self):
        return {"layout": "toys"}

    def parts(self):
        return split_into_parts([f"{one}/{number}" for one in range(self.objects) for number in range(self.each)], 5)

    def read(self, part):
        for item in part.items:
            number = int(item.split("/")[1])
            frames = [np.full((16, 16, 3), 10 * number + frame, np.uint8) for frame in range(self.frames + number)]
            inside = np.zeros((16, 16), np.int32)
            inside[:, :8] = 1
            yield Record(key=item, slots={"image": frames, "mask": [Segmentation(inside)] * len(frames)}, label=item[0])


def object_of(item):
    return item.split("/")[0]


def pairs(**options):
    return PairsOf(**{"source": Toys, "preparation": SMALL, "cluster_of": object_of, "shots": 2} | options)


def test_every_item_is_asked_once_in_order():
    episodes = pairs().episodes()
    assert [one.query for one in episodes] == items_of(Toys())
    assert [one.number for one in episodes] == list(range(12))
    assert len({one.seed for one in episodes}) == 12
    for one in episodes:
        assert len(set(one.examples)) == 2 and one.cluster == object_of(one.query)
        assert object_of(one.query) not in {object_of(item) for item in one.examples}


def test_lists_are_functions_of_the_seed_alone():
    assert pairs(count=30).episodes() == pairs(count=30).episodes()
    assert pairs(count=30).episodes() != pairs(count=30, seed=1).episodes()


def test_a_count_asks_all_before_it_asks_again():
    queries = [one.query for one in pairs(count=30).episodes()]
    assert sorted(queries[:12]) == sorted(queries[12:24]) == items_of(Toys()) and queries[:12] != queries[12:24]
    assert len(set(queries[24:])) == 6


def test_examples_come_from_the_support_and_the_class():
    chosen = pairs(support=lambda: Toys(objects=9), label_of=lambda item: item.split("/")[1], cluster_of=str)
    for one in chosen.episodes():
        assert one.label == one.query.split("/")[1] == one.examples[0].split("/")[1] == one.examples[1].split("/")[1]
        assert one.query not in one.examples
    assert any(int(object_of(item)) > 3 for one in chosen.episodes() for item in one.examples)


def test_too_few_examples_are_refused():
    with pytest.raises(ValueError, match="12 examples asked for, 9 are there"):
        pairs(shots=12).episodes()
    with pytest.raises(ValueError, match="4 examples of class '0' asked for, 3 are there"):
        pairs(shots=4, label_of=lambda item: item.split("/")[1]).episodes()


def test_questions_are_drawn_and_keep_the_truth_in_its_unit():
    told = pairs(told=lambda record, frame: {"key": record.key, "frame": frame})
    episode = told.episodes()[5]
    question = told.question(episode)
    assert question.query.shape == (8, 8, 3) and question.query[0, 0, 0] == 10 * int(episode.query.split("/")[1])
    assert (question.truth[:, :4] == 255).all() and (question.truth[:, 4:] == 0).all()
    assert question.payload.ids.tolist() == [[1] * 4 + [0] * 4] * 8
    assert question.told == {"class": "", "key": episode.query, "frame": 0}
    assert [int(shown[0, 0, 0]) for shown, _ in question.examples] == [10 * int(one[-1]) for one in episode.examples]
    with pytest.raises(ValueError, match=r"has no slot 'depth'; it has \['image', 'mask'\]"):
        pairs(asked="depth").question(episode)


def test_generated_slots_differ_by_episode_and_repeat():
    noisy = pairs(given="noisy", asked="image", generated=("noisy",), cluster_of=str, count=24)
    first, again = (noisy.question(noisy.episodes()[0]) for _ in range(2))
    assert (first.query == again.query).all() and (first.query != first.truth).any()
    episodes = noisy.episodes()
    other = next(one for one in episodes[1:] if one.query == episodes[0].query)
    assert (noisy.question(other).query != first.query).any()


def test_frames_before_the_last_at_a_stride():
    clips = FramesOf(source=lambda: Toys(frames=9), shown=2, stride=3, preparation=SMALL, cluster_of=object_of)
    episodes = clips.episodes()
    assert len(episodes) == 12 and episodes[0].cluster == "0"
    for episode in episodes:
        question = clips.question(episode)
        places = [int(frame[0, 0, 0]) % 10 for frame in [*question.frames, question.truth]]
        assert np.diff(places).tolist() == [3, 3] and question.style == "sequence"


def test_shorter_prompts_of_a_comparison_end_at_the_same_frame():
    source = lambda: Toys(frames=9)  # noqa: E731
    long, short = (FramesOf(source=source, shown=n, longest=5, preparation=SMALL) for n in (5, 1))
    assert [one.query for one in long.episodes()] == [one.query for one in short.episodes()]
    for episode in long.episodes():
        one, other = long.question(episode), short.question(episode)
        assert (one.truth == other.truth).all() and (one.frames[-1] == other.frames[-1]).all()
        assert (len(one.frames), len(other.frames)) == (5, 1)


def test_short_clips_are_left_out():
    clips = FramesOf(source=lambda: Toys(frames=4), shown=4, preparation=SMALL)
    assert {one.query.split("/")[1] for one in clips.episodes()} == {"1", "2"}
    assert len(FramesOf(source=lambda: Toys(frames=4), shown=4, preparation=SMALL, count=3).episodes()) == 3
    with pytest.raises(ValueError, match="8 clips of 5 frames are there, 9 asked for"):
        FramesOf(source=lambda: Toys(frames=4), shown=4, preparation=SMALL, count=9).episodes()


def test_a_record_that_cannot_be_read_stops_the_evaluation():
    class Broken(Toys):
        def read(self, part):
            yield BadRecord(key=part.items[0], reason="truncated")

    with pytest.raises(ValueError, match=r"0/1: truncated\. Mend it"):
        record_of(Broken(), "0/1")

    class Empty(Toys):
        def read(self, part):
            return iter(())

    with pytest.raises(ValueError, match="gives no record"):
        record_of(Empty(), "0/1")


def test_changed_records_are_changed_as_they_are_read():
    def darker(record):
        return Record(key=record.key, slots={"image": [one // 2 for one in record.slots["image"]]}, label=record.label)

    source = Changed(source=Toys(), slots=("image",), change=darker)
    assert record_of(source, "1/2").slots["image"][0][0, 0, 0] == 10
    assert source.describe() == {"layout": "toys", "changed": ["image"]} and source.parts() == Toys().parts()
