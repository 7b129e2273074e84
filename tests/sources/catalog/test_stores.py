"""Every row of the catalogue becomes a store: what its source reads can be drawn, generated from and encoded."""

import pytest
from miniatures import labelled, moving, pictures, restoration

from openlvm.sources.catalog.table import CATALOG
from openlvm.store.tokenize import tokenize

MINIATURES = pictures.MINIATURES | restoration.MINIATURES | labelled.MINIATURES | moving.MINIATURES


@pytest.mark.slow
@pytest.mark.parametrize("name", MINIATURES)
def test_row_becomes_a_store(name, tmp_path, fake_tokenizer):
    expected, row = MINIATURES[name](tmp_path / "data"), CATALOG[name]
    for split, records in expected.items():
        source = row.source(tmp_path / "data", split)
        store = tokenize(
            source,
            tokenizer=fake_tokenizer,
            at=tmp_path / split,
            generated=() if row.annotators else row.generated,  # some are laid over what a model draws
            styles={slot: style for slot, style in row.styles.items() if slot in source.slots},
        )
        assert store.header["records"] == len(records)
        assert {store.key(number) for number in range(len(records))} == set(records)
        for number in range(len(records)):
            slots = records[store.key(number)]
            assert set(slots) <= set(store.slots_of(number))
            assert store.num_frames(number) == len(slots["image"])
