"""What an LVM must not forget while it learns a folder: a share of the sentences mini learned from, out of the package.

Pictures and tasks are those of the recipe mini on the sample pack (split train); the tasks that a fit asks before and
after (questions.py) are of the split heldout.
"""

from dataclasses import replace
from pathlib import Path

from openlvm.bundle import Bundle
from openlvm.recipes.config import StoreConfig
from openlvm.recipes.mini.decoder import mini
from openlvm.store.format import Store
from openlvm.store.plan import Component
from openlvm.store.tokenize import tokenize

STORES = ("views", "motion", "turns", "recoloring")
"""Of the recipe: those that are quick to tokenize and hold most of its tasks."""


def replay_stores() -> tuple[StoreConfig, ...]:
    """The stores, as the recipe's small form has them."""
    return tuple(store for store in mini(tiny=True).stores if store.name in STORES)


def replayed(bundle: Bundle, at: Path, *, share: float) -> tuple[Component, ...]:
    """Tokenize what is replayed into `at`/<store>, and the components that have `share` of the positions among all 1.

    Args:
        share: in 0 .. 1; 0 makes nothing.
    """
    if not share:
        return ()
    stores: dict[str, Store] = {}
    for store in replay_stores():
        stores[store.name] = tokenize(
            store.source, tokenizer=bundle.tokenizer, at=at / store.name, generated=store.generated
        )
    chosen = [
        part
        for part in mini(tiny=True).decoder.components
        if part.store in STORES and part.kind.num_images <= bundle.images_in_context
    ]
    total = sum(float(part.weight) for part in chosen)
    return tuple(
        replace(part, store=at / str(part.store), weight=share * float(part.weight) / total) for part in chosen
    )
