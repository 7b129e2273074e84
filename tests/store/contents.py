"""What a store holds, record by record, read the slow and obvious way: what tests of rearranged stores compare."""

import numpy as np
from fakes import number_of

from openlvm.sentences.grammar import ImageRef
from openlvm.store.format import Store


def contents(store: Store) -> dict[str, tuple[str, dict[str, list[int]]]]:
    """Key -> (label, slot -> numbers of the pictures of its frames), of a store of the fake tokenizer."""
    found = {}
    for record in range(store.num_records):
        slots = {
            slot: number_of(store.codes([ImageRef(record, slot, f) for f in range(store.num_frames(record))])).tolist()
            for slot in store.slots_of(record)
        }
        assert store.key(record) not in found, "keys are unique"
        found[store.key(record)] = (store.label(record), slots)
    return found


def files_of(store: Store) -> dict[str, bytes]:
    """Every file of a store by its path in it."""
    return {
        str(file.relative_to(store.at)): file.read_bytes() for file in sorted(store.at.rglob("*")) if file.is_file()
    }


def codes_in_order(store: Store) -> np.ndarray:
    """All codes, image after image: int64 [I, N]."""
    return store.read(np.arange(store.num_images))
