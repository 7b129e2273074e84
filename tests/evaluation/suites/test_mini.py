"""The suite: what it must not mix, and that every task can be asked."""

from openlvm.evaluation.suites.mini import (
    LISTED,
    POOLS,
    SEEN_MAPPINGS,
    TASKS,
    UNSEEN_MAPPINGS,
    WORLDS,
)
from openlvm.sources.worlds.families import HELDOUT_FAMILIES


def test_tasks_have_names_of_their_own_and_known_pools():
    names = [task.name for task in TASKS]
    assert len(set(names)) == len(names) and len(LISTED) == 17
    assert {task.pool for task in TASKS} | {task.wrong_pool for task in WORLDS} <= set(POOLS)


def test_wrong_examples_are_of_another_task():
    for task in TASKS:
        assert task.is_sequence or (task.wrong[1] not in task.targets or task.wrong_pool not in ("", task.pool)), task


def test_unseen_mappings_are_not_seen():
    assert not set(SEEN_MAPPINGS) & set(UNSEEN_MAPPINGS)
    task = next(task for task in LISTED if task.name == "recoloring (unseen)")
    assert [task.prompt_task(number).target for number in range(4)] == [*UNSEEN_MAPPINGS, UNSEEN_MAPPINGS[0]]


def test_sources_are_held_out_but_for_the_mean_answer():
    for name, pool in POOLS.items():
        assert pool.source("heldout").split == "heldout" and pool.source("train").split == "train", name
    for family in HELDOUT_FAMILIES:
        trained = POOLS[f"shapes {family}"].source("train").tasks
        assert not set(trained) & set(HELDOUT_FAMILIES)
        assert POOLS[f"shapes {family}"].source("heldout").tasks == (family,)
