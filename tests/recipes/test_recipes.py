"""Every recipe: whole, in both forms, and consistent with what it refers to."""

import pytest

from openlvm.core.runs import as_json
from openlvm.evaluation.suites.mini import LISTED, UNSEEN_MAPPINGS
from openlvm.evaluation.tasks import PromptTask
from openlvm.recipes import RECIPES
from openlvm.recipes.config import LVMConfig
from openlvm.recipes.demo import GENERATED, NUM_PAIRS, TASKS, WRONG, demo
from openlvm.sentences.generated import GENERATED as KNOWN
from openlvm.sentences.grammar import GRAMMAR
from openlvm.sources.pack import PackViews
from openlvm.sources.worlds.shapes import TRAINING_FAMILIES, ShapesWorld


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_repeat_and_can_be_written_down(name):
    for tiny in (False, True):
        config = RECIPES[name](tiny=tiny)
        assert as_json(config) == as_json(RECIPES[name](tiny=tiny))
    assert as_json(RECIPES[name](tiny=True)) != as_json(RECIPES[name](tiny=False))
    doc = RECIPES[name].__doc__ or ""
    assert "Run:" in doc and "Result:" in doc


def test_demo_shows_every_kind_of_sentence_and_mostly_pairs():
    components = demo().decoder.components
    assert {part.kind.name for part in components} == set(GRAMMAR)
    total = sum(part.weight for part in components)
    pairs = sum(part.weight for part in components if part.kind.name == "pairs")
    assert 0.65 <= pairs / total <= 0.75


def test_demo_tasks_have_slots_examples_and_misleading_tasks():
    slots = {*PackViews().slots, *GENERATED}
    analogies = {task.name: task for task in TASKS if task.style == "analogy"}
    assert len(TASKS) >= 6 and set(WRONG) == set(analogies)
    for task in analogies.values():
        assert {task.source, task.target} <= slots
        assert analogies[WRONG[task.name]].target != task.target
    assert set(GENERATED) <= set(KNOWN) and NUM_PAIRS * 2 + 2 <= 16


def test_demo_trains_the_tasks_it_is_asked():
    trained = {(part.kind.source, part.kind.target) for part in demo().decoder.components if part.kind.name == "pairs"}
    asked = {(task.source, task.target) for task in TASKS if task.style == "analogy"}
    assert asked <= trained


def test_lvm_config_rejects_components_without_a_store():
    config = demo(tiny=True)
    with pytest.raises(ValueError, match=r"stores \['turns'\], which the recipe does not make"):
        LVMConfig(
            tokenizer="demo",
            stores=tuple(store for store in config.stores if store.name != "turns"),
            decoder=config.decoder,
        )


def test_tasks_are_values():
    assert TASKS[0] == PromptTask(name="segmentation", target="mask", metric="iou")


@pytest.mark.parametrize("name", ["mini", "mini_more", "mini_128"])
def test_mini_trains_what_the_suite_lists_and_nothing_that_is_held_out(name):
    config = RECIPES[name]()
    trained = {(part.kind.source, part.kind.target) for part in config.decoder.components if part.kind.name == "pairs"}
    listed = {(task.source, target) for task in LISTED for target in task.targets}
    unseen = {("image", mapping) for mapping in UNSEEN_MAPPINGS}
    assert listed - unseen <= trained
    assert not set(UNSEEN_MAPPINGS) & {slot for store in config.stores for slot in store.generated}
    shapes = [store.source for store in config.stores if isinstance(store.source, ShapesWorld)]
    assert {task for source in shapes for task in source.tasks} == set(TRAINING_FAMILIES)
    splits = {getattr(store.source, "split", "none") for store in config.stores}
    assert splits == {"train"}
