"""Scenes: lazily drawn, as the stores are made; whole sources or an even part of them."""

from dataclasses import dataclass

import numpy as np
import pytest

from openlvm.core.images import ImagePreparation
from openlvm.core.records import BadRecord, Depth, Record
from openlvm.evaluation.scenes import Scene, mean_answers, scenes_of
from openlvm.sentences.generated import add_generated, hue_turned
from openlvm.sentences.render import draw
from openlvm.sources.interface import Part, split_into_parts

PREPARATION = ImagePreparation(size=16)


def picture(seed: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Pictures:
    """Records "thing<n>/scene0" of one picture; the one numbered `bad` cannot be read."""

    count: int = 10
    bad: int = -1
    slots: tuple[str, ...] = ("image",)

    def describe(self):
        return {}

    def parts(self) -> list[Part]:
        return split_into_parts([f"thing{number}/scene0" for number in range(self.count)], 4)

    def read(self, part):
        for key in part.items:
            number = int(key.split("/")[0].removeprefix("thing"))
            if number == self.bad:
                yield BadRecord(key, "torn")
            else:
                yield Record(key=key, slots={"image": [picture(number)]}, label=f"kind{number % 2}")


def test_scene_draws_what_a_store_would_hold():
    depth = Depth(np.linspace(1, 2, 32 * 32, dtype=np.float32).reshape(32, 32))
    record = Record(key="chair/scene0", slots={"image": [picture(0), picture(1)], "depth": [depth, depth]})
    scene = Scene(record, PREPARATION, "chair")
    whole = add_generated(record, ("holes", "edges", "noisy"), seed=0)
    for slot in ("image", "depth", "holes", "edges", "noisy"):
        assert np.array_equal(scene.picture(slot, 1), draw(whole.slots[slot][1], PREPARATION)), slot
    assert scene.picture("noisy", 0) is scene.picture("noisy", 0)
    assert len(scene.frames("holes")) == 2 and scene.truth("depth", 0).meters.shape == (16, 16)


def test_scene_makes_recolorings_that_no_store_has():
    scene = Scene(Record(key="a", slots={"image": [picture(0)]}), PREPARATION, "a")
    turned = hue_turned(picture(0), np.random.default_rng(), degrees=150)
    assert np.array_equal(scene.picture("hue:150", 0), draw(turned, PREPARATION))
    with pytest.raises(ValueError, match="no slot called 'hue:151'; did you mean hue:150"):
        scene.picture("hue:151", 0)


def test_scenes_know_their_subject_and_group():
    scenes = scenes_of(Pictures(), PREPARATION)
    assert [scene.subject for scene in scenes] == [f"thing{number}" for number in range(10)]
    assert {scene.group for scene in scenes} == {""} and scenes[3].cluster == "thing3"
    grouped = scenes_of(Pictures(), PREPARATION, subject=lambda record: record.key, grouped=True)
    assert grouped[3].group == grouped[3].cluster == "kind1" and grouped[3].subject == "thing3/scene0"


def test_a_limit_takes_evenly_from_all_parts():
    some = scenes_of(Pictures(), PREPARATION, limit=5)
    assert [scene.subject for scene in some] == ["thing0", "thing2", "thing4", "thing6", "thing8"]
    assert len(scenes_of(Pictures(), PREPARATION, limit=99)) == 10


def test_a_record_that_cannot_be_read_stops_the_report():
    with pytest.raises(ValueError, match="thing7/scene0: torn. A report of the rest would be of other pictures"):
        scenes_of(Pictures(bad=7), PREPARATION)


def test_mean_answers_are_means_of_first_frames():
    scenes = scenes_of(Pictures(count=3), PREPARATION)
    means = mean_answers(scenes, ("image", "inverted"))
    by_hand = np.mean([scene.picture("image", 0).astype(float) for scene in scenes], axis=0)
    assert np.array_equal(means["image"], np.rint(by_hand)) and set(means) == {"image", "inverted"}
    assert np.abs(means["image"].astype(float) + means["inverted"] - 255).max() <= 1
